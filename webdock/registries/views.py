"""The page of registries, and what its forms ask. Guard, ask, answer."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from runtime.api.errors import EngineError, InvalidArgument
from webdock.engines.audit import actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.pages import answer, page
from webdock.engines.wording import explain
from webdock.jobs.running import TooMany
from webdock.people.rights import requires
from webdock.registries import local, setting
from webdock.registries.hosts import clean_host


@requires("registries")
@require_GET
async def registry_list(request: HttpRequest) -> HttpResponse:
    """Every registry that is spoken to in a way of its own, and those with a password."""
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    rows, error = await setting.shown(client)
    context = {"rows": rows, "error": error, "local": await local.look(client)}
    return await page(request, "registries/list.html", context)


@requires("registries")
@require_POST
async def registry_save(request: HttpRequest) -> HttpResponse:
    """Try it, then keep it."""
    engine = await sync_to_async(current_engine)()
    try:
        asked = setting.asked_of(request.POST)
    except EngineError as error:
        return await answer(request, False, error.message, "registry-list", status=error.status)
    outcome, _result = await setting.save(await actor_of(request), engine.alias, asked)
    return await answer(request, outcome.ok, outcome.message, "registry-list", status=outcome.status)


@requires("registries")
@require_POST
async def registry_test(request: HttpRequest) -> JsonResponse:
    """What the engine finds when it tries the form's, or the row's, registry; nothing is kept."""
    engine = await sync_to_async(current_engine)()
    try:
        asked = setting.asked_of(request.POST)
        client = client_of(engine.alias)
        async with audited(
            await actor_of(request), "registry.test", engine=engine.alias, kind="registry", name=asked.host
        ):
            auth = await setting.auth_asked(client, asked)
            result = await setting.tried(client, asked, auth)
    except InvalidArgument as error:  # begins with the field it is about
        return JsonResponse({"ok": False, "message": error.message}, status=400)
    except EngineError as error:
        return JsonResponse({"ok": False, "message": explain(error)}, status=max(error.status, 400))
    message = _("%(host)s answers.") % {"host": asked.host} if result["Ok"] else setting.failure_of(result)
    return JsonResponse({"ok": True, "works": result["Ok"], "message": message, "tried": result["Tried"]})


@requires("registries")
@require_POST
async def registry_remove(request: HttpRequest) -> HttpResponse:
    engine = await sync_to_async(current_engine)()
    try:
        host = clean_host(request.POST.get("host", ""))
    except EngineError as error:
        return await answer(request, False, error.message, "registry-list", status=error.status)
    outcome = await setting.forget(await actor_of(request), engine.alias, host)
    return await answer(request, outcome.ok, outcome.message, "registry-list", status=outcome.status)


@requires("registries", "operate", "pull", "volumes")
@require_POST
async def registry_local(request: HttpRequest) -> HttpResponse:
    """Run a registry on this machine; a job."""
    engine = await sync_to_async(current_engine)()
    try:
        local.start_local(await actor_of(request), engine.alias)
    except TooMany as error:
        return await answer(request, False, str(error), "registry-list", status=429)
    return await answer(request, True, _("The local registry is being made."), "registry-list")

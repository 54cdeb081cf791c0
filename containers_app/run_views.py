"""The Run form: shown, filled from a container, checked while typing, posted: create and start."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from containers_app import intents, runline
from containers_app.detail import find
from containers_app.difference import carried
from containers_app.fields import texts_of
from containers_app.forms import RunForm
from containers_app.models import Container
from containers_app.projection import ContainerProjection
from containers_app.sections import BOXES, SECTIONS
from containers_app.succession import creation
from images_app.models import ImageTag
from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, NotFound, NotModified
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.pages import page
from webdock.engines.threads import carry_on
from webdock.engines.wording import explain
from webdock.people import viewer
from webdock.people.belongings import CLAIM_LABEL
from webdock.people.rights import requires

Made = tuple[str, list[str], str]  # the container's id, warnings, why it did not start
MISSING = "missing"  # the error's code when the image is not here
EMPTY = {**texts_of({}), "name": "", "platform": ""}  # what the fields say before anybody typed
IMAGE_NAMES_MAX = 1000  # offered as completion
FORM_MAX_CHARS = 512 * 1024  # of all texts together; a request's body has a bound
ORDER_CHARS = 32
RUNS_KEPT = 1000  # forms that were sent, so that one sent twice makes one container


@requires("operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_run(request: HttpRequest) -> HttpResponse:
    """The Run form; posted, it makes the container, starts it and goes to its page."""
    try:
        base = await _like(request)
    except EngineError as error:
        await sync_to_async(messages.error)(request, explain(error))
        return redirect("container-list")
    if why := too_long(base):
        await sync_to_async(messages.error)(request, why)
        return redirect("container-list")
    if request.method != "POST":
        image = request.GET.get("image", "")
        return await run_page(request, RunForm(base=base, initial={"image": image} if image else {}))
    form = RunForm(request.POST, base=base)
    if not form.is_valid():
        return await run_page(request, form, status=400)
    made = await _once(await actor_of(request), form)
    if made is None:
        return await run_page(request, form, status=400)
    container_id, warnings, error = made
    known = await Container.objects.filter(container_id=container_id).aexists()
    for warning in warnings:
        await sync_to_async(messages.warning)(request, warning)
    if error:
        await sync_to_async(messages.error)(
            request, _("The container was made but did not start. %(why)s") % {"why": error}
        )
    return redirect("container-detail", container_id) if known else redirect("container-list")


_runs: OrderedDict[str, asyncio.Task[Made | None]] = OrderedDict()  # an order -> what came of it


def order_of(actor: Actor, form: RunForm) -> str:
    """Which order a form is, "" for one without a token: the same fields sent again are the same order, other
    fields, as after a step back to the form, are another one."""
    if not form.data.get("token"):
        return ""
    fields = [(name, form.data.getlist(name)) for name in sorted(form.data) if name != "csrfmiddlewaretoken"]
    return hashlib.sha256(json.dumps([actor.user_id, fields]).encode()).hexdigest()[:ORDER_CHARS]


async def _once(actor: Actor, form: RunForm) -> Made | None:
    """Make what the form says; a form sent twice, or twice at a time, is made once. Finished even when the
    asker leaves. Forms that made nothing may be sent again."""
    order = order_of(actor, form)
    if order in _runs and (made := await asyncio.shield(_runs[order])) is not None:
        return made
    task = carry_on(_make(actor, form, order), name="run")
    if order:
        _runs[order] = task
        while len(_runs) > RUNS_KEPT:
            _runs.popitem(last=False)
    return await asyncio.shield(task)


@requires("operate")
@require_GET
async def container_duplicate(request: HttpRequest, container_id: str) -> HttpResponse:
    """To the Run form, filled from this container."""
    return redirect(f"{reverse('container-run')}?{urlencode({'from': container_id})}")


def _from(request: HttpRequest) -> str:
    return str((request.POST if request.method == "POST" else request.GET).get("from", ""))


async def _like(request: HttpRequest) -> dict[str, Any]:
    """What the form starts from: nothing, or a container one more like which is wanted.

    Raises: Http404, EngineError.
    """
    like = _from(request)
    return await intents.to_duplicate(await find(like, removed=True)) if like else {}


def too_long(base: dict[str, Any]) -> str:
    """Why these settings fit into no form, "" when they do: half of them must not be sent back."""
    size = sum(len(text) for text in texts_of(base).values() if isinstance(text, str))
    return _("Its settings are too long for a form; use the command line.") if size > FORM_MAX_CHARS else ""


async def run_page(request: HttpRequest, form: RunForm, *, status: int = 200, **more: Any) -> HttpResponse:
    """The form; ``container`` in ``more`` makes it the form that changes this one."""

    def names() -> list[str]:
        return list(ImageTag.objects.order_by("name").values_list("name", flat=True)[:IMAGE_NAMES_MAX])

    if "container" in more:
        del form.fields["platform"]  # its image is here, of whatever platform
        form.fields["name"].help_text = _("It keeps its name when left empty.")
    laid_out = [
        (title, note, [name for name in named if name in form.fields]) for title, note, named in SECTIONS
    ]
    sections = [
        {
            "title": title,
            "note": note,
            "fields": [form[name] for name in named],
            "open": any(form.errors.get(name) for name in named) if form.is_bound else False,
            "used": sum(bool(form[name].value()) and form[name].value() != "no" for name in named),
        }
        for title, note, named in laid_out
    ]
    context: dict[str, Any] = {
        "form": form,
        "images": await sync_to_async(names)(),
        "sections": sections,
        "boxes": [form[name] for name in BOXES],
        "from": _from(request),
        "token": form.data.get("token") or uuid.uuid4().hex,
        "carried": carried(form.base),
        **more,
    }
    if form.is_bound and (form.has_error("image", MISSING) or form.has_error("platform", MISSING)):
        other = form.data.get("platform", "") if form.has_error("platform", MISSING) else ""
        context["missing_image"] = f"{form.data.get('image', '')} {other}".strip()
    return await page(request, "containers/run.html", context, status=status)


@requires("operate")
@require_POST
async def container_run_check(request: HttpRequest) -> JsonResponse:
    """What is wrong with the fields as they stand, and the command line that says the same.

    Only notations are judged; {"errors": {field: [words]}, "remarks": the same, "line": "docker run ..."}.
    """
    form = RunForm(request.POST)
    form.is_valid()
    errors = {name: [str(one) for one in found] for name, found in form.errors.items()}
    if not form.data.get("image"):
        errors.pop("image", None)  # not yet: nobody has to be told before they typed
    return JsonResponse({"errors": errors, "remarks": form.remarks(), "line": runline.line_of(form.data)})


@requires("operate")
@require_POST
async def container_run_read(request: HttpRequest) -> JsonResponse:
    """A pasted ``docker run`` line as fields; {"fields": {...}, "notes": [what could not be taken]}."""
    try:
        fields, notes = runline.read(request.POST.get("line", ""))
    except ValueError as error:
        return JsonResponse({"ok": False, "message": str(error)}, status=400)
    return JsonResponse({"ok": True, "fields": {**EMPTY, **fields}, "notes": notes})


async def _made_before(client: EngineClient, order: str) -> dict[str, Any] | None:
    """What this order made already, as the engine shows it: nobody may have heard. Raises: EngineError."""
    if not order:
        return None
    found = await client.container_list(all=True, filters={"label": [f"{CLAIM_LABEL}={order}"]})
    return await client.container_inspect(str(found[0]["Id"])) if found else None


async def _make(actor: Actor, form: RunForm, order: str) -> Made | None:
    """Create and start: (id, warnings, why it did not start); None when not made: the form says why."""
    if now := viewer.current():
        viewer.look_as(viewer.Viewer(now.user, claims=order))  # in this task's own context
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    body, networks = creation(form.body())
    name = form.cleaned_data["name"]
    try:
        async with audited(
            actor, "container.create", engine=engine.alias, kind="container", name=name, detail=body["Image"]
        ) as entry:
            there = await _made_before(client, order)
            made: Mapping[str, Any] = there or await client.container_create(
                body, name=name or None, platform=form.cleaned_data["platform"] or None
            )
            id = entry.object_id = str(made["Id"])
            joined = ((there or {}).get("NetworkSettings") or {}).get("Networks") or {}
            try:
                for network, settings in networks:
                    if network not in joined:
                        asked = {"Container": id, "EndpointConfig": settings}
                        await client.network_connect(network, asked)
            except EngineError:
                await client.container_remove(id, force=True, volumes=True)  # all of it or nothing
                raise
            if not name:  # the engine chose one
                name = str((await client.container_inspect(id))["Name"]).removeprefix("/")
                entry.object_name = name
    except EngineError as error:
        await tell(form, error, engine.alias)
        return None
    why = ""
    try:
        async with audited(actor, "container.start", engine=engine.alias, kind="container", id=id, name=name):
            await client.container_start(id)
    except NotModified:
        pass
    except EngineError as error:
        why = explain(error)
    try:
        await ContainerProjection().look(engine, client, [id])
    except EngineError:
        pass  # gone meanwhile: the sync brings it
    return id, [str(one) for one in made.get("Warnings") or ()], why


async def tell(form: RunForm, error: EngineError, alias: str) -> None:
    """An engine's refusal, at the field it is about when that is sure, else at the form as a whole.

    Whether the image is missing, or the name taken, is asked: words of a message are no proof.
    """
    client = client_of(alias)
    field, code = None, "refused"
    try:
        if isinstance(error, NotFound):
            try:
                await client.image_inspect(form.cleaned_data["image"])
                if form.cleaned_data.get("platform"):
                    field, code = "platform", MISSING  # it is here of another one
            except NotFound:
                field, code = "image", MISSING
        elif isinstance(error, Conflict) and form.cleaned_data.get("name"):
            await client.container_inspect(form.cleaned_data["name"])
            field = "name"
    except EngineError:
        pass
    form.add_error(field, ValidationError(explain(error), code=code))

"""Pages and verbs of containers in number: the list, a verb for one or for many, prune.

Guard, ask, answer. Never writes an observed field.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from containers_app import listing
from containers_app.detail import find
from containers_app.models import Container
from containers_app.projection import KIND
from containers_app.pruning import start_prune
from containers_app.verbs import BULK_VERBS, VERBS, parse_options, perform, perform_many
from runtime.api.errors import InvalidArgument
from webdock.engines.audit import actor_of
from webdock.engines.models import current_engine, last_revision
from webdock.engines.pages import answer, page
from webdock.jobs.models import Job
from webdock.jobs.running import TooMany
from webdock.people.rights import requires

BULK_MAX = 500


@requires("view")
@require_GET
async def container_list(request: HttpRequest) -> HttpResponse:
    """One page of containers, filtered and sorted as the address says."""

    def read() -> dict[str, Any]:
        cursor = last_revision(KIND)  # before the rows: what changes in between is sent again, not lost
        return {**listing.context_of(request.GET), "cursor": cursor}

    return await page(request, "containers/list.html", await sync_to_async(read)())


@requires("operate")
@require_POST
async def container_verb(request: HttpRequest, container_id: str, verb: str) -> HttpResponse:
    """start, stop, restart, kill, pause, unpause, remove, rename: ask, and answer with the outcome."""
    if verb not in VERBS:
        raise Http404
    container = await find(container_id)
    try:
        options = parse_options(verb, request.POST)
    except InvalidArgument as error:
        return await answer(request, False, error.message, container, status=error.status)
    outcome = await perform(await actor_of(request), container, verb, options)
    to: Any = "container-list" if verb == "remove" and outcome.ok else container
    return await answer(request, outcome.ok, outcome.message, to, status=outcome.status)


@requires("operate")
@require_POST
async def container_bulk(request: HttpRequest) -> JsonResponse:
    """One verb for many, side by side: a result for each, in the order asked."""
    ids, verb = request.POST.getlist("ids") or request.POST.getlist("ids[]"), request.POST.get("verb", "")
    if verb not in BULK_VERBS:
        return JsonResponse({"ok": False, "message": _("verb: not one of those for many")}, status=400)
    if not ids or len(ids) > BULK_MAX:
        return JsonResponse({"ok": False, "message": _("ids: choose from 1 to 500 containers")}, status=400)
    try:
        options = parse_options(verb, request.POST)
    except InvalidArgument as error:
        return JsonResponse({"ok": False, "message": error.message}, status=400)
    rows = Container.objects.defer("inspect").select_related("engine").filter(removed_at=None)
    found = {row.container_id: row async for row in rows.filter(container_id__in=ids)}
    asked = [found[id] for id in dict.fromkeys(ids) if id in found]
    outcomes = {
        container.container_id: (container.name, outcome)
        for container, outcome in await perform_many(await actor_of(request), asked, verb, options)
    }
    results = []
    for id in dict.fromkeys(ids):
        if id in outcomes:
            name, outcome = outcomes[id]
            results.append({"id": id, "name": name, "ok": outcome.ok, "message": outcome.message})
        else:
            results.append({"id": id, "name": id[:12], "ok": False, "message": _("No such container.")})
    return JsonResponse({"ok": all(one["ok"] for one in results), "results": results})


@requires("prune", "operate")
@require_POST
async def container_prune(request: HttpRequest) -> HttpResponse:
    """Remove every container that is not running."""
    engine = await sync_to_async(current_engine)()
    try:
        job = start_prune(await actor_of(request), engine.alias)
    except TooMany as error:
        return await answer(request, False, str(error), "container-list", status=429)
    await job.over()
    return await answer(request, job.state == Job.State.DONE, job.message, "container-list", status=409)

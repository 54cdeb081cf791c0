"""Changing a container: its form, the difference it makes, and the recreation that carries it out."""

from __future__ import annotations

import uuid
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from containers_app import intents, recreations
from containers_app.detail import find
from containers_app.difference import carried, differences
from containers_app.forms import RunForm, labels
from containers_app.intent import Body
from containers_app.models import ALIVE, Container, Recreation
from containers_app.recreate import STEPS, status_of
from containers_app.run_views import MISSING, run_page, too_long
from containers_app.succession import creation, kept_name, refusal
from runtime.api.errors import Conflict, EngineError, NotFound
from webdock.engines.audit import actor_of
from webdock.engines.clients import client as client_of
from webdock.engines.pages import page
from webdock.engines.wording import explain
from webdock.jobs.running import TooMany
from webdock.people.belongings import viewer_rights
from webdock.people.rights import requires, wants_json

COMPOSE_PROJECT = "com.docker.compose.project"
SHARERS_MAX = 20  # named on the page


@requires("operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_edit(request: HttpRequest, container_id: str) -> HttpResponse:
    """The form filled with what was asked of it; posted, the page of differences; posted with ``sure``, done.

    Recreating what changed meanwhile would undo somebody's work: then the differences are shown again.
    """
    container = await find(container_id)
    try:
        inspect, base = await intents.to_recreate(container)
    except EngineError as error:
        await sync_to_async(messages.error)(request, explain(error))
        return redirect(container)
    if why := refusal(inspect) or too_long(base):
        await sync_to_async(messages.error)(request, why)
        return redirect(container)
    mark = intents.mark_of({**base, "name": container.name})
    alive = status_of(inspect) in ALIVE
    more = {"container": container, "mark": mark, "alive": alive}
    if request.method != "POST":
        return await run_page(request, RunForm(base=base, initial={"name": container.name}), **more)
    form = RunForm(request.POST, base=base, initial={"name": container.name})
    stale = request.POST.get("mark", mark) != mark
    if stale:
        form.is_valid()
        form.add_error(
            None, _("It was changed meanwhile, by somebody else or in another tab. Look at it again.")
        )
        return await run_page(request, form, status=409, **more)
    if request.POST.get("back"):
        return await run_page(request, form, **more)
    if not form.is_valid() or not await _image_is_here(container, form):
        return await run_page(request, form, status=400, **more)
    body = form.body()
    name = form.cleaned_data["name"] or container.name
    changes = await _changes(container, inspect, base, body, name)
    if request.POST.get("sure") != "yes":
        return await _difference_page(request, form, changes, **more)
    start = alive or request.POST.get("start") == "on"
    return await _begin(request, container, body, name, changes, start)


async def _image_is_here(container: Container, form: RunForm) -> bool:
    """False, and said in the form, when the image would have to be pulled first."""
    try:
        await client_of(container.engine.alias).image_inspect(form.cleaned_data["image"])
    except NotFound as error:
        form.add_error("image", ValidationError(explain(error), code=MISSING))
    except EngineError as error:
        form.add_error(None, explain(error))
    return not form.errors


async def _changes(
    container: Container, inspect: Body, before: Body, after: Body, name: str
) -> list[dict[str, Any]]:
    words = await sync_to_async(labels)()
    found = differences(before, after, words)
    if name != container.name:
        found.insert(
            0, {"field": "name", "label": words["name"], "removed": [container.name], "added": [name]}
        )
    old_image = str(inspect.get("Image") or "")
    moved = await intents.image_moved(container, after["Image"], old_image)
    if moved:
        label = _("Image ID")
        found.append({"field": "image_id", "label": label, "removed": [old_image], "added": [moved]})
    return found


def _sharers(container: Container) -> list[str]:
    """Names of containers that use its namespaces or volumes, and hold on to the old one's. From a thread."""
    modes = [f"container:{container.container_id}", f"container:{container.name}"]
    found = Q()
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        found |= Q(**{f"inspect__HostConfig__{key}__in": modes})
    for name in (container.container_id, container.name):
        found |= Q(inspect__HostConfig__VolumesFrom__icontains=f'"{name}')
    rows = Container.objects.filter(found, removed_at=None, engine=container.engine)
    return list(rows.exclude(pk=container.pk).order_by("name").values_list("name", flat=True)[:SHARERS_MAX])


async def _difference_page(
    request: HttpRequest, form: RunForm, changes: list[dict[str, Any]], **more: Any
) -> HttpResponse:
    sent = [
        (name, value)
        for name in request.POST
        if name not in ("csrfmiddlewaretoken", "mark", "sure", "id", "start", "back")
        for value in request.POST.getlist(name)
    ]
    context = {
        "changes": changes,
        "carried": carried(form.base),
        "sent": sent,
        "recreation_id": uuid.uuid4(),
        "sharers": await sync_to_async(_sharers)(more["container"]),
        "project": more["container"].labels.get(COMPOSE_PROJECT, ""),
        **more,
    }
    return await page(request, "containers/difference.html", context)


async def _begin(
    request: HttpRequest,
    container: Container,
    body: Body,
    name: str,
    changes: list[dict[str, Any]],
    start: bool,
) -> HttpResponse:
    try:
        id = uuid.UUID(request.POST.get("id", ""))
    except ValueError:
        id = uuid.uuid4()
    create, networks = creation(body)
    try:
        row = await recreations.begin(
            await actor_of(request),
            container.engine,
            id=id,
            old_id=container.container_id,
            name=name,
            old_name=container.name,
            kept_name=kept_name(container.name, container.container_id),
            body=create,
            networks=networks,
            changes=changes,
            start=start,
        )
    except (Conflict, TooMany) as error:
        await sync_to_async(messages.error)(request, str(error))
        return redirect(container)
    return redirect("recreation", row.pk)


@requires("operate")
@require_GET
async def recreation(request: HttpRequest, id: uuid.UUID) -> HttpResponse:
    """How far a recreation is; JSON for the script that follows it."""
    row = await Recreation.objects.filter(pk=id).afirst()
    if row is None:
        raise Http404
    shown = row.new_id if row.outcome == "done" else row.old_id
    user = await request.auser()
    if row.user_id != user.pk and "operate" not in await sync_to_async(viewer_rights)("container", shown):
        raise Http404  # not there for them: neither is this
    reached = STEPS.index(row.step)
    steps = [
        {"name": name, "words": str(words), "done": STEPS.index(name) <= reached}
        for name, words in recreations.STEP_WORDS.items()
        if row.start or name not in ("stopped", "started", "up")
    ]
    if wants_json(request):
        return JsonResponse(
            {
                "ok": True,
                "steps": {step["name"]: step["done"] for step in steps},
                "outcome": row.outcome,
                "failure": row.failure,
                "warning": row.warning,
            }
        )
    return await page(request, "containers/recreation.html", {"row": row, "steps": steps, "shown": shown})

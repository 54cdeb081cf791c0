"""The Run form: shown, filled from a container that is there, posted: create and start."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from containers_app.detail import find
from containers_app.forms import RunForm
from containers_app.projection import ContainerProjection
from containers_app.runspec import initial_of
from images_app.models import Image, ImageTag
from runtime.api.errors import Conflict, EngineError, Forbidden, InvalidArgument, NotFound, NotModified
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.pages import page
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires

MISSING = "missing"  # the error's code when the image is not here
IMAGE_NAMES_MAX = 1000  # offered as completion


@requires("operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_run(request: HttpRequest) -> HttpResponse:
    """The Run form; posted, it makes the container, starts it and goes to its page."""
    if request.method != "POST":
        like = request.GET.get("from", "")
        initial = await _like(like) if like else {"image": request.GET.get("image", ""), "restart": "no"}
        return await _run_page(request, RunForm(initial=initial))
    form = RunForm(request.POST)
    if not form.is_valid():
        return await _run_page(request, form, status=400)
    made = await carried_out(_make(await actor_of(request), form), name="run")
    if made is None:
        return await _run_page(request, form, status=400)
    container_id, warnings, error = made
    for warning in warnings:
        await sync_to_async(messages.warning)(request, warning)
    if error:
        await sync_to_async(messages.error)(
            request, _("The container was made but did not start. %(why)s") % {"why": error}
        )
    return redirect("container-detail", container_id)


async def _like(container_id: str) -> dict[str, Any]:
    """The form's fields of a container that is there, for one more like it."""
    container = await find(container_id, removed=True)
    image = await Image.objects.filter(engine=container.engine, image_id=container.image_id).afirst()
    return initial_of(container.inspect, image.inspect if image else {})


async def _run_page(request: HttpRequest, form: RunForm, *, status: int = 200) -> HttpResponse:
    def names() -> list[str]:
        return list(ImageTag.objects.order_by("name").values_list("name", flat=True)[:IMAGE_NAMES_MAX])

    context: dict[str, Any] = {"form": form, "images": await sync_to_async(names)()}
    if form.is_bound and form.has_error("image", MISSING):
        context["missing_image"] = form.data.get("image", "")
    return await page(request, "containers/run.html", context, status=status)


async def _make(actor: Actor, form: RunForm) -> tuple[str, list[str], str] | None:
    """Create and start: (id, warnings, why it did not start); None when not made: the form says why."""
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    body, name = form.body(), form.cleaned_data["name"]
    try:
        async with audited(
            actor, "container.create", engine=engine.alias, kind="container", name=name, detail=body["Image"]
        ) as entry:
            made = await client.container_create(body, name=name or None)
            id = entry.object_id = str(made["Id"])
            if not name:  # the engine chose one
                name = str((await client.container_inspect(id))["Name"]).removeprefix("/")
                entry.object_name = name
    except EngineError as error:
        field = _field_of(error)
        code = MISSING if field == "image" and isinstance(error, NotFound) else "refused"
        form.add_error(field, ValidationError(explain(error), code=code))
        return None
    why = ""
    try:
        async with audited(actor, "container.start", engine=engine.alias, kind="container", id=id, name=name):
            await client.container_start(id)
    except NotModified:
        pass
    except EngineError as error:
        why = explain(error)
    await ContainerProjection().look(engine, client, [id])
    return id, [str(one) for one in made.get("Warnings") or ()], why


def _field_of(error: EngineError) -> str | None:
    """The field of the Run form an engine's refusal is about, None when it does not say."""
    words = error.message.lower()
    if isinstance(error, NotFound):
        return "network" if "network" in words else "image"
    if isinstance(error, Conflict) and "name" in words:
        return "name"
    if isinstance(error, InvalidArgument | Forbidden):
        for sign, field in (
            ("invalid container name", "name"),
            ("invalid reference", "image"),
            ("memory", "memory"),
            ("cpu", "cpus"),
            ("port", "ports"),
            ("volume", "volumes"),
            ("mount", "volumes"),
            ("bind", "volumes"),
            ("user", "user"),
        ):
            if sign in words:
                return field
    return None

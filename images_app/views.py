"""Pages of images: the list, one image, pulls, tags, removal. Guard, ask, answer."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from images_app import listing
from images_app.finding import find, look_again
from images_app.layers import layers_of
from images_app.projection import KIND
from images_app.pulls import PLATFORM, clean_reference, start_pull
from images_app.verbs import remove, start_prune, tag
from runtime.api.errors import EngineError
from webdock.engines.audit import actor_of
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine, last_revision
from webdock.engines.pages import answer, page
from webdock.jobs.models import Job
from webdock.jobs.running import TooMany
from webdock.people import belongings
from webdock.people.rights import requires

USED_BY_MAX = 200
TRUE_WORDS = ("1", "true", "on", "yes")


@requires("view")
@require_GET
async def image_list(request: HttpRequest) -> HttpResponse:
    def read() -> dict[str, Any]:
        cursor = last_revision(KIND)  # before the rows: what changes in between is sent again, not lost
        return {**listing.context_of(request.GET), "cursor": cursor}

    context = await sync_to_async(read)()
    return await page(request, "images/list.html", context)


@requires("view")
@require_GET
async def image_detail(request: HttpRequest, image_id: str) -> HttpResponse:
    """What it is, how it was made, who uses it."""
    image = await find(image_id)
    try:
        history = await client_of(image.engine.alias).image_history(image.image_id)
    except EngineError:
        history = []  # the page shows what was seen; how it was made is asked again next time
    everybodys = listing.containers().filter(image_id=image.image_id).defer("inspect").order_by("name")
    used = await sync_to_async(belongings.seen)("container", everybodys, "container_id")
    context = {
        "image": image,
        "used_count": await everybodys.acount(),
        "layers": await layers_of(image),
        "history": history,
        "inspect": image.inspect,
        "used_by": await sync_to_async(list)(used[:USED_BY_MAX]),
    }
    return await page(request, "images/detail.html", context)


@requires("pull")
@require_POST
async def image_pull(request: HttpRequest) -> JsonResponse:
    """Begin a pull, or join the one that runs."""
    reference = clean_reference(request.POST.get("reference", ""))
    if reference is None:
        message = _("reference: expected an image such as redis:8 or registry.example.org/team/app:1")
        return JsonResponse({"ok": False, "message": message}, status=400)
    username, password = request.POST.get("username", "").strip(), request.POST.get("password", "")
    if bool(username) != bool(password):
        message = _("username and password: fill in both, or neither")
        return JsonResponse({"ok": False, "message": message}, status=400)
    auth = {"username": username, "password": password} if username else None
    platform = request.POST.get("platform", "").strip()
    if platform and PLATFORM.fullmatch(platform) is None:
        message = _("platform: expected one such as linux/arm64")
        return JsonResponse({"ok": False, "message": message}, status=400)
    engine = await sync_to_async(current_engine)()
    try:
        job = start_pull(await actor_of(request), engine.alias, reference, auth, platform or None)
    except TooMany as error:
        return JsonResponse({"ok": False, "message": str(error)}, status=429)
    message = _("Pulling %(reference)s.") % {"reference": reference}
    return JsonResponse({"ok": True, "pull": job.id, "message": message}, status=202)


@requires("prune", "pull")
@require_POST
async def image_prune(request: HttpRequest) -> HttpResponse:
    """Remove images without a tag; with ``all`` every image no container uses."""
    everything = request.POST.get("all", "").lower() in TRUE_WORDS
    engine = await sync_to_async(current_engine)()
    try:
        job = start_prune(await actor_of(request), engine.alias, everything=everything)
    except TooMany as error:
        return await answer(request, False, str(error), "image-list", status=429)
    await job.over()
    return await answer(request, job.state == Job.State.DONE, job.message, "image-list", status=409)


@requires("pull")
@require_POST
async def image_remove(request: HttpRequest, image_id: str) -> HttpResponse:
    """Remove the image, or with ``tag`` one of its names."""
    image = await find(image_id)
    name = request.POST.get("tag", "").strip()
    if name and name not in image.tags:
        message = _("tag: %(name)s is not a name of this image") % {"name": name}
        return await answer(request, False, message, image, status=404)
    force = request.POST.get("force", "").lower() in TRUE_WORDS
    outcome = await remove(await actor_of(request), image, tag=name or None, force=force)
    await look_again(image)
    stays = not outcome.ok or (bool(name) and len(image.tags) > 1)
    return await answer(
        request, outcome.ok, outcome.message, image if stays else "image-list", status=outcome.status
    )


@requires("pull")
@require_POST
async def image_tag(request: HttpRequest, image_id: str) -> HttpResponse:
    """Give the image one more name."""
    image = await find(image_id)
    name = clean_reference(request.POST.get("name", ""))
    if name is None or "@" in name:
        message = _("name: expected a name such as registry.example.org/team/app:1")
        return await answer(request, False, message, image, status=400)
    outcome = await tag(await actor_of(request), image, name)
    await look_again(image)
    return await answer(request, outcome.ok, outcome.message, image, status=outcome.status)

"""What moves whole images: push to a registry, save as a download. Guard, ask, answer."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from images_app.finding import find
from images_app.pushes import saved, start_push
from runtime.api.errors import EngineError
from webdock.engines.audit import actor_of
from webdock.engines.pages import answer
from webdock.engines.wording import explain
from webdock.jobs.running import TooMany
from webdock.people.rights import requires


@requires("push")
@require_POST
async def image_push(request: HttpRequest, image_id: str) -> HttpResponse:
    """Send one of its names to its registry; a job."""
    image = await find(image_id)
    name = request.POST.get("name", "")
    if name not in image.tags:
        message = _("name: choose one of the image's names")
        return JsonResponse({"ok": False, "message": message}, status=400)
    username, password = request.POST.get("username", "").strip(), request.POST.get("password", "")
    if bool(username) != bool(password):
        message = _("username and password: fill in both, or neither")
        return JsonResponse({"ok": False, "message": message}, status=400)
    auth = {"username": username, "password": password} if username else None
    try:
        job = start_push(await actor_of(request), image, name, auth)
    except TooMany as error:
        return JsonResponse({"ok": False, "message": str(error)}, status=429)
    message = _("Pushing %(name)s.") % {"name": name}
    return JsonResponse({"ok": True, "job": job.id, "message": message}, status=202)


@requires("pull")
@require_GET
async def image_save(request: HttpRequest, image_id: str) -> HttpResponseBase:
    """The image with all its names as one archive, streamed; leaves a job and an audit row."""
    image = await find(image_id)
    archive = saved(await actor_of(request), image, image.tags)
    try:
        await anext(archive)  # the engine has answered: what fails now is a page, not half a file
    except TooMany as error:
        return await answer(request, False, str(error), image, status=429)
    except EngineError as error:
        return await answer(request, False, explain(error), image, status=error.status)
    name = get_valid_filename(image.name.replace("/", "-").replace(":", "-") or image.short_id)
    return StreamingHttpResponse(
        archive,
        headers={
            "Content-Type": "application/x-tar",
            "Content-Disposition": content_disposition_header(True, f"{name}.tar"),
        },
    )

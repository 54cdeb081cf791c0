"""What each layer of an image does: command and sizes for the page, its changes by directory for the tree."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from images_app.finding import find
from images_app.models import Image
from runtime.api.errors import EngineError, NotFound, NotSupported
from webdock.engines.clients import client as client_of
from webdock.engines.wording import explain
from webdock.people.rights import requires

PAGE_CHANGES = 500
PATH_MAX_CHARS = 4096  # Kernel: PATH_MAX


async def layers_of(image: Image) -> dict[str, Any]:
    """{"rows": [...], "error": ...}, lowest layer first; empty for engines that do not tell."""
    try:
        found = await client_of(image.engine.alias).image_layers(image.image_id)
    except (NotFound, NotSupported):
        return {"rows": [], "error": ""}
    except EngineError as error:
        return {"rows": [], "error": explain(error)}
    rows = [
        {
            "number": number,
            "command": layer["CreatedBy"] or layer["Comment"],
            "unpacked": layer["Unpacked"],
            "size": layer["Size"],
            "digest": layer["Digest"] or layer["DiffID"],
            "others": layer["Images"] - 1,
        }
        for number, layer in enumerate(found["Layers"])
    ]
    return {"rows": rows, "error": "", "shared": found["SharedSize"], "unique": found["UniqueSize"]}


@requires("view")
@require_GET
async def image_layer_changes(request: HttpRequest, image_id: str, layer: int) -> JsonResponse:
    """One directory of what a layer adds, changes and removes: {"changes": [...], "next": "..."}."""
    image = await find(image_id)
    path, after = request.GET.get("path", "/"), request.GET.get("after", "")
    if len(path) > PATH_MAX_CHARS or len(after) > PATH_MAX_CHARS or "\0" in path + after:
        return JsonResponse({"ok": False, "message": _("path: too long, or no path")}, status=400)
    try:
        found = await client_of(image.engine.alias).image_layer_changes(
            image.image_id, str(layer), path=path, depth=1, after=after, limit=PAGE_CHANGES
        )
    except EngineError as error:
        return JsonResponse({"ok": False, "message": explain(error)}, status=max(error.status, 400))
    return JsonResponse({"ok": True, "changes": found["Changes"], "next": found["Next"]})

"""The row a path names."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import Http404

from images_app.models import ID_PREFIX, Image
from images_app.projection import ImageProjection
from runtime.api.errors import EngineError
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine


async def find(hex_id: str) -> Image:
    """The row of an image; one the sync has not reported yet is looked at first.

    Raises: Http404.
    """
    rows = Image.objects.select_related("engine").prefetch_related("tag_rows")
    rows = rows.filter(image_id=ID_PREFIX + hex_id, removed_at=None)
    image = await rows.afirst()
    if image is None:
        engine = await sync_to_async(current_engine)()
        try:
            await ImageProjection().look(engine, client_of(engine.alias), [ID_PREFIX + hex_id])
        except EngineError:
            raise Http404 from None
        image = await rows.afirst()
    if image is None:
        raise Http404
    return image


async def look_again(image: Image) -> None:
    """Have the next page show what was just changed; the event would come a moment later."""
    try:
        engine = image.engine
        await ImageProjection().look(engine, client_of(engine.alias), [image.image_id])
    except EngineError:
        return  # the sync looks again when the engine is back

"""The intent of a container that is there, found with the help of its engine."""

from __future__ import annotations

import hashlib
import json

from containers_app.intent import Body, intent_of
from containers_app.models import Container
from containers_app.succession import with_volumes, without_addresses
from runtime.api.errors import NotFound
from webdock.engines.clients import client as client_of


async def to_duplicate(container: Container) -> Body:
    """What would make one more like it; also of one that is gone, as it was last known."""
    try:
        return without_addresses((await _look(container))[1])
    except NotFound:
        return without_addresses(await _intent(container, container.inspect))


async def to_recreate(container: Container) -> tuple[Body, Body]:
    """(its inspect document as of now, what would make it again with the same volumes).

    Raises: EngineError.
    """
    inspect, intent = await _look(container)
    return inspect, with_volumes(intent, inspect)


async def _look(container: Container) -> tuple[Body, Body]:
    inspect = await client_of(container.engine.alias).container_inspect(container.container_id)
    return inspect, await _intent(container, inspect)


async def _intent(container: Container, inspect: Body) -> Body:
    client = client_of(container.engine.alias)
    try:
        image: Body = await client.image_inspect(str(inspect.get("Image") or "-"))
    except NotFound:
        image = {}  # nothing is known to be its default: everything counts as asked
    return intent_of(inspect, image, await client.info())


async def image_moved(container: Container, reference: str, image_id: str) -> str:
    """The id this reference has now, "" when it is still this image or is not here."""
    try:
        found = await client_of(container.engine.alias).image_inspect(reference)
    except NotFound:
        return ""
    return "" if found.get("Id") == image_id else str(found.get("Id") or "")


def mark_of(body: Body) -> str:
    """A short mark of an intent: another one when anything in it changed."""
    text = json.dumps(body, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

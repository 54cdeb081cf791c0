"""A file of a container beside what its image has in the same place.

Reads small texts only; what is none is said, not compared.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from containers_app.small_texts import SmallText, read_text, small_text
from containers_app.textdiff import Comparison, compare
from runtime.api.client import EngineClient
from runtime.api.errors import InvalidArgument, NotFound, NotSupported

CHANGED, ADDED, DELETED = 0, 1, 2  # Docker's numbers


@dataclass(frozen=True)
class Compared:
    """What is known of both."""

    path: str
    kind: int
    comparison: Comparison | None = None
    why: str = ""  # there is none
    facts: list[tuple[str, str, str]] = field(default_factory=list)  # (what, in the image, now) that differ


async def compared(client: EngineClient, id: str, path: str) -> Compared:
    """Raises: NotFound when it is as in the image, NotSupported, what else the engine answers."""
    kinds = {str(one.get("Path")): int(one.get("Kind") or 0) for one in await client.container_changes(id)}
    if path not in kinds:
        raise NotFound(
            _("%(path)s is as its image has it, or is not in the container itself") % {"path": path}
        )
    kind = kinds[path]
    before = after = None
    try:
        if kind != ADDED:
            before = await _in_image(client, id, path)
        if kind != DELETED:
            after = await read_text(client, id, path)
    except InvalidArgument as error:
        return Compared(path, kind, why=error.message)
    old, new = before.text if before else "", after.text if after else ""
    return Compared(path, kind, await asyncio.to_thread(compare, old, new), facts=_facts(before, after))


async def _in_image(client: EngineClient, id: str, path: str) -> SmallText:
    try:
        return await small_text(client.container_image_archive(id, path), path)
    except NotFound:  # it was changed, so it is there: the engine has no such endpoint
        raise NotSupported(_("this engine does not give files as the image has them")) from None


def _facts(before: SmallText | None, after: SmallText | None) -> list[tuple[str, str, str]]:
    if before is None or after is None:
        return []
    found = [
        (_("Mode"), f"{before.mode:04o}", f"{after.mode:04o}"),
        (_("Owner"), f"{before.uid}:{before.gid}", f"{after.uid}:{after.gid}"),
    ]
    return [one for one in found if one[1] != one[2]]

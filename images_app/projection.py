"""Engine JSON -> Image and ImageTag rows: upsert, tombstone, next revision. Nobody else writes them.

The same news twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from images_app.models import ID_PREFIX, Image, ImageTag
from runtime.api.client import EngineClient
from runtime.api.errors import NotFound, PeerProtocolError
from webdock.engines.documents import storable
from webdock.engines.models import Engine, next_revision
from webdock.engines.moments import moment
from webdock.engines.threads import in_thread

KIND = "image"
INSPECTS_AT_ONCE = 8
APPLY_BATCH = 64
TOMBSTONE_LIFETIME = timedelta(hours=1)
NO_TAG = "<none>:<none>"

Seen = dict[str, dict[str, Any] | None]  # id -> inspect document, None when it is gone


class ImageProjection:
    """What the sync calls for images."""

    kind = KIND
    types = frozenset({"image", "container"})
    actions = frozenset({"pull", "tag", "untag", "delete", "import", "load", "commit"})

    def ids_in(self, event: dict[str, Any]) -> Iterable[str]:
        """The image an event is about: an id, or for a pull the reference. A commit names its image."""
        actor = event.get("Actor") or {}
        if event.get("Type") == "image":
            return [id] if (id := actor.get("ID")) else []
        if event.get("Type") == "container" and event.get("Action") == "commit":
            return [id] if (id := (actor.get("Attributes") or {}).get("imageID")) else []
        return []

    async def relist(self, engine: Engine, client: EngineClient, *, full: bool) -> bool:
        summaries = {one["Id"]: one for one in await client.image_list(shared_size=True)}
        rows = await _known(engine)
        wanted = [id for id, one in summaries.items() if full or id not in rows or _tags(one) != rows[id]]
        changed = await self.look(engine, client, wanted)
        changed |= await share(engine, _shared(summaries.values()))
        gone = [id for id in rows if id not in summaries]
        if gone and await apply(engine, dict.fromkeys(gone)):
            changed = True
        await _bury(engine)
        return changed

    async def look(self, engine: Engine, client: EngineClient, ids: list[str]) -> bool:
        limit = asyncio.Semaphore(INSPECTS_AT_ONCE)
        changed = False

        async def inspect(ref: str) -> tuple[str, dict[str, Any] | None]:
            async with limit:
                try:
                    body = await client.image_inspect(ref)
                except NotFound:
                    return ref, None
                if not str(body.get("Id", "")).startswith(ID_PREFIX):
                    raise PeerProtocolError(f"asked for image {ref}, got one without an id")
                return body["Id"], storable(body)

        for start in range(0, len(ids), APPLY_BATCH):
            seen = dict(await asyncio.gather(*(inspect(id) for id in ids[start : start + APPLY_BATCH])))
            changed |= await apply(engine, seen)
        if changed:  # what images share changes with every one that comes or goes
            await share(engine, _shared(await client.image_list(shared_size=True)))
        return changed


def _shared(summaries: Iterable[dict[str, Any]]) -> dict[str, int]:
    return {one["Id"]: int(one.get("SharedSize", -1)) for one in summaries}


@in_thread
def share(engine: Engine, shared: dict[str, int]) -> bool:
    """Write how much of each image others have as well; True when a list shows it differently."""
    changed = False
    with transaction.atomic():
        for row in Image.objects.filter(engine=engine, image_id__in=shared, removed_at=None).only(
            "image_id", "shared_bytes"
        ):
            if row.shared_bytes != shared[row.image_id]:
                row.shared_bytes, row.revision = shared[row.image_id], next_revision(KIND)
                row.save(update_fields=["shared_bytes", "revision"])
                changed = True
    return changed


def image_fields(body: dict[str, Any]) -> dict[str, Any]:
    """The observed fields of one image from GET /images/{name}/json; pure."""
    parts = (body.get("Os"), body.get("Architecture"), body.get("Variant"))
    return {
        "size_bytes": int(body.get("Size") or 0),
        "created_at": moment(body.get("Created")),
        "platform": "/".join(str(part) for part in parts if part)[:64],
        "labels": dict((body.get("Config") or {}).get("Labels") or {}),
        "digests": sorted(str(one) for one in body.get("RepoDigests") or ()),
    }


def _tags(body: dict[str, Any]) -> set[str]:
    return {str(tag) for tag in body.get("RepoTags") or () if tag != NO_TAG}


@in_thread
def apply(engine: Engine, seen: Seen) -> bool:
    """Write what was seen; True when anything a list shows has changed."""
    return apply_now(engine, seen)


def apply_now(engine: Engine, seen: Seen) -> bool:
    """``apply`` for callers that are in a thread already."""
    changed = False
    with transaction.atomic():
        rows = {row.image_id: row for row in Image.objects.filter(engine=engine, image_id__in=list(seen))}
        for id, body in seen.items():
            row = rows.get(id)
            if body is None:
                if row is not None and row.removed_at is None:
                    row.removed_at = timezone.now()
                    row.revision = next_revision(KIND)
                    row.save(update_fields=["removed_at", "revision"])
                    row.tag_rows.all().delete()
                    changed = True
                continue
            changed |= _upsert(engine, id, row, body)
    return changed


def _upsert(engine: Engine, id: str, row: Image | None, body: dict[str, Any]) -> bool:
    fields = image_fields(body)
    if row is None:
        row = Image.objects.create(
            engine=engine, image_id=id, inspect=body, revision=next_revision(KIND), **fields
        )
        _retag(engine, row, _tags(body))
        return True
    if row.removed_at is not None:
        fields["removed_at"] = None
    differing = [name for name, value in fields.items() if getattr(row, name) != value]
    for name in differing:
        setattr(row, name, fields[name])
    retagged = _retag(engine, row, _tags(body))
    saved = list(differing)
    if differing or retagged:
        row.revision = next_revision(KIND)
        saved.append("revision")
    if row.inspect != body:
        row.inspect = body
        saved.append("inspect")
    if saved:
        row.save(update_fields=saved)
    return bool(differing or retagged)


def _retag(engine: Engine, row: Image, names: set[str]) -> bool:
    """Point these names, and no others, to the image; an image that loses one gets a new revision too."""
    held = set(row.tag_rows.values_list("name", flat=True))
    if held == names:
        return False
    row.tag_rows.filter(name__in=held - names).delete()
    for name in sorted(names - held):
        before = ImageTag.objects.filter(engine=engine, name=name).first()
        if before is None:
            ImageTag.objects.create(engine=engine, name=name, image=row)
            continue
        Image.objects.filter(pk=before.image_id).update(revision=next_revision(KIND))
        before.image = row
        before.save(update_fields=["image"])
    return True


@in_thread
def _known(engine: Engine) -> dict[str, set[str]]:
    """Image id -> its tags."""
    known: dict[str, set[str]] = {
        id: set()
        for id in Image.objects.filter(engine=engine, removed_at=None).values_list("image_id", flat=True)
    }
    for id, name in ImageTag.objects.filter(engine=engine).values_list("image__image_id", "name"):
        known.setdefault(id, set()).add(name)
    return known


@in_thread
def _bury(engine: Engine) -> None:
    """Delete tombstones every page has heard of."""
    Image.objects.filter(engine=engine, removed_at__lt=timezone.now() - TOMBSTONE_LIFETIME).delete()

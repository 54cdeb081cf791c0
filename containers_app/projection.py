"""Engine JSON -> Container rows: upsert, tombstone, next revision. Nobody else writes observed fields.

The same news twice changes nothing: a row is written, and gets a new revision, only when a field differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from containers_app.models import Container
from containers_app.observed import container_fields, summary_differs
from runtime.api.client import EngineClient
from runtime.api.errors import NotFound, PeerProtocolError
from webdock.engines.documents import storable
from webdock.engines.models import Engine, next_revision
from webdock.engines.threads import in_thread
from webdock.people.belongings import CLAIM_LABEL, settle

KIND = "container"
INSPECTS_AT_ONCE = 8
APPLY_BATCH = 64  # rows per transaction: a long list must not hold the write lock for long
TOMBSTONE_LIFETIME = timedelta(hours=1)  # longer than any page goes without asking

Seen = dict[str, dict[str, Any] | None]  # id -> inspect document, None when it is gone


class ContainerProjection:
    """What the sync calls for containers."""

    kind = KIND
    types = frozenset({"container", "network"})
    actions = frozenset(
        {
            "create", "start", "restart", "die", "stop", "oom", "pause", "unpause", "destroy", "rename",
            "update", "health_status", "connect", "disconnect",
        }
    )  # fmt: skip

    def ids_in(self, event: dict[str, Any]) -> Iterable[str]:
        """The container an event is about; a network's events name it in an attribute."""
        actor = event.get("Actor") or {}
        if event.get("Type") == "container":
            return [id] if (id := actor.get("ID")) else []
        if event.get("Type") == "network":
            return [id] if (id := (actor.get("Attributes") or {}).get("container")) else []
        return []

    async def relist(self, engine: Engine, client: EngineClient, *, full: bool) -> bool:
        summaries = {one["Id"]: one for one in await client.container_list(all=True)}
        rows = await _known(engine)
        wanted = [
            id
            for id, summary in summaries.items()
            if full or id not in rows or summary_differs(summary, rows[id])
        ]
        gone = [id for id in rows if id not in summaries]
        changed = await self.look(engine, client, wanted)
        if gone and await apply(engine, dict.fromkeys(gone)):
            changed = True
        await _bury(engine)
        return changed

    async def look(self, engine: Engine, client: EngineClient, ids: list[str]) -> bool:
        limit = asyncio.Semaphore(INSPECTS_AT_ONCE)
        changed = False

        async def inspect(id: str) -> tuple[str, dict[str, Any] | None]:
            async with limit:
                try:
                    body = await client.container_inspect(id)
                except NotFound:
                    return id, None
                if body.get("Id") != id:
                    raise PeerProtocolError(f"asked for container {id[:12]}, got {str(body.get('Id'))[:12]}")
                return id, storable(body)

        for start in range(0, len(ids), APPLY_BATCH):
            seen = dict(await asyncio.gather(*(inspect(id) for id in ids[start : start + APPLY_BATCH])))
            changed |= await apply(engine, seen)
        return changed


@in_thread
def apply(engine: Engine, seen: Seen) -> bool:
    """Write what was seen; True when anything a list shows has changed."""
    return apply_now(engine, seen)


def apply_now(engine: Engine, seen: Seen) -> bool:
    """``apply`` for callers that are in a thread already."""
    with transaction.atomic():
        rows = {
            row.container_id: row
            for row in Container.everything.filter(engine=engine, container_id__in=list(seen))
        }
        new: list[Container] = []
        changed: list[tuple[Container, list[str]]] = []
        for id, body in seen.items():
            row = rows.get(id)
            if row is None:
                if body is not None:
                    new.append(
                        Container(engine=engine, container_id=id, inspect=body, **container_fields(body))
                    )
            elif body is None:
                if row.removed_at is None:
                    row.removed_at = timezone.now()
                    changed.append((row, ["removed_at"]))
            elif fields := _differing(row, body):
                changed.append((row, fields))
        news = [*new, *(row for row, fields in changed if fields != ["inspect"])]
        if news:
            first = next_revision(KIND, len(news)) - len(news) + 1
            for revision, row in enumerate(news, first):
                row.revision = revision
        Container.everything.bulk_create(new)
        for row in new:
            if label := row.labels.get(CLAIM_LABEL):
                settle(str(label), row.container_id)
        for row, fields in changed:
            row.save(update_fields=[*fields, "revision"])
    return bool(news)


def _differing(row: Container, body: dict[str, Any]) -> list[str]:
    """Bring the row up to date; the names of the fields that were not."""
    fields: dict[str, Any] = {**container_fields(body), "removed_at": None, "inspect": body}
    differing = [name for name, value in fields.items() if getattr(row, name) != value]
    for name in differing:
        setattr(row, name, fields[name])
    return differing


@in_thread
def _known(engine: Engine) -> dict[str, dict[str, Any]]:
    fields = ("container_id", "name", "state", "image", "health")
    rows = Container.everything.filter(engine=engine, removed_at=None).values(*fields)
    return {row["container_id"]: row for row in rows}


@in_thread
def _bury(engine: Engine) -> None:
    """Delete tombstones every page has heard of."""
    Container.everything.filter(engine=engine, removed_at__lt=timezone.now() - TOMBSTONE_LIFETIME).delete()

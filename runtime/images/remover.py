"""The verbs that remove: one image or name, and everything unused.

Decisions are ``remove.py``'s, content is ``collect.py``'s; this tells the events and the answer.

Spec: Docker API 1.47, ImageDelete and ImagePrune.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from runtime.events import EventHub
from runtime.images import filters
from runtime.images.collect import Collector
from runtime.images.filters import Filters
from runtime.images.reference import Reference
from runtime.images.remove import InUse, Removal
from runtime.images.remove import plan as plan_removal
from runtime.images.store import Change, ImageRecord, ImageStore
from runtime.images.times import moment

Rows = list[dict[str, Any]]
Publish = Callable[[str, ImageRecord, str], None]  # (action, image, name)


class Remover:
    """Removes images."""

    def __init__(
        self, store: ImageStore, collector: Collector, in_use: InUse, events: EventHub, publish: Publish
    ) -> None:
        self._store = store
        self._collector = collector
        self._in_use = in_use
        self._events = events
        self._publish = publish

    async def remove(self, ref: str, *, force: bool = False, prune: bool = True) -> Rows:
        """Take a name away, and the image with its last one: ``[{"Untagged": …}, {"Deleted": …}]``.

        Raises: NotFound, InvalidArgument, Conflict in Docker's words.
        """
        self._store.resolve(ref)  # a wrong reference is told before waiting for others
        removals: list[Removal] = []

        def plan() -> Change:
            image, name = self._store.resolve(ref)
            removal = plan_removal(self._store, self._in_use, image, name, force=force, prune=prune)
            removals.append(removal)
            return removal.change

        await self._store.change(plan)
        removal = removals[0]
        layers: Sequence[str] = ()
        if removal.deleted:
            layers, _ = await self._collector.collect()
        return self._tell(removal, layers)

    def _tell(self, removal: Removal, layers: Sequence[str]) -> Rows:
        rows: Rows = []
        for image, name in removal.untagged:
            rows.append({"Untagged": name.familiar})
            self._publish("untag", image, image.id)
        told: set[str] = set()
        for image in removal.deleted:
            rows.append({"Deleted": image.id})
            self._publish("delete", image, image.id)
            for chain_id in reversed(image.chain):
                if chain_id in layers and chain_id not in told:
                    told.add(chain_id)
                    rows.append({"Deleted": chain_id})
        return rows

    async def prune(self, asked: Filters | None = None) -> dict[str, Any]:
        """Remove unused images: the unnamed ones, or all with ``dangling=false``.

        Also gives up what interrupted pulls left. Raises: InvalidArgument.
        """
        wanted = asked or {}
        filters.check(wanted, filters.PRUNE_FILTERS)
        dangling_only = filters.flag(wanted, "dangling") is not False
        limits = [moment(value, time.time()) for value in wanted.get("until", ())]
        removals: list[Removal] = []

        def plan() -> Change:
            doomed = [
                image
                for image in self._store
                if not (dangling_only and image.names)
                and not self._in_use(image.id)
                and not any(filters.created_s(image) >= limit for limit in limits)
                and filters.has_labels(image, wanted.get("label", ()))
                and filters.lacks_labels(image, wanted.get("label!", ()))
            ]
            removals.extend(_prunable(self._store, doomed))
            return Change(removed=[image.id for removal in removals for image in removal.deleted])

        await self._store.change(plan)
        layers, freed = await self._collector.collect(leases=True)
        rows = [row for removal in removals for row in self._tell(removal, layers)]
        self._events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return {"ImagesDeleted": rows or None, "SpaceReclaimed": freed}


def _prunable(store: ImageStore, doomed: list[ImageRecord]) -> list[Removal]:
    """list[Removal] of these images, without those on which one that stays was made."""
    going = {image.id for image in doomed}
    changed = True
    while changed:
        stuck = {id for id in going if any(child.id not in going for child in store.children(id))}
        going -= stuck
        changed = bool(stuck)
    removals = []
    for image in doomed:
        if image.id in going:
            names: list[Reference] = [*image.names, *image.sources]
            removals.append(Removal([(image, name) for name in names], [image]))
    return removals

"""Garbage collection: what no image, lease or container needs goes, one thing at a time.

Can be killed at any moment: images left the index before their content is touched, and the next run goes
on where this one stopped. Never decides which images go.
"""

from __future__ import annotations

import asyncio
import time

from runtime.api.errors import Conflict, NotFound
from runtime.images.content import ContentStore
from runtime.images.leases import Leases
from runtime.images.reference import Digest
from runtime.images.store import ImageStore
from runtime.images.threads import to_the_end
from runtime.snapshots.base import Snapshotter


class Collector:
    """Sweeps blobs, partial blobs and layers."""

    def __init__(
        self, content: ContentStore, snapshots: Snapshotter, images: ImageStore, leases: Leases
    ) -> None:
        self._content = content
        self._snapshots = snapshots
        self._images = images
        self._leases = leases
        self.lock = asyncio.Lock()  # held while sweeping; who takes a lease holds it, too

    def needed(self) -> tuple[set[Digest], set[str]]:
        """(blobs, layers) that images and leases need."""
        blobs, layers = self._leases.held()
        for image in self._images:
            blobs |= image.all_blobs
            layers.update(image.chain)
        return blobs, layers

    async def collect(self, *, leases: bool = False) -> tuple[list[str], int]:
        """Sweep; ``leases`` also gives up what interrupted pulls left: (layers removed, bytes freed)."""
        async with self.lock:
            self._leases.expire(time.time(), all=leases)
            blobs, layers = self.needed()
            return await to_the_end(self._sweep, blobs, layers)

    def _sweep(self, blobs: set[Digest], layers: set[str]) -> tuple[list[str], int]:
        freed = 0
        for digest, size in list(self._content.blobs()):
            if digest not in blobs:
                self._content.remove(digest)
                freed += size
        for known, file in list(self._content.partials()):
            # Files without a digest belong to a load or an import that runs; the start removes old ones.
            if known is not None and known not in blobs:
                try:
                    freed += file.stat().st_size
                    file.unlink()
                except FileNotFoundError:
                    pass
        removed = []
        for chain_id in self._snapshots.layers():
            if chain_id not in layers:
                try:
                    size = self._snapshots.layer_size(chain_id)
                    self._snapshots.remove_layer(chain_id)
                except (Conflict, NotFound):
                    continue  # a container stands on it: its image was removed by force
                removed.append(chain_id)
                freed += size
        return removed, freed

    def clean(self) -> None:
        """What the last run left half-written goes. Blocks; for the start, before anything else runs."""
        for known, file in list(self._content.partials()):
            if known is None:
                file.unlink()
        for file in self._content.torn():
            file.unlink()
        blobs, layers = self.needed()
        self._sweep(blobs, layers)

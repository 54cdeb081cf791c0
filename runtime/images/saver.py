"""Saving images: which ones a name means, and their archive while nothing of them can be collected.

The archive itself is ``save.py``'s.

Spec: Docker API 1.47, ImageGetAll.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence

from runtime.images import reference as references
from runtime.images.collect import Collector
from runtime.images.content import ContentStore
from runtime.images.layout import Saved
from runtime.images.leases import Leases
from runtime.images.reference import Reference
from runtime.images.save import archive, plan
from runtime.images.store import ImageRecord, ImageStore

Meant = list[tuple[ImageRecord, list[Reference]]]
Publish = Callable[[str, ImageRecord, str], None]  # (action, image, name)


class Saver:
    """Saves images."""

    def __init__(
        self, content: ContentStore, store: ImageStore, leases: Leases, collector: Collector, publish: Publish
    ) -> None:
        self._content = content
        self._store = store
        self._leases = leases
        self._collector = collector
        self._publish = publish

    def save(self, refs: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of these images. Raises at once: NotFound, InvalidArgument."""
        found = []
        for ref in refs:
            for image, names in self._meant(ref):
                found.append((image, names))
                self._publish("save", image, image.id)
        return self._saved([image for image, _ in found], plan(found))

    async def _saved(self, images: Sequence[ImageRecord], saved: Sequence[Saved]) -> AsyncIterator[bytes]:
        async with self._collector.lock:
            blobs = {digest for image in images for digest in image.all_blobs}
            lease = self._leases.take(f"save-{secrets.token_hex(8)}", blobs, (), time.time())
        try:
            async for piece in archive(self._content, saved):
                yield piece
        finally:
            self._leases.leave(lease, keep=False)

    def _meant(self, ref: str) -> Meant:
        """A name without a tag means every tag of the repository, as in Docker."""
        prefix = references.id_prefix(ref)
        if prefix is None and not ref.startswith("sha256:"):
            name = references.parse(ref)
            if not name.tag and not name.digest:
                tagged = [
                    (image, [one for one in image.names if one.repository == name]) for image in self._store
                ]
                tagged = [(image, names) for image, names in tagged if names]
                if tagged:
                    return tagged
        image, found = self._store.resolve(ref)
        return [(image, [found] if found is not None else [])]

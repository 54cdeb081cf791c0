"""Saving images: one archive that every engine can load, streamed from the blobs as they lie.

Spec: Docker API 1.47, ImageGetAll.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from runtime.api.errors import Internal
from runtime.images import layout
from runtime.images.content import ContentStore
from runtime.images.reference import Digest, Reference
from runtime.images.store import ImageRecord
from runtime.images.tarwriter import END, header, padding
from runtime.images.threads import in_thread

READ_BYTES = 1 << 20


def plan(found: Sequence[tuple[ImageRecord, Sequence[Reference]]]) -> list[layout.Saved]:
    """The images of an archive, each once with all names it was asked by; pure."""
    names: dict[str, list[Reference]] = {}
    images: dict[str, ImageRecord] = {}
    for image, asked in found:
        images[image.id] = image
        kept = names.setdefault(image.id, [])
        kept += [name for name in asked if name.tag and name not in kept]
    return [
        layout.Saved(
            image.manifest,
            Digest(image.id),
            tuple(blob.digest for blob in image.blobs),
            tuple(names[image.id]),
        )
        for image in images.values()
    ]


async def archive(content: ContentStore, images: Sequence[layout.Saved]) -> AsyncIterator[bytes]:
    """The archive in pieces. Raises: Internal when a blob is missing."""
    for name, data in layout.documents(images):
        yield header(name.encode(), size=len(data)) + data + padding(len(data))
    told: set[Digest] = set()
    for image in images:
        for digest in (image.config, image.manifest.digest, *image.layers):
            if digest not in told:
                told.add(digest)
                async for piece in _member(content, digest):
                    yield piece
    yield END


async def _member(content: ContentStore, digest: Digest) -> AsyncIterator[bytes]:
    try:
        # Opened before its header is sent, so that it cannot be collected under our hands.
        descriptor = await in_thread(_open, content.path(digest))
    except FileNotFoundError:
        raise Internal(f"blob {digest} is missing; pull the image again") from None
    try:
        left = os.fstat(descriptor).st_size
        yield header(layout.blob_name(digest).encode(), size=left)
        rest = padding(left)
        while left:
            piece = await in_thread(os.read, descriptor, min(READ_BYTES, left))
            if not piece:
                raise Internal(f"blob {digest} was cut short on disk")
            left -= len(piece)
            yield piece
        yield rest
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

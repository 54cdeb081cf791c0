"""A blob that an upload is writing, for whoever reads it meanwhile.

Owns no bytes: the ingest has them. What a download is for a pull, this is for an import.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator

from runtime.images.content import Ingest

BATCH_BYTES = 1 << 20  # announced at once


class Arriving:
    """Fed by one thread; waited for in the event loop it was made in."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._reader = ingest.open()  # kept, as the file is renamed or removed at the end
        self._loop = asyncio.get_running_loop()
        self._available = 0
        self._over = False
        self._changed = asyncio.Event()
        self.error: BaseException | None = None

    def append(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Keep these bytes, and say so now and then; for the thread. Raises: OSError."""
        self._ingest.append(self._counted(chunks))
        self._loop.call_soon_threadsafe(self._announce, self._ingest.offset)

    def _counted(self, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        told = self._ingest.offset
        for chunk in chunks:
            yield chunk
            # Here the chunk before this one is on the disk.
            if self._ingest.offset - told >= BATCH_BYTES:
                told = self._ingest.offset
                self._loop.call_soon_threadsafe(self._announce, told)

    def _announce(self, available: int) -> None:
        self._available = max(self._available, available)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes: it is whole, or this is why not."""
        self._over, self.error = True, error
        self._announce(self._ingest.offset)

    def open(self) -> int:
        return os.dup(self._reader)

    async def grown(self, beyond: int) -> tuple[int, bool]:
        """(available, whole) as soon as there is news. Raises: what ended the upload."""
        while True:
            if self.error is not None:
                raise self.error
            if self._over or self._available > beyond:
                return self._available, self._over
            await self._changed.wait()

    def close(self) -> None:
        os.close(self._reader)

"""A long request body as the web server hands it on: views of a file, not copies of it in memory.

Daphne puts a body into its queue whole, piece by piece, before anybody reads it. Pieces that are views of a
mapped file take no memory of their own, so an upload costs disk and not memory.
"""

from __future__ import annotations

import mmap
from typing import BinaryIO

PIECE_BYTES = 256 << 10  # handed on at once


class MappedBody:
    """Stands in for a file that was written and is read once, from its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        file.flush()
        self._file = file
        self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._at = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence != 0:
            raise RuntimeError(f"expected a place from the beginning, got whence {whence}")
        self._at = offset
        return offset

    def read(self, count: int) -> memoryview:
        piece = self._view[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Pieces that are still under way stay readable; the mapping goes with the last of them."""
        self._file.close()

"""Decompressing layers as they arrive: gzip, zstd, and what `import` and `load` meet besides.

Owns the choice of a decompressor by the first bytes, as Docker does. Every piece handed out is at most
``PIECE_BYTES`` long, however strongly the input was compressed.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Protocol

import isal.igzip_lib as igzip
import zstandard

PIECE_BYTES = 1 << 20  # of decompressed data at once
WINDOW_MAX_BYTES = 1 << 27  # of a zstd frame; what the zstd tool accepts by default
XZ_MEMORY_MAX_BYTES = 1 << 27
MAGIC_BYTES = 6  # what ``kind_of`` needs to see

# What the three libraries raise for data that is not theirs.
_BROKEN = (OSError, EOFError, ValueError, lzma.LZMAError, igzip.IsalError)


class CompressionError(Exception):
    """The stream is cut short, or not what its first bytes promise."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def kind_of(start: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz" or "plain", by the first bytes of a stream."""
    if start.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if start.startswith(b"\x28\xb5\x2f\xfd") or (start[1:4] == b"\x2a\x4d\x18" and 0x50 <= start[0] <= 0x5F):
        return "zstd"
    if start.startswith(b"BZh"):
        return "bzip2"
    if start.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return "plain"


def decompressed(chunks: Iterator[bytes], start: bytes = b"") -> Iterator[bytes]:
    """The decompressed stream in bounded pieces; ``start`` is what was already read of it.

    Raises: CompressionError while iterating.
    """
    while len(start) < MAGIC_BYTES:
        more = next(chunks, b"")
        if not more:
            break
        start += more
    kind = kind_of(start)
    rest = _with_start(start, chunks)
    if kind == "plain":
        yield from rest
    elif kind == "zstd":
        yield from _zstd(rest)
    else:
        makers: dict[str, Callable[[], _Decompressor]] = {
            "gzip": lambda: igzip.IgzipDecompressor(flag=igzip.DECOMP_GZIP),
            "bzip2": bz2.BZ2Decompressor,
            "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX_BYTES),
        }
        yield from _members(rest, makers[kind], kind)


def _with_start(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from chunks


def _members(chunks: Iterator[bytes], make: Callable[[], _Decompressor], kind: str) -> Iterator[bytes]:
    """One member after the other: several of them in one file are one stream."""
    member: _Decompressor | None = None
    for chunk in chunks:
        data = bytes(chunk)
        while data or (member is not None and not member.needs_input):
            if member is None:
                member = make()
            try:
                piece = member.decompress(data, PIECE_BYTES)
            except _BROKEN as error:  # type: ignore[misc]
                raise CompressionError(f"{kind}: {str(error) or 'invalid data'}") from None
            data = b""
            if piece:
                yield piece
            if member.eof:
                data = member.unused_data
                member = None
    if member is not None:
        raise CompressionError(f"{kind}: unexpected end of the stream")


class _Reader:
    """What zstandard wants to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = bytes(next(self._chunks, b""))
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX_BYTES)
    # A frame that ends early is not told apart here: the diff id or the tar reader sees it.
    reader = decompressor.stream_reader(_Reader(chunks), read_across_frames=True)  # type: ignore[arg-type]
    try:
        while piece := reader.read(PIECE_BYTES):
            yield piece
    except zstandard.ZstdError as error:
        raise CompressionError(f"zstd: {error}") from None

"""The content of one file out of a tar that comes in pieces, and the head of a tar with one file.

Pure, but for ``file_of``, which reads an engine's answer.

Spec: POSIX.1-2017 pax, ustar; GNU long names and base-256 sizes, as engines send them.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncGenerator

from django.utils.translation import gettext as _

from runtime.api.errors import EngineUnreachable, InvalidArgument
from runtime.api.streams import ByteStream

BLOCK = 512
EXTENSION_MAX_BYTES = 1 << 20  # a pax header or long name; a longer one is no tar of an engine's
FILE_TYPES = (b"0", b"\0", b"7")
EXTENSION_TYPES = (b"x", b"g", b"L", b"K")


class NotAFile(ValueError):
    """The archive is of something that has no content of its own, or is broken."""


class FileOfTar:
    """Feed the archive of one file; once its head was seen ``size`` is known and content comes out."""

    def __init__(self) -> None:
        self.size: int | None = None
        self._buffer = b""
        self._skip = 0  # bytes of an extension still to pass over
        self._left = 0  # bytes of the file still to come

    def feed(self, data: bytes) -> bytes:
        """The file's bytes among these.

        Raises: NotAFile.
        """
        if self.size is not None:
            return self._content(data)
        self._buffer += data
        while self.size is None:
            if self._skip:
                passed = min(self._skip, len(self._buffer))
                self._buffer = self._buffer[passed:]
                self._skip -= passed
                if self._skip:
                    return b""
            if len(self._buffer) < BLOCK:
                return b""
            head, self._buffer = self._buffer[:BLOCK], self._buffer[BLOCK:]
            kind, size = head[156:157], _number(head[124:136])
            if kind in EXTENSION_TYPES:
                if size > EXTENSION_MAX_BYTES:
                    raise NotAFile("the archive's head is too long")
                self._skip = -(-size // BLOCK) * BLOCK
            elif kind in FILE_TYPES:
                self.size = self._left = size
            else:
                raise NotAFile("not a regular file")
        rest, self._buffer = self._buffer, b""
        return self._content(rest)

    @property
    def complete(self) -> bool:
        """Whether every byte of the file has come."""
        return self.size is not None and self._left == 0

    def _content(self, data: bytes) -> bytes:
        taken = data[: self._left]
        self._left -= len(taken)
        return taken


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise NotAFile("the archive is broken") from None


def tar_head(name: str, size: int, mtime: int) -> bytes:
    """What stands before the content of one file in a tar (pax where the name or size needs it)."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def tar_tail(size: int) -> bytes:
    """What stands after it: padding and the end of the archive."""
    return b"\0" * (-size % BLOCK + 2 * BLOCK)


async def file_of(archive: ByteStream, path: str) -> tuple[int, AsyncGenerator[bytes, None]]:
    """Size and content of the regular file an engine sends as an archive, which is opened here.

    Raises: NotFound, InvalidArgument (a directory or something else), what else the engine answers.
    """
    await archive.open()
    file = FileOfTar()
    first = b""
    try:
        async for piece in archive:
            first += file.feed(piece)
            if file.size is not None:
                break
        if file.size is None:
            raise NotAFile("empty")
    except NotAFile:
        archive.close()
        raise InvalidArgument(_("%(path)s is not a file") % {"path": path}) from None
    except BaseException:
        archive.close()
        raise

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            if first:
                yield first
            while not file.complete:
                piece = await anext(archive, None)
                if piece is None:
                    raise EngineUnreachable(f"the engine stopped in the middle of {path}")
                if data := file.feed(piece):
                    yield data
        finally:
            archive.close()

    return file.size, content()

"""What a terminal session wrote last, on disk as soon as it was read: nothing of it is lost with the engine.

A head, what draws the screen as it once was, and all output since; when that grows long the file is written
anew. The head also counts what was typed. Lies in the run directory, in memory: writing costs a copy.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

FILE = "output"
FILE_MAX_BYTES = 4 << 20
_HEAD = struct.Struct("<8sQQQQ")  # mark, position behind the screen, its length, bytes typed, `exact` of it
_TYPED_AT = 24
_MARK = b"webdock1"


class Left(NamedTuple):
    """What an earlier engine left."""

    output: bytes
    end: int  # position at the end of the output
    exact: int  # bytes at its end that are as they were written
    typed: int


class Journal:
    """One session's file; without room for it the session goes on without."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._fd = -1
        self._size = 0
        self._typed = 0
        self._open = True

    def load(self) -> Left:
        """What an earlier engine left, if it did; goes on behind it."""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            with open(self._fd, "rb", closefd=False) as file:
                found = file.read()
        except OSError:
            return Left(b"", 0, 0, 0)
        if len(found) < _HEAD.size or not found.startswith(_MARK):
            self._let_go()
            self.restart(found, len(found), 0)  # earlier versions wrote the screen alone
            return Left(found, len(found), 0, 0)
        _mark, behind, length, self._typed, exact = _HEAD.unpack_from(found)
        self._size = len(found)
        output = found[_HEAD.size :]
        since = len(output) - length
        return Left(output, behind + since, exact + since, self._typed)

    @property
    def full(self) -> bool:
        return self._size > FILE_MAX_BYTES

    def restart(self, screen: bytes, position: int, exact: int) -> None:
        """Begin anew with what draws the screen at this position; its end is output as it was written."""
        if not self._open:
            return
        new = self._path.with_name(FILE + ".new")
        try:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                data = _HEAD.pack(_MARK, position, len(screen), self._typed, exact) + screen
                _write(fd, data, 0)
                os.rename(new, self._path)
            except OSError:
                os.close(fd)
                raise
        except OSError:
            self.drop()
            return
        self._let_go()
        self._fd, self._size = fd, len(data)

    def append(self, data: bytes) -> None:
        if self._fd < 0:
            return
        try:
            _write(self._fd, data, self._size)
        except OSError:
            self.drop()
            return
        self._size += len(data)

    def typed(self, count: int) -> None:
        """So many bytes were typed since the session began."""
        self._typed = count
        if self._fd < 0:
            return
        try:
            _write(self._fd, struct.pack("<Q", count), _TYPED_AT)
        except OSError:
            self.drop()

    def drop(self) -> None:
        """It would tell less than the truth from now on: there is none."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._open = False
        self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, data: bytes, at: int) -> None:
    """Raises: OSError."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, at)
        rest, at = rest[count:], at + count

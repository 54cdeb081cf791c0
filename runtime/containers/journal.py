"""What a terminal session wrote last, in files as soon as it was read: nothing of it is lost with the engine.

A file is a head, what draws the screen as it once was, and all output since. When it grows long the other of
two files is begun with the screen of now: it is written over what it held, which costs a copy and nothing
else. The head says which file is newer, how much of it counts, and how much was typed. They lie in the run
directory, in memory.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

FILES = ("output.0", "output.1")
FILE_MAX_BYTES = 3 << 20
EARLIER_FILE = "output"  # of earlier versions, which wrote one file anew again and again
_EARLIER_HEAD = struct.Struct("<8sQQQQ")  # mark, position, screen, typed, exact
_EARLIER_MARK = b"webdock1"
_HEAD = struct.Struct("<8sQQQQQQ")  # the mark and what `_Head` has
_MARK = b"webdock2"
_TYPED_AT, _COUNTS_AT = 8, 16


class Left(NamedTuple):
    """What an earlier engine left."""

    output: bytes
    end: int  # position at the end of the output
    exact: int  # bytes at its end that are as they were written
    typed: int


class _Head(NamedTuple):
    typed: int
    counts: int  # bytes behind the head; what lies further on is of a former use
    turn: int  # the newer file has the higher one
    position: int  # behind the screen
    screen: int  # its length
    exact: int  # of it


class Journal:
    """One session's files; without room for them the session goes on without."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fds = [-1, -1]
        self._turn = 0  # the file at work is the one of its parity; 0: none is
        self._counts = 0
        self._typed = 0
        self._open = True

    def load(self) -> Left:
        """What an earlier engine left, if it did; goes on behind it."""
        newest: _Head | None = None
        for number, name in enumerate(FILES):
            try:
                self._fds[number] = fd = os.open(self._directory / name, os.O_RDWR | os.O_CLOEXEC)
                head = _head(fd)
            except OSError:
                continue
            if head is not None and head.turn % 2 == number and head.turn > self._turn:
                newest, self._turn = head, head.turn
        if newest is None:
            return self._load_earlier()
        self._counts, self._typed = newest.counts, newest.typed
        with open(self._fds[self._turn % 2], "rb", closefd=False) as file:
            file.seek(_HEAD.size)
            output = file.read(newest.counts)
        return _left(output, newest.position, newest.screen, newest.exact, newest.typed)

    def _load_earlier(self) -> Left:
        path = self._directory / EARLIER_FILE
        try:
            found = path.read_bytes()
            mark, position, screen, typed, exact = _EARLIER_HEAD.unpack_from(found)
        except (OSError, struct.error):
            return Left(b"", 0, 0, 0)
        if mark != _EARLIER_MARK:
            return Left(b"", 0, 0, 0)
        left = _left(found[_EARLIER_HEAD.size :], position, screen, exact, typed)
        self._typed = typed
        self.restart(left.output, left.end, left.exact)
        path.unlink(missing_ok=True)
        return left

    @property
    def full(self) -> bool:
        return self._counts > FILE_MAX_BYTES

    def restart(self, screen: bytes, position: int, exact: int) -> None:
        """Begin anew with what draws the screen at this position; its end is output as it was written."""
        if not self._open:
            return
        turn = self._turn + 1
        head = _Head(self._typed, len(screen), turn, position, len(screen), exact)
        try:
            if (fd := self._fds[turn % 2]) < 0:
                path = self._directory / FILES[turn % 2]
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._fds[turn % 2] = fd
            _write(fd, bytes(_HEAD.size), 0)  # until all of it is there the other file is the newer one
            _write(fd, screen, _HEAD.size)
            _write(fd, _HEAD.pack(_MARK, *head), 0)
        except OSError:
            self.drop()
            return
        self._turn, self._counts = turn, len(screen)

    def append(self, data: bytes) -> None:
        if self._turn:
            self._put(data, _HEAD.size + self._counts)
            self._counts += len(data)
            self._put(self._counts.to_bytes(8, "little"), _COUNTS_AT)

    def typed(self, count: int) -> None:
        """So many bytes were typed since the session began."""
        self._typed = count
        if self._turn:
            self._put(count.to_bytes(8, "little"), _TYPED_AT)

    def _put(self, data: bytes, at: int) -> None:
        if not self._open:
            return
        try:
            _write(self._fds[self._turn % 2], data, at)
        except OSError:
            self.drop()

    def drop(self) -> None:
        """It would tell less than the truth from now on: there is none."""
        self.close()
        for name in (*FILES, EARLIER_FILE):
            (self._directory / name).unlink(missing_ok=True)

    def close(self) -> None:
        self._open = False
        for number, fd in enumerate(self._fds):
            if fd >= 0:
                os.close(fd)
                self._fds[number] = -1


def _left(output: bytes, position: int, screen: int, exact: int, typed: int) -> Left:
    since = len(output) - screen
    return Left(output, position + since, exact + since, typed)


def _head(fd: int) -> _Head | None:
    """None of a file that is not whole. Raises: OSError."""
    found = os.pread(fd, _HEAD.size, 0)
    if len(found) < _HEAD.size or not found.startswith(_MARK):
        return None
    head = _Head(*_HEAD.unpack(found)[1:])
    return head if head.screen <= head.counts <= os.fstat(fd).st_size - _HEAD.size else None


def _write(fd: int, data: bytes, at: int) -> None:
    """Raises: OSError."""
    count = os.pwrite(fd, data, at)
    while count < len(data):
        data, at = data[count:], at + count
        count = os.pwrite(fd, data, at)

"""What a container wrote before somebody attaches, and its session, joined without a gap or a double.

conmon writes what it has read from the program to the log first and then to whoever is attached, and it takes
a new one up at some time after he has connected. So: the log is read to its end, then the session is
connected. What the log gains from then on may come by the session as well; it is told from the log until the
session's first output shows from where on it does, which is looked up in what the log has gained.

What conmon has read at once is a group of records with one time, and one packet of the session.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from runtime.api.frames import STDOUT
from runtime.api.screens import KEPT_BYTES, Output, safe_cut
from runtime.containers import logs
from runtime.containers.inotify import Inotify
from runtime.containers.streams import Stream

SEQUENCE_BYTES = 4096  # of a log that was cut: a control string may have begun before them
LOG_BYTES = 4 * KEPT_BYTES  # looked at from its end: records are longer than what they say
SILENCE_S = 0.1  # what conmon has logged comes by the session much sooner
SURE_BYTES = 128 << 10  # a flood that repeats itself so long has no place that could be told from another

Group = tuple[int, bytes]  # of a stream, what was read from the program at once


class Past:
    """A container's log from a moment on: what draws its screen then, and each group that comes later."""

    def __init__(self, path: Path, since_ns: int) -> None:
        self._path = path
        self._records = logs.Records(since_ns)
        self._file: BinaryIO | None = None
        self._closed = False
        self.screen = self._first()

    def _first(self) -> bytes:
        names, size = logs.files(self._path), 0
        wanted: deque[BinaryIO] = deque()
        while names and size < LOG_BYTES:
            try:
                file = open(names.pop(), "rb", buffering=0)  # noqa: SIM115 - closed as they are read
            except FileNotFoundError:
                continue  # rotated away just now
            told = os.fstat(file.fileno())
            if wanted and os.path.samestat(told, os.fstat(wanted[0].fileno())):
                file.close()  # renamed just now
                continue
            wanted.appendleft(file)
            size += told.st_size
        cut = size > LOG_BYTES
        if cut:
            wanted[0].seek(size - LOG_BYTES)
            wanted[0].readline()
        data = bytearray()
        while wanted:
            self._follow(wanted.popleft())
            for _stream, piece in self._rest():
                data += piece
        output = Output()
        start = min(len(data), data.find(b"\n") + 1 + SEQUENCE_BYTES) if cut else 0
        output.append(bytes(data[safe_cut(data, start) if cut else 0 :]))
        return output.picture(KEPT_BYTES)

    def more(self) -> list[Group]:
        """What the log has gained; a group that was only half there before goes on under its own time."""
        found = self._rest()
        while not self._closed and (newer := logs.next_file(self._path, self._file)) is not None:
            found += self._rest()
            self._follow(newer)
            found += self._rest()
        return found

    def _follow(self, file: BinaryIO) -> None:
        if self._file is not None:
            self._file.close()
        self._file = file

    def _rest(self) -> list[Group]:
        found: list[Group] = []
        while self._file is not None and (data := self._file.read(logs.BLOCK_BYTES)):
            found += self._records.feed(data)
        return found

    def close(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None


async def joined(past: Past, session: Stream, inotify: Inotify, directory: Path) -> AsyncIterator[Group]:
    """The screen, then the output until everything that follows comes from the session alone.

    past: read before the session was connected. Closing the iterator frees it.
    """
    changed = asyncio.Event()
    with ExitStack() as stack:
        stack.callback(past.close)
        stack.callback(inotify.watch(directory, changed.set))
        if past.screen:
            yield STDOUT, past.screen
        gained: list[Group] = []
        first = asyncio.ensure_future(session.read())
        stack.callback(first.cancel)
        changed.set()  # what was written before the watch began
        while not first.done():
            news = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait({first, news}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
            if first.done():
                break
            changed.clear()
            for group in past.more():
                gained.append(group)
                yield group
        told = len(gained)
        got = [item] if (item := first.result()) is not None else []
        gained += past.more()
        places = _places(gained, got)
        while len(places) > 1 and sum(len(data) for _stream, data in got) < SURE_BYTES:
            # The same was written more than once: what comes next tells which it is, or that nothing comes.
            try:
                async with asyncio.timeout(SILENCE_S):
                    item = await session.read()
            except TimeoutError:
                item = None
            if item is None:
                places = {at: whole for at, whole in places.items() if whole} or places
                break
            got.append(item)
            gained += past.more()
            places = _places(gained, got)
    at = min(places, default=len(gained))
    for group in gained[told:at]:
        yield group
    double = deque(gained[at:told])
    while True:
        for stream, data in got:
            if rest := _without(double, (stream, data)):
                yield stream, rest
        if not double or (item := await session.read()) is None:
            return
        got = [item]


def _places(gained: list[Group], got: list[Group]) -> dict[int, bool]:
    """At which groups what the session gave may begin, and whether it then reaches to the end of them."""
    found: dict[int, bool] = {}
    for at in range(len(gained)) if got else ():
        whole = _reaches(gained, at, got)
        if whole is not None:
            found[at] = whole
    return found


def _reaches(gained: list[Group], at: int, got: list[Group]) -> bool | None:
    """Whether these groups from one on are all in what the session gave; None when it is something else."""
    left = b""
    for stream, data in got:
        rest = data
        if left and gained[at - 1][0] != stream:
            return None
        while rest:
            if not left:
                if at == len(gained):
                    return True
                if gained[at][0] != stream:
                    return None
                left, at = gained[at][1], at + 1
            if rest.startswith(left):
                rest, left = rest[len(left) :], b""
            elif left.startswith(rest):
                rest, left = b"", left[len(rest) :]
            else:
                return None
    return not left and at == len(gained)


def _without(double: deque[Group], item: Group) -> bytes:
    """What of the session's output was not told from the log."""
    stream, rest = item
    while rest and double:
        told_stream, told = double.popleft()
        if told_stream == stream and rest.startswith(told):
            rest = rest[len(told) :]
        elif told_stream == stream and told.startswith(rest):
            double.appendleft((stream, told[len(rest) :]))
            rest = b""
        else:
            double.clear()  # the log lacks something: a full disk
    return rest

"""An exec session's output, kept by the engine: for who takes the session up again, be it after hours.

Holds the one connection to the session's conmon and hands its output to any number of viewers; the slowest
of them sets the pace. What it read is in the journal at once and the connection in the keeping of conmon:
a later engine goes on with the next byte, whatever became of this one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from runtime.api.errors import Conflict
from runtime.api.frames import STDOUT
from runtime.api.screens import Output
from runtime.api.streams import Place
from runtime.containers.journal import Journal
from runtime.containers.streams import Stream

BEHIND_BYTES = 256 << 10  # of output a viewer has not taken; then the program waits
ALONE_BYTES_S = 8 << 20  # how fast output is taken while nobody looks on


class Terminal(Stream, Protocol):
    """What is kept; a `ConmonStream`."""

    async def write(self, data: bytes, passed: Callable[[int], None] | None = None) -> None: ...
    def write_some(self, data: bytes) -> int: ...
    def resize(self, height: int, width: int) -> bool: ...


class Kept:
    """One session with a terminal."""

    def __init__(self, stream: Terminal, directory: Path) -> None:
        self._stream = stream
        self._journal = Journal(directory)
        self._output = Output()
        self._views: list[View] = []
        self._taken = asyncio.Event()
        self._writing = asyncio.Lock()
        self._rest = b""  # what the terminal had no room for, before all that is written later
        self._writer: asyncio.Task[None] | None = None  # passes it on
        self._unwritten = 0  # what is typed and waits for the program; whoever typed it may have gone
        self._over = False
        past, self._end, self._written, self._typed = self._journal.load()
        self._output.append(past)
        if not past:
            self._journal.restart(b"", self._end, 0)
        stream.at_once = self._take_at_once
        self._reader = asyncio.create_task(self._read(), name="kept session")

    def view(self, *, history: bool) -> View:
        """One more viewer; with history it is given first what draws the screen as it is now."""
        view = View(self, self._output.picture() if history else b"", self._place())
        view.ended = self._over
        self._views.append(view)
        return view

    def _place(self) -> Place:
        return Place(self._end, self._exact, self._typed + self._unwritten)

    @property
    def _exact(self) -> int:
        return min(self._written, self._output.end - self._output.start)

    async def _read(self) -> None:
        while (item := await self._stream.read()) is not None:
            self._take(item[1])
            if not self._views and len(item[1]) >= 4096:
                await asyncio.sleep(len(item[1]) / ALONE_BYTES_S)
            while self._crowded:
                self._taken.clear()
                await self._taken.wait()
        self._over = True
        self._stream.close()
        for view in self._views:
            view.end()

    def _take(self, data: bytes) -> None:
        self._journal.append(data)
        self._output.append(data)
        self._end += len(data)
        self._written += len(data)
        if self._journal.full:
            self._journal.restart(self._output.picture(), self._end, self._exact)
        for view in self._views:
            view.put(data)

    def _take_at_once(self, data: bytes) -> bool:
        if not self._views or self._crowded:
            return False
        self._take(data)
        return True

    @property
    def _crowded(self) -> bool:
        """Somebody has yet to take what is there."""
        return any(view.behind > BEHIND_BYTES for view in self._views)

    def ended(self) -> None:
        """The program has ended; what it wrote last is read still, and nothing is saved any more."""
        self._journal.drop()

    def taken(self) -> None:
        self._taken.set()

    async def write(self, data: bytes) -> None:
        left = len(data)
        self._unwritten += left

        def passed(count: int) -> None:
            nonlocal left
            left -= count
            self._unwritten -= count
            self._typed += count
            self._journal.typed(self._typed)

        try:
            async with self._writing:
                rest, self._rest = self._rest, b""
                left += len(rest)
                await self._stream.write(rest + data, passed)
        finally:
            self._unwritten -= left

    def write_now(self, data: bytes) -> bool:
        if self._rest or self._writing.locked() or not (count := self._stream.write_some(data)):
            return False
        self._typed += count
        self._journal.typed(self._typed)
        if rest := data[count:]:
            self._rest = rest
            self._unwritten += len(rest)
            self._writer = asyncio.create_task(self._write_rest(), name="rest of a paste")
        return True

    async def _write_rest(self) -> None:
        with contextlib.suppress(Conflict):  # the session has ended
            await self.write(b"")

    def resize(self, height: int, width: int) -> bool:
        """Set the terminal's size; False when conmon has to."""
        return self._stream.resize(height, width)

    def leave(self, view: View) -> None:
        if view in self._views:
            self._views.remove(view)
            self._taken.set()

    def close(self) -> None:
        """Let go of the session; it goes on."""
        self._journal.close()
        self._reader.cancel()
        if self._writer is not None:
            self._writer.cancel()
        self._over = True
        for view in self._views:
            view.end()
        self._stream.close()


class View:
    """One client of a kept session; a `Stream`."""

    tty = True

    def __init__(self, kept: Kept, history: bytes, place: Place) -> None:
        self._kept = kept
        self.at_once: Callable[[bytes], bool] | None = None
        self.place = place
        self._waiting = deque([history] if history else [])
        self._news = asyncio.Event()
        self._reading = False  # a read waits
        self.behind = self.past = len(history)
        self.ended = False
        self._closed = False

    def put(self, data: bytes) -> None:
        if self.at_once is not None and self._reading and not self._waiting and self.at_once(data):
            return
        self._waiting.append(data)
        self.behind += len(data)
        self._news.set()

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def read(self) -> tuple[int, bytes] | None:
        while not self._closed:
            if self._waiting:
                data = self._waiting.popleft()
                self.behind -= len(data)
                self._kept.taken()
                return STDOUT, data
            if self.ended:
                return None
            self._news.clear()
            self._reading = True
            try:
                await self._news.wait()
            finally:
                self._reading = False
        return None

    async def write(self, data: bytes) -> None:
        if self._closed:
            raise Conflict("the input of this session is closed")
        await self._kept.write(data)

    def write_now(self, data: bytes) -> bool:
        return not self._closed and self._kept.write_now(data)

    async def close_stdin(self) -> None:
        """A terminal's input has no end of its own."""

    def close(self) -> None:
        self._closed = True
        self._kept.leave(self)
        self._news.set()

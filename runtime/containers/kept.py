"""An exec session's output, kept by the engine: for who takes the session up again, be it after hours.

Holds the one connection to the session's conmon and hands its output to any number of viewers; the slowest of
them sets the pace. Saves what it keeps beside the session, so that a later engine has it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path

from runtime.api.errors import Conflict
from runtime.api.frames import STDOUT
from runtime.api.screens import Output
from runtime.containers.streams import Stream

BEHIND_BYTES = 256 << 10  # of output a viewer has not taken; then the program waits
ALONE_BYTES_S = 8 << 20  # how fast output is taken while nobody looks on
SAVE_S = 0.25  # changes are saved so late, many at once …
SAVE_FLOOD_S, FLOOD_BYTES = 2.0, 64 << 10  # … later still when there were so many since the last time
FILE = "output"


class Kept:
    """One session with a terminal."""

    def __init__(self, stream: Stream, directory: Path) -> None:
        self._stream = stream
        self._file = directory / FILE
        self._output = Output()
        self._views: list[View] = []
        self._taken = asyncio.Event()
        self._writing = asyncio.Lock()
        self._saving: asyncio.TimerHandle | None = None
        self._saved, self._flooded = 0, False  # up to which position; whether there was much before that
        self._over = False
        self._saves = True
        with contextlib.suppress(OSError):
            self._output.append(self._file.read_bytes())
        self._saved = self._output.end
        self._reader = asyncio.create_task(self._read(), name="kept session")

    def view(self, *, history: bool) -> View:
        """One more viewer; with history it is given first what draws the screen as it is now."""
        view = View(self, self._output.picture() if history else b"")
        view.ended = self._over
        self._views.append(view)
        return view

    async def _read(self) -> None:
        while (item := await self._stream.read()) is not None:
            data = item[1]
            self._output.append(data)
            self._save_soon()
            for view in self._views:
                view.put(data)
            if not self._views and len(data) >= 4096:
                await asyncio.sleep(len(data) / ALONE_BYTES_S)
            while any(view.behind > BEHIND_BYTES for view in self._views):
                self._taken.clear()
                await self._taken.wait()
        self._over = True
        self._stream.close()
        for view in self._views:
            view.end()

    def ended(self) -> None:
        """The program has ended; what it wrote last is read still, and nothing is saved any more."""
        self._saves = False
        if self._saving is not None:
            self._saving.cancel()

    def taken(self) -> None:
        self._taken.set()

    async def write(self, data: bytes) -> None:
        async with self._writing:
            await self._stream.write(data)

    def leave(self, view: View) -> None:
        if view in self._views:
            self._views.remove(view)
            self._taken.set()

    def _save_soon(self) -> None:
        if self._saving is None and self._saves:
            later = SAVE_FLOOD_S if self._flooded else SAVE_S
            self._saving = asyncio.get_running_loop().call_later(later, self._save)

    def _save(self) -> None:
        self._saving = None
        self._flooded = self._output.end - self._saved > FLOOD_BYTES
        self._saved = self._output.end
        new = self._file.with_name(FILE + ".new")
        with contextlib.suppress(OSError):  # the session's directory goes with its container
            new.write_bytes(self._output.picture())
            os.chmod(new, 0o600)
            os.rename(new, self._file)

    def close(self) -> None:
        """Let go of the session; it goes on."""
        if self._saving is not None:
            self._saving.cancel()
            self._save()
        self._reader.cancel()
        self._over = True
        for view in self._views:
            view.end()
        self._stream.close()


class View:
    """One client of a kept session; a `Stream`."""

    tty = True

    def __init__(self, kept: Kept, history: bytes) -> None:
        self._kept = kept
        self._waiting = deque([history] if history else [])
        self._news = asyncio.Event()
        self.behind = self.past = len(history)
        self.ended = False
        self._closed = False

    def put(self, data: bytes) -> None:
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
            await self._news.wait()
        return None

    async def write(self, data: bytes) -> None:
        if self._closed:
            raise Conflict("the input of this session is closed")
        await self._kept.write(data)

    async def close_stdin(self) -> None:
        """A terminal's input has no end of its own."""

    def close(self) -> None:
        self._closed = True
        self._kept.leave(self)
        self._news.set()

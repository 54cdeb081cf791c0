"""The duplex stream of an attach or exec session, as those who serve it see it.

Owns what is between a client and conmon: which of the two outputs are wanted, waiting for a container that
has not started, and replaying the log. Copies nothing on its own: reading less makes the container wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from runtime.api.errors import Conflict
from runtime.api.frames import STDOUT
from runtime.api.streams import Place


class Stream(Protocol):
    """What attach and exec give; `ConmonStream` is one."""

    tty: bool
    # Given a terminal's output as soon as it is there while a read waits, which then goes on waiting. It
    # returns False to have the read take it. Spares each echoed key the turns of the loop a task takes.
    at_once: Callable[[bytes], bool] | None

    async def read(self) -> tuple[int, bytes] | None:
        """Next output, (1 stdout | 2 stderr, bytes); None when it ended. With a TTY everything is 1."""
        ...

    async def write(self, data: bytes) -> None:
        """Pass input on; waits while the container does not read."""
        ...

    def write_now(self, data: bytes) -> bool:
        """Pass input on without waiting; False when nothing of it could be."""
        ...

    async def close_stdin(self) -> None: ...

    def close(self) -> None:
        """Detach; never kills. Idempotent."""
        ...


class Attachment:
    """One client's view of a container's session, also before there is one.

    `output` replaces the session's own output: with a replayed log, everything is read from the log file and
    the session is only written to. `history` goes before it: the log of runs that have ended, or of this one.
    """

    def __init__(
        self,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        output: AsyncIterator[tuple[int, bytes]] | None = None,
        history: AsyncIterator[tuple[int, bytes]] | None = None,
    ) -> None:
        self.tty = tty
        self.at_once: Callable[[bytes], bool] | None = None
        self.stdin = stdin
        self._wanted = {stream for stream, wanted in ((1, stdout), (2, stderr)) if wanted}
        self._output = output
        self._history = history
        self._session: Stream | None = None
        self._ready = asyncio.Event()  # there is a session, or there will be none
        self._over = False
        self._input_ended = False
        self.leaves = False  # the end of input leaves the session
        self.past = 0  # so many bytes of output come first that were written before
        self.place: Place | None = None  # of a kept session
        self._closed = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self.on_close: Callable[[], None] = lambda: None
        self.before_end: Callable[[], Awaitable[None]] | None = None  # awaited before an end is told

    def begin(self, history: AsyncIterator[tuple[int, bytes]], past: int) -> None:
        """Give this before the session's own output; so many bytes of it were written before."""
        self._history, self.past = history, past

    def connect(self, session: Stream) -> None:
        """The container's session is there; nothing was read from it yet."""
        if self._over:
            session.close()
            return
        self._session = session
        if self._output is not None:
            # Nobody reads its output here, and conmon waits for those who do not read.
            self._drain = asyncio.create_task(_drain(session), name="drain of an attached session")
        self._ready.set()

    def end(self) -> None:
        """There will be no session, or no more: readers and writers are told."""
        self._over = True
        self._ready.set()

    @property
    def over(self) -> bool:
        return self._over

    async def read(self) -> tuple[int, bytes] | None:
        if self._output is not None:
            return await self._read_log(self._output)
        if self._history is not None:
            if (item := await self._read_log(self._history)) is not None:
                return item
            self._history = None
        await self._ready.wait()
        if self._session is not None and self.at_once is not None and STDOUT in self._wanted:
            self._session.at_once, self.at_once = self.at_once, None
        while not self._over and self._session is not None:
            item = await self._session.read()
            if item is None:
                if self.before_end is not None:
                    await self.before_end()
                return None
            if item[0] in self._wanted:
                return item
        return None

    async def write(self, data: bytes) -> None:
        await self._ready.wait()
        if not self.stdin or self._over or self._session is None:
            raise Conflict("the input of this session is closed")
        await self._session.write(data)

    def write_now(self, data: bytes) -> bool:
        if not self.stdin or self._over or self._session is None:
            return False
        return self._session.write_now(data)

    async def close_stdin(self) -> None:
        if not self.stdin or self._input_ended:
            return
        self._input_ended = True
        await self._ready.wait()
        if self.leaves:
            self.close()
        elif self._session is not None and not self._over:
            await self._session.close_stdin()

    def close(self) -> None:
        self.end()
        self.on_close()
        self._closed.set()
        if self._session is not None:
            self._session.close()
        if self._drain is not None:
            self._drain.cancel()

    async def _read_log(self, output: AsyncIterator[tuple[int, bytes]]) -> tuple[int, bytes] | None:
        if self._closed.is_set():
            return None
        item = asyncio.ensure_future(anext(output, None))
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({item, closed}, return_when=asyncio.FIRST_COMPLETED)
            return item.result() if item.done() and not item.cancelled() else None
        finally:
            closed.cancel()
            if not item.done():
                item.cancel()
                await asyncio.gather(item, return_exceptions=True)


async def _drain(session: Stream) -> None:
    while await session.read() is not None:
        pass

"""What is typed into a session, of all in the order it came: counted, passed on, and sent again after a loss.

Each page's bytes are counted, and so is where they end in the session's input: that tells how much of it has
arrived when this process or the engine was away, so that nothing is lost in silence and nothing typed twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from runtime.api.errors import EngineUnreachable
from runtime.api.streams import ClientStream

WAITING_MAX_BYTES = 4 << 20  # input the process has not read yet …
WRITTEN_KEPT_BYTES = 1 << 20  # … and what may not have reached it when its engine goes
DOUBT_S = 1.0  # what was written so shortly before a stream broke may not have arrived
PAGES_MAX = 200  # whose typed bytes are counted


class Input:
    """One session's, in this process."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}  # typed bytes by page, oldest page first
        self.places: dict[str, int] = {}  # by page: where these end in the session's input
        self.lost: Counter[str] = Counter()  # of these, bytes that may not have arrived
        self.begun: int | None = None  # where the session's input was at the first join; None: not known
        self.sent = 0  # where it is, in the engine's count, when all that was written has reached it
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._written: deque[tuple[float, str, bytes]] = deque()  # last, oldest first
        self._written_bytes = 0
        self._news = asyncio.Event()
        self._broke_at = 0.0

    @property
    def place(self) -> int | None:
        """Where the session's input is, in the engine's count, once it has all that was typed here."""
        return None if self.begun is None else self.sent + self._waiting_bytes

    def take(self, page: str, data: bytes, stream: ClientStream | None) -> bool:
        """Take what a page typed, and send it when it can go at once; False when too much waits."""
        if self._waiting_bytes + len(data) > WAITING_MAX_BYTES:
            return False
        self._count(page, len(data))
        if not self._waiting and stream is not None and stream.send(data):
            self._note_written(page, data)
        else:
            self._waiting.append((page, data))
            self._waiting_bytes += len(data)
            self._news.set()
        if (place := self.place) is not None:
            self.places[page] = place
        return True

    def _count(self, page: str, count: int) -> None:
        self.taken[page] = self.taken.pop(page, 0) + count
        while len(self.taken) > PAGES_MAX:
            self.places.pop(next(iter(self.taken)), None)
            self.taken.pop(next(iter(self.taken)))

    def recall(self, page: str, acked: int, place: int, handed: int) -> None:
        """A page that typed at an earlier hub comes back: find out how much of that the session has got.

        acked: its bytes that were acknowledged, and place: where they ended; handed: bytes it sent after
        these, while nobody else typed.
        """
        if self.begun is not None and page not in self.taken and 0 <= self.begun - place <= handed:
            self.taken[page] = acked + self.begun - place

    async def write(self, stream: ClientStream) -> None:
        """Write what could not go at once, until the stream breaks."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                page, data = self._waiting[0]
                try:
                    await stream.write(data)
                except EngineUnreachable:
                    return  # the output side finds out why
                self._waiting.popleft()
                self._waiting_bytes -= len(data)
                self._note_written(page, data)

    def _note_written(self, page: str, data: bytes) -> None:
        self._written.append((asyncio.get_running_loop().time(), page, data))
        self._written_bytes += len(data)
        self.sent += len(data)
        while self._written_bytes > WRITTEN_KEPT_BYTES:
            self._written_bytes -= len(self._written.popleft()[2])

    def broke(self) -> None:
        """The stream has ended just now."""
        self._broke_at = asyncio.get_running_loop().time()

    def resume(self, arrived: int | None) -> None:
        """A new stream: what was typed and did not reach the program goes first.

        arrived: where its input is, None when the engine does not count: then what was written shortly before
        may be lost, and everything else is told as lost.
        """
        if arrived is None:
            self.begun = None
            self.places.clear()
            for at, page, data in self._written:
                if self._broke_at - at < DOUBT_S:
                    self.lost[page] += len(data)
            for page, data in self._waiting:
                self.lost[page] += len(data)
            self._waiting.clear()
        else:
            left = min(max(self.sent - arrived, 0), self._written_bytes)
            for _at, page, data in reversed(self._written):
                if left <= 0:
                    break
                self._waiting.appendleft((page, data[-left:]))
                left -= len(data)
            if arrived > self.sent and self._waiting:  # a part of what was being written
                page, data = self._waiting.popleft()
                self._waiting.appendleft((page, data[arrived - self.sent :]))
            self.sent = arrived
            if self.begun is None:
                self.begun = arrived
        self._written.clear()
        self._written_bytes = 0
        self._waiting_bytes = sum(len(data) for _page, data in self._waiting)
        if self._waiting:
            self._news.set()

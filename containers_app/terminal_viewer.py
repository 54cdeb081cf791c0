"""One browser at a terminal: where it is in the output, how much it has not drawn yet, what it is to be told.

Takes output at its own pace. One that fell too far behind the others gets the screen as it is now instead of
all it missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from runtime.api.screens import Output

WINDOW_BYTES = 256 << 10  # output the browser has not drawn yet
FRAME_BYTES = 64 << 10
LAG_MAX_BYTES = 512 << 10  # further behind it is shown the screen as it is now …
LAG_KEPT_BYTES = 128 << 10  # … with so much before it

FLOOD_GAP_S, FLOOD_PIECES = 0.002, 8  # that many pieces that close together are a flood
GATHER_S = 0.001  # in a flood small pieces wait this long for each other; echoed keys never do

Notice = dict[str, Any]


class Viewer:
    """One socket of one person."""

    def __init__(self, user_id: int, name: str, token: str, *, types: bool) -> None:
        self.user_id = user_id
        self.name = name
        self.token = token  # of this page of this person, the same after a loss
        self.types = types
        self.size: tuple[int, int] | None = None  # rows and columns the page has room for
        self.position = 0
        self.uncredited = 0
        self.over = False  # nothing comes after what is there
        self.expelled: tuple[int, str] | None = None  # the close of a socket that has to go
        self._pending = b""  # a screen being sent
        self._notices: dict[str, Notice] = {}
        self._wake = asyncio.Event()
        self.at_once: Callable[[bytes], None] | None = None  # sends while `next` waits, which goes on waiting
        self._waits = False  # `next` does
        self._streak, self._sent_at = 0, 0.0  # pieces of output that came close together, with no key between

    def begin(self, output: Output, at: int | None) -> None:
        """Go on at a position the page has seen, else begin with the whole screen."""
        if at is not None and output.start <= at <= output.end and output.end - at <= LAG_MAX_BYTES:
            self.position = at
        else:
            self._show(output, output.picture())

    def _show(self, output: Output, picture: bytes) -> None:
        self._pending, self.position = picture, output.end
        self._notices["replay"] = {
            "type": "replay",
            "bytes": len(picture),
            "at": output.end,
            "rows": output.size[0],
            "cols": output.size[1],
        }

    def behind(self, output: Output) -> int:
        """Bytes until its browser has drawn everything."""
        return output.end - self.position + len(self._pending) + self.uncredited

    def credit(self, count: int, output: Output) -> None:
        """Its browser has drawn so much."""
        self.uncredited = max(0, self.uncredited - count)
        self.flow(output)

    def typed(self) -> None:
        """Somebody typed here: what comes now is no flood."""
        self._streak = 0

    def flow(self, output: Output, newest: bytes = b"") -> None:
        """There is more output, or room for it: it goes out at once, or ``next`` is woken.

        newest: what came last, when it came just now.
        """
        if self.at_once is None or not self._waits or self.over or self.expelled is not None:
            self._wake.set()
            return
        while self.uncredited < WINDOW_BYTES:
            if self._streak >= FLOOD_PIECES or self._notices or self._pending:
                self._wake.set()
                return
            if newest and len(newest) <= FRAME_BYTES and self.position + len(newest) == output.end:
                data, self.position = newest, output.end
            else:
                data = self._take(output)
            if data:
                self._note(len(data))
                self.at_once(data)
            elif not self._notices:
                return

    def _note(self, count: int) -> None:
        """So much is sent now."""
        self.uncredited += count
        now = time.monotonic()
        small = count < FRAME_BYTES // 2
        self._streak = self._streak + 1 if small and now - self._sent_at < FLOOD_GAP_S else 0
        self._sent_at = now

    def tell(self, notice: Notice) -> None:
        """Say this before more output; a newer notice of its type takes its place."""
        self._notices[notice["type"]] = notice
        self._wake.set()

    def wake(self) -> None:
        """There will be no more output."""
        self._wake.set()

    def expel(self, code: int, reason: str) -> None:
        """It may stay no longer: nothing more is sent or taken."""
        self.types, self.expelled = False, (code, reason)
        self._wake.set()

    async def next(self, output: Output) -> bytes | Notice | None:
        """The next output or notice, once the browser has room for it; None at the end."""
        if self._streak >= FLOOD_PIECES:
            await asyncio.sleep(GATHER_S)
        while self.expelled is None:
            if self._notices:
                return self._notices.pop(next(iter(self._notices)))
            if self.uncredited < WINDOW_BYTES:
                if data := self._take(output):
                    self._note(len(data))
                    return data
                if self._notices:
                    continue
                if self.over:
                    return None
            self._wake.clear()
            self._waits = True
            try:
                await self._wake.wait()
            finally:
                self._waits = False
        return None

    def _take(self, output: Output) -> bytes:
        behind = output.end - self.position
        if self.position < output.start or behind > LAG_MAX_BYTES:
            self._show(output, output.picture(LAG_KEPT_BYTES))
            return b""
        if self._pending:
            data, self._pending = self._pending[:FRAME_BYTES], self._pending[FRAME_BYTES:]
            return data
        if not behind:
            return b""
        data = output.since(self.position, FRAME_BYTES)
        self.position += len(data)
        return data

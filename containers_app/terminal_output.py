"""What a terminal wrote last, by position: the screen for who joins, the next bytes for who looks on.

Bounded; what falls out at its beginning is summed up by ``runtime.api.screens``. Never decodes.
"""

from __future__ import annotations

from runtime.api.screens import shorten

KEPT_BYTES = 1 << 20  # 5,000 lines of two hundred bytes
SHORTEN_AT_BYTES = KEPT_BYTES + (512 << 10)


class Output:
    """The output of one session in this process."""

    def __init__(self) -> None:
        self.start = 0  # position of the first byte that is still here
        self.end = 0
        self.whole = True  # False: the alternate screen may lack parts until its program draws it again
        self.size = (0, 0)  # rows and columns it is written for; 0: not known
        self._head = b""  # draws what was before
        self._tail = bytearray()

    def append(self, data: bytes) -> None:
        self._tail += data
        self.end += len(data)
        if len(self._head) + len(self._tail) > SHORTEN_AT_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        output = self._head + self._tail
        head, at, whole = shorten(output, KEPT_BYTES)
        dropped = at - len(self._head)
        if dropped < 0:
            head, dropped = head + output[at : len(self._head)], 0
        self._head = head
        self.whole = whole if at else self.whole
        self.start += dropped
        del self._tail[:dropped]

    def since(self, position: int, limit: int) -> bytes:
        """Up to so many bytes from a position between start and end."""
        at = position - self.start
        return bytes(self._tail[at : at + limit])

    def picture(self, keep: int = SHORTEN_AT_BYTES) -> bytes:
        """What draws the screen as it is at ``end`` on an empty terminal, with as much before it as fits."""
        output = self._head + self._tail
        head, at, _whole = shorten(output, keep)
        return head + output[at:]

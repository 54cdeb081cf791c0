"""Pace: how long the output of a flooding terminal gathers before it is read again. No clock, no waiting.

A terminal gives its output in pieces of two or three kilobytes, and waking everybody up to the browser for
each costs more than the bytes do. So a flood is read in larger pieces, and several floods share what one may
take: a terminal in which somebody types is not held up by those nobody can read. What is not read yet waits
in the kernel, and then its program does.
"""

from __future__ import annotations

from typing import ClassVar

FLOOD_BYTES = 64 << 10  # so much output without a rest is a flood
REST_S = 0.004
GATHER_S = 0.001  # before the one flood there is is read again
SHARE_S = 0.008  # of several, one is read so often


class Pace:
    """Of one terminal; all of a process know of each other."""

    _floods: ClassVar[set[Pace]] = set()

    def __init__(self) -> None:
        self._bytes = 0  # since it last rested

    def took(self, count: int) -> None:
        """So much output was read."""
        self._bytes += count
        if self._bytes >= FLOOD_BYTES:
            self._floods.add(self)

    def waited(self, seconds: float) -> None:
        """There was no output for so long."""
        if seconds > REST_S:
            self.rest()

    def rest(self) -> None:
        """It is no flood: it said nothing for a while, somebody typed, or it has ended."""
        self._bytes = 0
        self._floods.discard(self)

    def pause_s(self) -> float:
        """How long to let output gather now."""
        if self not in self._floods:
            return 0.0
        floods = len(self._floods)
        return GATHER_S if floods == 1 else floods * SHARE_S

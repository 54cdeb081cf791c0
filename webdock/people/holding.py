"""Holds open what a person has open only while they may: sockets and downloads ask again and again.

``doubt()`` makes all of this process ask at once: after a logout, a changed account, role or password. What
another process changed is noticed by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

RECHECK_S = 2.0  # a lost right closes sockets and downloads within five seconds

_waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
_forgetters: list[Callable[[], None]] = []


class Revoked(Exception):
    """The answer may not be finished: its person lost the right to it."""


def forget_when_in_doubt(forget: Callable[[], None]) -> None:
    """Call this first at every doubt: it drops answers that were kept for a moment."""
    _forgetters.append(forget)


def doubt() -> None:
    """Something about people changed: everything that is held asks again now. From any thread."""
    for forget in _forgetters:
        forget()
    for loop, event in list(_waiting):
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)


@contextmanager
def doubting() -> Iterator[asyncio.Event]:
    """An event that is set at every doubt, for as long as the block runs."""
    entry = asyncio.get_running_loop(), asyncio.Event()
    _waiting.add(entry)
    try:
        yield entry[1]
    finally:
        _waiting.discard(entry)


async def next_look(event: asyncio.Event) -> None:
    """Until the next doubt, RECHECK_S at most."""
    try:
        async with asyncio.timeout(RECHECK_S):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()


async def held(content: AsyncIterator[bytes], may: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """The content, for as long as ``may()``; also one that has nothing to say is looked after.

    Raises: Revoked.
    """
    with doubting() as event:
        look = asyncio.ensure_future(next_look(event))
        piece: asyncio.Future[bytes] | None = None
        try:
            while True:
                if piece is None:
                    piece = asyncio.ensure_future(anext(content))
                await asyncio.wait({look, piece}, return_when=asyncio.FIRST_COMPLETED)
                if look.done():
                    if not await may():
                        raise Revoked
                    look = asyncio.ensure_future(next_look(event))
                if piece.done():
                    try:
                        data = piece.result()
                    except StopAsyncIteration:
                        return
                    piece = None
                    yield data
        finally:
            look.cancel()
            if piece is not None:
                piece.cancel()
                await asyncio.gather(piece, return_exceptions=True)
            if hasattr(content, "aclose"):
                await content.aclose()

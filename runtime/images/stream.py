"""From the event loop to a thread: a request's body as the plain iterator that archive readers want.

Bounded: a reader that is slow makes the body wait. Owns no bytes beyond the few pieces on their way.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from runtime.images.threads import ended, finished, in_thread

BATCH_BYTES = 1 << 20  # handed over at once
PIECES = 3  # on their way

_T = TypeVar("_T")


class BodyGone(Exception):
    """The body will not come: who sent it is gone or the operation was cancelled."""


async def in_thread_with(body: AsyncIterator[bytes], work: Callable[[Iterator[bytes]], _T]) -> _T:
    """Run blocking ``work`` in a thread on the pieces of ``body``; cancelling ends both.

    Raises: what ``work`` raises; what the body raises comes out as itself.
    """
    loop = asyncio.get_running_loop()
    pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    room = asyncio.Semaphore(PIECES)
    gone = False

    def read() -> Iterator[bytes]:
        while True:
            piece = pieces.get()
            if gone:
                raise BodyGone
            if piece is None:
                return
            loop.call_soon_threadsafe(room.release)
            yield piece

    async def feed() -> None:
        batch: list[bytes] = []
        size = 0
        async for chunk in body:
            batch.append(chunk)
            size += len(chunk)
            if size >= BATCH_BYTES:
                await room.acquire()
                pieces.put(b"".join(batch))
                batch, size = [], 0
        pieces.put(b"".join(batch))
        pieces.put(None)

    def abandon() -> None:
        nonlocal gone
        gone = True
        pieces.put(None)

    feeding = asyncio.create_task(feed())
    working = in_thread(work, read())
    try:
        both: list[asyncio.Future[object]] = [feeding, working]  # type: ignore[list-item]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and feeding.done() and feeding.exception() is not None:
            await feeding
        return await asyncio.shield(working)
    finally:
        abandon()
        try:
            await ended(feeding)
        finally:
            # The thread notices at its next piece; its files must not be used after we return.
            await finished(working)

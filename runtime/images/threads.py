"""Work that must not be torn: threads and tasks that are waited for even when the caller is cancelled.

A cancelled ``asyncio.to_thread`` leaves its thread running; whoever cleans up behind it would race with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

THREADS = 24  # of the whole room: a load holds one for as long as its upload takes

_T = TypeVar("_T")
_pool = ThreadPoolExecutor(THREADS, "images")


def in_thread(call: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
    """Run ``call`` in a thread of this room, away from those the rest of the engine waits for."""
    return asyncio.get_running_loop().run_in_executor(_pool, call, *args)


async def to_the_end(call: Callable[..., _T], *args: Any) -> _T:
    """Run ``call`` in a thread and return when it has ended; a cancellation meanwhile is raised then."""
    future = in_thread(call, *args)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break  # it is the call's own, and raised below
    if cancelled is not None:
        if not future.cancelled():
            future.exception()
        raise cancelled
    return future.result()


@asynccontextmanager
async def acquired(make: Callable[[], _T], release: Callable[[_T], object]) -> AsyncIterator[_T]:
    """What ``make`` makes in a thread, while the context is open; ``release`` is always called for it."""
    made: list[_T] = []
    try:
        await to_the_end(lambda: made.append(make()))
        yield made[0]
    finally:
        for value in made:
            await to_the_end(release, value)


async def finished(future: asyncio.Future[Any]) -> None:
    """Return when a task or thread has ended; a cancellation meanwhile is raised then.

    What it raised itself is nobody's news any more.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()
    if cancelled is not None:
        raise cancelled


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return when it has ended; a cancellation meanwhile is raised then."""
    task.cancel()
    await finished(task)

"""Threads for database work: requests borrow one each, everything else shares one.

A thread keeps its connection to the database. Outside requests (sync, pulls, websockets) nobody looks after
it, so there it is checked after an error.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connections

KEPT_THREADS = 4  # of requests that ended; each holds a connection with its cache

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorate a function that talks to the database so that it can be awaited."""

    @wraps(work)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for connection in connections.all(initialized_only=True):
            if connection.errors_occurred and not connection.in_atomic_block:
                if connection.is_usable():
                    connection.errors_occurred = False
                else:
                    connection.close()
        return work(*args, **kwargs)

    return sync_to_async(checked, thread_sensitive=True)


class Thread(ThreadPoolExecutor):
    """One thread, which knows whether it is still at work."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._given = self._done = 0

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self._given += 1
        future = super().submit(work, *args, **kwargs)
        future.add_done_callback(self._count)
        return future

    def _count(self, _future: Future[Any]) -> None:
        self._done += 1

    @property
    def busy(self) -> bool:
        return self._done < self._given


_free: list[Thread] = []


@asynccontextmanager
async def borrowed_thread() -> AsyncIterator[None]:
    """Around a request: its database work runs in one thread, which the next one gets with its connection.

    Django would start a thread for each request, and open the database in it. A thread whose work nobody
    waits for any more, as the browser left, is let go when that is done.
    """
    thread = _free.pop() if _free else Thread()
    try:
        async with ThreadSensitiveContext(executor=thread):
            yield
    finally:
        if thread.busy or len(_free) >= KEPT_THREADS:
            thread.shutdown(wait=False)
        else:
            _free.append(thread)


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """A task that may outlive the request it is started from: it keeps the language, not the thread."""
    context = contextvars.copy_context()
    context.run(SyncToAsync.thread_sensitive_context.set, None)
    return asyncio.get_running_loop().create_task(coroutine, name=name, context=context)


def carry_on(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """``spawn``, and keep the task until it is done."""
    task = spawn(coroutine, name=name)
    _carried.add(task)
    task.add_done_callback(_carried.discard)
    return task


async def carried_out(coroutine: Coroutine[Any, Any, T], *, name: str) -> T:
    """Await something that is finished even when the asker goes away in the middle of it."""
    return await asyncio.shield(carry_on(coroutine, name=name))


_carried: set[asyncio.Task[Any]] = set()  # the loop holds tasks weakly only

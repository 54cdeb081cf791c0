"""Database work from outside a request: one thread, one lasting connection, checked after an error.

Requests have a thread of their own (Django gives it to them); the sync, pulls and websockets share this one.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

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

"""Requests borrow a thread; one is lent again once nothing runs in it."""

from __future__ import annotations

import asyncio
import threading

from asgiref.sync import sync_to_async

from webdock.engines.threads import borrowed_thread


async def test_the_next_request_gets_the_same_thread() -> None:
    seen = []
    for _request in range(2):
        async with borrowed_thread():
            seen.append(await sync_to_async(threading.get_ident)())
    assert seen[0] == seen[1]


async def test_requests_at_the_same_time_have_threads_of_their_own() -> None:
    async with borrowed_thread():
        one = await sync_to_async(threading.get_ident)()
        async with borrowed_thread():
            assert await sync_to_async(threading.get_ident)() != one


async def test_a_thread_that_is_still_at_work_is_not_lent() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait()

    try:
        async with borrowed_thread():
            name = await sync_to_async(threading.get_ident)()
            left = asyncio.create_task(sync_to_async(work)())
            assert await asyncio.to_thread(begun.wait, 20)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
        async with borrowed_thread():
            assert await sync_to_async(threading.get_ident)() != name
    finally:
        goes_on.set()

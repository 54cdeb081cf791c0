from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.images.stream import BodyGone, in_thread_with


async def body(chunks: int, size: int, sent: list[int]) -> AsyncIterator[bytes]:
    for at in range(chunks):
        sent.append(at)
        yield bytes([at % 256]) * size
        await asyncio.sleep(0)


async def test_everything_arrives_in_order() -> None:
    whole = await in_thread_with(body(1000, 5000, []), b"".join)
    assert whole == b"".join(bytes([at % 256]) * 5000 for at in range(1000))


async def test_an_empty_body_is_empty() -> None:
    assert await in_thread_with(body(0, 0, []), b"".join) == b""


async def test_a_slow_reader_makes_the_body_wait() -> None:
    sent: list[int] = []
    go = threading.Event()

    def work(pieces: Iterator[bytes]) -> int:
        go.wait(5)
        return sum(map(len, pieces))

    task = asyncio.create_task(in_thread_with(body(100, 1 << 20, sent), work))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(sent) < 10
    go.set()
    assert await task == 100 << 20


async def test_a_failing_reader_ends_the_body() -> None:
    def work(pieces: Iterator[bytes]) -> None:
        next(pieces)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_thread_with(body(1_000_000, 1 << 20, []), work)


async def test_a_reader_may_stop_early() -> None:
    assert len(await in_thread_with(body(1_000_000, 1 << 20, []), next)) == 1 << 20


async def test_a_failing_body_ends_the_reader() -> None:
    seen: list[BaseException] = []

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        raise ConnectionResetError("gone")

    def work(pieces: Iterator[bytes]) -> None:
        try:
            for _ in pieces:
                pass
        except BodyGone as error:
            seen.append(error)
            raise

    with pytest.raises(ConnectionResetError):
        await in_thread_with(failing(), work)
    assert seen


async def test_cancelling_returns_when_the_thread_has_ended() -> None:
    ended: list[float] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        await asyncio.sleep(3600)

    def work(pieces: Iterator[bytes]) -> None:
        try:
            for _ in pieces:
                pass
        finally:
            ended.append(time.monotonic())

    task = asyncio.create_task(in_thread_with(endless(), work))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended

"""One client's view of a session: before it starts, with one output only, with a replayed log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from runtime.api.errors import Conflict
from runtime.containers.actions import Actions
from runtime.containers.streams import Attachment


class Session:
    """A session made of a queue."""

    def __init__(self, *items: tuple[int, bytes]) -> None:
        self.tty = False
        self.items: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        for item in (*items, None):
            self.items.put_nowait(item)
        self.written = b""
        self.stdin_closed = False
        self.closed = False

    async def read(self) -> tuple[int, bytes] | None:
        return await self.items.get()

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close_stdin(self) -> None:
        self.stdin_closed = True

    def close(self) -> None:
        self.closed = True


def attachment(**more: object) -> Attachment:
    return Attachment(**{"tty": False, "stdin": True, "stdout": True, "stderr": True, **more})  # type: ignore[arg-type]


async def test_input_and_readers_wait_for_the_start() -> None:
    one = attachment()
    reading, writing = asyncio.ensure_future(one.read()), asyncio.ensure_future(one.write(b"x"))
    await asyncio.sleep(0)
    session = Session((1, b"out"))
    one.connect(session)
    assert await reading == (1, b"out")
    await writing
    assert session.written == b"x"
    await one.close_stdin()
    assert session.stdin_closed
    assert await one.read() is None
    one.close()
    assert session.closed


async def test_only_the_wanted_output_comes() -> None:
    one = attachment(stdout=False)
    one.connect(Session((1, b"a"), (2, b"b"), (1, b"c")))
    assert await one.read() == (2, b"b")
    assert await one.read() is None


async def test_a_viewer_has_no_input() -> None:
    one = attachment(stdin=False)
    session = Session()
    one.connect(session)
    with pytest.raises(Conflict):
        await one.write(b"x")
    await one.close_stdin()
    assert not session.stdin_closed


async def test_a_start_that_never_comes_ends_those_who_wait() -> None:
    one = attachment()
    reading, writing = asyncio.ensure_future(one.read()), asyncio.ensure_future(one.write(b"x"))
    await asyncio.sleep(0)
    one.end()
    assert await reading is None
    with pytest.raises(Conflict):
        await writing
    late = Session()
    one.connect(late)
    assert late.closed


async def test_a_replayed_log_takes_the_place_of_the_output() -> None:
    async def log() -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"old"
        yield 1, b"new"

    one = attachment(output=log())
    session = Session((1, b"seen already"))
    one.connect(session)
    assert [await one.read(), await one.read(), await one.read()] == [(1, b"old"), (1, b"new"), None]
    await one.write(b"in")
    assert session.written == b"in"
    one.close()


async def test_closing_wakes_a_reader_of_the_log() -> None:
    async def log() -> AsyncIterator[tuple[int, bytes]]:
        await asyncio.Event().wait()
        yield 1, b""

    one = attachment(output=log())
    reading = asyncio.ensure_future(one.read())
    await asyncio.sleep(0)
    one.close()
    assert await reading is None
    assert await one.read() is None


async def test_an_action_goes_on_when_the_one_who_asked_has_gone() -> None:
    actions = Actions()
    done = asyncio.Event()
    go = asyncio.Event()

    async def action() -> int:
        await go.wait()
        done.set()
        return 1

    asking = asyncio.ensure_future(actions.run(action(), "a test"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    go.set()
    await actions.close(1)
    assert done.is_set()


async def test_an_action_that_hangs_is_cancelled_at_the_end() -> None:
    actions = Actions()
    task = actions.begin(asyncio.sleep(100), "a sleeper")
    await actions.close(0.01)
    assert task.cancelled()

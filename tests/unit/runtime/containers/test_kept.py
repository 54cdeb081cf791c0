"""A kept session: what was written is there for who comes later, and everybody gets everything once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.containers import journal
from runtime.containers.journal import FILES
from runtime.containers.kept import BEHIND_BYTES, Kept


class Program:
    """A stream whose output the test gives."""

    tty = True
    at_once: Any = None

    def __init__(self) -> None:
        self.output: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.written = b""
        self.room = 1 << 20  # for what is written without waiting
        self.closed = False

    async def read(self) -> tuple[int, bytes] | None:
        data = await self.output.get()
        return None if data is None else (1, data)

    async def write(self, data: bytes, passed: Callable[[int], None] | None = None) -> None:
        self.written += data
        if passed is not None:
            passed(len(data))

    def write_now(self, data: bytes) -> bool:
        return self.write_some(data) > 0

    def write_some(self, data: bytes) -> int:
        self.written += data[: self.room]
        return len(data[: self.room])

    def resize(self, height: int, width: int) -> bool:
        self.size = height, width
        return True

    async def close_stdin(self) -> None: ...

    def close(self) -> None:
        self.closed = True


async def settled() -> None:
    for _n in range(20):
        await asyncio.sleep(0)


async def test_what_waits_for_the_program_is_counted_as_typed(tmp_path: Path) -> None:
    program, goes_on = Program(), asyncio.Event()
    taken, given = program.write, b"x" * (64 << 10)

    async def slow(data: bytes, passed: Callable[[int], None] | None = None) -> None:
        await goes_on.wait()
        await taken(data, passed)

    program.write = slow  # type: ignore[method-assign]
    kept = Kept(program, tmp_path)
    writing = [asyncio.ensure_future(kept.view(history=False).write(given)) for _ in range(2)]
    await settled()
    assert kept.view(history=True).place.typed == 2 * len(given)
    writing[1].cancel()  # it left, and this will not be typed
    await settled()
    assert kept.view(history=True).place.typed == len(given)
    goes_on.set()
    await writing[0]
    assert (program.written, kept.view(history=True).place.typed) == (given, len(given))
    kept.close()


async def test_history_and_what_follows_come_once(tmp_path: Path) -> None:
    program = Program()
    kept = Kept(program, tmp_path)
    first = kept.view(history=True)
    program.output.put_nowait(b"before ")
    assert await first.read() == (1, b"before ")
    second, third = kept.view(history=True), kept.view(history=False)
    program.output.put_nowait(b"after")
    assert [await second.read(), await second.read()] == [(1, b"before "), (1, b"after")]
    assert await third.read() == (1, b"after")
    await second.write(b"typed")
    assert program.written == b"typed"
    program.output.put_nowait(None)
    assert await third.read() is None
    assert program.closed
    kept.close()


async def test_the_slowest_viewer_makes_the_program_wait_until_it_leaves(tmp_path: Path) -> None:
    program = Program()
    kept = Kept(program, tmp_path)
    slow, quick = kept.view(history=False), kept.view(history=False)
    for _n in range(5):
        program.output.put_nowait(b"x" * (BEHIND_BYTES - 1))
    await settled()
    assert program.output.qsize() == 3
    await quick.read()
    await settled()
    assert program.output.qsize() == 3
    slow.close()
    await quick.read()
    await settled()
    assert program.output.qsize() < 3
    assert await slow.read() is None
    kept.close()


async def test_output_goes_at_once_to_who_waits_and_in_order_to_who_does_not(tmp_path: Path) -> None:
    program = Program()
    kept = Kept(program, tmp_path)
    view, given = kept.view(history=False), list[bytes]()
    room = True

    def take(data: bytes) -> bool:
        if room:
            given.append(data)
        return room

    view.at_once = take
    assert program.at_once(b"nobody waits yet")
    assert await view.read() == (1, b"nobody waits yet")
    reading = asyncio.ensure_future(view.read())
    await settled()
    assert program.at_once(b"key")
    assert given == [b"key"]
    room = False
    assert program.at_once(b"no ")
    room = True
    assert program.at_once(b"room")
    assert [await reading, await view.read()] == [(1, b"no "), (1, b"room")]
    assert program.at_once(b"x" * (BEHIND_BYTES + 1))
    assert not program.at_once(b"the program waits")
    assert (view.write_now(b"typed"), program.written, kept.view(history=False).place.typed) == (
        True,
        b"typed",
        5,
    )
    kept.close()


async def test_a_later_engine_has_what_was_kept(tmp_path: Path) -> None:
    program = Program()
    kept = Kept(program, tmp_path)
    program.output.put_nowait(b"a screen")
    first = kept.view(history=False)
    await first.write(b"x" * 100_000)
    await settled()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    program = Program()  # the first engine was killed: it closed nothing
    later = Kept(program, tmp_path)
    view = later.view(history=True)
    assert await view.read() == (1, b"a screen")
    assert view.place == (8, 8, 100_000)
    program.output.put_nowait(b" more")
    assert await view.read() == (1, b" more")
    last = Kept(Program(), tmp_path)
    view = last.view(history=True)
    assert (await view.read(), view.place) == ((1, b"a screen more"), (13, 13, 100_000))
    for one in (kept, later, last):
        one.close()


async def test_a_journal_that_grew_long_begins_anew_and_loses_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FILE_MAX_BYTES", 2 << 20)
    program = Program()
    kept = Kept(program, tmp_path)
    view = kept.view(history=False)
    lines = [b"%07d\n" % number * 4000 for number in range(200)]
    for line in lines:
        program.output.put_nowait(line)
        await view.read()
    whole = b"".join(lines)
    last = Kept(Program(), tmp_path)
    later = last.view(history=True)
    found = await later.read()
    assert found is not None
    assert later.place.end == len(whole)
    assert later.place.exact > 500_000
    assert whole.endswith(found[1][-later.place.exact :])
    assert all((tmp_path / name).stat().st_size < 3 << 20 for name in FILES)
    kept.close()
    last.close()


async def test_nothing_is_saved_of_a_session_that_has_ended(tmp_path: Path) -> None:
    program = Program()
    kept = Kept(program, tmp_path)
    kept.ended()
    program.output.put_nowait(b"last words")
    await settled()
    assert await kept.view(history=True).read() == (1, b"last words")
    kept.close()
    assert not list(tmp_path.iterdir())


async def test_what_a_terminal_has_no_room_for_follows_in_order_and_is_counted(tmp_path: Path) -> None:
    program = Program()
    program.room = 3
    kept = Kept(program, tmp_path)
    view = kept.view(history=False)
    assert view.write_now(b"first ")
    assert not view.write_now(b"second")  # the rest of what came before it waits
    await view.write(b"second")
    assert (program.written, kept.view(history=False).place.typed) == (b"first second", 12)
    kept.close()

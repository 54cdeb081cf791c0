"""conmon's log records: joined, chosen, cut anywhere; tails, rotation."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.containers import logs
from runtime.containers.inotify import Inotify
from runtime.containers.logs import Decoder, Follow, Rotation, Selection, files, rotate
from runtime.containers.times import SECOND_NS, rfc3339_fixed

START_NS = 1_700_000_000 * SECOND_NS


def record(
    number: int, text: bytes, *, stream: str = "stdout", flag: str = "F", zone: str = "+00:00"
) -> bytes:
    stamp = rfc3339_fixed(START_NS + number * SECOND_NS)[:-1] + zone
    return f"{stamp} {stream} {flag} ".encode() + text + b"\n"


def decoded(data: bytes, **selection: object) -> list[tuple[int, bytes]]:
    return Decoder(Selection(**selection)).feed(data)  # type: ignore[arg-type]


async def read(path: Path, **selection: object) -> bytes:
    return b"".join([data async for _, data in logs.read(path, Selection(**selection))])  # type: ignore[arg-type]


def test_parts_of_a_line_are_joined_and_ends_kept() -> None:
    data = record(0, b"a", flag="P") + record(1, b"b\r") + record(2, b"") + record(3, b"open", flag="P")
    assert decoded(data) == [(1, b"ab\r\n\nopen")]


def test_neighbours_of_one_stream_are_joined_and_streams_told_apart() -> None:
    data = record(0, b"1") + record(0, b"2") + record(0, b"e", stream="stderr") + record(0, b"3")
    assert decoded(data) == [(1, b"1\n2\n"), (2, b"e\n"), (1, b"3\n")]
    assert decoded(data, stdout=False) == [(2, b"e\n")]
    assert decoded(data, stderr=False) == [(1, b"1\n2\n3\n")]


def test_timestamps_stand_before_lines_not_before_their_parts() -> None:
    data = record(0, b"a", flag="P") + record(1, b"b") + record(2, b"c")
    out = decoded(data, timestamps=True)[0][1].decode().splitlines()
    assert out == ["2023-11-14T22:13:20.000000000Z ab", "2023-11-14T22:13:22.000000000Z c"]


def test_since_and_until_also_in_another_time_zone() -> None:
    for zone, shift in (("+00:00", 0), ("+02:00", 7200), ("-01:30", -5400)):
        data = b"".join(record(n + shift, b"%d" % n, zone=zone) for n in range(5))
        chosen = decoded(data, since_ns=START_NS + SECOND_NS, until_ns=START_NS + 3 * SECOND_NS)
        assert chosen == [(1, b"1\n2\n3\n")]
        stamped = decoded(data[: data.index(b"\n") + 1], timestamps=True)
        assert stamped == [(1, b"2023-11-14T22:13:20.000000000Z 0\n")]


@given(st.lists(st.tuples(st.binary(max_size=20), st.booleans(), st.booleans()), max_size=12), st.data())
def test_a_log_cut_anywhere_gives_the_same(
    lines: list[tuple[bytes, bool, bool]], data: st.DataObject
) -> None:
    whole = b"".join(
        record(n, text.replace(b"\n", b""), stream="stderr" if err else "stdout", flag="P" if part else "F")
        for n, (text, err, part) in enumerate(lines)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    decoder = Decoder(Selection())
    pieces: list[tuple[int, bytes]] = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        pieces += decoder.feed(whole[begin:end])

    def merged(stream: int, chunks: list[tuple[int, bytes]]) -> bytes:
        return b"".join(text for number, text in chunks if number == stream)

    for stream in (1, 2):
        assert merged(stream, pieces) == merged(stream, decoded(whole))


def test_rubbish_is_left_out() -> None:
    assert decoded(b"\nnonsense\n" + record(0, b"fine") + b"\0" * 60 + b"\n") == [(1, b"fine\n")]


@pytest.mark.parametrize("block", [7, 64, 1 << 16])
async def test_tail_counts_lines_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(logs, "TAIL_BLOCK_BYTES", block)
    path = tmp_path / "log"
    lines = [record(n, b"%d" % n) for n in range(30)]
    lines[10:11] = [record(10, b"1", flag="P"), record(10, b"0")]
    path.write_bytes(b"".join(lines))
    for count in (0, 1, 5, 19, 20, 29, 30, 31, 1000):
        wanted = b"".join(b"%d\n" % n for n in range(30))
        expected = b"".join(wanted.splitlines(keepends=True)[-count:]) if count else b""
        assert await read(path, tail=count) == expected, count


async def test_tail_reaches_into_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.2").write_bytes(record(0, b"0") + record(1, b"1"))
    (tmp_path / "log.1").write_bytes(record(2, b"2") + record(3, b"3"))
    path.write_bytes(record(4, b"4"))
    assert await read(path) == b"0\n1\n2\n3\n4\n"
    assert await read(path, tail=1) == b"4\n"
    assert await read(path, tail=2) == b"3\n4\n"
    assert await read(path, tail=4) == b"1\n2\n3\n4\n"


async def test_a_line_that_goes_on_in_the_next_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.1").write_bytes(record(0, b"0") + record(1, b"1", flag="P"))
    path.write_bytes(record(2, b"2") + record(3, b"3"))
    assert await read(path, tail=1) == b"3\n"
    assert await read(path, tail=2) == b"12\n3\n"
    assert await read(path, tail=3) == b"0\n12\n3\n"
    path.write_bytes(b"")  # rotated just now
    assert await read(path, tail=1) == b"1"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "none" / "log") == b""


def test_rotation_moves_up_and_drops_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for n in range(5):
        path.write_text(str(n))
        rotate(path, 3)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"log.1": "4", "log.2": "3"}
    path.write_text("x")
    (tmp_path / "log.backup").write_text("not ours")
    assert [p.name for p in files(path)] == ["log.2", "log.1", "log"]
    rotate(path, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.backup"]


def test_a_log_is_rotated_when_it_is_full_and_not_twice(tmp_path: Path) -> None:
    path = tmp_path / "log"
    told: list[None] = []
    rotation = Rotation(path, 10, 2, lambda: told.append(None))
    rotation.check()
    path.write_bytes(b"x" * 9)
    rotation.check()
    assert not told
    path.write_bytes(b"x" * 10)
    rotation.check()
    rotation.check()  # conmon has not made the new file yet
    assert len(told) == 1
    assert (tmp_path / "log.1").stat().st_size == 10


async def test_a_follower_gets_what_is_written_across_rotations_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(record(0, b"0"))
    inotify = Inotify()
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    chunks = logs.read(path, Selection(), follow=Follow(inotify, end))
    assert await anext(chunks) == (1, b"0\n")
    number = 1
    for _ in range(5):
        for _ in range(3):
            with open(path, "ab") as file:
                file.write(record(number, b"%d" % number))
            assert await anext(chunks) == (1, b"%d\n" % number)
            number += 1
        with open(path, "ab") as old:
            os.rename(path, tmp_path / "log.1")
            old.write(record(number, b"%d" % number))  # conmon writes on until it has reopened
            old.flush()
            path.touch()
        assert await anext(chunks) == (1, b"%d\n" % number)
        number += 1
    with open(path, "ab") as file:
        file.write(record(number, b"last"))
    end.set_result(None)
    assert [chunk async for chunk in chunks] == [(1, b"last\n")]
    inotify.close()


async def test_a_follower_passes_over_no_file_when_several_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(record(0, b"0"))
    inotify = Inotify()
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    chunks = logs.read(path, Selection(), follow=Follow(inotify, end))
    assert await anext(chunks) == (1, b"0\n")
    for number in range(1, 5):
        rotate(path, 10)
        path.write_bytes(record(number, b"%d" % number))
    end.set_result(None)
    assert [chunk async for chunk in chunks] == [(1, b"%d\n" % number) for number in range(1, 5)]
    inotify.close()


async def test_a_follower_left_far_behind_goes_on_with_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(record(0, b"0"))
    inotify = Inotify()
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    chunks = logs.read(path, Selection(), follow=Follow(inotify, end))
    assert await anext(chunks) == (1, b"0\n")
    for number in range(1, 6):
        rotate(path, 2)
        path.write_bytes(record(number, b"%d" % number))
    end.set_result(None)
    assert [chunk async for chunk in chunks] == [(1, b"4\n"), (1, b"5\n")]
    inotify.close()


async def test_a_follower_that_leaves_stops_watching(tmp_path: Path) -> None:
    inotify = Inotify()
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    (tmp_path / "log").write_bytes(record(0, b"0"))
    chunks = logs.read(tmp_path / "log", Selection(), follow=Follow(inotify, end))
    await anext(chunks)
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await chunks.aclose()  # type: ignore[attr-defined]
    assert inotify._watches == {}
    end.cancel()
    inotify.close()


async def test_one_directory_can_be_watched_by_many(tmp_path: Path) -> None:
    inotify = Inotify()
    told: list[str] = []
    changed = asyncio.Event()

    def hear(name: str) -> None:
        told.append(name)
        changed.set()

    stop_one = inotify.watch(tmp_path, lambda: hear("one"))
    stop_two = inotify.watch(tmp_path, lambda: hear("two"))
    (tmp_path / "x").touch()
    await changed.wait()
    assert sorted(set(told)) == ["one", "two"]
    stop_one()
    stop_one()
    told.clear()
    changed.clear()
    (tmp_path / "y").touch()
    await changed.wait()
    assert set(told) == {"two"}
    stop_two()
    with pytest.raises(FileNotFoundError):
        inotify.watch(tmp_path / "none", lambda: None)
    inotify.close()

"""The journal of a terminal session: what a killed engine had read is there, whenever it was killed."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.containers import journal
from runtime.containers.journal import EARLIER_FILE, FILES, Journal, Left

HEAD_BYTES = 56


class Killed(BaseException):
    """The engine is gone at this place."""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path)
    assert made.load() == Left(b"", 0, 0, 0)
    made.restart(b"", 0, 0)
    yield made
    made.close()


def later(directory: Path) -> Left:
    one = Journal(directory)
    try:
        return one.load()
    finally:
        one.close()


def test_what_was_written_and_typed_is_there(kept: Journal, tmp_path: Path) -> None:
    kept.append(b"a screen")
    kept.typed(7)
    assert later(tmp_path) == Left(b"a screen", 8, 8, 7)
    kept.restart(b"\x1b[Hscreen", 8, 5)
    kept.append(b" more")
    assert later(tmp_path) == Left(b"\x1b[Hscreen more", 13, 10, 7)


def test_two_files_take_turns_and_nothing_old_counts(kept: Journal, tmp_path: Path) -> None:
    for turn in range(6):
        kept.append(b"%d" % turn * (100 - turn))
        assert later(tmp_path).output.endswith(b"%d" % turn * (100 - turn))
        kept.restart(b"screen %d" % turn, 1000 * turn, 0)
        assert later(tmp_path) == Left(b"screen %d" % turn, 1000 * turn, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("killed_at", range(6))
def test_an_engine_killed_between_two_writes_loses_nothing_it_had_noted(
    kept: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    kept.append(b"first")
    kept.restart(b"first", 5, 5)
    kept.append(b" second")
    write, writes = journal._write, 0

    def until_killed(fd: int, data: bytes, at: int) -> None:
        nonlocal writes
        if writes == killed_at:
            if at >= HEAD_BYTES:  # Kernel: what lies in one page is written as a whole or not at all
                write(fd, data[: len(data) // 2], at)
            raise Killed
        writes += 1
        write(fd, data, at)

    monkeypatch.setattr(journal, "_write", until_killed)
    noted = b"first second"
    with pytest.raises(Killed):  # noqa: PT012 - at any of these
        kept.append(b" third")
        noted += b" third"
        kept.restart(b"first second third", 18, 18)
        kept.append(b"x")
    monkeypatch.undo()
    left = later(tmp_path)
    assert left.output[: left.end] == noted
    assert (left.end, left.exact) == (len(noted), len(noted))
    again = Journal(tmp_path)
    again.load()
    again.append(b" and on")
    again.restart(noted + b" and on", len(noted) + 7, 0)
    again.append(b".")
    assert later(tmp_path).output == noted + b" and on."
    again.close()


def test_without_room_there_is_none_and_the_session_goes_on(
    kept: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes, _at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    kept.append(b"output")
    kept.append(b"more")
    kept.typed(3)
    kept.restart(b"screen", 10, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("found", [b"", b"webdock2", b"webdock2" + bytes(48), b"webdock2" + b"\xff" * 48])
def test_a_file_that_is_not_whole_is_none(tmp_path: Path, found: bytes) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(found)
    assert later(tmp_path) == Left(b"", 0, 0, 0)


def test_what_an_earlier_version_left_is_taken_over(tmp_path: Path) -> None:
    head = struct.pack("<8sQQQQ", b"webdock1", 100, 6, 7, 2)
    (tmp_path / EARLIER_FILE).write_bytes(head + b"screen" + b" more")
    for _engine in range(2):
        assert later(tmp_path) == Left(b"screen more", 105, 7, 7)
    assert not (tmp_path / EARLIER_FILE).exists()

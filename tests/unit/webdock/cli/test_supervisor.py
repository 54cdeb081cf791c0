"""Back-off, log files that stay small, and words for exits."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from webdock.cli import supervisor
from webdock.cli.supervisor import Child, Log


def test_pauses_double_while_a_child_dies_young_and_start_over_after_a_long_life(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", None)
    child = Child("web", [sys.executable], {}, log, lambda: False)
    child.started = time.monotonic()
    pauses = [child.plan_restart() for _ in range(11)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])
    child.started = time.monotonic() - supervisor.STEADY_S - 1
    assert child.plan_restart() == 0.1
    log.close()


def test_a_child_that_had_answered_is_started_again_soon_however_often_it_ends(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", None)
    child = Child("web", [sys.executable], {}, log, lambda: True, answered=True)
    child.started = time.monotonic()
    assert max(child.plan_restart() for _ in range(20)) == supervisor.BACKOFF_ANSWERED_S
    log.close()


def test_what_a_child_says_and_how_it_ended_is_in_its_log(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", None)
    child = Child(
        "web", [sys.executable, "-c", "print('words'); raise SystemExit(3)"], {}, log, lambda: False
    )
    child.start()
    deadline = time.monotonic() + 10
    while (code := child.collect()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert code == 3
    text = (tmp_path / "x.log").read_text()
    assert "words\n" in text
    assert "web ended, exit code 3" in text
    log.close()


def test_a_log_is_cut_at_its_size_and_keeps_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 100)
    log = Log(tmp_path / "x.log", None)
    for number in range(100):
        log.write(f"line {number}\n".encode())
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert all(path.stat().st_size <= 110 for path in tmp_path.iterdir())


def test_exits_are_told_in_words() -> None:
    assert supervisor.describe_exit(3) == "exit code 3"
    assert supervisor.describe_exit(-11) == "killed by SIGSEGV"


def test_the_tail_of_a_log_is_short_and_of_a_missing_one_empty(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(map(str, range(100))))
    assert supervisor.tail_of(tmp_path / "log", 2) == "98\n99"
    assert supervisor.tail_of(tmp_path / "none") == ""

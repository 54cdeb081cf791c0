"""The record of what a test run makes: a dead run's is cleared, a living one's is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import subprocess, sys, time
from pathlib import Path
from tests import leftovers
leftovers.RECORDS = Path(sys.argv[1])
made = leftovers.directory("leftover-", sys.argv[2])
(made / "file").touch()
sleeper = subprocess.Popen(["sleep", "1000"], env={"PLACE": str(made)})
print(made, sleeper.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """Another test run, the directory it made and a process that works there."""
    monkeypatch.setattr(leftovers, "RECORDS", tmp_path / "records")
    argv = [sys.executable, "-c", RUN, str(tmp_path / "records"), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        directory, _, sleeper = process.stdout.readline().partition(" ")
        try:
            yield process, Path(directory), int(sleeper)
        finally:
            process.kill()
            leftovers.clear()


def test_what_a_living_run_made_is_left_alone(run: tuple[subprocess.Popen[str], Path, int]) -> None:
    _, directory, sleeper = run
    assert leftovers.clear() == []
    assert (directory / "file").exists()
    assert leftovers._runs(sleeper)


def test_what_a_dead_run_left_is_cleared_once(run: tuple[subprocess.Popen[str], Path, int]) -> None:
    process, directory, sleeper = run
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert leftovers.clear() == [f"cleared what a dead run left: path {directory}"]
    assert not directory.exists()
    assert not leftovers._runs(sleeper)
    assert leftovers.clear() == []
    assert list(leftovers.RECORDS.iterdir()) == []

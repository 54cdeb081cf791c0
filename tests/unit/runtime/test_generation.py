"""The state's version: written, brought forward step by step, and refused when it is newer."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import generation, main
from runtime.api.errors import Unavailable


def test_a_new_home_gets_the_current_version(tmp_path: Path) -> None:
    generation.bring_forward(tmp_path)
    assert generation.read(tmp_path) == generation.CURRENT
    assert [path.name for path in tmp_path.iterdir()] == [generation.FILE]


def test_every_version_below_the_current_has_a_step() -> None:
    assert sorted(generation.STEPS) == list(range(1, generation.CURRENT))


def test_a_newer_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / generation.FILE).write_text("7\n")
    with pytest.raises(Unavailable, match="version 7, and this engine knows up to 1"):
        generation.bring_forward(tmp_path)
    assert (tmp_path / generation.FILE).read_text() == "7\n"


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1.5", "9" * 5000, "²", "\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / generation.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(Unavailable, match="no version"):
        generation.bring_forward(tmp_path)


def test_steps_run_in_order_and_only_the_missing_ones(tmp_path: Path) -> None:
    done: list[int] = []
    steps = {number: lambda home, number=number: done.append(number) for number in (1, 2, 3)}
    generation.bring_forward(tmp_path, current=3, steps=steps)
    assert done == [1, 2]
    generation.bring_forward(tmp_path, current=4, steps=steps)
    assert done == [1, 2, 3]
    assert generation.read(tmp_path) == 4


def test_a_failed_step_is_tried_again_from_where_it_stood(tmp_path: Path) -> None:
    done: list[int] = []

    def fail(home: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        generation.bring_forward(tmp_path, current=3, steps={1: lambda home: done.append(1), 2: fail})
    assert generation.read(tmp_path) == 2
    generation.bring_forward(tmp_path, current=3, steps={2: lambda home: done.append(2)})
    assert done == [1, 2]


def test_the_engine_does_not_start_on_a_newer_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBDOCK_CONFIG", raising=False)
    home = tmp_path / "home"
    (home / "engine").mkdir(parents=True)
    (home / "engine" / generation.FILE).write_text("99\n")
    assert main.main(["--home", str(home), "--run", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "version 99" in said
    assert "newer webdock" in said
    assert "Traceback" not in said

"""Each judgement of the doctor, on facts it is handed; and the whole of it where nothing runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webdock.cli import doctor
from webdock.cli.instance import Instance
from webdock.preflight import FAILURE, OK, WARNING


def test_a_mistake_in_the_configuration_is_told_as_the_engine_tells_it() -> None:
    check = doctor.configuration_check(1, "webdock engine: engine.toml, line 3: unknown key 'x'")
    assert (check.level, "line 3" in check.text) == (FAILURE, True)
    assert doctor.configuration_check(0, "read").level == OK


def test_engine_toml_is_really_read(tmp_path: Path) -> None:
    config = tmp_path / "engine.toml"
    config.write_text("\nnonsense = 1\n")
    instance = Instance(tmp_path / "home", tmp_path / "run", "127.0.0.1:8000", config)
    code, said = doctor.check_configuration(instance)
    assert code == 1
    assert "nonsense" in said
    assert "engine.toml:2:" in said
    config.write_text('runtime = "runc"\n')
    code, said = doctor.check_configuration(instance)
    assert code == 0
    assert said.endswith("its runtime runc")
    assert not (tmp_path / "home").exists(), "reading the configuration makes nothing"


def test_modes_and_owners_that_were_changed_are_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    found = tmp_path.stat()
    check = doctor.mode_check(str(tmp_path), "state", found, 0o700, found.st_uid + 1, found.st_gid)
    assert check.level == FAILURE
    assert "mode 0755 instead of 0700" in check.text
    assert f"instead of {found.st_uid + 1}:" in check.text
    assert doctor.mode_check("x", "state", found, 0o755, found.st_uid, found.st_gid).level == OK


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ("there is no socket", FAILURE),
        ({"Version": "1.0", "ApiVersion": "1.47"}, OK),
        ({"Version": "0.9"}, WARNING),
    ],
)
def test_an_engine_that_is_away_or_another_version_is_told(answer: str | dict[str, str], level: str) -> None:
    assert doctor.engine_check(answer, "1.0").level == level


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (None, FAILURE),
        ((503, {"status": "no database"}), FAILURE),
        ((200, {"engines": {"local": True}}), OK),
        ((200, {"engines": {"local": True, "far": False}}), WARNING),
    ],
)
def test_pages_that_do_not_answer_or_miss_an_engine_are_told(
    answer: tuple[int, dict[str, object]] | None, level: str
) -> None:
    check = doctor.web_check(answer, "http://127.0.0.1:8000")
    assert check.level == level
    assert level != WARNING or "far" in check.text


def test_errors_at_the_end_of_a_log_are_counted_and_the_last_is_shown() -> None:
    text = "".join(
        f"2026-01-0{day} 10:00:00,000 {level} webdock.engine: line {day}\n"
        for day, level in ((1, "ERROR"), (2, "INFO"), (3, "CRITICAL"), (4, "WARNING"))
    )
    check = doctor.log_check("engine", text, "engine.log")
    assert check.level == WARNING
    assert "2 errors" in check.text
    assert "line 3" in check.text
    for level, seen in (("error", WARNING), ("info", OK)):
        line = f'{{"time": "2026-01-01T10:00:00.000Z", "level": "{level}", "logger": "a", "message": "b"}}\n'
        assert doctor.log_check("engine", line, "engine.log").level == seen
    assert doctor.log_check("engine", "2026-01-01 10:00:00,000 INFO a: ERROR in a word\n", "x").level == OK


def test_where_nothing_runs_both_processes_are_missed(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "home", tmp_path / "run", "127.0.0.1:1", None)
    found = {check.name: check for check in doctor.examine(instance)}
    assert found["engine"].level == FAILURE
    assert found["web"].level == FAILURE
    assert found["engine"].advice
    assert os.listdir(tmp_path) == []

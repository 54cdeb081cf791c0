"""Disk space: what the tables show, what is asked before something goes, and what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.recorder import ANSWER, Recorder, recorder
from webdock.cli import command

USAGE: dict[str, Any] = {
    "LayersSize": 3000,
    "Images": [
        {"Id": "sha256:" + "1" * 64, "RepoTags": ["a:1"], "Size": 3000, "SharedSize": 1000, "Containers": 1}
    ],
    "Containers": [{"Id": "2" * 64, "Names": ["/web"], "Image": "a:1", "State": "exited", "SizeRw": 20}],
    "Volumes": [{"Name": "data", "UsageData": {"RefCount": 2, "Size": 5000}}],
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Recorder]:
    with recorder(tmp_path) as one:
        yield one


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine answers to everything."""
    monkeypatch.setattr("tests.fakes.recorder.ANSWER", made := dict(ANSWER))
    return made


def test_each_thing_has_a_line_of_its_own(
    engine: Recorder, answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer.update(USAGE)
    assert command.run(["--host", engine.host, "system", "df", "-v"]) == 0
    images, containers, volumes = capsys.readouterr().out.split(" space usage:")[1:]
    assert images.split("\n")[3].split() == ["a", "1", "1" * 12, "N/A", "3kB", "1kB", "2kB", "1"]
    assert "web" in containers
    assert volumes.split("\n")[3].split() == ["data", "2", "5kB"]
    assert command.run(["--host", engine.host, "df", "-v", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["Volumes"][0]["Links"] == "2"


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_nothing_goes_unless_somebody_says_yes(
    said: str,
    code: int,
    engine: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    assert command.run(["--host", engine.host, "system", "prune", "-a", "--volumes"]) == code
    assert len(engine.take()) == (4 if code == 0 else 0)
    assert capsys.readouterr().err.startswith(
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all anonymous volumes not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "\nAre you sure you want to continue? [y/N] "
    )


def test_what_is_gone_is_listed(
    engine: Recorder, answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer.update(ContainersDeleted=["x1"], SpaceReclaimed=1000, ImagesDeleted=[{"Untagged": "a:1"}])
    assert command.run(["--host", engine.host, "prune", "-f"]) == 0
    assert capsys.readouterr().out == (
        "Deleted Containers:\nx1\n\nDeleted Images:\nuntagged: a:1\n\nTotal reclaimed space: 2kB\n"
    )

"""What Tab offers, and the scripts that ask for it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from webdock.cli.completion import SCRIPTS, candidates
from webdock.cli.http import Client, Unreachable

NOBODY = "unix:///nonexistent/engine.sock"


def offered(*words: str) -> list[str]:
    return list(candidates(words, NOBODY))


def test_verbs_are_offered_first() -> None:
    assert offered("pu") == ["pull", "push"]
    assert {"run", "network", "up"} <= set(offered(""))
    assert "complete" not in offered("c")


def test_nouns_offer_their_verbs() -> None:
    assert offered("network", "c") == ["connect", "create"]
    assert "ls" in offered("container", "")


def test_options_are_those_of_the_verb() -> None:
    assert offered("ps", "--no") == ["--no-trunc"]
    assert "--publish" in offered("run", "--pub")
    assert offered("run", "--supervise") == []


def test_names_come_from_the_engine_and_an_engine_that_is_away_offers_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert offered("stop", "") == []
    answers = {
        "/containers/json": [{"Names": ["/web"]}, {"Names": ["/worker"]}],
        "/images/json": [{"RepoTags": ["webdock/busybox:latest"]}],
        "/networks": [{"Name": "backend"}],
        "/volumes": {"Volumes": [{"Name": "data"}]},
    }
    monkeypatch.setattr(Client, "get", lambda self, path, query=None: answers[path])
    assert offered("stop", "w") == ["web", "worker"]
    assert offered("run", "") == ["webdock/busybox:latest"]
    assert offered("network", "rm", "") == ["backend"]
    assert offered("volume", "rm", "") == ["data"]
    assert offered("inspect", "web") == ["web", "webdock/busybox:latest"]

    def away(self: Client, path: str, query: object = None) -> object:
        raise Unreachable("gone")

    monkeypatch.setattr(Client, "get", away)
    assert offered("rm", "") == []


def test_what_makes_no_sense_offers_nothing() -> None:
    assert offered("nosuch", "") == []
    assert offered("network", "nosuch", "") == []


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_scripts_are_understood_by_their_shells(shell: str) -> None:
    program = shutil.which(shell)
    if program:  # bash is everywhere; the others where somebody uses them
        subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=True)

"""What Tab offers, and the scripts that ask for it."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from webdock.cli.command import ALIASES, NOUNS, VERBS, Parser
from webdock.cli.completion import KINDS, SCRIPTS, candidates
from webdock.cli.http import Client, Unreachable

#: Arguments that are files, new names, words of a command: nothing the engine could be asked for.
NAMELESS = {"command", "name", "port", "ps_options", "source", "target"}
NAMELESS |= {"reference", "file", "registry", "words", "request"}
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


def test_every_word_that_is_understood_is_offered() -> None:
    spellings = [spelling.split() for spelling in (*VERBS, *ALIASES)]
    assert set(offered("")) == {words[0] for words in spellings} - {"complete"}
    for noun in NOUNS:
        assert set(offered(noun, "")) == {words[1] for words in spellings if words[0] == noun}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_that_is_understood_is_offered(verb: str) -> None:
    module, function, text = VERBS[verb]
    parser = Parser(verb, text)
    getattr(importlib.import_module(f"webdock.cli.{module}"), f"{function}_options")(parser)
    shown = {name for one in parser._actions if one.help != argparse.SUPPRESS for name in one.option_strings}
    assert set(offered(*verb.split(), "-")) == shown
    for action in parser._get_positional_actions():
        known = action.choices or action.dest in {*KINDS, *NAMELESS}
        assert known, f"{verb}: what completes {action.dest}?"


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


def test_words_that_are_chosen_from_a_few_are_offered() -> None:
    assert offered("completion", "") == ["bash", "fish", "zsh"]


def test_bash_really_completes(tmp_path: Path) -> None:
    (tmp_path / "webdock").write_text(f'#!/bin/sh\nexec {sys.executable} -I -m webdock "$@"\n')
    (tmp_path / "webdock").chmod(0o755)
    script = (
        f"{SCRIPTS['bash']}\nCOMP_WORDS=(webdock volume ex) COMP_CWORD=2; _webdock; echo ${{COMPREPLY[@]}}\n"
        "COMP_WORDS=(webdock volume '') COMP_CWORD=2; _webdock; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["export", " ".join(offered("volume", ""))]


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_scripts_are_understood_by_their_shells(shell: str) -> None:
    program = shutil.which(shell)
    if program:  # bash is everywhere; the others where somebody uses them
        subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=True)

"""Finding the verb, and what is said when there is none."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from webdock.cli import command

HIDDEN = ("container prune", "image prune", "complete")  # spelled otherwise, or for programs only


@pytest.mark.parametrize("verb", sorted(command.VERBS))
def test_every_verb_has_its_function_its_options_and_a_help(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module_name, function, text = command.VERBS[verb]
    module = importlib.import_module(f"webdock.cli.{module_name}")
    assert callable(getattr(module, function))
    assert command.run([*verb.split(), "--help"]) == 0
    assert text in " ".join(capsys.readouterr().out.split())


def test_every_alias_leads_to_a_verb() -> None:
    assert set(command.ALIASES.values()) <= set(command.VERBS)
    assert command.split_verb(["container", "ls", "-a"]) == ("ps", ["-a"])
    assert command.split_verb(["network", "ls"]) == ("network ls", [])


def test_the_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in command.VERBS:
        assert f"  {verb.split()[0]} " in shown or verb in HIDDEN


def test_unknown_verbs_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["inspct"]) == 125
    assert "did you mean 'inspect'" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["ps", "--nosuch"], ["--nosuch"], ["network", "fly"], ["run"], ["-H"]])
def test_a_wrong_line_ends_with_125_and_says_where_help_is(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(argv) == 125
    assert "--help" in capsys.readouterr().err


def test_the_host_stands_before_the_verb() -> None:
    assert command.split_globals(["-H", "a", "ps"]) == ("a", ["ps"])
    assert command.split_globals(["--host=b", "ps", "-H"]) == ("b", ["ps", "-H"])


def test_client_verbs_never_load_django_or_asyncio() -> None:
    code = (
        "import sys; from webdock.cli.command import run;"
        "run(['--host', 'unix:///nonexistent/engine.sock', 'ps']);"
        "print(sorted({'django', 'asyncio', 'aiohttp', 'channels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "engine is not running" in done.stderr

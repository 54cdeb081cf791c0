"""The pages of the documentation: what they point at is there, and the verbs and options they name exist."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from webdock.cli import command

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Of every heading, as a forge makes them: lower case, spaces to hyphens, punctuation gone."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{target} does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_verbs_and_options_in_the_text_exist(page: Path) -> None:
    for code in re.findall(r"`(?:sudo )?webdock ([^`]+)`", prose(page)):
        words = [word.partition("|")[0] for word in shlex.split(code.replace("'", ""))]
        if words[0] in ("--help", "--version") or words in [[noun] for noun in command.NOUNS]:
            continue
        words = words[: words.index("…")] if "…" in words else words
        verb, rest = command.split_verb(words)
        module, function, text = command.VERBS[verb]
        parser = command.Parser(verb, text)
        getattr(importlib.import_module(f"webdock.cli.{module}"), f"{function}_options")(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        asked = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--"}
        assert asked <= known, f"webdock {code}: {sorted(asked - known)} unknown"

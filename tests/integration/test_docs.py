"""Every command of the README and of docs/, typed on a terminal into a real installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installation import ROOT, UP_TIMEOUT_S, Installation, free_port
from tests.integration.pty_session import PtySession

PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"^(?P<indent> *)```sh\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
REASON = re.compile(r"<!-- not run: \S.*? -->\n\s*$")
SHELL_PROMPT, ENDED = r"/ # ", r"all typed: (\d+)\r?\n"


def commands(page: Path) -> str:
    """The shell blocks of a page one after another, without those whose comment says why they are not run."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(
        re.sub(rf"^{block['indent']}", "", block["text"], flags=re.MULTILINE)
        for block in BLOCK.finditer(text)
        if not REASON.search(text[: block.start()])
    )


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that the pages themselves start and stop, and a ``sudo`` for who is root already."""
    installation = Installation("docs")
    shims = tmp_path_factory.mktemp("bin")
    (shims / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (shims / "sudo").chmod(0o755)
    installation.environ["PATH"] = f"{shims}:{installation.environ['PATH']}"
    installation.environ["TERM"] = "xterm-256color"
    yield installation
    installation.purge()


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_of_the_page_work(page: Path, described: Installation) -> None:
    script = commands(page)
    for meant, here in {
        "/etc/webdock/engine.toml": str(described.config),
        "/var/lib/webdock": str(described.home),
        "/run/webdock": str(described.run),
        "127.0.0.1:8000": described.listen,
        "127.0.0.1:8001": f"127.0.0.1:{free_port()}",
        "8080": str(free_port()),
        "/root/": f"{described.root}/",
    }.items():
        script = script.replace(meant, here)
    file = described.root / "commands.sh"
    file.write_text(script)
    with PtySession(
        ["sh", "-c", f"cd {ROOT} && bash -e -x -o pipefail {file}; echo all typed: $?"], described.environ
    ) as terminal:
        while True:
            seen = terminal.expect(f"{SHELL_PROMPT}|{ENDED}", UP_TIMEOUT_S)
            if seen[1] is not None:
                break
            terminal.type("exit\n")
        assert seen[1] == b"0", terminal.text[-6000:]

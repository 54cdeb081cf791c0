"""The program as pip installs it: no clone beside it, pages and command are whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installation import ROOT, Installation

SOURCES = ("webdock", "containers_app", "images_app", "runtime", "templates", "static", "locale")
BUILD_TIMEOUT_S = 300


@pytest.fixture
def installed_with_pip(tmp_path: Path) -> Iterator[Installation]:
    """A virtual environment with the wheel; what it needs is looked up in the environment of the tests."""
    source = tmp_path / "source"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.txt"), ROOT / "pyproject.toml", ROOT / "setup.py"):
        shutil.copy(path, source)
    installation = Installation("wheel")
    environment = installation.root / "venv"
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    for argv in (
        [sys.executable, "-m", "venv", str(environment)],
        [str(environment / "bin/pip"), "install", "-q", "--no-deps", str(source)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
        assert done.returncode == 0, done.stdout + done.stderr
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(f"{packages}\n")
    installation.command = [str(environment / "bin/webdock")]
    yield installation
    installation.purge()


def test_pip_gives_the_command_and_whole_pages(installed_with_pip: Installation) -> None:
    installation = installed_with_pip
    assert installation.webdock("--version").stdout.startswith("webdock ")
    assert installation.webdock("doctor", check=False).returncode == 1  # nothing runs yet, and it says so
    installation.up()
    assert installation.webdock("run", "--rm", "webdock/busybox", "echo", "lives").stdout == "lives\n"
    status, page = installation.page("/login/")
    assert status == 200
    styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert styles
    for path in styles:
        assert installation.page(path)[0] == 200
    doctor = installation.webdock("doctor", "--quiet", check=False)
    assert doctor.returncode == 0, doctor.stdout
    assert str(ROOT) not in installation.webdock("doctor").stdout

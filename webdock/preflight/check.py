"""One line of the list, the list as text, and the few ways in which facts are gathered."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OK, WARNING, FAILURE = "ok", "warning", "failure"

PROBE_TIMEOUT_S = 10


@dataclass(frozen=True)
class Check:
    """One line of the list: what was looked at, how it is, and what to do when it is not well."""

    name: str
    level: str
    text: str
    advice: str = ""


def report(checks: Iterable[Check], *, quiet: bool = False) -> str:
    """The list as text; ``quiet`` leaves out what is well."""
    lines = []
    for check in checks:
        if quiet and check.level == OK:
            continue
        mark = {OK: "ok  ", WARNING: "warn", FAILURE: "FAIL"}[check.level]
        lines.append(f"{mark}  {check.name}: {check.text}")
        if check.advice:
            lines.append(f"      → {check.advice}")
    return "\n".join(lines)


def read(path: str) -> str:
    """A file's text, "" when there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def probe(*argv: str) -> str:
    """Run a program that should succeed; "" when it did, else the last line it wrote."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def find_program(name: str) -> str | None:
    """Look a program up on PATH and in the places root's PATH has but a user's may lack."""
    return shutil.which(
        name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    )

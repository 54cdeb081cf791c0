"""Which shells a container has: looked up in its own file system, by PATH and by its /etc/shells.

Runs nothing in it, needs none of its programs, and follows its links inside it only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.api.errors import EngineError
from runtime.api.types import SHELLS
from runtime.containers.users import open_inside, read_inside

DIRECTORIES_MAX = 32  # of PATH
LISTED_MAX = 100  # of /etc/shells
BUSYBOX = ("/bin/busybox", "/busybox/busybox")  # runs as a shell where there is no link to it


def find(rootfs: Path, path: str) -> list[str]:
    """Paths as the container has them: known names by PATH, then what /etc/shells lists. Blocks for reads."""
    found: dict[str, None] = {}
    directories = [one.rstrip("/") for one in path.split(":") if one.startswith("/")][:DIRECTORIES_MAX]
    for name in SHELLS:
        candidates = (f"{directory}/{name}" for directory in directories)
        if (first := next(_runnable(rootfs, candidates), None)) is not None:
            found[first] = None
    found |= dict.fromkeys(_runnable(rootfs, _listed(rootfs)))
    return list(found or dict.fromkeys(_runnable(rootfs, BUSYBOX)))


def _listed(rootfs: Path) -> list[str]:
    try:
        lines = read_inside(rootfs, "/etc/shells").decode(errors="replace").splitlines()
    except EngineError:
        return []  # a file of megabytes lists no shells
    return [line.strip() for line in lines if line.startswith("/")][:LISTED_MAX]


def _runnable(rootfs: Path, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            fd = open_inside(rootfs, path)
        except (OSError, ValueError):
            continue
        try:
            mode = os.fstat(fd).st_mode
        finally:
            os.close(fd)
        if stat.S_ISREG(mode) and mode & 0o111:
            yield path

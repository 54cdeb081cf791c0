"""The version of what lies in the engine's home, and the steps that bring an older one forward.

Owns the file ``state-version``. Knows no room's records: a step is handed the home and changes what it must.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from runtime.api.errors import Unavailable

log = logging.getLogger("webdock.engine")

#: What this engine writes; one more whenever an older engine would misread it.
CURRENT = 1
FILE = "state-version"
_MAX_DIGITS = 9  # more in the file is damage, not a version

#: version -> what makes the next one of it. A crash may cut a step off, so it must stand being repeated.
STEPS: Mapping[int, Callable[[Path], None]] = {}


def bring_forward(
    home: Path, *, current: int = CURRENT, steps: Mapping[int, Callable[[Path], None]] = STEPS
) -> None:
    """Make the state in ``home`` this engine's, one version at a time, each written down once it is reached.

    A home without the file is of version 1, the last that had none, or new. Blocks.
    Raises: Unavailable, with nothing changed, when the state is newer than this engine or the file damaged.
    """
    found = read(home)
    version = 1 if found is None else found
    if version > current:
        raise Unavailable(
            f"the state in {home} has version {version}, and this engine knows up to {current}: it was "
            "last used by a newer webdock; start that one, or give another --home"
        )
    while version < current:
        log.info("bringing the state in %s from version %d to %d", home, version, version + 1)
        steps[version](home)
        version += 1
        _write(home, version)
    if found is None and current == version:
        _write(home, version)


def read(home: Path) -> int | None:
    """The version in ``home``, None when no file tells it.

    Raises: Unavailable when the file holds anything else.
    """
    path = home / FILE
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) > 0):
        raise Unavailable(
            f"{path} holds {text[:40]!r}, which is no version: put the number there that the engine which "
            f"last ran wrote (this one writes {CURRENT})"
        )
    return int(text)


def _write(home: Path, version: int) -> None:
    fresh = home / f"{FILE}.new"
    with open(fresh, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{version}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(home / FILE)
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""Where a terminal is: the current directory of the program that has its foreground.

Reads /proc of processes of this machine; never follows a path of a container.
"""

from __future__ import annotations

import os
from pathlib import Path

FOREGROUND_FIELD = 5  # in /proc/<pid>/stat, behind the name: the group that has the terminal


def current_directory(pid: int) -> str | None:
    """Absolute and as the program sees it; None when it is gone, was removed or cannot be written as text.

    pid: of the program a terminal began with; a shell it started since has the foreground.
    """
    for one in (_foreground(pid), pid):
        try:
            path = os.readlink(f"/proc/{one}/cwd")
            path.encode()
        except (OSError, UnicodeEncodeError):
            continue
        # Kernel: a directory that was removed is shown with this behind it.
        if path.startswith("/") and not path.endswith(" (deleted)"):
            return path
    return None


def _foreground(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return pid
    group = int(stat.rpartition(b")")[2].split()[FOREGROUND_FIELD])
    return group if group > 0 else pid

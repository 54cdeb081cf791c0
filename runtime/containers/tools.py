"""The debug shell: busybox for containers whose image has no shell, without a change to the container.

The machine's busybox lies in a file system that is mounted nowhere; a session's runtime is given its
directory as descriptor 3, and the program is run from there, in the container's namespaces and with its
rights. Nobody else in the container sees anything of it but a process. Its shell finds its own programs in
itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runtime.api.errors import NotSupported
from runtime.snapshots import mount

NAME = "busybox"
COMMAND = [f"/proc/self/fd/3/{NAME}", "sh"]
HEAD_BYTES = 64 << 10
PT_INTERP = b"/lib64/ld-linux", b"/lib/ld-"


class Tools:
    """Made when they are first asked for, for as long as the engine runs."""

    def __init__(self) -> None:
        self._root = -1

    def directory(self) -> Path:
        """Where a root process opens the directory with busybox. Raises: NotSupported."""
        if self._root < 0:
            self._root = self._make()
        return Path(f"/proc/{os.getpid()}/fd/{self._root}")

    def _make(self) -> int:
        found = shutil.which(NAME)
        if found is None or not _is_static(Path(found)):
            raise NotSupported(
                "a debug shell needs a static busybox (package busybox-static) beside the engine"
            )
        try:
            return mount.nowhere(Path(found), NAME)
        except OSError as error:
            raise NotSupported(f"a debug shell cannot be made on this kernel: {error}") from error

    def close(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


def _is_static(program: Path) -> bool:
    """Whether it needs no loader, which a container without a shell has not either."""
    with program.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return head.startswith(b"\x7fELF") and not any(loader in head for loader in PT_INTERP)

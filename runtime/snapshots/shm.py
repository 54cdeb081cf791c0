"""Shared memory (/dev/shm) of containers others may share (IpcMode shareable): a tmpfs on the host.

    run/mounts/shm-<id>      on the private mount the root file systems are on, too

Kernel: a bind can only come from the binding process's own mount namespace, so one container's tmpfs cannot
be taken from inside it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from runtime.idmap import IdMap
from runtime.snapshots import mount


class SharedMemory:
    """One tmpfs per container; blocking calls of microseconds."""

    def __init__(self, run: Path) -> None:
        self._mounts = run / "mounts"

    def path(self, id: str) -> Path:
        return self._mounts / f"shm-{id}"

    def mount(self, id: str, size_bytes: int, mapping: IdMap | None) -> Path:
        """The directory to bind at /dev/shm; found again when it is there. Raises: OSError."""
        target = self.path(id)
        target.mkdir(mode=0o711, exist_ok=True)
        if not mount.is_mounted(target):
            root = mapping.base if mapping else 0
            mount.mount(
                "shm",
                target,
                "tmpfs",
                mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC,
                f"mode=1777,size={size_bytes},uid={root},gid={root}",
            )
        return target

    def unmount(self, id: str) -> None:
        """Idempotent. Containers that joined it keep it until they end."""
        target = self.path(id)
        while mount.unmount(target):
            pass
        with suppress(FileNotFoundError):
            target.rmdir()

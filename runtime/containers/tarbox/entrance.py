"""Into the container's file system: its mounts, its root, its ids."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from runtime.containers.users import open_inside
from runtime.snapshots import mount

CLONE_NEWUSER = 0x10000000


def enter(job: dict[str, Any]) -> None:
    """Mount what the container would see, lock this process into its root, take on its ids."""
    root = os.open(job["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for bind in job["binds"]:
        _bind(job["root"], bind, job["base"])
    if job["binds"]:
        os.close(root)
        root = os.open(job["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    userns = os.open(job["userns"], os.O_RDONLY | os.O_CLOEXEC) if job["userns"] else -1
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")
    if userns >= 0:
        if ctypes.CDLL(None, use_errno=True).setns(userns, CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "the user namespace cannot be entered")
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _bind(root: str, bind: dict[str, Any], base: int) -> None:
    """Mount a volume or host path where the container has it, in this process's own mount namespace."""
    source, destination = Path(bind["source"]), bind["destination"]
    directory = source.is_dir()
    # A mount point belongs to the container's root, which the host's root is not on a mapped file system.
    with mount.acting_as(base):
        fd = _make_place(root, destination, directory)
    try:
        if bind["idmap"]:
            # Kernel: move_mount does not follow the descriptor's link. Race: if somebody exchanges the path
            # now, the mount appears elsewhere in this process's own namespace, and the job does not see it.
            mount.idmapped(source, Path(os.readlink(f"/proc/self/fd/{fd}")), Path(bind["idmap"]))
        else:
            mount.bind(source, Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def _make_place(root: str, destination: str, directory: bool) -> int:
    """An O_PATH descriptor of the mount point, made when it is missing as at a container's first start."""
    try:
        return open_inside(Path(root), destination)
    except FileNotFoundError:
        pass
    parts = [part for part in destination.split("/") if part]
    for number in range(1, len(parts) + 1):
        path = "/" + "/".join(parts[:number])
        try:
            os.close(open_inside(Path(root), path))
            continue
        except FileNotFoundError:
            parent = open_inside(Path(root), os.path.dirname(path))
        try:
            name = parts[number - 1]
            if number < len(parts) or directory:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent))
        finally:
            os.close(parent)
    return open_inside(Path(root), destination)

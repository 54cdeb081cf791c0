"""Attributes of directories that a layer passes through without saying what they are.

A layer may hold ``var/lib/x`` without entries for ``var`` and ``var/lib``. In an overlay the directories
made on the way would cover those of the layers below, so they take over their owner, mode and times.
Walks without following any symlink.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_STEERING = ("trusted.overlay.", "user.overlay.")


def inherit_attributes(layer: Path, implied: Sequence[str], below: Sequence[Path], opaque: str) -> None:
    """Give ``implied`` directories of ``layer`` the attributes they have ``below`` (lowest first)."""
    # Children first: setting the attributes of a directory must not be undone by work inside it.
    for path in sorted(implied, reverse=True):
        parts = path.split("/")
        source = _find(below, parts, opaque)
        if source is None:
            continue
        try:
            try:
                target = _walk(layer, parts)
            except OSError:
                continue  # reached through a symlink of the layer: not the directory that was meant
            try:
                _copy(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _find(below: Sequence[Path], parts: list[str], opaque: str) -> int | None:
    """A descriptor of the directory as the layers below show it; None where they show none."""
    for layer in reversed(below):
        here = os.open(layer, _STEP)
        hidden = _is_opaque(here, opaque)
        try:
            for part in parts:
                inner = os.open(part, _STEP, dir_fd=here)
                os.close(here)
                here = inner
                hidden = hidden or _is_opaque(here, opaque)
        except OSError as error:
            os.close(here)
            if error.errno != errno.ENOENT or hidden:
                return None  # something else is there, or what is further below does not show through
            continue
        return here
    return None


def _walk(root: Path, parts: list[str]) -> int:
    here = os.open(root, _STEP)
    for part in parts:
        try:
            inner = os.open(part, _STEP, dir_fd=here)
        finally:
            os.close(here)
        here = inner
    return here


def _is_opaque(descriptor: int, opaque: str) -> bool:
    try:
        return os.getxattr(f"/proc/self/fd/{descriptor}", opaque) == b"y"
    except OSError:
        return False


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    source_path, path = f"/proc/self/fd/{source}", f"/proc/self/fd/{target}"
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))
    for key in os.listxattr(source_path):
        if not key.startswith(_STEERING):
            try:
                os.setxattr(path, key, os.getxattr(source_path, key))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

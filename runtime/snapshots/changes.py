"""What a container changed: an overlay upper directory against what lies below it.

Spec: Docker API 1.47, ContainerChanges; kernel Documentation/filesystems/overlayfs.rst, whiteouts and opaque
directories.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.snapshots.base import ChangeKind


def tree_size(path: Path) -> int:
    """Bytes in the files of a tree, each inode once."""
    total = 0
    seen: set[int] = set()
    pending = [os.fspath(path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink > 1:
                    if status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                total += status.st_size
    return total


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def compare(upper: Path, lower: Path, opaque_xattr: str) -> list[tuple[ChangeKind, str]]:
    """Every path that differs, sorted; lower is the merged tree below (a read-only view)."""
    found: list[tuple[ChangeKind, str]] = []
    _directory(os.fspath(upper), os.fspath(lower), "", opaque_xattr, found)
    return sorted(found, key=lambda change: change[1])


def _directory(
    upper: str, lower: str | None, inside: str, opaque_xattr: str, found: list[tuple[ChangeKind, str]]
) -> None:
    """lower: the directory of the same name below, None when there is none to merge with."""
    with os.scandir(upper) as entries:
        for entry in entries:
            path = f"{inside}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            below = _lstat(f"{lower}/{entry.name}") if lower is not None else None
            if is_whiteout(status):
                if below is not None:
                    found.append((ChangeKind.DELETED, path))
                continue
            merged = stat.S_ISDIR(status.st_mode) and below is not None and stat.S_ISDIR(below.st_mode)
            if below is None:
                found.append((ChangeKind.ADDED, path))
            elif not merged or _differs(status, below):
                found.append((ChangeKind.MODIFIED, path))
            if stat.S_ISDIR(status.st_mode):
                next_lower = f"{lower}/{entry.name}" if merged else None
                _directory(entry.path, next_lower, path, opaque_xattr, found)
                if merged and is_opaque(entry.path, opaque_xattr):
                    hidden = set(os.listdir(f"{lower}/{entry.name}")) - set(os.listdir(entry.path))
                    found.extend((ChangeKind.DELETED, f"{path}/{name}") for name in hidden)


def _differs(upper: os.stat_result, lower: os.stat_result) -> bool:
    """A directory is copied up, unchanged, for what changed inside."""
    return (upper.st_mode, upper.st_uid, upper.st_gid, upper.st_mtime_ns) != (
        lower.st_mode,
        lower.st_uid,
        lower.st_gid,
        lower.st_mtime_ns,
    )


def is_opaque(path: str, xattr: str) -> bool:
    try:
        return os.getxattr(path, xattr, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None

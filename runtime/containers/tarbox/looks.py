"""What stands at a path, and what a directory holds.

Spec: Docker API 1.47, ContainerArchiveInfo.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from typing import Any, BinaryIO

from runtime.containers.tarbox.report import Refused, tell

# Go's os.FileMode bits.
_GO_BITS = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, (1 << 26) | (1 << 21)),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)


def describe(path: str) -> dict[str, Any]:
    """Docker's PathStat of a path; of a link itself, unless the path ends in a slash or dot."""
    absolute = absolute_path(path)
    status = os.lstat(absolute)
    target = ""
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(absolute)
    return {
        "name": os.path.basename(absolute.rstrip("/")) or "/",
        "size": status.st_size,
        "mode": _go_mode(status.st_mode),
        "mtime": _rfc3339(status.st_mtime_ns),
        "linkTarget": target,
    }


def absolute_path(path: str) -> str:
    """Clean and absolute, with a final "/" or "/." kept: those mean what a link leads to."""
    if "\0" in path:
        raise Refused("invalid", "the path has a NUL byte")
    clean_path = os.path.normpath("/" + path)
    clean_path = "/" + clean_path.lstrip("/")
    last = path.rsplit("/", 1)[-1]
    if last == "." and clean_path != "/":
        return clean_path + "/."
    if path.endswith("/") and clean_path != "/":
        return clean_path + "/"
    return clean_path


def _go_mode(mode: int) -> int:
    bits = mode & 0o777
    for test, bit in _GO_BITS:
        if test(mode):
            bits |= bit
    if mode & stat.S_ISUID:
        bits |= 1 << 23
    if mode & stat.S_ISGID:
        bits |= 1 << 22
    if mode & stat.S_ISVTX:
        bits |= 1 << 20
    return bits


def _rfc3339(time_ns: int) -> str:
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def list_directory(path: str, entries_max: int, report: BinaryIO) -> None:
    """The names of a directory, in order: one line of JSON each on standard output."""
    directory = os.path.realpath(absolute_path(path), strict=True)
    if not os.path.isdir(directory):
        raise Refused("invalid", f"{path} is not a directory")
    names = os.listdir(os.fsencode(directory))
    tell(report, {"stat": {"total": len(names), "path": directory}})
    out = sys.stdout.buffer
    for name in sorted(names)[:entries_max]:
        inner = os.path.join(os.fsencode(directory), name)
        with contextlib.suppress(FileNotFoundError):  # Race: it vanished meanwhile
            out.write(json.dumps(_entry_of(inner, name)).encode() + b"\n")
    out.flush()


def _entry_of(path: bytes, name: bytes) -> dict[str, Any]:
    status = os.lstat(path)
    target = os.readlink(path).decode("utf-8", "replace") if stat.S_ISLNK(status.st_mode) else ""
    shown = name.decode("utf-8", "replace")
    return {
        "name": shown,
        "exact": shown.encode() == name,
        "size": status.st_size,
        "mode": status.st_mode,
        "mtime": _rfc3339(status.st_mtime_ns),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "linkTarget": target,
    }

"""Comparing an unpacked layer with the archive it was made of, entry by entry, byte by byte.

Runs in the worker process, locked into the layer's directory; changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runtime.images.paths import SHOWN_CHARS, clean
from runtime.images.tar import (
    BLOCKDEV,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
    TarReader,
)
from runtime.images.tarfields import NS

DIFFERENCES_MAX = 50
LINKS_PLENTY = 32_000  # ext4 refuses the 65,001st link to a file; near that, copies are in order
READ_BYTES = 1 << 18
TIME_MAX_NS = (1 << 33) * NS  # later ones are not kept exactly by every file system

_FORMATS = {
    FILE: stat.S_IFREG,
    DIRECTORY: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHAR: stat.S_IFCHR,
    BLOCKDEV: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}


def compare(chunks: Iterator[bytes]) -> list[str]:
    """How the current directory, the root of this process, differs from the archive: one line per path.

    Reads the stream to its end. Raises: TarError, UnpackError.
    """
    reader = TarReader(chunks)
    found: dict[bytes, str] = {}
    seen: set[bytes] = set()
    while (entry := reader.next()) is not None:
        path = clean(entry.name)
        parent, _, base = path.rpartition(b"/")
        if base.startswith(b".wh..wh."):
            continue
        if base.startswith(b".wh."):
            path = parent + b"/" + base[4:] if parent else base[4:]
            if path not in seen:
                found.update(_whiteout(path))
            seen.add(path)
            continue
        if path in seen:
            # A later entry took the place of an earlier one, with all that was in it.
            for gone in [known for known in found if known == path or known.startswith(path + b"/")]:
                del found[gone]
        seen.add(path)
        difference = _entry(path or b".", entry, reader)
        if difference:
            found[path] = difference
    reader.drain()
    for path in _strangers(seen):
        found.setdefault(path, "is not in the layer")
    return [f"/{_plain(path)}: {why}" for path, why in sorted(found.items())[:DIFFERENCES_MAX]]


def _entry(path: bytes, entry: Entry, reader: TarReader) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "is missing"
    if entry.kind == HARDLINK:
        try:
            target = os.lstat(clean(entry.link))
        except OSError:
            return "is missing"
        same = target.st_ino == status.st_ino or target.st_nlink > LINKS_PLENTY
        return "" if same else "is no longer a link to the same file"
    if stat.S_IFMT(status.st_mode) != _FORMATS.get(entry.kind):
        return "is of another kind"
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return "has another owner"
    if entry.kind == SYMLINK:
        return "" if os.readlink(path) == entry.link else "points elsewhere"
    if stat.S_IMODE(status.st_mode) != entry.mode:
        return "has another mode"
    if entry.kind in (CHAR, BLOCKDEV):
        same = status.st_rdev == os.makedev(entry.major, entry.minor)
        return "" if same else "is another device"
    if entry.kind == FILE:
        if status.st_size != entry.size:
            return "has another size"
        if (
            status.st_mtime_ns // NS != min(max(entry.mtime_ns, 0), TIME_MAX_NS) // NS
            and entry.mtime_ns < 1 << 62
        ):
            return "has another time"
        return _contents(path, reader)
    return ""


def _contents(path: bytes, reader: TarReader) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for offset, piece in reader.pieces():
            while len(piece):
                data = os.pread(descriptor, min(READ_BYTES, len(piece)), offset)
                if not data or data != piece[: len(data)]:
                    return "has other contents"
                offset += len(data)
                piece = piece[len(data) :]
    finally:
        os.close(descriptor)
    return ""


def _plain(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


def _whiteout(path: bytes) -> dict[bytes, str]:
    try:
        status = os.lstat(path)
    except OSError:
        return {path: "is no longer hidden"}
    hidden = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
    return {} if hidden else {path: "is no longer hidden"}


def _strangers(seen: set[bytes]) -> Iterator[bytes]:
    """Paths that no entry made, nor the way to one."""
    ways: set[bytes] = set()
    for path in seen:
        while b"/" in path:
            path = path.rpartition(b"/")[0]
            if path in ways:
                break
            ways.add(path)
    pending = [b""]
    while pending:
        directory = pending.pop()
        with os.scandir(directory or b".") as entries:
            for entry in entries:
                path = directory + b"/" + entry.name if directory else entry.name
                if path not in seen and path not in ways:
                    yield path
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)

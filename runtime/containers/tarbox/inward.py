"""The members of an archive, put below a directory of this process's root.

Owns Docker's rules of what replaces what.

Spec: Docker API 1.47, PutContainerArchive.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any

from runtime.containers.tarbox.looks import absolute_path
from runtime.containers.tarbox.report import READ_BYTES, STEERING, Refused
from runtime.images.compression import decompressed
from runtime.images.paths import clean
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


def put(job: dict[str, Any]) -> None:
    target = os.path.realpath(absolute_path(job["path"]), strict=True)
    if not os.path.isdir(target):
        raise Refused("invalid", "extraction point is not a directory")
    for place in sorted(job["read_only"], key=len, reverse=True):
        if target == place or target.startswith(place.rstrip("/") + "/"):
            what = "container rootfs" if place == "/" else "mounted volume"
            raise Refused("forbidden", f"{what} is marked read-only")
    for place in job["writable"]:
        if target == place or target.startswith(place.rstrip("/") + "/"):
            break
    else:
        if job["root_read_only"]:
            raise Refused("forbidden", "container rootfs is marked read-only")
    owner = tuple(job["owner"]) if job["owner"] else None
    own = job.get("own", False) and target == "/"
    extraction = _Extraction(os.fsencode(target), owner, careful=job["careful"], own=own)
    extraction.run(TarReader(decompressed(_stdin())))


def _stdin() -> Iterator[bytes]:
    while data := os.read(0, READ_BYTES):
        yield data


class _Extraction:
    """Puts the members of an archive below a directory."""

    def __init__(self, target: bytes, owner: tuple[int, int] | None, *, careful: bool, own: bool) -> None:
        self._target = target
        self._owner = owner
        self._careful = careful  # a directory is never replaced by something else, nor the other way round
        self._own = own  # what the archive says of its root holds for the target, too
        self._directories: list[tuple[bytes, Entry]] = []

    def run(self, reader: TarReader) -> None:
        for entry in reader:
            name = clean(entry.name)
            path = os.path.join(self._target, name) if name else self._target
            self._entry(path, name, entry, reader)
        reader.drain()
        for path, entry in reversed(self._directories):
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))

    def _entry(self, path: bytes, name: bytes, entry: Entry, reader: TarReader) -> None:
        if entry.kind == DIRECTORY:
            self._directory(path, name, entry)
            return
        if not name:
            raise Refused("invalid", "the archive has a member without a name that is not a directory")
        self._make_room(path, entry)
        if entry.kind == FILE:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                for offset, piece in reader.pieces():
                    while piece:
                        count = os.pwrite(fd, piece, offset)
                        offset, piece = offset + count, piece[count:]
                os.ftruncate(fd, entry.size)
            except BaseException:
                os.unlink(path)  # half a file under its whole name would be taken for it
                raise
            finally:
                os.close(fd)
        elif entry.kind == HARDLINK:
            os.link(os.path.join(self._target, clean(entry.link)), path, follow_symlinks=False)
            return
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, path)
        elif entry.kind == FIFO:
            os.mkfifo(path, 0o600)
        elif entry.kind in (CHAR, BLOCKDEV):
            kind = stat.S_IFCHR if entry.kind == CHAR else stat.S_IFBLK
            os.mknod(path, 0o600 | kind, os.makedev(entry.major, entry.minor))
        else:
            return
        self._finish(path, entry)

    def _directory(self, path: bytes, name: bytes, entry: Entry) -> None:
        if not name:
            if self._own:
                self._finish(path, entry)
                self._directories.append((path, entry))
            return  # otherwise the target itself stays as it is
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.mkdir(path, 0o700)
        else:
            if not stat.S_ISDIR(status.st_mode):
                if self._careful:
                    raise Refused(
                        "invalid",
                        f'cannot overwrite non-directory "{os.fsdecode(path)}" '
                        f'with directory "{os.fsdecode(self._target)}"',
                    )
                os.unlink(path)
                os.mkdir(path, 0o700)
        self._finish(path, entry)
        self._directories.append((path, entry))

    def _make_room(self, path: bytes, entry: Entry) -> None:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path)
            return
        if self._careful:
            raise Refused(
                "invalid",
                f'cannot overwrite directory "{os.fsdecode(path)}" '
                f'with non-directory "{os.fsdecode(self._target)}"',
            )
        shutil.rmtree(path)

    def _finish(self, path: bytes, entry: Entry) -> None:
        uid, gid = self._owner or (entry.uid, entry.gid)
        os.lchown(path, uid, gid)
        if entry.kind != SYMLINK:
            os.chmod(path, entry.mode)
        for key, value in (entry.xattrs or {}).items():
            if key.startswith(STEERING):
                continue
            try:
                os.setxattr(path, key, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

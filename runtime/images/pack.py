"""Making a layer of an overlay diff directory: the opposite of ``unpack``, for ``commit``.

Runs in the worker process, locked into the directory it reads: no symlink a container left there leads
anywhere else. The same tree gives the same archive.

Spec: OCI image 1.1, layer.md ("Whiteouts", "Opaque Whiteout").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from runtime.images.paths import UnpackError
from runtime.images.tar import DIRECTORY, FILE, HARDLINK, SYMLINK
from runtime.images.tarwriter import END, KINDS, header, header_of, padding

READ_BYTES = 1 << 20
_STEERING = ("trusted.overlay.", "user.overlay.")

Write = Callable[[bytes], object]


def pack(write: Write, opaque: str) -> None:
    """Write the current directory, which must be the root directory of this process, as a layer.

    Raises: UnpackError for what a layer cannot hold, OSError.
    """
    _Packing(write, opaque).directory(b"")
    write(END)


class _Packing:
    def __init__(self, write: Write, opaque: str) -> None:
        self._write = write
        self._opaque = opaque
        self._links: dict[tuple[int, int], bytes] = {}

    def directory(self, path: bytes) -> None:
        """Everything inside, sorted; of the directory itself only whether it is opaque."""
        if _attribute(path or b".", self._opaque) == b"y":
            self._write(header(_join(path, b".wh..wh..opq"), mode=0))
        for name in sorted(os.listdir(path or b".")):
            inner = _join(path, name)
            status = os.lstat(inner)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                self._write(header(_join(path, b".wh." + name), mode=0))
                continue
            if name.startswith(b".wh."):
                raise UnpackError(
                    f"{inner.decode('utf-8', 'replace')!r} has a name that means a whiteout in a layer"
                )
            self._entry(inner, status)
            if stat.S_ISDIR(status.st_mode):
                self.directory(inner)

    def _entry(self, path: bytes, status: os.stat_result) -> None:
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        link = b""
        if kind != DIRECTORY and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                kind, link = HARDLINK, first
        if kind == SYMLINK:
            link = os.readlink(path)
        if kind == FILE:
            self._file(path, status)
            return
        attributes = {} if kind == HARDLINK else _attributes(path)
        self._write(header_of(path, kind, status, 0, link, attributes))

    def _file(self, path: bytes, status: os.stat_result) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = os.fstat(descriptor).st_size
            self._write(header_of(path, FILE, status, size, b"", _attributes(path)))
            left = size
            while left:
                data = os.read(descriptor, min(READ_BYTES, left))
                if not data:
                    # Race: a container that runs on has cut the file; the header has promised its length.
                    data = bytes(min(READ_BYTES, left))
                self._write(data)
                left -= len(data)
            self._write(padding(size))
        finally:
            os.close(descriptor)


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _attribute(path: bytes, key: str) -> bytes:
    try:
        return os.getxattr(path, key, follow_symlinks=False)
    except OSError:
        return b""


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        keys = os.listxattr(path, follow_symlinks=False)
        return {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in keys
            if not key.startswith(_STEERING) and key != "security.selinux"
        }
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return {}
        raise

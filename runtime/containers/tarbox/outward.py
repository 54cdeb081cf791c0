"""Files of this process's root as a tar archive.

Spec: Docker API 1.47, ContainerArchive, ContainerExport.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import BinaryIO

from runtime.containers.tarbox.looks import absolute_path, describe
from runtime.containers.tarbox.report import READ_BYTES, STEERING, tell
from runtime.images.tar import DIRECTORY, FILE, HARDLINK, SYMLINK
from runtime.images.tarwriter import END, KINDS, header_of, padding

KERNELS = (b"/proc", b"/sys", b"/dev")  # mounted there is the kernel's, no files of the container


def get(path: str, report: BinaryIO, *, own: bool) -> None:
    described = describe(path)
    tell(report, {"stat": described})
    absolute = os.fsencode(absolute_path(path))
    archive = Archive(sys.stdout.buffer)
    name = os.fsencode(os.path.basename(absolute_path(path).rstrip("/")) or "/")
    status = os.lstat(absolute)
    if stat.S_ISDIR(status.st_mode):
        if name != b"/":
            archive.member(absolute, name, status)
        elif own:
            archive.member(absolute, b".", status)
        archive.children(absolute.rstrip(b"/"), b"" if name == b"/" else name)
    else:
        archive.member(absolute, name, status)
    archive.end()


class Archive:
    """Writes files of this process's root as a tar archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write
        self._flush = file.flush
        self._links: dict[tuple[int, int], bytes] = {}

    def children(self, path: bytes, name: bytes) -> None:
        """Everything in a directory, sorted; what vanishes meanwhile is left out."""
        try:
            names = sorted(os.listdir(path or b"/"))
        except (FileNotFoundError, NotADirectoryError):
            return
        for child in names:
            inner = path + b"/" + child
            shown = name + b"/" + child if name else child
            try:
                status = os.lstat(inner)
                self.member(inner, shown, status)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode) and not (inner in KERNELS and os.path.ismount(inner)):
                self.children(inner, shown)

    def member(self, path: bytes, name: bytes, status: os.stat_result) -> None:
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        link = b""
        if kind != DIRECTORY and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                kind, link = HARDLINK, first
        if kind == SYMLINK:
            link = os.readlink(path)
        if kind == FILE:
            self._file(path, name)
            return
        attributes = {} if kind == HARDLINK else _attributes(path)
        self._write(header_of(name, kind, status, 0, link, attributes))

    def _file(self, path: bytes, name: bytes) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return  # Race: the container has replaced it
            left = status.st_size
            self._write(header_of(name, FILE, status, left, b"", _attributes(path)))
            while left:
                # Race: the container may cut the file; the header has promised its length.
                data = os.read(fd, min(READ_BYTES, left)) or bytes(min(READ_BYTES, left))
                self._write(data)
                left -= len(data)
            self._write(padding(status.st_size))
        finally:
            os.close(fd)

    def end(self) -> None:
        self._write(END)
        self._flush()


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        return {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith(STEERING)
        }
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.EPERM):
            return {}
        raise

"""Copies files out of and into a container's file system, from a process locked into it.

Run as a process of its own for one job: it enters the container's root (and user namespace, when it has one),
so that the container's links, however they change meanwhile, lead nowhere else, and ids are the container's.
The job comes as an argument, archives go over standard input and output, and a pipe takes one line of JSON
before the data: `{"stat": {...}}` or `{"error": kind, "message": text}`, and another error when one follows.

Owns Docker's rules of what replaces what. Opens neither devices nor fifos.

Spec: Docker API 1.47, ContainerArchiveInfo, ContainerArchive, PutContainerArchive, ContainerExport.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from runtime.containers.users import open_inside
from runtime.images.compression import CompressionError, decompressed
from runtime.images.paths import UnpackError, clean
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
from runtime.images.tarfields import TarError
from runtime.images.tarwriter import END, header, padding
from runtime.snapshots import mount

READ_BYTES = 1 << 20
KERNELS = (b"/proc", b"/sys", b"/dev")  # mounted there is the kernel's, no files of the container
RECURSION_MAX = 10_000  # deeper than any path of 4095 bytes
CLONE_NEWUSER = 0x10000000

# Go's os.FileMode bits.
_GO_BITS = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, (1 << 26) | (1 << 21)),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCKDEV,
    stat.S_IFIFO: FIFO,
}
_ERRORS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EROFS: "forbidden",
    errno.EEXIST: "invalid",
    errno.ELOOP: "invalid",
    errno.ENAMETOOLONG: "invalid",
}
_STEERING = ("trusted.overlay.", "user.overlay.", "security.selinux")


class Refused(Exception):
    """The job cannot be done; `kind` names the API's error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main(job: dict[str, Any], report: BinaryIO) -> int:
    """Do one job; the exit code is 0 when it was done."""
    os.umask(0)
    sys.setrecursionlimit(RECURSION_MAX)
    try:
        _enter(job)
        match job["work"]:
            case "stat":
                _tell(report, {"stat": describe(job["path"])})
            case "list":
                _list(job["path"], job["entries_max"], report)
            case "get":
                _get(job["path"], report, own=job.get("own", False))
            case "export":
                _tell(report, {"stat": {}})
                archive = _Archive(sys.stdout.buffer)
                archive.children(b"", b"")
                archive.end()
            case "put":
                _tell(report, {"stat": {}})
                _put(job)
    except Refused as error:
        _tell(report, {"error": error.kind, "message": str(error)})
    except (UnpackError, TarError, CompressionError) as error:
        _tell(report, {"error": "invalid", "message": str(error)})
    except BrokenPipeError:
        return 1  # nobody wants the rest
    except OSError as error:
        kind = _ERRORS.get(error.errno or 0, "internal")
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _tell(report, {"error": kind, "message": f"{name}{error.strerror}"})
    else:
        return 0
    return 1


def _enter(job: dict[str, Any]) -> None:
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


# Looking.


def describe(path: str) -> dict[str, Any]:
    """Docker's PathStat of a path; of a link itself, unless the path ends in a slash or dot."""
    absolute = _absolute(path)
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


def _absolute(path: str) -> str:
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


def _list(path: str, entries_max: int, report: BinaryIO) -> None:
    """The names of a directory, in order: one line of JSON each on standard output."""
    directory = os.path.realpath(_absolute(path), strict=True)
    if not os.path.isdir(directory):
        raise Refused("invalid", f"{path} is not a directory")
    names = os.listdir(os.fsencode(directory))
    _tell(report, {"stat": {"total": len(names), "path": directory}})
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


# Out.


def _get(path: str, report: BinaryIO, *, own: bool) -> None:
    described = describe(path)
    _tell(report, {"stat": described})
    absolute = os.fsencode(_absolute(path))
    archive = _Archive(sys.stdout.buffer)
    name = os.fsencode(os.path.basename(_absolute(path).rstrip("/")) or "/")
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


class _Archive:
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
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket means nothing without who listens on it
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
        self._write(_header(path, name, kind, status, 0, link))

    def _file(self, path: bytes, name: bytes) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return  # Race: the container has replaced it
            left = status.st_size
            self._write(_header(path, name, FILE, status, left, b""))
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


def _header(path: bytes, name: bytes, kind: bytes, status: os.stat_result, size: int, link: bytes) -> bytes:
    device = status.st_rdev if kind in (CHAR, BLOCKDEV) else 0
    return header(
        name,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime=int(status.st_mtime),
        link=link,
        major=os.major(device),
        minor=os.minor(device),
        xattrs={} if kind == HARDLINK else _attributes(path),
    )


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        return {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith(_STEERING)
        }
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.EPERM):
            return {}
        raise


# In.


def _put(job: dict[str, Any]) -> None:
    target = os.path.realpath(_absolute(job["path"]), strict=True)
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
            if key.startswith(_STEERING):
                continue
            try:
                os.setxattr(path, key, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _tell(report: BinaryIO, message: dict[str, Any]) -> None:
    report.write(json.dumps(message).encode() + b"\n")
    report.flush()

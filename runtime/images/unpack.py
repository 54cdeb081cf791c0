"""Filling a directory with a layer, the only module that extracts archives.

Runs in a process of its own (``workers.py`` starts it) that is chrooted into the directory it fills:
no name, symlink or hardlink of the archive can mean anything outside of it, because for this process there
is nothing outside of it. Owns the rules of what an entry becomes (`places.py`: and where); knows no downloads
and no images.

The directory becomes an overlay diff: a whiteout is a character device 0:0, an opaque directory carries
the attribute the snapshotter names.

Spec: OCI image 1.1, layer.md ("Whiteouts", "Opaque Whiteout", "Hardlinks").
Differs: from Docker, entries that climb out with ``..`` are refused also where chroot would hold them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.images.paths import UnpackError, clean, shown
from runtime.images.places import WHITEOUT_DEVICE, Places
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

TIME_MAX_NS = ((1 << 34) - 1) * NS  # what ext4 and xfs can hold

_WHITEOUT = b".wh."
_OPAQUE_MARK = b".wh..wh..opq"
_AUFS = b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Overlay reads its own attributes from a lower directory: a layer must not steer it.
_STEERING = ("trusted.overlay.", "user.overlay.")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.ENODATA)


@dataclass(slots=True)
class Limits:
    """How much one layer may become."""

    bytes_max: int
    entries_max: int


@dataclass(slots=True)
class Unpacked:
    """What a layer became."""

    size_bytes: int = 0  # of its files, each inode once
    entries: int = 0
    implied: list[str] = field(default_factory=list)  # parents the archive has no entry for


def unpack(chunks: Iterator[bytes], limits: Limits, opaque: str) -> Unpacked:
    """Extract a layer into the current directory, which must be the root directory of this process.

    ``opaque`` is the attribute that marks opaque directories. Reads the stream to its end. Leaves a partial
    tree when it fails; the caller throws it away.

    Raises: UnpackError, TarError, OSError.
    """
    return _Unpacking(limits, opaque).run(TarReader(chunks))


class _Unpacking:
    def __init__(self, limits: Limits, opaque: str) -> None:
        self._limits = limits
        self._opaque = opaque
        self._done = Unpacked()
        self._places = Places(opaque)
        self._copies: dict[bytes, bytes] = {}  # link target -> copy that takes further links

    def run(self, reader: TarReader) -> Unpacked:
        done = self._done
        while (entry := reader.next()) is not None:
            done.entries += 1
            if done.entries > self._limits.entries_max:
                raise UnpackError(f"the layer has more than {self._limits.entries_max} entries")
            try:
                self._entry(entry, reader)
            except OSError as error:
                raise _fault(entry.name, error) from None
        reader.drain()
        for path, mtime_ns in reversed(self._places.times.items()):
            try:
                os.utime(path or b".", ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            except OSError as error:
                raise _fault(path, error) from None
        done.implied = sorted(os.fsdecode(path) for path in self._places.implied)
        return done

    def _entry(self, entry: Entry, reader: TarReader) -> None:
        name = entry.name
        # Most names are clean already; the rest goes the careful way.
        if name[:1] in (b"/", b".") or name[-1:] == b"/" or b"//" in name or b"/." in name or len(name) > 255:
            name = clean(name)
        parent, _, base = name.rpartition(b"/")
        if base[:4] == _WHITEOUT:
            self._mark(parent, base, entry)
            return
        if parent not in self._places.directories:
            self._places.make_parents(parent)
        kind = entry.kind
        if kind == FILE:
            self._file(name, entry, reader)
        elif kind == DIRECTORY:
            self._directory(name, entry)
        elif not name:
            raise UnpackError("the root of the layer is not a directory")
        elif kind == HARDLINK:
            self._hardlink(name, entry)
        elif kind == SYMLINK:
            self._make(name, lambda: os.symlink(entry.link, name))
            self._own(name, entry)
        elif kind in (CHAR, BLOCKDEV, FIFO):
            self._special(name, entry)

    # -- kinds

    def _file(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        if not name:
            raise UnpackError("the root of the layer is not a directory")
        if self._done.size_bytes + entry.stored > self._limits.bytes_max:
            raise UnpackError(f"the layer unpacks to more than {self._limits.bytes_max} bytes")
        mode = entry.mode
        try:
            descriptor = os.open(name, _CREATE, mode)
        except FileExistsError:
            self._places.clear(name)
            descriptor = os.open(name, _CREATE, mode)
        try:
            if entry.sparse is not None:
                for offset, piece in reader.pieces():
                    _write_at(descriptor, piece, offset)
                os.ftruncate(descriptor, entry.size)
            elif entry.size:
                small = reader.small()
                if small is not None:
                    _write(descriptor, small)
                else:
                    for piece in reader.data():
                        _write(descriptor, piece)
            if entry.uid or entry.gid:
                os.fchown(descriptor, entry.uid, entry.gid)
            if mode & 0o7000:
                os.fchmod(descriptor, mode)  # writing and chown take setuid away
            if entry.xattrs:
                self._xattrs(descriptor, entry)
            mtime = _time(entry.mtime_ns)
            os.utime(descriptor, ns=(mtime, mtime))
        finally:
            os.close(descriptor)
        self._done.size_bytes += entry.size

    def _directory(self, name: bytes, entry: Entry) -> None:
        path = name or b"."
        if name not in self._places.directories:
            try:
                os.mkdir(path, entry.mode)
            except FileExistsError:
                self._places.clear_for_directory(name)
            self._places.directories.add(name)
        self._places.implied.discard(name)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(path, entry.mode)
        if entry.xattrs:
            self._xattrs(path, entry)
        self._places.times[name] = _time(entry.mtime_ns)

    def _hardlink(self, name: bytes, entry: Entry) -> None:
        target = clean(entry.link)
        if target == name:
            raise UnpackError(f"entry {shown(name)} is a hardlink to itself")
        self._places.follow_parents(target.rpartition(b"/")[0], name)
        source = self._copies.get(target, target)
        try:
            self._make(name, lambda: os.link(source, name, follow_symlinks=False))
        except FileNotFoundError:
            raise UnpackError(
                f"entry {shown(name)} is a hardlink to {shown(entry.link)}, which is not in the layer"
            ) from None
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            # The file system takes no more links to this file (ext4: 65,000): a copy takes the rest.
            self._copy(source, name)
            self._copies[target] = name

    def _special(self, name: bytes, entry: Entry) -> None:
        kinds = {CHAR: stat.S_IFCHR, BLOCKDEV: stat.S_IFBLK, FIFO: stat.S_IFIFO}
        device = 0 if entry.kind == FIFO else os.makedev(entry.major, entry.minor)
        self._make(name, lambda: os.mknod(name, kinds[entry.kind] | entry.mode, device))
        os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(name, entry.mode)
        if entry.xattrs:
            self._xattrs(name, entry)
        mtime = _time(entry.mtime_ns)
        os.utime(name, ns=(mtime, mtime), follow_symlinks=False)

    def _own(self, name: bytes, entry: Entry) -> None:
        if entry.uid or entry.gid:
            os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        if entry.xattrs:
            self._xattrs(name, entry)
        mtime = _time(entry.mtime_ns)
        os.utime(name, ns=(mtime, mtime), follow_symlinks=False)

    def _mark(self, parent: bytes, base: bytes, entry: Entry) -> None:
        """A whiteout or the mark of an opaque directory."""
        if base == _OPAQUE_MARK:
            if parent not in self._places.directories:
                self._places.make_parents(parent)
            os.setxattr(parent or b".", self._opaque, b"y", follow_symlinks=False)
            return
        if base.startswith(_AUFS):
            return  # bookkeeping of aufs; nothing that belongs to the image
        hidden = base[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise UnpackError(f"entry {shown(entry.name)} is a whiteout of nothing")
        if parent not in self._places.directories:
            self._places.make_parents(parent)
        name = parent + b"/" + hidden if parent else hidden
        try:
            os.mknod(name, stat.S_IFCHR, WHITEOUT_DEVICE)
        except FileExistsError:
            # A whiteout speaks of lower layers only. What this layer has at the place hides them already,
            # but the contents of a directory would still be merged with theirs.
            if name in self._places.directories:
                os.setxattr(name, self._opaque, b"y", follow_symlinks=False)

    # -- places

    def _make(self, name: bytes, create: object) -> None:
        assert callable(create)
        try:
            create()
        except FileExistsError:
            self._places.clear(name)
            create()

    # -- attributes

    def _xattrs(self, path: int | bytes, entry: Entry) -> None:
        follow = isinstance(path, int)
        for key, value in (entry.xattrs or {}).items():
            if key.startswith(_STEERING):
                continue
            try:
                if follow:
                    os.setxattr(path, key, value)
                else:
                    os.setxattr(path, key, value, follow_symlinks=False)
            except OSError as error:
                # As Docker: an attribute this file system does not know is left out, but a lost file
                # capability would change what the program may do.
                if error.errno not in _UNSUPPORTED or key == "security.capability":
                    raise UnpackError(
                        f"entry {shown(entry.name)}: attribute {key}: {error.strerror}"
                    ) from None

    def _copy(self, source: bytes, name: bytes) -> None:
        status = os.lstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise UnpackError(f"too many hardlinks to {shown(source)}")
        if self._done.size_bytes + status.st_size > self._limits.bytes_max:
            raise UnpackError(f"the layer unpacks to more than {self._limits.bytes_max} bytes")
        with open(source, "rb") as reader:
            descriptor = os.open(name, _CREATE, 0o600)
            try:
                while os.copy_file_range(reader.fileno(), descriptor, 1 << 30):
                    pass
                os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
                for key in os.listxattr(reader.fileno()):
                    os.setxattr(descriptor, key, os.getxattr(reader.fileno(), key))
                os.utime(descriptor, ns=(status.st_mtime_ns, status.st_mtime_ns))
            finally:
                os.close(descriptor)
        self._done.size_bytes += status.st_size


def _fault(name: bytes, error: OSError) -> Exception:
    """The entry's fault, unless it is the disk's."""
    return error if error.errno in _DISK else UnpackError(f"entry {shown(name)}: {error.strerror}")


def _write(descriptor: int, piece: memoryview) -> None:
    while len(piece):
        piece = piece[os.write(descriptor, piece) :]


def _write_at(descriptor: int, piece: memoryview, offset: int) -> None:
    while len(piece):
        count = os.pwrite(descriptor, piece, offset)
        offset += count
        piece = piece[count:]


def _time(mtime_ns: int) -> int:
    return min(max(mtime_ns, 0), TIME_MAX_NS)

"""Filling a directory with a layer, the only module that extracts archives.

Runs in a process of its own (``workers.py`` starts it) that is chrooted into the directory it fills:
no name, symlink or hardlink of the archive can mean anything outside of it, because for this process there
is nothing outside of it. Owns the rules of what an entry becomes; knows no downloads and no images.

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

from runtime.images.paths import UnpackError, clean, climbs_out, shown
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
WHITEOUT_DEVICE = os.makedev(0, 0)

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
        self._directories: set[bytes] = {b""}  # made by this layer, certainly directories
        self._implied: set[bytes] = set()
        self._times: dict[bytes, int] = {}  # of directories; set last, as filling them changes it
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
        for path, mtime_ns in reversed(self._times.items()):
            try:
                os.utime(path or b".", ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            except OSError as error:
                raise _fault(path, error) from None
        done.implied = sorted(os.fsdecode(path) for path in self._implied)
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
        if parent not in self._directories:
            self._make_parents(parent)
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
            self._clear(name)
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
        if name not in self._directories:
            try:
                os.mkdir(path, entry.mode)
            except FileExistsError:
                self._clear_for_directory(name)
            self._directories.add(name)
        self._implied.discard(name)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(path, entry.mode)
        if entry.xattrs:
            self._xattrs(path, entry)
        self._times[name] = _time(entry.mtime_ns)

    def _hardlink(self, name: bytes, entry: Entry) -> None:
        target = clean(entry.link)
        if target == name:
            raise UnpackError(f"entry {shown(name)} is a hardlink to itself")
        self._follow_parents(target.rpartition(b"/")[0], name)
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
            if parent not in self._directories:
                self._make_parents(parent)
            os.setxattr(parent or b".", self._opaque, b"y", follow_symlinks=False)
            return
        if base.startswith(_AUFS):
            return  # bookkeeping of aufs; nothing that belongs to the image
        hidden = base[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise UnpackError(f"entry {shown(entry.name)} is a whiteout of nothing")
        if parent not in self._directories:
            self._make_parents(parent)
        name = parent + b"/" + hidden if parent else hidden
        try:
            os.mknod(name, stat.S_IFCHR, WHITEOUT_DEVICE)
        except FileExistsError:
            # A whiteout speaks of lower layers only. What this layer has at the place hides them already,
            # but the contents of a directory would still be merged with theirs.
            if name in self._directories:
                os.setxattr(name, self._opaque, b"y", follow_symlinks=False)

    # -- places

    def _make(self, name: bytes, create: object) -> None:
        assert callable(create)
        try:
            create()
        except FileExistsError:
            self._clear(name)
            create()

    def _clear(self, name: bytes) -> None:
        """Make room for a later entry of the same name."""
        if not stat.S_ISDIR(os.lstat(name).st_mode):
            os.unlink(name)
            return
        _remove_tree(name)
        below = name + b"/"
        for known in (self._directories, self._implied):
            known.difference_update([path for path in known if path == name or path.startswith(below)])
        for path in [path for path in self._times if path == name or path.startswith(below)]:
            del self._times[path]

    def _clear_for_directory(self, name: bytes) -> None:
        """Something is where a directory shall be: keep a directory, replace anything else."""
        status = os.lstat(name)
        if stat.S_ISDIR(status.st_mode):
            return
        os.unlink(name)
        os.mkdir(name, 0o755)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == WHITEOUT_DEVICE:
            # The whiteout said that the lower one is gone; the new directory must not show its contents.
            os.setxattr(name, self._opaque, b"y", follow_symlinks=False)

    def _make_parents(self, parent: bytes) -> None:
        """Make what is missing on the way to ``parent`` (clean)."""
        path = b""
        parts = parent.split(b"/")
        for index, part in enumerate(parts):
            inside = path
            path = path + b"/" + part if path else part
            if path in self._directories:
                continue
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    self._follow(inside, path, b"/".join(parts))
                    if index == len(parts) - 1:
                        return
                    continue
                self._clear_for_directory(path)
            else:
                self._implied.add(path)
            self._directories.add(path)

    def _follow(self, inside: bytes, path: bytes, parent: bytes) -> None:
        """A symlink of this layer lies on the way; it may be followed while it stays in the layer."""
        target = os.readlink(path)
        if climbs_out(inside, target):
            raise UnpackError(
                f"the way to {shown(parent)} leads out of the layer through the symlink "
                f"{shown(path)} to {shown(target)}"
            )
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):
                return
        except FileNotFoundError:
            # Dangling in this layer, as its directory is in a lower one: make it here.
            os.makedirs(os.path.realpath(path), 0o755, exist_ok=True)
            return
        raise UnpackError(f"{shown(path)} on the way to {shown(parent)} is not a directory")

    def _follow_parents(self, parent: bytes, name: bytes) -> None:
        """The way to a hardlink's target may not lead out either."""
        path = b""
        for part in parent.split(b"/") if parent else ():
            inside = path
            path = path + b"/" + part if path else part
            if path in self._directories:
                continue
            try:
                target = os.readlink(path)
            except OSError:
                return  # missing, or no symlink: link(2) will say
            if climbs_out(inside, target):
                raise UnpackError(
                    f"entry {shown(name)} is a hardlink that leads out of the layer through the symlink "
                    f"{shown(path)} to {shown(target)}"
                )

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


def _remove_tree(path: bytes) -> None:
    """Remove a directory of this layer with everything in it, however deep."""
    for here, directories, files in os.walk(path, topdown=False):
        for file in files:
            os.unlink(os.path.join(here, file))
        for directory in directories:
            inner = os.path.join(here, directory)
            if os.path.islink(inner):
                os.unlink(inner)
            else:
                os.rmdir(inner)
    os.rmdir(path)

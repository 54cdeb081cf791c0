"""mount(2) and its relatives, called nowhere else.

Owns no paths and keeps no state: callers say what goes where and undo it themselves.

Kernel: open_tree, move_mount, fsopen (5.2) and mount_setattr (5.12) have no libc wrapper on Debian 12; added
to all architectures at once, they have the same numbers on x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_CMD_CREATE = 1, 1, 6
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 27, 28, 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system. Raises: OSError."""
    _check(
        _libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, os.fsencode(options) or None),
        f"mount {kind} on {target}",
    )


def bind(source: Path | str, target: Path, *, private: bool = False) -> None:
    """Make `source` visible at `target`, too; private: other namespaces see nothing mounted there."""
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None),
        f"bind {source} on {target}",
    )
    if private:
        _check(
            _libc.mount(None, os.fsencode(target), None, MS_PRIVATE, None),
            f"make {target} private",
        )


def unmount(target: Path) -> bool:
    """Take the topmost mount away, when it is in use from the tree only. False when there was none."""
    for flags in (UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW | MNT_DETACH):
        if _libc.umount2(os.fsencode(target), flags) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOENT):
            return False
        if number != errno.EBUSY:
            break
    raise OSError(number, os.strerror(number), f"unmount {target}")


def is_mounted(target: Path) -> bool:
    """Whether something is mounted at this very path, also a bind of the same file system."""
    # Kernel: unlike st_dev, the mount id also tells binds apart (statx since 5.8, here by fdinfo since 3.15).
    try:
        return _mount_id(target) != _mount_id(target.parent)
    except FileNotFoundError:
        return False


def idmapped(source: Path, target: Path | None, userns: Path, *, recursive: bool = True) -> None:
    """Make `source` visible at `target` with ids mapped as in a pinned user namespace; None only tries it.

    Raises: OSError, EINVAL when the file system (or one mounted below) cannot.
    """
    below = _AT_RECURSIVE if recursive else 0
    tree = _syscall(
        _SYS_OPEN_TREE,
        _AT_FDCWD,
        os.fsencode(source),
        _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | below,
        what=f"clone the mount at {source}",
    )
    try:
        namespace = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
            attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, namespace)
            _syscall(
                _SYS_MOUNT_SETATTR,
                tree,
                b"",
                _AT_EMPTY_PATH | below,
                attributes,
                len(attributes),
                what=f"map the ids of {source}",
            )
        finally:
            os.close(namespace)
        if target is not None:
            _syscall(
                _SYS_MOVE_MOUNT,
                tree,
                b"",
                _AT_FDCWD,
                os.fsencode(target),
                _MOVE_MOUNT_F_EMPTY_PATH,
                what=f"mount {source} on {target}",
            )
    finally:
        os.close(tree)


def nowhere(program: Path, name: str) -> int:
    """A file system in memory with one program, read-only and mounted nowhere; its directory's descriptor.

    Whoever gets the descriptor can run the program; ".." leads nowhere else. Raises: OSError.
    """
    context = _syscall(_SYS_FSOPEN, b"tmpfs", _FSOPEN_CLOEXEC, what="open tmpfs")
    try:
        _syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, 0, 0, 0, what="create tmpfs")
        root = _syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0, what="mount tmpfs")
    finally:
        os.close(context)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=root)
        with open(target, "wb") as file, program.open("rb") as source:
            shutil.copyfileobj(source, file)
            os.fchmod(target, 0o755)
        flags = _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
        attributes = struct.pack("QQQQ", flags, 0, MS_PRIVATE, 0)
        what = f"make the mount with {name} read-only"
        _syscall(_SYS_MOUNT_SETATTR, root, b"", _AT_EMPTY_PATH, attributes, len(attributes), what=what)
    except BaseException:
        os.close(root)
        raise
    return root


@contextmanager
def acting_as(host_id: int) -> Iterator[None]:
    """File system access of this thread as another id, with root's capabilities.

    Whoever mounts an overlay creates its internal files, too; on an idmapped upper directory the host's root
    has no id, so the mounter must be the root of the mapping.
    """
    # Kernel: ids and securebits are per thread; without NO_SETUID_FIXUP leaving id 0 drops file capabilities.
    securebits = _check(_libc.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0), "read securebits")
    _check(_libc.prctl(_PR_SET_SECUREBITS, securebits | _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "set securebits")
    try:
        _libc.setfsgid(host_id)
        _libc.setfsuid(host_id)
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(0)
        _check(_libc.prctl(_PR_SET_SECUREBITS, securebits, 0, 0, 0), "restore securebits")


def sync(path: Path) -> None:
    """Return when the file system of `path` has everything on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(fd), f"sync {path}")
    finally:
        os.close(fd)


def _mount_id(path: Path) -> str:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}") as file:
            return next(line for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(fd)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _syscall(number: int, *words: int | bytes, what: str) -> int:
    arguments = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in words]
    # A packed struct may hold zero bytes: a char pointer passes it whole, only its reading would stop there.
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), what)

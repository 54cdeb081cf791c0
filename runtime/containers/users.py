"""Who "user[:group]" is inside a root file system, without following its links to the outside.

Spec: Docker API 1.47 ContainerConfig.User, HostConfig.GroupAdd; passwd(5), group(5); openat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.api.errors import InvalidArgument

DATABASE_BYTES = 8 << 20  # of a passwd or group file; images with more are refused
MAX_ID = 2**31 - 1  # Docker's limit, the kernel has 2**32 - 2

_SYS_OPENAT2 = 437  # the same on all architectures
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02
_SYMLINKS = 40  # followed by hand, as the kernel does

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class User:
    """Who a process runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()  # supplementary groups, also those of GroupAdd
    home: str = "/"  # from the image's passwd file, "/" when it has none
    name: str = ""  # as the passwd file says, "" when it does not know the uid


def resolve(rootfs: Path, user: str, group_add: Iterable[str] | None = None) -> User:
    """`""`, `"1000"`, `"name"`, `"name:group"`, `"1000:1000"` as ids, and GroupAdd's names and numbers.

    An unknown number is taken as it is, an unknown name is an error. Blocks for two small reads.
    Raises: InvalidArgument in Docker's words.
    """
    passwd = list(_entries(read_inside(rootfs, "/etc/passwd"), 7))
    group = list(_entries(read_inside(rootfs, "/etc/group"), 4))
    user_part, _, group_part = user.partition(":")
    found = _find_user(passwd, user_part or "0")
    if group_part:
        gid, groups = _find_group(group, group_part), tuple[int, ...]()
    else:
        # A group that was asked for replaces the supplementary groups, as with Docker.
        gid, groups = found.gid, _memberships(group, found.name, found.gid)
    added = tuple(_find_group(group, name) for name in group_add or ())
    # The primary group is listed, too: a set-gid program may change it, never the supplementary ones.
    return User(found.uid, gid, tuple(dict.fromkeys((gid, *groups, *added))), found.home, found.name)


def read_inside(rootfs: Path, path: str) -> bytes:
    """A file's content as a process with this root would read it; b"" when it is not a readable regular file.

    Links are followed inside the root only, and devices and fifos are not opened.
    """
    try:
        fd = open_inside(rootfs, path)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            data = file.read(DATABASE_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > DATABASE_BYTES:
        raise InvalidArgument(f"{path} of the image has more than {DATABASE_BYTES} bytes")
    return data


def open_inside(rootfs: Path, path: str) -> int:
    """An O_PATH descriptor of a path, resolved as a process with this root would. Raises: OSError."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # struct open_how: flags, mode, resolve
        how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = ctypes.c_char_p(os.fsencode(path))
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2), root, name, ctypes.c_char_p(how), ctypes.c_size_t(len(how))
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EPERM):
            raise OSError(number, os.strerror(number), path)
        return _open_by_hand(root, path)
    finally:
        os.close(root)


def _open_by_hand(root: int, path: str) -> int:
    """The same without openat2 (Linux before 5.6, or a seccomp filter that does not know it)."""
    stack = [os.dup(root)]
    try:
        todo = [part for part in reversed(path.split("/")) if part]
        links = 0
        while todo:
            part = todo.pop()
            if part == ".":
                continue
            if part == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                stack.append(fd)
                continue
            os.close(fd)
            links += 1
            if links > _SYMLINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(part, dir_fd=stack[-1])
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            todo.extend(part for part in reversed(target.split("/")) if part)
        return os.dup(stack[-1])
    finally:
        for fd in stack:
            os.close(fd)


def _entries(data: bytes, fields: int) -> Iterator[list[str]]:
    for line in data.decode(errors="surrogateescape").splitlines():
        parts = line.strip().split(":")
        if line.strip() and not line.startswith("#") and len(parts) >= fields - 1:
            yield parts + [""] * (fields - len(parts))


def _find_user(passwd: list[list[str]], wanted: str) -> User:
    number = _number(wanted)
    for name, _, uid, gid, _, home, *_ in passwd:
        if (name == wanted or (number is not None and _number(uid) == number)) and _number(uid) is not None:
            return User(_number(uid) or 0, _number(gid) or 0, (), home or "/", name)
    if number is None:
        raise InvalidArgument(f"unable to find user {wanted}: no matching entries in passwd file")
    return User(_in_range(number), 0)


def _find_group(group: list[list[str]], wanted: str) -> int:
    number = _number(wanted)
    for name, _, gid, *_ in group:
        if name == wanted and _number(gid) is not None:
            return _number(gid) or 0
    if number is None:
        raise InvalidArgument(f"unable to find group {wanted}: no matching entries in group file")
    return _in_range(number)


def _memberships(group: list[list[str]], name: str, primary: int) -> tuple[int, ...]:
    if not name:
        return ()
    return tuple(
        number
        for _, _, gid, members, *_ in group
        if (number := _number(gid)) is not None and number != primary and name in members.split(",")
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _in_range(number: int) -> int:
    if number > MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
    return number

"""Writing tar archives, header by header; pure.

Spec: POSIX.1-2001 ustar and pax; extended attributes as SCHILY.xattr records.
"""

from __future__ import annotations

import os
import stat

from runtime.images.tar import BLOCK, BLOCKDEV, CHAR, DIRECTORY, FIFO, FILE, SYMLINK

END = bytes(2 * BLOCK)
KINDS = {  # by `stat.S_IFMT`; a socket means nothing without who listens on it
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCKDEV,
    stat.S_IFIFO: FIFO,
}
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777


def header(
    name: bytes,
    kind: bytes = FILE,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: dict[str, bytes] | None = None,
) -> bytes:
    """The blocks in front of a member's data; a PAX header goes first where ustar cannot say it."""
    if kind == DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    records: list[bytes] = []
    prefix, short = _split(name)
    if short is None:
        records.append(_record(b"path", name))
        prefix, short = b"", name[:100]
    if len(link) > 100:
        records.append(_record(b"linkpath", link))
    for key, value, top in ((b"uid", uid, _OCTAL_7), (b"gid", gid, _OCTAL_7), (b"size", size, _OCTAL_11)):
        if value > top:
            records.append(_record(key, b"%d" % value))
    if not 0 <= mtime <= _OCTAL_11:
        records.append(_record(b"mtime", b"%d" % mtime))
    for attribute, data in sorted((xattrs or {}).items()):
        records.append(_record(b"SCHILY.xattr." + attribute.encode(), data))
    extension = b""
    if records:
        data = b"".join(records)
        extension = _block(b"PaxHeaders/" + short[-80:].strip(b"/"), b"x", 0o644, 0, 0, len(data), 0)
        extension += data + padding(len(data))
    return extension + _block(short, kind, mode, uid, gid, size, mtime, link[:100], major, minor, prefix)


def header_of(
    name: bytes, kind: bytes, status: os.stat_result, size: int, link: bytes, xattrs: dict[str, bytes]
) -> bytes:
    """The same for a file as it stands on disk."""
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
        xattrs=xattrs,
    )


def padding(size: int) -> bytes:
    """What follows a member's data of this size."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """(prefix, name) as ustar has them; the name is None when it does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, 156)
    while cut > 0 and len(name) - cut - 1 <= 100:
        if name[cut + 1 :]:
            return name[:cut], name[cut + 1 :]
        cut = name.rfind(b"/", 0, cut)
    return b"", None


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while True:
        text = b"%d" % length
        if len(text) + len(rest) == length:
            return text + rest
        length = len(text) + len(rest)


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % (mode & 0o7777),
            b"%07o\0" % min(uid, _OCTAL_7),
            b"%07o\0" % min(gid, _OCTAL_7),
            b"%011o\0" % min(size, _OCTAL_11),
            b"%011o\0" % min(max(mtime, 0), _OCTAL_11),
            b" " * 8,
            kind,
            link.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % major,
            b"%07o\0" % minor,
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]

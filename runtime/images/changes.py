"""What a layer changed: its files against those of the layers below, a page at a time.

Reads overlay diff directories and never follows a link in them. A page costs what is on it and the
directories on the way there, not the whole layer.

Spec: OCI image 1.1, layer.md ("Whiteouts", "Opaque Whiteout").
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.api.errors import InvalidArgument, NotFound
from runtime.api.types import LayerChange, LayerChanges
from runtime.images.paths import UnpackError, clean

CHANGES_DEFAULT = 500  # on one page
CHANGES_MAX = 5000

ADDED, CHANGED, REMOVED, KEPT = "added", "changed", "removed", "kept"

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a layer, and which page of it."""

    below: str = "/"  # a directory; only what is in it
    depth: int = 0  # levels under it; 0: all
    after: str = ""  # the ``Next`` of the page before
    limit: int = CHANGES_DEFAULT


def changes(layer: Path, lowers: Sequence[Path], asked: Asked, opaque: str) -> LayerChanges:
    """One page, directories before what is in them, in the order of names. Blocks.

    ``lowers`` are the layers below, topmost first. Directories that the layer only passes through have the
    kind "kept". Raises: InvalidArgument, NotFound when the layer has no such directory.
    """
    limit = asked.limit or CHANGES_DEFAULT
    if not 1 <= limit <= CHANGES_MAX or asked.depth < 0:
        raise InvalidArgument(f"limit is 1 to {CHANGES_MAX} and depth 0 or more, got {limit}, {asked.depth}")
    try:
        start = clean(os.fsencode(asked.below))
    except (UnpackError, UnicodeEncodeError) as error:
        raise InvalidArgument(str(error)) from None
    walk = _Walk(opaque)
    top, beneath = os.fsencode(layer), walk.visible([os.fsencode(lower) for lower in lowers])
    hides = walk.is_opaque(top)
    for part in start.split(b"/") if start else ():
        _, beneath = walk.lower(part, beneath)
        top = os.path.join(top, part)
        if not _is_directory(top):
            raise NotFound(f"the layer changes nothing in {asked.below[:200]}")
        hides = hides or walk.is_opaque(top)
    rows: list[LayerChange] = []
    following = last = ""
    first = _Level(top, beneath, start, hides)
    for path, row in walk.entries(first, asked.depth, _after(asked.after)):
        if len(rows) == limit:
            following = last
            break
        rows.append(row)
        last = base64.urlsafe_b64encode(path).decode()
    return {"Changes": rows, "Next": following}


@dataclass(slots=True)
class _Level:
    """A directory on the way."""

    top: bytes
    lowers: list[bytes]
    path: bytes
    hides: bool  # what the layers below have in it
    names: Iterator[bytes] = field(default_factory=lambda: iter(()))


class _Walk:
    def __init__(self, opaque: str) -> None:
        self._opaque = opaque

    def entries(self, first: _Level, depth: int, after: list[bytes]) -> Iterator[tuple[bytes, LayerChange]]:
        """(path, row) of everything in a directory of the layer.

        ``after`` are the names, from the root on, of the last path that is not wanted any more.
        """
        level = first.path.count(b"/") + 1 if first.path else 0
        resuming = len(after) > level
        first.names = self._wanted(first, after[level : level + 1])
        # A stack of our own: archives may nest deeper than Python recurses.
        stack = [first]
        while stack:
            here = stack[-1]
            name = next(here.names, None)
            if name is None:
                stack.pop()
                continue
            at = level + len(stack) - 1
            resuming = resuming and at < len(after) and name == after[at]
            mine = os.path.join(here.top, name)
            where = here.path + b"/" + name if here.path else name
            below, merged = self.lower(name, here.lowers)
            status = _status(mine)
            is_directory = status is not None and stat.S_ISDIR(status.st_mode)
            hides = here.hides or (is_directory and self.is_opaque(mine))
            row = None if resuming else self._row(mine, where, status, below, hides)
            if row is not None:
                yield where, row
            if is_directory and depth != len(stack):
                inner = _Level(mine, merged, where, hides)
                inner.names = self._wanted(inner, after[at + 1 : at + 2] if resuming else [])
                stack.append(inner)

    def _wanted(self, here: _Level, after: list[bytes]) -> Iterator[bytes]:
        """The names in a directory from a certain one on, with those it hides."""
        names = set(_names(here.top))
        if here.hides:
            names |= {name for lower in here.lowers for name in _names(lower)}
        return iter(sorted(name for name in names if not after or name >= after[0]))

    def visible(self, lowers: list[bytes]) -> list[bytes]:
        """Down to the first that hides what is below it."""
        for at, lower in enumerate(lowers, 1):
            if self.is_opaque(lower):
                return lowers[:at]
        return lowers

    def lower(self, name: bytes, lowers: list[bytes]) -> tuple[os.stat_result | None, list[bytes]]:
        """What the layers below have under a name, and the directories of that name they merge."""
        found: os.stat_result | None = None
        merged: list[bytes] = []
        for lower in lowers:
            path = os.path.join(lower, name)
            status = _status(path)
            if status is None:
                continue
            if _is_whiteout(status):
                break
            found = found or status
            if not stat.S_ISDIR(status.st_mode):
                break
            merged.append(path)
            if self.is_opaque(path):
                break
        return found, merged

    def _row(
        self,
        mine: bytes,
        where: bytes,
        status: os.stat_result | None,
        below: os.stat_result | None,
        hides: bool,
    ) -> LayerChange | None:
        if status is None or _is_whiteout(status):
            if below is None:
                return None  # nothing was there: the image looks the same
            return _described(where, REMOVED, below)
        if below is None:
            return _described(where, ADDED, status, mine)
        directories = stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(below.st_mode)
        same = directories and (status.st_mode, status.st_uid, status.st_gid) == (
            below.st_mode,
            below.st_uid,
            below.st_gid,
        )
        return _described(where, KEPT if same and not hides else CHANGED, status, mine)

    def is_opaque(self, path: bytes) -> bool:
        try:
            return os.getxattr(path, self._opaque, follow_symlinks=False) == b"y"
        except OSError:
            return False


def _described(where: bytes, kind: str, status: os.stat_result, mine: bytes | None = None) -> LayerChange:
    link = ""
    if mine is not None and stat.S_ISLNK(status.st_mode):
        try:
            link = os.readlink(mine).decode("utf-8", "replace")
        except OSError:
            pass
    return {
        "Path": "/" + where.decode("utf-8", "replace"),
        "Kind": kind,
        "Type": _TYPES.get(stat.S_IFMT(status.st_mode), "socket"),
        "Mode": stat.S_IMODE(status.st_mode),
        "UID": status.st_uid,
        "GID": status.st_gid,
        "Size": status.st_size if stat.S_ISREG(status.st_mode) else 0,
        "Link": link,
    }


def _after(cursor: str) -> list[bytes]:
    if not cursor:
        return []
    try:
        return base64.urlsafe_b64decode(cursor.encode("ascii")).split(b"/")
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidArgument(f"after is the Next of another page, got {cursor[:40]!r}") from None


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _is_directory(path: bytes) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

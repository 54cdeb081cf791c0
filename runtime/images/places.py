"""Where a layer's entries go, for `unpack.py`: the directories on the way, and room for a later entry.

Runs in the process that is chrooted into the directory it fills.
"""

from __future__ import annotations

import os
import stat

from runtime.images.paths import UnpackError, climbs_out, shown

WHITEOUT_DEVICE = os.makedev(0, 0)


class Places:
    """What one layer has made so far."""

    def __init__(self, opaque: str) -> None:
        self._opaque = opaque
        self.directories: set[bytes] = {b""}  # made by this layer, certainly directories
        self.implied: set[bytes] = set()  # of these, the ones the archive has no entry for (yet)
        self.times: dict[bytes, int] = {}  # of directories; set last, as filling them changes it

    def clear(self, name: bytes) -> None:
        """Make room for a later entry of the same name."""
        if not stat.S_ISDIR(os.lstat(name).st_mode):
            os.unlink(name)
            return
        _remove_tree(name)
        below = name + b"/"
        for known in (self.directories, self.implied):
            known.difference_update([path for path in known if path == name or path.startswith(below)])
        for path in [path for path in self.times if path == name or path.startswith(below)]:
            del self.times[path]

    def clear_for_directory(self, name: bytes) -> None:
        """Something is where a directory shall be: keep a directory, replace anything else."""
        status = os.lstat(name)
        if stat.S_ISDIR(status.st_mode):
            return
        os.unlink(name)
        os.mkdir(name, 0o755)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == WHITEOUT_DEVICE:
            # The whiteout said that the lower one is gone; the new directory must not show its contents.
            os.setxattr(name, self._opaque, b"y", follow_symlinks=False)

    def make_parents(self, parent: bytes) -> None:
        """Make what is missing on the way to ``parent`` (clean)."""
        path = b""
        parts = parent.split(b"/")
        for index, part in enumerate(parts):
            inside = path
            path = path + b"/" + part if path else part
            if path in self.directories:
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
                self.clear_for_directory(path)
            else:
                self.implied.add(path)
            self.directories.add(path)

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

    def follow_parents(self, parent: bytes, name: bytes) -> None:
        """The way to a hardlink's target may not lead out either."""
        path = b""
        for part in parent.split(b"/") if parent else ():
            inside = path
            path = path + b"/" + part if path else part
            if path in self.directories:
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

"""Snapshots as plain copies: for machines and users that cannot mount overlays. Slow, but needs no rights.

    root/layers/<digest>/diff, layer.json    as the overlay snapshotter keeps them
    root/staging/<random>                    being filled, or being deleted
    root/containers/<id>/rootfs              every layer's files, copied one over the other
    root/containers/<id>/snapshot.json       the chain
    root/containers/<id>/before.json         what the copy looked like, so that changes can be found
    root/containers/<id>/diff                the changes as an overlay diff, made when asked for

Owners are kept when this process may set them, else everything belongs to who runs the engine.

Spec: OCI image 1.0, layer, whiteouts.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.api.errors import NotSupported
from runtime.idmap import IdMap
from runtime.snapshots.base import ChangeKind
from runtime.snapshots.changes import is_opaque, is_whiteout
from runtime.snapshots.layers import LayerStore

_Look = tuple[int, int, int, int, int, str]  # mode, uid, gid, size, mtime, link target


class CopySnapshotter(LayerStore):
    """A `Snapshotter` by copying."""

    name = "vfs"
    opaque_xattr = "user.overlay.opaque"

    def __init__(self, root: Path, run: Path) -> None:
        super().__init__(root)
        self._views = run / "views"
        self._views.mkdir(mode=0o711, parents=True, exist_ok=True)

    def create(self, id: str, chain: list[str], *, volatile: bool = False) -> None:
        half_made = self.root / "staging" / secrets.token_hex(8)
        rootfs = half_made / "rootfs"
        rootfs.mkdir(mode=0o755, parents=True)
        try:
            for chain_id in chain:
                apply(self.layer_path(chain_id), rootfs, self.opaque_xattr)
            before = json.dumps(_looks(rootfs))
            (half_made / "before.json").write_text(before)
            (half_made / "snapshot.json").write_text(json.dumps({"chain": chain, "volatile": volatile}))
            self.claim(id, chain, half_made)
        except BaseException:
            shutil.rmtree(half_made, ignore_errors=True)
            raise

    def mount(self, id: str, mapping: IdMap | None = None) -> Path:
        if mapping is not None:
            raise NotSupported("plain copies cannot be seen with mapped ids")
        self.snapshot(id)
        return self.rootfs(id)

    def unmount(self, id: str) -> None:
        """Nothing is mounted."""

    def rootfs(self, id: str) -> Path:
        return self.container(id) / "rootfs"

    def upper(self, id: str) -> Path:
        """The changes as they are now; made anew at every call."""
        changes, diff = self.changes(id), self.container(id) / "diff"
        shutil.rmtree(diff, ignore_errors=True)
        diff.mkdir()
        rootfs = self.rootfs(id)
        for kind, path in changes:
            source, target = rootfs / path[1:], diff / path[1:]
            _make_parents(rootfs, diff, path)
            if kind is ChangeKind.DELETED:
                os.mknod(target, stat.S_IFCHR, 0)  # Kernel: whiteouts need no rights since Linux 5.8
            else:
                _copy_one(source, target)
        # Filling a directory changed its time: the deepest get theirs back first.
        for path, _, _ in os.walk(diff, topdown=False):
            source = rootfs / os.path.relpath(path, diff)
            _copy_attributes(source, path, os.lstat(source))
        return diff

    def usage(self, id: str) -> int:
        rootfs = self.rootfs(id)
        return sum(
            os.lstat(rootfs / path[1:]).st_size
            for kind, path in self.changes(id)
            if kind is not ChangeKind.DELETED and not stat.S_ISDIR(os.lstat(rootfs / path[1:]).st_mode)
        )

    def changes(self, id: str) -> list[tuple[ChangeKind, str]]:
        self.snapshot(id)
        before = {
            path: tuple(look)
            for path, look in json.loads((self.container(id) / "before.json").read_bytes()).items()
        }
        now = _looks(self.rootfs(id))
        found = [(ChangeKind.ADDED, path) for path in now.keys() - before.keys()]
        found += [
            (ChangeKind.MODIFIED, path) for path in now.keys() & before.keys() if now[path] != before[path]
        ]
        gone = before.keys() - now.keys()
        # As Docker: a deleted directory stands for everything in it.
        found += [(ChangeKind.DELETED, path) for path in gone if os.path.dirname(path) not in gone]
        return sorted(found, key=lambda change: change[1])

    @contextmanager
    def view(self, chain: list[str]) -> Iterator[Path]:
        target = self._views / secrets.token_hex(8)
        target.mkdir(mode=0o700)
        try:
            for chain_id in chain:
                apply(self.layer_path(chain_id), target, self.opaque_xattr)
            yield target
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def reconcile(self, live_ids: set[str]) -> None:
        for entry in list(os.scandir(self._views)):
            shutil.rmtree(entry.path, ignore_errors=True)
        for id in set(self.ids()) - live_ids:
            self.remove(id)
        self.sweep()

    def close(self) -> None:
        """Nothing is held."""


def apply(layer: Path, rootfs: Path, opaque_xattr: str) -> None:
    """Lay one diff directory over a tree. Raises: OSError."""
    _merge(os.fspath(layer), os.fspath(rootfs), opaque_xattr)


def _merge(source: str, target: str, opaque_xattr: str) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            if is_whiteout(status):
                _remove(place)
            elif stat.S_ISDIR(status.st_mode):
                if is_opaque(entry.path, opaque_xattr) or not _is_directory(place):
                    _remove(place)
                    os.mkdir(place)
                _merge(entry.path, place, opaque_xattr)
                _copy_attributes(entry.path, place, status)
            else:
                _remove(place)
                _copy_one(Path(entry.path), Path(place))
    _copy_attributes(source, target, os.lstat(source))


def _copy_one(source: Path, target: Path) -> None:
    status = os.lstat(source)
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(source), target)
    elif kind == stat.S_IFDIR:
        target.mkdir(exist_ok=True)
    elif kind == stat.S_IFREG:
        shutil.copyfile(source, target, follow_symlinks=False)
    else:
        try:
            os.mknod(target, status.st_mode, status.st_rdev)
        except PermissionError:
            return  # a device node, which only root can make and use
    _copy_attributes(source, target, status)


def _copy_attributes(source: str | Path, target: str | Path, status: os.stat_result) -> None:
    with suppress(PermissionError):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(("trusted.overlay.", "user.overlay.")):
            with suppress(OSError):
                os.setxattr(
                    target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False
                )
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _make_parents(rootfs: Path, diff: Path, path: str) -> None:
    """Directories above a change, looking as they do in the tree."""
    for parent in reversed(Path(path[1:]).parents):
        if not (diff / parent).exists():
            (diff / parent).mkdir()
            _copy_attributes(rootfs / parent, diff / parent, os.lstat(rootfs / parent))


def _looks(rootfs: Path) -> dict[str, _Look]:
    found: dict[str, _Look] = {}
    pending = [("", os.fspath(rootfs))]
    while pending:
        inside, directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                status, path = entry.stat(follow_symlinks=False), f"{inside}/{entry.name}"
                is_directory, is_link = stat.S_ISDIR(status.st_mode), stat.S_ISLNK(status.st_mode)
                size = 0 if is_directory else status.st_size
                target = os.readlink(entry.path) if is_link else ""
                found[path] = (status.st_mode, status.st_uid, status.st_gid, size, status.st_mtime_ns, target)
                if is_directory:
                    pending.append((path, entry.path))
    return found


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
        return
    with suppress(FileNotFoundError):
        os.unlink(path)

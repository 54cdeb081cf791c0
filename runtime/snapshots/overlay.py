"""Containers on overlayfs, over the layers of `layers.py`.

    root/l/<10 hex>                  short links to the diffs: mount options are limited to one page
    root/init                        topmost lower of every container: what Docker puts into every container
    root/empty, root/empty2          lowers of a view of one layer or none, since overlayfs wants two
    root/containers/<id>             upper, work, `snapshot.json`
    run/mounts/<id>  run/views/<random>   mount points, on a private mount of their own

Ids on disk are the container's own, also with a mapping: then layers, upper and work are reached through
the idmapped view of the state directory, so nothing is ever chowned and commit, diff and copy see plain ids.

Spec: kernel Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from runtime.api.errors import Internal, InvalidArgument
from runtime.idmap import IdMap
from runtime.snapshots import mount
from runtime.snapshots.base import ChangeKind, Staging
from runtime.snapshots.changes import compare, tree_size
from runtime.snapshots.layers import LayerStore
from runtime.snapshots.shm import SharedMemory

OPTIONS_BYTES = 4000  # Kernel: mount(2) reads one page of options
LAYERS = 127  # of an image, as Docker; their short names fit into OPTIONS_BYTES
FEATURES = "index=off,metacopy=off,redirect_dir=off"  # what a diff directory can express, and nothing more

_AWKWARD = re.compile(r"[,:\\]")  # separators in mount options


class OverlaySnapshotter(LayerStore):
    """A `Snapshotter` by overlayfs; needs root. `root` is in the state directory, `run` is volatile."""

    name = "overlay2"
    opaque_xattr = "trusted.overlay.opaque"

    def __init__(self, root: Path, run: Path) -> None:
        super().__init__(root)
        self._run = run
        self._shm = SharedMemory(run)
        for part in ("l", "empty", "empty2", "init"):
            (root / part).mkdir(mode=0o711, exist_ok=True)
        for part in ("mounts", "views"):
            (run / part).mkdir(mode=0o711, parents=True, exist_ok=True)
        _furnish(root / "init")

    def commit_layer(self, staging: Staging, chain_id: str, size_bytes: int) -> None:
        super().commit_layer(staging, chain_id, size_bytes)
        self._link(self.diff(chain_id).parent.name)

    def remove_layer(self, chain_id: str) -> None:
        super().remove_layer(chain_id)
        (self.root / "l" / self._short(chain_id)).unlink(missing_ok=True)

    def create(self, id: str, chain: list[str], *, volatile: bool = False) -> None:
        if len(chain) > LAYERS:
            raise InvalidArgument(
                f"max depth exceeded: an image of {len(chain)} layers, {LAYERS} can be mounted"
            )
        half_made = self.root / "staging" / secrets.token_hex(8)
        (half_made / "upper").mkdir(mode=0o755, parents=True)
        (half_made / "work").mkdir(mode=0o711)
        (half_made / "snapshot.json").write_text(json.dumps({"chain": chain, "volatile": volatile}))
        try:
            if chain:  # the root directory itself looks as the image says
                status = self.layer_path(chain[-1]).stat()
                os.chown(half_made / "upper", status.st_uid, status.st_gid)
                os.chmod(half_made / "upper", status.st_mode & 0o7777)
            self.claim(id, chain, half_made)
        except BaseException:
            self.delete(half_made)
            raise

    def mount(self, id: str, mapping: IdMap | None = None) -> Path:
        snapshot, directory, target = self.snapshot(id), self.container(id), self.rootfs(id)
        if mount.is_mounted(target):
            return target
        target.mkdir(mode=0o711, exist_ok=True)
        extra = ""
        if snapshot.volatile:
            # Kernel: the mark of an earlier volatile mount. It matters after a crash of the machine only, and
            # then the container is removed.
            shutil.rmtree(directory / "work/work/incompat", ignore_errors=True)
            extra = ",volatile"
        lowers = [self.root / "init", *(self.root / "l" / self._short(c) for c in reversed(snapshot.chain))]
        self._overlay(target, lowers, directory, extra, mapping)
        return target

    def unmount(self, id: str) -> None:
        target = self.rootfs(id)
        while mount.unmount(target):
            pass
        with suppress(FileNotFoundError):
            target.rmdir()

    def rootfs(self, id: str) -> Path:
        return self._run / "mounts" / id

    def upper(self, id: str) -> Path:
        self.snapshot(id)
        return self.container(id) / "upper"

    def usage(self, id: str) -> int:
        return tree_size(self.upper(id))

    def changes(self, id: str) -> list[tuple[ChangeKind, str]]:
        snapshot = self.snapshot(id)
        with self._view([self.root / "init", *map(self.diff, reversed(snapshot.chain))]) as lower:
            return compare(self.upper(id), lower, self.opaque_xattr)

    @contextmanager
    def view(self, chain: list[str]) -> Iterator[Path]:
        for chain_id in chain:
            self.layer_path(chain_id)
        with self._view([self.root / "l" / self._short(c) for c in reversed(chain)]) as path:
            yield path

    def reconcile(self, live_ids: set[str]) -> None:
        mounts = self._run / "mounts"
        if not mount.is_mounted(mounts):
            # What is mounted below is no business of other mount namespaces, and would keep it busy there.
            mount.bind(mounts, mounts, private=True)
        for entry in list(os.scandir(self._run / "views")):
            while mount.unmount(Path(entry.path)):
                pass
            os.rmdir(entry.path)
        for id in {
            *self.ids(),
            *(entry.name.removeprefix("shm-") for entry in os.scandir(mounts)),
        } - live_ids:
            self._shm.unmount(id)
            self.remove(id)
        self.sweep()
        for entry in os.scandir(self.root / "layers"):
            self._link(entry.name)

    def close(self) -> None:
        """Unmount the private mount of mount points; only when no container is mounted. Idempotent."""
        for entry in os.scandir(self._run / "mounts"):
            raise RuntimeError(f"container {entry.name} is still mounted")
        while mount.unmount(self._run / "mounts"):
            pass

    def _short(self, chain_id: str) -> str:
        return self.diff(chain_id).parent.name[:10]

    def _link(self, digest: str) -> None:
        link, target = self.root / "l" / digest[:10], f"../layers/{digest}/diff"
        try:
            os.symlink(target, link)
        except FileExistsError:
            if os.readlink(link) != target:
                # Two layers with the same 40 bits: the second would mount the first one's files.
                raise Internal(f"layers {os.readlink(link)} and {target} share a short name") from None

    @contextmanager
    def _view(self, lowers: list[Path]) -> Iterator[Path]:
        target = self._run / "views" / secrets.token_hex(8)
        target.mkdir(mode=0o700)
        try:
            self._overlay(target, [*lowers, self.root / "empty", self.root / "empty2"], None, "", None)
            try:
                yield target
            finally:
                mount.unmount(target)
        finally:
            with suppress(FileNotFoundError):
                target.rmdir()

    def _overlay(
        self, target: Path, lowers: list[Path], writable: Path | None, extra: str, mapping: IdMap | None
    ) -> None:
        """Mount; `writable` has the directories upper and work. Raises: Internal."""
        root = self.root if mapping is None else mapping.seen(self.root)
        fds: list[int] = []
        try:
            text = self._options({self.root: root}, lowers, writable, extra)
            if len(os.fsencode(text)) > OPTIONS_BYTES or _AWKWARD.search(str(root)):
                # Directories as open descriptors: short whatever their names are, and free of separators.
                places = {}
                for path in (self.root / "l", self.root):
                    fds.append(os.open(root / path.relative_to(self.root), os.O_PATH | os.O_CLOEXEC))
                    places[path] = Path(f"/proc/self/fd/{fds[-1]}")
                text = self._options(places, lowers, writable, extra)
            flags = mount.MS_RDONLY if writable is None else 0
            with mount.acting_as(mapping.base) if mapping else nullcontext():
                mount.mount("overlay", target, "overlay", flags, text)
        except OSError as error:
            raise Internal(f"cannot mount the root file system on {target}: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _options(
        self, places: dict[Path, Path], lowers: list[Path], writable: Path | None, extra: str
    ) -> str:
        """places: where to reach a directory of ours, the deepest first."""

        def place(path: Path) -> str:
            known = next(base for base in places if path.is_relative_to(base))
            return str(places[known] / path.relative_to(known))

        text = "lowerdir=" + ":".join(map(place, lowers))
        if writable is not None:
            text += f",upperdir={place(writable / 'upper')},workdir={place(writable / 'work')}"
        return f"{text},{FEATURES}{extra}"


def _furnish(init: Path) -> None:
    """Mount points and marks every container has, so that its own diff stays free of them, as with Docker."""
    for name in ("dev/pts", "dev/shm", "proc", "sys", "etc"):
        (init / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"):
        (init / name).touch(mode=0o755)
    with suppress(FileExistsError):
        (init / "etc/mtab").symlink_to("/proc/mounts")

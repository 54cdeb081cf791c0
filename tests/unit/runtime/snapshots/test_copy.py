"""Snapshots by copying keep the same promises as those by overlay, without any rights."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from runtime.api.errors import Conflict, InvalidArgument, NotFound, NotSupported
from runtime.idmap import IdMap
from runtime.snapshots.base import ChangeKind, Snapshotter
from runtime.snapshots.changes import compare, tree_size
from runtime.snapshots.copy import CopySnapshotter

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def chain_id(n: int) -> str:
    return f"sha256:{n:064x}"


class Shelf:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.count = 0
        self.open()

    def open(self) -> None:
        self.snapshots = CopySnapshotter(self.base / "home", self.base / "run")

    def layer(self, files: dict[str, str | None], opaque: tuple[str, ...] = ()) -> str:
        """None is a whiteout."""
        staging = self.snapshots.begin_layer(None)
        for name, text in files.items():
            path = staging.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                os.mknod(path, stat.S_IFCHR, 0)
            else:
                path.write_text(text)
        for name in opaque:
            os.setxattr(staging.path / name, self.snapshots.opaque_xattr, b"y")
        self.count += 1
        self.snapshots.commit_layer(staging, chain_id(self.count), 1)
        return chain_id(self.count)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_it_is_a_snapshotter(shelf: Shelf) -> None:
    snapshotter: Snapshotter = shelf.snapshots
    assert snapshotter.name == "vfs"


def test_layers_lie_over_each_other(shelf: Shelf) -> None:
    low = shelf.layer({"etc/a": "low", "etc/gone": "x", "dir/old": "x", "kind": "file"})
    high = shelf.layer(
        {"etc/b": "high", "etc/gone": None, "dir/new": "y", "kind/now": "dir"}, opaque=("dir",)
    )
    with shelf.snapshots.view([low, high]) as view:
        assert sorted(os.listdir(view / "etc")) == ["a", "b"]
        assert os.listdir(view / "dir") == ["new"]
        assert (view / "kind/now").read_text() == "dir"
    assert not view.exists()


def test_links_modes_and_times_are_kept(shelf: Shelf) -> None:
    staging = shelf.snapshots.begin_layer(None)
    (staging.path / "file").write_text("x")
    (staging.path / "link").symlink_to("file")
    os.mkfifo(staging.path / "fifo")
    os.chmod(staging.path / "file", 0o4750)
    os.utime(staging.path / "file", ns=(1, 2_000_000_000))
    shelf.snapshots.commit_layer(staging, chain_id(9), 1)
    shelf.snapshots.create("one", [chain_id(9)])
    root = shelf.snapshots.mount("one")
    status = (root / "file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o4750, 2_000_000_000)
    assert os.readlink(root / "link") == "file"
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_changes_and_their_diff_say_the_same(shelf: Shelf) -> None:
    layer = shelf.layer({"keep/a": "a", "edit/file": "a", "gone/x": "x", "gone/y": "y"})
    shelf.snapshots.create("one", [layer])
    root = shelf.snapshots.mount("one")
    (root / "edit/file").write_text("bb")
    (root / "new").mkdir()
    (root / "new/file").write_text("n")
    shutil.rmtree(root / "gone")
    expected = [
        (MODIFIED, "/edit/file"),
        (DELETED, "/gone"),
        (ADDED, "/new"),
        (ADDED, "/new/file"),
    ]
    assert shelf.snapshots.changes("one") == expected
    assert shelf.snapshots.usage("one") == 3
    upper = shelf.snapshots.upper("one")
    assert stat.S_ISCHR((upper / "gone").lstat().st_mode)
    with shelf.snapshots.view([layer]) as lower:
        assert compare(upper, lower, shelf.snapshots.opaque_xattr) == expected
    assert tree_size(upper) == 3


def test_two_containers_share_nothing(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    for id in ("one", "two"):
        shelf.snapshots.create(id, [layer])
    (shelf.snapshots.mount("one") / "a").write_text("mine")
    assert (shelf.snapshots.mount("two") / "a").read_text() == "a"
    with pytest.raises(Conflict):
        shelf.snapshots.create("one", [layer])
    with pytest.raises(Conflict):
        shelf.snapshots.remove_layer(layer)
    for id in ("one", "two", "two"):
        shelf.snapshots.remove(id)
    shelf.snapshots.remove_layer(layer)
    with pytest.raises(NotFound):
        shelf.snapshots.create("one", [layer])
    with pytest.raises(NotFound):
        shelf.snapshots.mount("one")


def test_what_a_dead_engine_left_is_cleared(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    for id in ("living", "dead"):
        shelf.snapshots.create(id, [layer])
    left = shelf.snapshots.begin_layer(layer)
    shelf.open()
    shelf.snapshots.reconcile({"living"})
    assert shelf.snapshots.ids() == ["living"]
    assert not left.path.exists()
    with pytest.raises(Conflict):
        shelf.snapshots.remove_layer(layer)


def test_ids_cannot_be_mapped(shelf: Shelf) -> None:
    shelf.snapshots.create("one", [])
    with pytest.raises(NotSupported):
        shelf.snapshots.mount("one", IdMap(1, Path("/u"), Path("/h"), Path("/v")))


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../x"])
def test_an_id_is_no_path(shelf: Shelf, id: str) -> None:
    with pytest.raises(InvalidArgument):
        shelf.snapshots.create(id, [])


@pytest.mark.parametrize("id", ["", "sha256:", "sha256:../../x", "sha512:" + "a" * 64, "sha256:" + "A" * 64])
def test_a_chain_id_is_no_path(shelf: Shelf, id: str) -> None:
    with pytest.raises(InvalidArgument):
        shelf.snapshots.has_layer(id)

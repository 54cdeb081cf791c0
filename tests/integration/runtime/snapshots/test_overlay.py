"""Overlay snapshots for real: layers, containers, views, mapped ids, crashes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api.errors import Conflict, InvalidArgument, NotFound
from runtime.idmap import IdMap
from runtime.snapshots import mount, userns
from runtime.snapshots.base import ChangeKind
from runtime.snapshots.overlay import OverlaySnapshotter
from tests import leftovers

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def chain_id(n: int) -> str:
    return f"sha256:{n:064x}"[:71].replace(f"{0:010x}", f"{n:010x}", 1)


class Shelf:
    """A snapshotter in directories of its own."""

    def __init__(self, base: Path) -> None:
        self.home, self.run = base / "home", base / "run"
        self.home.mkdir()
        self.run.mkdir()
        self.open()
        self.count = 0

    def open(self) -> None:
        self.snapshots = OverlaySnapshotter(self.home / "snapshots", self.run)
        self.snapshots.reconcile(set(self.ids()))

    def ids(self) -> list[str]:
        return os.listdir(self.home / "snapshots/containers")

    def layer(self, files: dict[str, str], parent: str | None = None) -> str:
        staging = self.snapshots.begin_layer(parent)
        for name, text in files.items():
            path = staging.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.count += 1
        self.snapshots.commit_layer(staging, chain_id(self.count), sum(map(len, files.values())))
        return chain_id(self.count)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    base = leftovers.directory("oci-shelf-")
    base.chmod(0o711)
    shelf = Shelf(base)
    try:
        yield shelf
    finally:
        shelf.snapshots.reconcile(set())
        shelf.snapshots.close()
        userns.release(shelf.run)
        assert str(base) not in Path("/proc/self/mountinfo").read_text()
        shutil.rmtree(base)


@pytest.fixture
def mapping(shelf: Shelf) -> IdMap:
    return userns.prepare(shelf.home, shelf.run, f"test-{uuid.uuid4().hex[:6]}")


def test_a_container_sees_its_layers_and_keeps_its_changes_to_itself(shelf: Shelf) -> None:
    low = shelf.layer({"etc/a": "low", "etc/b": "low"})
    high = shelf.layer({"etc/b": "high"}, low)
    for id in ("one", "two"):
        shelf.snapshots.create(id, [low, high])
    one, two = shelf.snapshots.mount("one"), shelf.snapshots.mount("two")
    assert ((one / "etc/a").read_text(), (one / "etc/b").read_text()) == ("low", "high")
    (one / "etc/a").write_text("mine")
    assert (two / "etc/a").read_text() == "low"
    shelf.snapshots.unmount("one")
    assert not one.exists()
    assert (shelf.snapshots.mount("one") / "etc/a").read_text() == "mine"
    assert shelf.snapshots.mount("one") == one
    assert shelf.snapshots.usage("one") == 4


def test_a_removed_snapshot_is_gone_and_its_layers_stay(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    shelf.snapshots.create("one", [layer])
    shelf.snapshots.mount("one")
    with pytest.raises(Conflict):
        shelf.snapshots.remove_layer(layer)
    with pytest.raises(Conflict):
        shelf.snapshots.create("one", [layer])
    shelf.snapshots.remove("one")
    shelf.snapshots.remove("one")
    with pytest.raises(NotFound):
        shelf.snapshots.mount("one")
    assert shelf.snapshots.layers() == [layer]
    shelf.snapshots.remove_layer(layer)
    assert shelf.snapshots.layers() == []
    with pytest.raises(NotFound):
        shelf.snapshots.layer_path(layer)
    assert os.listdir(shelf.home / "snapshots/staging") == []


def test_a_layer_is_whole_or_not_there(shelf: Shelf) -> None:
    staging = shelf.snapshots.begin_layer(None)
    (staging.path / "half").write_text("x")
    assert shelf.snapshots.layers() == []
    shelf.open()
    assert not staging.path.exists()
    again = shelf.snapshots.begin_layer(None)
    shelf.snapshots.commit_layer(again, chain_id(1), 7)
    late = shelf.snapshots.begin_layer(None)
    (late.path / "other").write_text("x")
    shelf.snapshots.commit_layer(late, chain_id(1), 9)
    assert shelf.snapshots.layer_size(chain_id(1)) == 7
    assert not late.path.exists()
    shelf.snapshots.abort_layer(again)
    assert shelf.snapshots.has_layer(chain_id(1))


def test_racing_commits_of_one_layer_leave_one(shelf: Shelf) -> None:
    stagings = [shelf.snapshots.begin_layer(None) for _ in range(16)]
    threads = [
        threading.Thread(target=shelf.snapshots.commit_layer, args=(staging, chain_id(5), 1))
        for staging in stagings
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shelf.snapshots.layers() == [chain_id(5)]
    assert os.listdir(shelf.home / "snapshots/staging") == []


@pytest.mark.parametrize("count", [1, 40, 127])
def test_many_layers_can_be_mounted(shelf: Shelf, count: int) -> None:
    chain: list[str] = []
    for n in range(count):
        chain.append(shelf.layer({f"f{n}": str(n), "top": str(n)}, chain[-1] if chain else None))
    shelf.snapshots.create("deep" + "0" * 60, chain)
    root = shelf.snapshots.mount("deep" + "0" * 60)
    assert (root / "top").read_text() == str(count - 1)
    assert len([name for name in os.listdir(root) if name.startswith("f")]) == count
    with shelf.snapshots.view(chain) as view:
        assert (view / "f0").read_text() == "0"


def test_more_layers_are_refused(shelf: Shelf) -> None:
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        shelf.snapshots.create("deep", [chain_id(1)] * 128)


def test_a_home_with_separators_in_its_name_works() -> None:
    base = leftovers.directory("oci-,odd:na\\me ")
    shelf = Shelf(base)
    try:
        layer = shelf.layer({"a": "a"})
        shelf.snapshots.create("one", [layer])
        assert (shelf.snapshots.mount("one") / "a").read_text() == "a"
    finally:
        shelf.snapshots.reconcile(set())
        shelf.snapshots.close()
        shutil.rmtree(base)


def test_a_view_is_read_only_and_leaves_no_mount(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    with shelf.snapshots.view([layer]) as view:
        assert (view / "a").read_text() == "a"
        with pytest.raises(OSError, match="Read-only"):
            (view / "b").write_text("b")
    assert not view.exists()
    with shelf.snapshots.view([]) as view:
        assert os.listdir(view) == []


def test_every_container_has_dockers_mount_points_without_changing_anything(shelf: Shelf) -> None:
    shelf.snapshots.create("one", [])
    root = shelf.snapshots.mount("one")
    assert sorted(os.listdir(root)) == [".dockerenv", "dev", "etc", "proc", "sys"]
    assert os.readlink(root / "etc/mtab") == "/proc/mounts"
    assert shelf.snapshots.changes("one") == []


def test_the_root_directory_looks_as_the_image_says(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    os.chmod(shelf.snapshots.layer_path(layer), 0o700)
    shelf.snapshots.create("one", [layer])
    assert stat.S_IMODE(shelf.snapshots.mount("one").stat().st_mode) == 0o700


def test_changes_are_told_as_docker_does(shelf: Shelf) -> None:
    layer = shelf.layer(
        {
            "keep/a": "a",
            "edit/in/file": "a",
            "gone/x": "x",
            "swap/x": "x",
            "swap/y": "y",
            "kind": "f",
            "f": "f",
        }
    )
    shelf.snapshots.create("one", [layer])
    root = shelf.snapshots.mount("one")
    (root / "edit/in/file").write_text("b")
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/file").write_text("n")
    shutil.rmtree(root / "gone")
    shutil.rmtree(root / "swap")
    (root / "swap").mkdir()
    (root / "swap/y").write_text("z")
    (root / "kind").unlink()
    (root / "kind").mkdir()
    (root / "short").write_text("lived")
    (root / "short").unlink()
    os.chmod(root / "f", 0o600)
    assert shelf.snapshots.changes("one") == [
        (MODIFIED, "/edit/in/file"),
        (MODIFIED, "/f"),
        (DELETED, "/gone"),
        (MODIFIED, "/kind"),
        (ADDED, "/new"),
        (ADDED, "/new/deep"),
        (ADDED, "/new/deep/file"),
        (MODIFIED, "/swap"),
        (DELETED, "/swap/x"),
        (MODIFIED, "/swap/y"),
    ]
    upper = shelf.snapshots.upper("one")
    assert (upper / "gone").stat().st_rdev == 0
    assert os.getxattr(upper / "swap", shelf.snapshots.opaque_xattr) == b"y"


def test_what_a_dead_engine_left_is_cleared_and_the_living_stay(shelf: Shelf) -> None:
    layer = shelf.layer({"a": "a"})
    for id in ("living", "dead"):
        shelf.snapshots.create(id, [layer])
        (shelf.snapshots.mount(id) / "b").write_text(id)
    living = shelf.snapshots.rootfs("living")
    inode = living.stat().st_ino
    view = shelf.snapshots.view([layer])
    left = view.__enter__()
    (shelf.home / "snapshots/l" / layer[7:17]).unlink()
    after = OverlaySnapshotter(shelf.home / "snapshots", shelf.run)
    after.reconcile({"living"})
    assert shelf.ids() == ["living"]
    assert not left.exists()
    assert not after.rootfs("dead").exists()
    assert living.stat().st_ino == inode
    assert (after.mount("living") / "b").read_text() == "living"
    with pytest.raises(Conflict):
        after.remove_layer(layer)
    after.unmount("living")
    assert (after.mount("living") / "a").read_text() == "a"


def test_the_mounts_are_not_seen_by_other_namespaces(shelf: Shelf) -> None:
    other = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            "echo ready; read x; cat /proc/self/mountinfo",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    shelf.snapshots.create("one", [])
    path = str(shelf.snapshots.mount("one"))
    assert path not in other.communicate("\n")[0]


def test_a_volatile_snapshot_can_be_mounted_again(shelf: Shelf) -> None:
    shelf.snapshots.create("one", [], volatile=True)
    for n in range(3):
        (shelf.snapshots.mount("one") / str(n)).write_text("x")
        assert "volatile" in Path("/proc/self/mountinfo").read_text()
        shelf.snapshots.unmount("one")
    assert len(os.listdir(shelf.snapshots.upper("one"))) == 3


def in_userns(mapping: IdMap, script: str) -> str:
    command = ["nsenter", f"--user={mapping.userns}", "--setuid=0", "--setgid=0", "sh", "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_mapped_container_writes_its_own_ids_to_disk(shelf: Shelf, mapping: IdMap) -> None:
    layer = shelf.layer({"etc/file": "a", "gone": "x"})
    os.chown(shelf.snapshots.layer_path(layer) / "etc/file", 33, 44)
    shelf.snapshots.create("one", [layer])
    root = shelf.snapshots.mount("one", mapping)
    assert (root / "etc/file").stat().st_uid == mapping.to_host(33)
    seen = in_userns(
        mapping,
        f"cd {root} && stat -c %u:%g etc/file && echo b >> etc/file && rm gone && touch new && chown 5:6 new",
    )
    assert seen == "33:44\n"
    upper = shelf.snapshots.upper("one")
    assert ((upper / "new").stat().st_uid, (upper / "new").stat().st_gid) == (5, 6)
    assert (upper / "etc/file").stat().st_uid == 33
    assert upper.stat().st_uid == 0
    assert shelf.snapshots.changes("one") == [(MODIFIED, "/etc/file"), (DELETED, "/gone"), (ADDED, "/new")]
    shelf.snapshots.unmount("one")
    assert (shelf.snapshots.mount("one") / "new").stat().st_uid == 5


def test_mounting_mapped_leaves_the_thread_as_it_was(shelf: Shelf, mapping: IdMap) -> None:
    def credentials() -> list[str]:
        lines = Path("/proc/thread-self/status").read_text().splitlines()
        return [line for line in lines if line.startswith(("Uid", "Gid", "Cap"))]

    before = credentials()
    shelf.snapshots.create("one", [])
    shelf.snapshots.mount("one", mapping)
    assert credentials() == before


def test_the_user_namespace_outlives_the_engine_and_is_released(shelf: Shelf, mapping: IdMap) -> None:
    assert userns.prepare(shelf.home, shelf.run, "another") == mapping
    userns.release(shelf.run)
    userns.release(shelf.run)
    assert not mount.is_mounted(shelf.run / "view")
    assert not (shelf.run / "userns").exists()


def test_whether_a_path_can_be_mapped_is_found_out(shelf: Shelf, mapping: IdMap) -> None:
    assert userns.mappable(shelf.home, mapping)
    assert not userns.mappable(Path("/proc"), mapping)
    assert not userns.mappable(Path("/nosuch"), mapping)

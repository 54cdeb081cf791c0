"""What a layer changed, against the trees that come out when the layers are really laid over each other."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.api.types import LayerChange
from runtime.images.changes import Asked, changes
from runtime.snapshots.copy import apply

OPAQUE = "user.overlay.opaque"
NAMES = ("a", "a.b", "b", "c", "ä")


def fill(directory: Path, dice: random.Random, depth: int) -> None:
    """Some of everything a layer can have."""
    for name in NAMES:
        path, kind = directory / name, dice.choice(["", "", "file", "directory", "whiteout", "link"])
        if kind == "file":
            path.write_text(str(dice.random()))
            path.chmod(dice.choice([0o644, 0o4755]))
        elif kind == "link":
            path.symlink_to(dice.choice(["..", "/", "a", "../../../../etc"]))
        elif kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
        elif kind == "directory" and depth:
            path.mkdir(mode=dice.choice([0o755, 0o700]))
            fill(path, dice, depth - 1)
            if dice.random() < 0.3:
                os.setxattr(path, OPAQUE, b"y")


def tree(top: Path) -> dict[str, int]:
    """path -> type of everything below."""
    return {
        f"/{path.relative_to(top)}": stat.S_IFMT(path.lstat().st_mode)
        for directory, names, files in os.walk(top)
        for path in (Path(directory, name) for name in (*names, *files))
    }


def pages(layer: Path, lowers: list[Path], limit: int) -> list[LayerChange]:
    rows: list[LayerChange] = []
    after = ""
    while True:
        page = changes(layer, lowers, Asked(after=after, limit=limit), OPAQUE)
        assert len(page["Changes"]) <= limit
        rows += page["Changes"]
        after = page["Next"]
        if not after:
            return rows


@pytest.mark.parametrize("seed", range(25))
def test_what_is_told_is_what_happens(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    before, layers = tmp_path / "before", []
    before.mkdir()
    for number in range(4):
        layer = tmp_path / f"layer{number}"
        layer.mkdir()
        fill(layer, dice, 3)
        layers.append(layer)
    top, below = layers[-1], layers[:-1]
    for layer in below:
        apply(layer, before, OPAQUE)
    was = tree(before)
    apply(top, before, OPAQUE)
    now = tree(before)
    rows = pages(top, below[::-1], 5000)
    by_kind = {
        kind: [row["Path"] for row in rows if row["Kind"] == kind]
        for kind in ("added", "changed", "removed", "kept")
    }
    assert len({row["Path"] for row in rows}) == len(rows)
    assert set(by_kind["added"]) == now.keys() - was.keys()
    now["/"] = stat.S_IFDIR
    assert set(by_kind["removed"]) == {
        path for path in was.keys() - now.keys() if now.get(os.path.dirname(path)) == stat.S_IFDIR
    }
    assert set(by_kind["changed"] + by_kind["kept"]) <= was.keys() & now.keys()
    differs = {path for path in was.keys() & now.keys() if was[path] != now[path]}
    assert differs <= set(by_kind["changed"])
    for limit in (1, 3):
        assert pages(top, below[::-1], limit) == rows
    for path in [row["Path"] for row in rows if row["Type"] == "directory" and row["Kind"] != "removed"]:
        inside = changes(top, below[::-1], Asked(below=path, limit=5000), OPAQUE)["Changes"]
        assert inside == [row for row in rows if row["Path"].startswith(f"{path}/")]
        flat = changes(top, below[::-1], Asked(below=path, limit=5000, depth=1), OPAQUE)["Changes"]
        assert flat == [row for row in inside if "/" not in row["Path"][len(path) + 1 :]]


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer/out").symlink_to(tmp_path)
    row = changes(tmp_path / "layer", [], Asked(), OPAQUE)["Changes"][0]
    assert (row["Type"], row["Link"]) == ("symlink", str(tmp_path))
    for path in ("/out", "/out/layer", "/none"):
        with pytest.raises(NotFound):
            changes(tmp_path / "layer", [], Asked(below=path), OPAQUE)
    for asked in (
        Asked(below="/\ud800"),
        Asked(below="/.."),
        Asked(limit=5001),
        Asked(depth=-1),
        Asked(after="ü"),
    ):
        with pytest.raises(InvalidArgument):
            changes(tmp_path / "layer", [], asked, OPAQUE)


def test_names_that_are_no_text_can_be_paged(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    for name in (b"\xff", b"\xfe\n", b"z"):
        Path(os.fsdecode(os.fsencode(layer) + b"/" + name)).write_text("x")
    assert len(pages(layer, [], 1)) == 3

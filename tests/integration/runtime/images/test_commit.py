"""Images made of a container's changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.images.images import NewImage
from runtime.images.starter import starter_archive
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told
from tests.integration.runtime.images.test_archives import body


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    """An engine with the starter images."""
    made: Engine = await make_engine()
    await told(made.images.load(body(b"".join(starter_archive()))))
    return made


@pytest.fixture
def upper(place: Path) -> Path:
    path = place / "upper"
    path.mkdir()
    return path


NEW = NewImage(
    config={"Cmd": ["sh"], "Env": ["A=b"]}, parent="webdock/busybox", created_by="sh", comment="why"
)


async def test_a_commit_holds_what_changed(engine: Engine, upper: Path) -> None:
    (upper / "etc").mkdir(mode=0o700)
    (upper / "etc/new").write_text("x" * 5000)
    os.chown(upper / "etc/new", 5, 6)
    os.link(upper / "etc/new", upper / "etc/same")
    os.symlink("/etc/shadow", upper / "link")
    os.setxattr(upper / "etc/new", "user.note", b"\0\xff")
    os.mknod(upper / "etc/passwd", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "tmp").mkdir()
    os.setxattr(upper / "tmp", "trusted.overlay.opaque", b"y")
    id = await engine.images.create_from(upper, NEW, repo="changed", tag="v1")
    record = engine.images.get("changed:v1")
    assert record.id == id
    assert record.parent == engine.images.get("webdock/busybox").id
    layer = engine.layer(id)
    status = (layer / "etc/new").stat()
    assert (status.st_uid, status.st_gid, status.st_size, status.st_nlink) == (5, 6, 5000, 2)
    assert os.getxattr(layer / "etc/new", "user.note") == b"\0\xff"
    assert os.readlink(layer / "link") == "/etc/shadow"
    assert stat.S_ISCHR((layer / "etc/passwd").lstat().st_mode)
    assert os.getxattr(layer / "tmp", "trusted.overlay.opaque") == b"y"
    with engine.snapshots.view(record.chain) as root:
        assert not (root / "etc/passwd").exists()
        assert (root / "etc/group").exists()
        assert (root / "bin/busybox").exists()
    rows = engine.images.history(id)
    assert (rows[0]["CreatedBy"], rows[0]["Comment"]) == ("sh", "why")
    assert len(rows) == 2


async def test_the_same_changes_give_the_same_layer(engine: Engine, upper: Path) -> None:
    for name in "cab":
        (upper / name).write_text(name)
        os.utime(upper / name, (1, 1))
    first = engine.images.get(await engine.images.create_from(upper, NEW))
    second = engine.images.get(await engine.images.create_from(upper, NEW))
    assert first.chain == second.chain


async def test_no_changes_make_no_layer(engine: Engine, upper: Path) -> None:
    id = await engine.images.create_from(upper, NEW, repo="same")
    assert engine.images.get(id).chain == engine.images.get("webdock/busybox").chain
    assert engine.images.history(id)[0]["Size"] == 0


async def test_changes_of_the_configuration_are_applied(engine: Engine, upper: Path) -> None:
    new = NewImage(config={"Cmd": ["sh"]}, parent="webdock/busybox", changes=["ENV X=y", "USER nobody"])
    config = engine.images.get(await engine.images.create_from(upper, new)).config["config"]
    assert (config["Env"], config["User"]) == (["X=y"], "nobody")
    with pytest.raises(InvalidArgument):
        await engine.images.create_from(upper, NewImage(config={}, changes=["RUN x"]))


async def test_an_image_of_nothing_can_be_made(engine: Engine, upper: Path) -> None:
    (upper / "x").write_text("y")
    record = engine.images.get(await engine.images.create_from(upper, NewImage(config={}), repo="bare"))
    assert len(record.chain) == 1
    assert record.config["os"] == "linux"


async def test_names_that_mean_whiteouts_are_refused(engine: Engine, upper: Path) -> None:
    (upper / ".wh.x").write_text("y")
    before = len(engine.files())
    with pytest.raises(InvalidArgument, match="means a whiteout"):
        await engine.images.create_from(upper, NEW)
    assert len(engine.files()) == before


async def test_what_cannot_be_named_is_refused_before_anything_is_read(engine: Engine, upper: Path) -> None:
    with pytest.raises(InvalidArgument):
        await engine.images.create_from(upper, NEW, repo="UPPER")
    with pytest.raises(NotFound):
        await engine.images.create_from(upper, NewImage(config={}, parent="nope"))


async def test_a_symlink_that_a_container_left_leads_nowhere(
    engine: Engine, upper: Path, place: Path
) -> None:
    (place / "secret").write_text("secret")
    os.symlink(place, upper / "out")
    os.symlink("../../..", upper / "up")
    record = engine.images.get(await engine.images.create_from(upper, NEW))
    blob = engine.root / "images/blobs/sha256" / record.blobs[-1].digest[7:]
    assert b"secret" not in blob.read_bytes()

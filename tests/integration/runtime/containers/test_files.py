"""Copying files in and out, export, changes, commit, volumes; on running and on stopped containers."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import Forbidden, InvalidArgument, NotFound
from runtime.engine import Engine

from .engines import Instance, body, run, started, until


@pytest.fixture(scope="module", params=["auto", "host"])
def instance(request: pytest.FixtureRequest) -> Any:
    instance = Instance(userns=request.param)
    yield instance
    asyncio.run(instance.purge())


@pytest.fixture
async def engine(instance: Instance) -> AsyncIterator[Engine]:
    engine = await instance.start()
    yield engine
    for container in await engine.containers.list(all=True):
        await engine.containers.remove(container["Id"], force=True, volumes=True)
    await instance.stop()


@pytest.fixture(params=["running", "created"])
async def box(request: pytest.FixtureRequest, engine: Engine) -> str:
    """A container, running or never started, with a volume at /data."""
    more: dict[str, Any] = {"Volumes": {"/data": {}}, "host": {"Binds": ["/etc/hostname:/given:ro"]}}
    if request.param == "running":
        return await started(engine, "sleep", "1000", **more)
    return (await engine.containers.create(None, body("sleep", "1000", **more)))[0]


async def pieces(data: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def collect(chunks: AsyncIterator[bytes]) -> tarfile.TarFile:
    data = b"".join([chunk async for chunk in chunks])
    return tarfile.open(fileobj=io.BytesIO(data))


def archive(*members: tuple[str, dict[str, Any], bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, fields, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def test_what_is_put_in_comes_out_again(engine: Engine, box: str) -> None:
    containers = engine.containers
    data = archive(
        ("dir", {"type": tarfile.DIRTYPE, "mode": 0o750, "uid": 3, "gid": 4}, b""),
        ("dir/file", {"mode": 0o640, "uid": 3, "gid": 4, "mtime": 1_000_000_000}, b"x" * 100_000),
        ("dir/link", {"type": tarfile.SYMTYPE, "linkname": "file"}, b""),
        ("dir/same", {"type": tarfile.LNKTYPE, "linkname": "dir/file"}, b""),
    )
    for target in ("/tmp", "/data"):
        await containers.archive_put(box, target, pieces(data))
        stat, chunks = await containers.archive_get(box, f"{target}/dir")
        assert (stat["name"], stat["mode"] & 0o777, stat["mode"] >> 31) == ("dir", 0o750, 1)
        tar = await collect(chunks)
        assert tar.getnames() == ["dir", "dir/file", "dir/link", "dir/same"]
        file = tar.getmember("dir/file")
        assert (file.uid, file.gid, file.mode, file.mtime) == (3, 4, 0o640, 1_000_000_000)
        content = tar.extractfile("dir/file")
        assert content is not None
        assert content.read() == b"x" * 100_000
        assert tar.getmember("dir/link").linkname == "file"
        assert tar.getmember("dir/same").islnk()


async def test_stat_knows_links_and_missing_files(engine: Engine, box: str) -> None:
    containers = engine.containers
    stat = await containers.archive_head(box, "/bin/sh")
    assert stat["name"] == "sh"
    assert stat["linkTarget"] == "/bin/busybox"
    assert stat["mode"] & (1 << 27)
    assert (await containers.archive_head(box, "/"))["name"] == "/"
    assert (await containers.archive_head(box, "/given"))["size"] == os.stat("/etc/hostname").st_size
    for call in (containers.archive_head(box, "/no/such"), containers.archive_get(box, "/no/such")):
        with pytest.raises(NotFound, match="Could not find the file /no/such in container"):
            await call
    with pytest.raises(NotFound, match="Could not find the file /nowhere"):
        await containers.archive_put(box, "/nowhere", pieces(archive()))


async def test_links_in_the_container_lead_nowhere_else(engine: Engine, box: str, tmp_path: Path) -> None:
    containers = engine.containers
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    (outside / "secret").write_text("secret")
    data = archive(
        ("out", {"type": tarfile.SYMTYPE, "linkname": str(outside)}, b""),
        ("up", {"type": tarfile.SYMTYPE, "linkname": "../../../../../../../.." + str(outside)}, b""),
    )
    await containers.archive_put(box, "/tmp", pieces(data))
    for name in ("out", "up"):
        with pytest.raises(NotFound):
            await containers.archive_get(box, f"/tmp/{name}/secret")
        with pytest.raises(NotFound):
            await containers.archive_put(box, f"/tmp/{name}/", pieces(archive(("x", {}, b"y"))))
    with pytest.raises(InvalidArgument, match="outside"):
        await containers.archive_put(box, "/tmp", pieces(archive(("../../x", {}, b"y"))))
    nested = archive(("out/planted", {}, b"y"))
    with pytest.raises((NotFound, InvalidArgument)):
        await containers.archive_put(box, "/tmp", pieces(nested))
    assert sorted(os.listdir(outside)) == ["secret"]


async def test_what_is_read_only_cannot_be_written(engine: Engine) -> None:
    containers = engine.containers
    id, _ = await containers.create(
        None,
        body(
            "true",
            host={"ReadonlyRootfs": True, "Binds": ["readable:/ro:ro", "writable:/rw"], "Tmpfs": {"/t": ""}},
        ),
    )
    data = archive(("x", {}, b"y"))
    with pytest.raises(Forbidden, match="rootfs is marked read-only"):
        await containers.archive_put(id, "/tmp", pieces(data))
    with pytest.raises(Forbidden, match="volume is marked read-only"):
        await containers.archive_put(id, "/ro", pieces(data))
    await containers.archive_put(id, "/rw", pieces(data))
    await containers.remove(id)
    await engine.volumes.remove("readable")
    await engine.volumes.remove("writable")


async def test_directories_are_not_replaced_when_that_is_forbidden(engine: Engine, box: str) -> None:
    containers = engine.containers
    data = archive(("etc", {}, b"a file"))
    with pytest.raises(InvalidArgument, match="cannot overwrite directory"):
        await containers.archive_put(box, "/", pieces(data), no_overwrite_dir_non_dir=True)
    with pytest.raises(InvalidArgument, match="extraction point is not a directory"):
        await containers.archive_put(box, "/etc/passwd", pieces(data))
    with pytest.raises(InvalidArgument):
        await containers.archive_put(box, "/tmp", pieces(b"no archive at all" * 100))


async def test_a_reader_that_leaves_leaves_nothing(engine: Engine, box: str, instance: Instance) -> None:
    _, chunks = await engine.containers.archive_get(box, "/")
    assert await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    await until(lambda: not [line for line in instance.processes() if "tarbox" in line])


async def test_export_is_the_root_without_mounts(engine: Engine, box: str) -> None:
    await engine.containers.archive_put(box, "/tmp", pieces(archive(("mine", {"uid": 7}, b"1"))))
    await engine.containers.archive_put(box, "/data", pieces(archive(("volatile", {}, b"2"))))
    tar = await collect(await engine.containers.export(box))
    names = tar.getnames()
    assert {"bin/busybox", "tmp/mine", "etc/passwd"} <= set(names)
    assert "data/volatile" not in names
    assert tar.getmember("tmp/mine").uid == 7


async def test_changes_and_commit(engine: Engine, box: str) -> None:
    containers = engine.containers
    await containers.archive_put(
        box, "/root", pieces(archive(("new", {"mode": 0o755, "uid": 5}, b"#!/bin/sh\necho $A $1\n")))
    )
    changes = {entry["Path"]: entry["Kind"] for entry in await containers.changes(box)}
    assert changes["/root/new"] == 1
    assert changes["/root"] == 0
    image = await containers.commit(
        box,
        repo="made/here",
        tag="v1",
        comment="why",
        author="who",
        changes=['CMD ["/root/new", "b"]', "ENV A=a"],
    )
    assert engine.images.get("made/here:v1").id == image
    described = engine.images.inspect("made/here:v1")
    assert (described["Comment"], described["Author"]) == ("why", "who")
    code, out, _ = await run(engine, Image="made/here:v1", Cmd=None)
    assert (code, out) == (0, b"a b\n")
    await engine.images.remove("made/here:v1", force=True)


async def test_an_empty_volume_gets_what_the_image_has_there(engine: Engine) -> None:
    script = "cat /etc/passwd | head -1; stat -c %U:%a /etc/passwd; echo more > /etc/added"
    first = await run(engine, "sh", "-c", script, host={"Binds": ["filled:/etc"]})
    assert first[0] == 0
    assert first[1].startswith(b"root:x:0:0:")
    second = await run(engine, "cat", "/here/added", host={"Binds": ["filled:/here"]})
    assert second[1] == b"more\n"
    third = await run(engine, "ls", "/etc", host={"Binds": ["bare:/etc:nocopy"]})
    assert b"passwd" not in third[1]
    for name in ("filled", "bare"):
        await engine.volumes.remove(name)


async def test_host_directories_can_be_written_as_root(engine: Engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code, out, err = await run(
        engine,
        "sh",
        "-c",
        "id -u; echo hi > /host/file; stat -c %u /host",
        host={"Binds": [f"{tmp_path}:/host"]},
    )
    assert (code, out, err) == (0, b"0\n0\n", b"")
    assert (tmp_path / "file").read_text() == "hi\n"
    assert (tmp_path / "file").stat().st_uid == 0
    code, _, err = await run(engine, "touch", "/host/no", host={"Binds": [f"{tmp_path}:/host:ro"]})
    assert code == 1
    assert b"Read-only" in err


async def test_volumes_can_be_taken_from_another_container(engine: Engine) -> None:
    donor, _ = await engine.containers.create("donor", body("true", Volumes={"/shared": {}}))
    assert (await run(engine, "touch", "/shared/x", host={"VolumesFrom": ["donor"]}))[0] == 0
    assert (await run(engine, "ls", "/shared", host={"VolumesFrom": [donor]}))[1] == b"x\n"
    assert (await run(engine, "touch", "/shared/y", host={"VolumesFrom": ["donor:ro"]}))[0] == 1

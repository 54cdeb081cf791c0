"""Files of volumes on the real engine: owners, links that lead out, mounts made for the while, crashes."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, Forbidden, InvalidArgument, NotFound
from tests.conformance.conftest import until

BUSYBOX = "webdock/busybox"


@pytest.fixture
async def web(run: Path) -> AsyncIterator[EngineClient]:
    async with EngineClient(f"unix://{run}/web.sock") as client:
        yield client


async def shell(client: EngineClient, script: str, *binds: str) -> str:
    """What a container that mounts these says, after it has ended well."""
    body = {"Image": BUSYBOX, "Cmd": ["sh", "-c", script], "HostConfig": {"Binds": list(binds)}}
    id = (await client.container_create(body))["Id"]
    await client.container_start(id)
    result = await client.container_wait(id)
    async with client.container_logs(id) as log:
        said = b"".join([data async for _, data in log]).decode()
    await client.container_remove(id)
    assert result["StatusCode"] == 0, said
    return said


async def members(client: EngineClient, volume: str, path: str = "/") -> dict[str, tarfile.TarInfo]:
    async with client.volume_archive(volume, path) as stream:
        data = b"".join([chunk async for chunk in stream])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: one for one in archive}


def tar(*infos: tarfile.TarInfo, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info in infos:
            info.size = len(data) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(data) if info.isfile() else None)
    return out.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


async def test_owners_modes_links_and_the_volumes_own_rights_survive_a_backup_and_a_clone(
    client: EngineClient,
) -> None:
    await client.volume_create({"Name": "data"})
    await shell(
        client,
        "cd /d && mkdir -p sub && echo x >sub/f && chown 101:102 sub/f && chmod 4750 sub/f && "
        "ln sub/f same && ln -s /etc/passwd out && chown 999:998 /d && chmod 2700 /d",
        "data:/d",
    )
    async with client.volume_archive("data") as stream:
        backup = b"".join([chunk async for chunk in stream])
    await client.volume_create({"Name": "restored"})
    await client.volume_archive_put("restored", "/", backup)
    await client.volume_clone("data", {"Name": "cloned"})
    for name in ("data", "restored", "cloned"):
        found = await members(client, name)
        assert (found["."].uid, found["."].gid, found["."].mode) == (999, 998, 0o2700), name
        # Hard links: whichever name comes first is the file.
        assert {found["same"].type, found["sub/f"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}, name
        assert (found["same"].uid, found["same"].gid, found["same"].mode) == (101, 102, 0o4750), name
        assert found["out"].linkname == "/etc/passwd", name
        said = await shell(client, "stat -c '%u %g %a %h' /d/sub/f; stat -c '%u %g %a' /d", f"{name}:/d")
        assert said.split("\n")[:2] == ["101 102 4750 2", "999 998 2700"], name


async def test_links_lead_nowhere_outside_the_volume(client: EngineClient) -> None:
    await client.volume_create({"Name": "data"})
    await shell(client, "cd /d && ln -s /etc e && ln -s ../../../.. up && ln -s /etc/passwd p", "data:/d")
    for path in ("/e/passwd", "/up/etc/passwd", "/p/.", "/../../etc/passwd"):
        with pytest.raises(NotFound):
            await client.volume_archive("data", path).open()
    with pytest.raises(NotFound):
        await client.volume_files("data", "/e")
    assert [one["name"] for one in (await client.volume_files("data", "/up"))["Entries"]] == ["e", "p", "up"]
    # A member behind a link of the archive's own stays inside as well, or is refused.
    with tempfile.TemporaryDirectory() as outside:
        archive = tar(info("way", tarfile.SYMTYPE, linkname=outside), info("way/in"), data=b"x")
        with pytest.raises(EngineError):
            await client.volume_archive_put("data", "/", archive)
        assert os.listdir(outside) == []
    with pytest.raises(InvalidArgument):
        await client.volume_archive_put("data", "/", tar(info("../over"), data=b"x"))


async def test_a_link_swapped_again_and_again_shows_no_file_of_the_host(client: EngineClient) -> None:
    await client.volume_create({"Name": "data"})
    swapping = (
        "cd /d; mkdir real; echo mine >real/shadow; while true; do "
        "ln -sfn real way; ln -sfn /etc way; rm -rf dir; cp -r real dir; rm -rf dir; ln -s /etc dir; done"
    )
    body = {"Image": BUSYBOX, "Cmd": ["sh", "-c", swapping], "HostConfig": {"Binds": ["data:/d"]}}
    id = (await client.container_create(body))["Id"]
    await client.container_start(id)
    await until(lambda: client.volume_files("data"), lambda seen: seen["Total"] >= 2)
    for _ in range(6):
        for path in ("/way/shadow", "/dir/shadow"):
            try:
                async with client.volume_archive("data", path) as stream:
                    seen = b"".join([chunk async for chunk in stream])
            except EngineError:
                continue
            assert b"root:" not in seen
    await client.volume_clone("data", {"Name": "copy"})
    said = await shell(client, "cat /d/*/shadow 2>/dev/null; true", "copy:/d")
    assert "root:" not in said


async def test_a_tmpfs_volume_has_files_while_a_container_runs(client: EngineClient, run: Path) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    await client.volume_create({"Name": "fleeting", "DriverOpts": options})
    with pytest.raises(Conflict, match="is a tmpfs: it has files only while a running container uses it"):
        await client.volume_files("fleeting")
    with pytest.raises(Conflict):
        await client.volume_archive_put("fleeting", "/", tar(info("f"), data=b"x"))
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "HostConfig": {"Binds": ["fleeting:/d"]}}
    id = (await client.container_create(body))["Id"]
    await client.container_start(id)
    await client.volume_archive_put("fleeting", "/", tar(info("f"), data=b"x"))
    assert [one["name"] for one in (await client.volume_files("fleeting"))["Entries"]] == ["f"]
    await client.container_remove(id, force=True)
    assert f"{run}/volumes/fleeting" not in Path("/proc/self/mountinfo").read_text()


async def test_a_bind_volume_is_mounted_for_the_while_and_closed_to_the_confined_socket(
    client: EngineClient, web: EngineClient, run: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="wd-bound-") as source:
        Path(source, "here").write_text("x")
        options = {"type": "none", "o": "bind", "device": source}
        await client.volume_create({"Name": "bound", "DriverOpts": options})
        assert [one["name"] for one in (await client.volume_files("bound"))["Entries"]] == ["here"]
        await client.volume_archive_put("bound", "/", tar(info("in"), data=b"y"))
        assert Path(source, "in").read_bytes() == b"y"
        assert f"{run}/volumes/bound" not in Path("/proc/self/mountinfo").read_text()
        for refused in (
            lambda: web.volume_files("bound"),
            lambda: web.volume_archive("bound").open(),
            lambda: web.volume_archive_put("bound", "/", b""),
            lambda: web.volume_clone("bound", {"Name": "mine"}),
        ):
            with pytest.raises(Forbidden, match="volume bound: a volume that mounts something of the host"):
                await refused()
        with pytest.raises(Forbidden):  # an answer to HEAD has no words
            await web.volume_archive_stat("bound", "/")


async def test_the_confined_socket_copies_files_of_plain_volumes(
    client: EngineClient, web: EngineClient
) -> None:
    await web.volume_create({"Name": "data"})
    await web.volume_archive_put("data", "/", tar(info("f", uid=7, gid=8), data=b"x"))
    found = (await web.volume_files("data"))["Entries"][0]
    assert (found["uid"], found["gid"], stat.S_IMODE(found["mode"])) == (7, 8, 0o644)
    # No device of the host by way of an archive.
    node = info("disk", tarfile.BLKTYPE, devmajor=8, devminor=0)
    if "name=userns" in (await client.info())["SecurityOptions"]:
        with pytest.raises(EngineError):
            await web.volume_archive_put("data", "/", tar(node))


async def test_a_volume_is_not_removed_under_a_reader_and_nothing_is_left_of_a_failed_clone(
    client: EngineClient,
) -> None:
    await client.volume_create({"Name": "data"})
    await shell(client, "dd if=/dev/zero of=/d/big bs=1M count=32", "data:/d")
    async with client.volume_archive("data") as stream:
        await anext(stream)
        with pytest.raises(Conflict, match="volume is in use"):
            await client.volume_remove("data")
    await until(lambda: client.volume_list(filters={"dangling": ["true"]}), lambda seen: seen["Volumes"])
    # A removal waits for whoever only looks: a page that was opened a moment ago is no reason against it.
    await client.volume_create({"Name": "looked-at"})
    looks = [asyncio.create_task(client.volume_files("looked-at")) for _ in range(4)]
    await asyncio.sleep(0)
    await client.volume_remove("looked-at")
    await asyncio.gather(*looks, return_exceptions=True)
    clone = asyncio.create_task(client.volume_clone("data", {"Name": "copy"}))
    await asyncio.gather(clone, return_exceptions=True)
    with pytest.raises(Conflict):
        await client.volume_clone("data", {"Name": "data"})
    with pytest.raises(InvalidArgument):
        await client.volume_clone("data", {"Name": "a/b"})
    names = [one["Name"] for one in (await client.volume_list())["Volumes"]]
    assert names == ["copy", "data"]

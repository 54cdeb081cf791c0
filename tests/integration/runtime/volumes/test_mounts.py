"""What is mounted into real containers: nested and conflicting places, links and directories that change."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument, NotFound
from tests.conformance.conftest import read_all, until

BUSYBOX = "webdock/busybox"


@pytest.fixture
def host() -> Iterator[Path]:
    """Two directories of the host with a file each, and a link to the first."""
    with tempfile.TemporaryDirectory(prefix="wd-mounts-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for one in ("one", "two"):
            (directory / one).mkdir()
            (directory / one / "who").write_text(one)
        (directory / "link").symlink_to("one")
        yield directory
        assert name not in Path("/proc/self/mountinfo").read_text()


async def make(client: EngineClient, command: list[str], **host: Any) -> str:
    created = await client.container_create({"Image": BUSYBOX, "Cmd": command, "HostConfig": host})
    return created["Id"]


async def says(client: EngineClient, script: str, **host: Any) -> str:
    id = await make(client, ["sh", "-c", script], **host)
    await client.container_start(id)
    await client.container_wait(id)
    async with client.container_logs(id) as log:
        said = b"".join([data async for _, data in log]).decode()
    await client.container_remove(id)
    return said


async def inside(client: EngineClient, id: str, *command: str) -> str:
    session = await client.exec_create(id, {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True})
    async with await client.exec_start(session) as stream:
        return b"".join((await read_all(stream)).values()).decode()


async def test_a_linked_source_is_followed_at_each_start_and_stays_while_it_runs(
    client: EngineClient, host: Path
) -> None:
    link = host / "link"
    id = await make(client, ["sleep", "1000"], Binds=[f"{link}:/d"])
    await client.container_start(id)
    assert await inside(client, id, "cat", "/d/who") == "one"
    link.unlink()
    link.symlink_to("two")
    assert await inside(client, id, "cat", "/d/who") == "one"
    await client.container_restart(id, timeout_s=0)
    assert await inside(client, id, "cat", "/d/who") == "two"
    await client.container_stop(id, timeout_s=0)
    for target in ("nowhere", "link"):
        link.unlink()
        link.symlink_to(target)
        with pytest.raises(InvalidArgument, match="error while creating mount source path"):
            await client.container_start(id)
        state = (await client.container_inspect(id))["State"]
        assert state["Status"] == "exited"
        assert "error while creating mount source path" in state["Error"]
    link.unlink()
    link.symlink_to("one")
    await client.container_start(id)
    assert await inside(client, id, "cat", "/d/who") == "one"
    await client.container_remove(id, force=True)


async def test_a_container_that_cannot_start_and_is_to_go_is_removed(
    client: EngineClient, host: Path
) -> None:
    (host / "dangling").symlink_to("nowhere")
    id = await make(client, ["true"], Binds=[f"{host}/dangling:/d"], AutoRemove=True)
    with pytest.raises(InvalidArgument):
        await client.container_start(id)

    async def gone() -> bool:
        try:
            await client.container_inspect(id)
        except NotFound:
            return True
        return False

    await until(gone, bool)


async def test_a_missing_source_is_made_for_v_and_refused_for_mount(client: EngineClient, host: Path) -> None:
    assert await says(client, "ls -A /d", Binds=[f"{host}/deep/er:/d"]) == ""
    assert (host / "deep/er").is_dir()
    missing = {"Type": "bind", "Source": f"{host}/none", "Target": "/d"}
    with pytest.raises(InvalidArgument, match="bind source path does not exist"):
        await make(client, ["true"], Mounts=[missing])
    assert not (host / "none").exists()
    # There when it was made, gone when it starts.
    (host / "later").mkdir()
    id = await make(client, ["true"], Mounts=[missing | {"Source": f"{host}/later"}])
    (host / "later").rmdir()
    with pytest.raises(InvalidArgument, match="bind source path does not exist"):
        await client.container_start(id)


async def test_nested_places_are_mounted_from_the_outside_in(client: EngineClient, host: Path) -> None:
    script = "echo i >/d/sub/i; echo o >/d/o; ls /d /d/sub /d/sub/deep; cat /d/sub/deep/who"
    binds = [f"{host}/one:/d/sub/deep", "inner:/d/sub", "outer:/d"]
    said = await says(client, script, Binds=binds)
    assert said.split() == ["/d:", "o", "sub", "/d/sub:", "deep", "i", "/d/sub/deep:", "who", "one"]
    assert await says(client, "ls /v", Binds=["inner:/v"]) == "deep\ni\n"
    said = await says(
        client, "touch /d/no; touch /d/sub/yes && echo wrote", Binds=["outer:/d:ro", "inner:/d/sub"]
    )
    assert "Read-only file system" in said
    assert "wrote" in said


async def test_one_place_twice_and_the_root_are_refused_before_anything_is_made(client: EngineClient) -> None:
    for host in (
        {"Binds": ["v1:/d", "v2:/d/"]},
        {"Binds": ["v1:/d"], "Tmpfs": {"/d": ""}},
        {"Binds": ["v1:/"]},
        {"Binds": ["v1:/a/.."]},
        {"Mounts": [{"Type": "tmpfs", "Target": "/"}]},
        {"Mounts": [{"Type": "volume", "Source": "v1", "Target": "/./"}]},
        {"Tmpfs": {"/": ""}},
    ):
        with pytest.raises(InvalidArgument):
            await make(client, ["true"], **host)
    assert (await client.volume_list())["Volumes"] == []
    assert await client.container_list(all=True) == []


async def test_a_file_over_a_directory_says_so_and_leaves_nothing(client: EngineClient, host: Path) -> None:
    for source, target in ((host / "one/who", "/etc"), (host / "one", "/etc/passwd")):
        id = await make(client, ["true"], Binds=[f"{source}:{target}"])
        with pytest.raises(EngineError) as refused:
            await client.container_start(id)
        assert refused.value.status < 500 or "not a directory" in refused.value.message.lower()
        assert (await client.container_inspect(id))["State"]["Status"] == "created"

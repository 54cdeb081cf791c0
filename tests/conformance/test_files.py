"""Promises about a container's files: docker cp both ways, changes, export."""

from __future__ import annotations

import io
import tarfile

import pytest

from runtime.api.client import EngineClient, path_stat
from runtime.api.errors import InvalidArgument, NotFound
from tests.conformance.api import Api
from tests.conformance.conftest import MakeContainer


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o640, 1_700_000_000
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


async def test_a_file_goes_in_and_comes_out(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true")
    await client.container_archive_put(container, "/tmp", tar(note=b"hello"))
    async with client.container_archive(container, "/tmp/note") as stream:
        described = path_stat(stream.headers)
        archive = b"".join([chunk async for chunk in stream])
    assert (described["name"], described["size"]) == ("note", 5)
    assert described["mode"] & 0o170000777 in (0o640, 0o644)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        member = opened.extractfile("note")
        assert member is not None
        assert member.read() == b"hello"


async def test_head_tells_what_stands_there(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true")
    await client.container_archive_put(container, "/tmp", tar(note=b"hello"))
    described = await client.container_archive_stat(container, "/tmp/note")
    assert set(described) == {"name", "size", "mode", "mtime", "linkTarget"}
    assert described["size"] == 5


async def test_a_path_that_is_not_there_is_not_found(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("true")
    with pytest.raises(NotFound):
        await client.container_archive_stat(container, "/no/such/file")
    with pytest.raises(NotFound, match=r"(?i)could not find the file"):
        await client.container_archive(container, "/no/such/file").open()


async def test_no_path_is_refused(api: Api, make_container: MakeContainer) -> None:
    container = await make_container("true")
    assert (await api("GET", f"/containers/{container}/archive")).status == 400


async def test_rubbish_is_not_unpacked(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true")
    with pytest.raises(Exception):  # noqa: B017 - Docker says 500, we say 400
        await client.container_archive_put(container, "/tmp", b"this is not a tar archive" * 1000)


async def test_changes_name_what_was_added(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true")
    await client.container_archive_put(container, "/tmp", tar(note=b"hello"))
    assert {"Path": "/tmp/note", "Kind": 1} in await client.container_changes(container)


async def test_export_has_the_files(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true")
    await client.container_archive_put(container, "/tmp", tar(note=b"hello"))
    archive = b"".join([chunk async for chunk in client.container_export(container)])
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert "tmp/note" in [member.name.removeprefix("./") for member in opened]


async def test_files_of_nothing_are_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound, match="No such container"):
        await client.container_archive("nosuchcontainer", "/tmp").open()
    with pytest.raises((NotFound, InvalidArgument)):
        await client.container_archive_put("nosuchcontainer", "/tmp", tar(note=b"x"))

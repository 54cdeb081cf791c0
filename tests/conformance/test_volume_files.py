"""Promises about the files of volumes: ours alone; other engines say that they have no such thing."""

from __future__ import annotations

import io
import tarfile

import pytest

from runtime.api.client import EngineClient, path_stat
from runtime.api.errors import Conflict, InvalidArgument, NotFound
from tests.conformance.api import Api
from tests.conformance.conftest import UnderTest
from tests.conformance.test_files import tar


@pytest.fixture
async def volume(client: EngineClient, name: str):  # type: ignore[no-untyped-def]
    yield (await client.volume_create({"Name": name}))["Name"]
    await client.volume_remove(name, force=True)


async def contents(client: EngineClient, volume: str, path: str = "/") -> dict[str, bytes]:
    async with client.volume_archive(volume, path) as stream:
        data = b"".join([chunk async for chunk in stream])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {one.name: archive.extractfile(one) for one in archive}
        return {name: file.read() for name, file in found.items() if file is not None}


async def test_another_engine_says_that_it_cannot(
    client: EngineClient, volume: str, engine: UnderTest
) -> None:
    if engine.ours:
        return
    with pytest.raises(NotFound):
        await client.volume_files(volume)
    with pytest.raises(NotFound):
        await client.volume_archive(volume).open()
    with pytest.raises(NotFound):
        await client.volume_clone(volume, {"Name": f"{volume}-copy"})
    assert (await client.volume_inspect(volume, size=True))["Name"] == volume


async def test_files_go_into_a_volume_are_listed_and_come_out(
    client: EngineClient, volume: str, engine: UnderTest
) -> None:
    if not engine.ours:
        return
    await client.volume_archive_put(volume, "/", tar(**{"note": b"hello", "deep/er/one": b"1"}))
    listed = await client.volume_files(volume)
    assert [(one["name"], one["exact"]) for one in listed["Entries"]] == [("deep", True), ("note", True)]
    assert (listed["Path"], listed["Total"], listed["Entries"][1]["size"]) == ("/", 2, 5)
    assert [one["name"] for one in (await client.volume_files(volume, "/deep"))["Entries"]] == ["er"]
    described = await client.volume_archive_stat(volume, "/note")
    assert (described["name"], described["size"]) == ("note", 5)
    async with client.volume_archive(volume, "/note") as stream:
        assert path_stat(stream.headers)["size"] == 5
    assert await contents(client, volume, "/note") == {"note": b"hello"}
    assert await contents(client, volume, "/deep") == {"deep/er/one": b"1"}
    whole = await contents(client, volume)
    assert {name.removeprefix("./"): data for name, data in whole.items()} == {
        "note": b"hello",
        "deep/er/one": b"1",
    }


async def test_what_is_not_in_a_volume_is_not_found(
    client: EngineClient, api: Api, volume: str, engine: UnderTest
) -> None:
    if not engine.ours:
        return
    await client.volume_archive_put(volume, "/", tar(note=b"hello"))
    with pytest.raises(NotFound, match="Could not find the file /nothing in volume"):
        await client.volume_files(volume, "/nothing")
    with pytest.raises(NotFound, match="Could not find the file"):
        await client.volume_archive(volume, "/nothing").open()
    with pytest.raises(NotFound):
        await client.volume_archive_put(volume, "/nothing", tar(x=b""))
    with pytest.raises(NotFound, match="no such volume"):
        await client.volume_files("nosuchvolume")
    with pytest.raises(InvalidArgument, match="is not a directory"):
        await client.volume_files(volume, "/note")
    with pytest.raises(InvalidArgument):
        await client.volume_archive_put(volume, "/", b"this is no archive" * 100)
    assert (await api("GET", f"/volumes/{volume}/archive")).status == 400


async def test_a_volume_is_cloned(client: EngineClient, volume: str, engine: UnderTest) -> None:
    if not engine.ours:
        return
    await client.volume_archive_put(volume, "/", tar(**{"a/b": b"1"}))
    copy = f"{volume}-copy"
    made = await client.volume_clone(volume, {"Name": copy, "Labels": {"of": volume}})
    try:
        assert (made["Name"], made["Labels"]) == (copy, {"of": volume})
        assert {name.removeprefix("./"): data for name, data in (await contents(client, copy)).items()} == {
            "a/b": b"1"
        }
        with pytest.raises(Conflict, match="already exists"):
            await client.volume_clone(volume, {"Name": copy})
        with pytest.raises(NotFound, match="no such volume"):
            await client.volume_clone("nosuchvolume", {"Name": f"{copy}-2"})
    finally:
        await client.volume_remove(copy, force=True)


async def test_the_size_of_one_volume_is_told_when_asked(
    client: EngineClient, volume: str, engine: UnderTest
) -> None:
    if not engine.ours:
        return
    assert "UsageData" not in await client.volume_inspect(volume)
    usage = (await client.volume_inspect(volume, size=True))["UsageData"]
    assert usage["RefCount"] == 0
    assert usage["Size"] >= 0

"""Push, save, load and import as jobs; layers, filters and shares of images."""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from django.test import AsyncClient

from images_app.finding import find
from images_app.models import Image
from images_app.pushes import saved
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Connect, Web, closing, eventually, make_container
from tests.unit.web.test_image_pages import image_of
from tests.unit.web.test_jobs import ended
from webdock.engines.audit import Actor
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.jobs.models import Job
from webdock.jobs.running import board
from webdock.registries import credentials

JSON = {"accept": "application/json"}


async def test_a_push_is_a_job_with_the_kept_password(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient
) -> None:
    await api.image_tag("busybox:latest", repo="registry.example.org/team/app", tag="1")
    await eventually(lambda: Image.objects.filter(tag_rows__name__startswith="registry.ex").aexists())
    await credentials.keep("registry.example.org", "anna", "s3cret words", "admin")
    image = await image_of("busybox:latest")
    path = f"{image.get_absolute_url()}push/"
    answer = await as_operator.post(path, {"name": "registry.example.org/team/app:1"}, headers=JSON)
    assert answer.status_code == 202
    job = board().get(answer.json()["job"])
    assert job is not None
    row = await ended(job)
    assert (row.state, row.kind, row.url) == ("done", "push", image.get_absolute_url())
    assert "digest" in row.message
    auth = fake.rooms.images.pushed["registry.example.org/team/app:1"] or {}
    assert (auth["username"], auth["password"]) == ("anna", "s3cret words")
    assert "s3cret" not in str([vars(one) async for one in AuditEntry.objects.all()])
    typed = {"name": "registry.example.org/team/app:1", "username": "b", "password": "other"}
    job = board().get((await as_operator.post(path, typed, headers=JSON)).json()["job"])
    assert job is not None
    await ended(job)
    assert (fake.rooms.images.pushed["registry.example.org/team/app:1"] or {})["password"] == "other"


async def test_a_push_names_what_is_wrong(
    synced: EngineSync, as_operator: AsyncClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    path = f"{(await image_of('busybox:latest')).get_absolute_url()}push/"
    for data in ({}, {"name": "not/its:1"}, {"name": "busybox:latest", "username": "x"}):
        assert (await as_operator.post(path, data, headers=JSON)).status_code == 400, data
    assert (await as_operator.get(path)).status_code == 405
    assert (await as_viewer.post(path, {"name": "busybox:latest"}, headers=JSON)).status_code == 403
    assert (await as_stranger.post(path, {"name": "busybox:latest"}, headers=JSON)).status_code == 401


async def test_save_streams_the_archive_and_leaves_a_job(
    synced: EngineSync, as_operator: AsyncClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    path = f"{(await image_of('busybox:latest')).get_absolute_url()}save/"
    answer = await as_operator.get(path)
    assert answer.status_code == 200
    assert 'filename="busybox-latest.tar"' in answer["Content-Disposition"]
    data = b"".join([piece async for piece in answer])  # type: ignore[attr-defined]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert "manifest.json" in archive.getnames()
    row = await Job.objects.aget(kind="save")
    assert (row.state, row.current) == ("done", len(data))
    assert await AuditEntry.objects.filter(action="image.save", result="ok").aexists()
    assert (await as_viewer.get(path, headers=JSON)).status_code == 403
    assert (await as_stranger.get(path, headers=JSON)).status_code == 401
    assert (await as_operator.post(path)).status_code == 405


async def test_a_save_the_browser_leaves_is_no_success(synced: EngineSync) -> None:
    image = await find((await image_of("busybox:latest")).hex_id)
    archive = saved(Actor(None, "anna", ""), image, [])
    await anext(archive)
    await archive.aclose()  # type: ignore[attr-defined]
    row = await Job.objects.aget(kind="save")
    assert (row.state, row.message) == ("failed", "The browser went away.")


async def test_a_slow_download_waits_in_the_engine_not_in_memory(web: Web, fake: FakeEngine) -> None:
    piece, pieces, made = b"x" * 65536, 1000, 0

    async def endless(refs: list[str]) -> AsyncIterator[bytes]:
        nonlocal made
        for _number in range(pieces):
            yield piece
            made += len(piece)

    fake.rooms.images.save = endless  # type: ignore[method-assign]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await web.log_in(session)
        found = re.search(r"/images/[0-9a-f]{64}/", await (await session.get(f"{web.url}/images/")).text())
        assert found
        answer = await session.get(f"{web.url}{found[0]}save/")
        taken = 0
        for number in range(pieces):
            if number < 20:
                await asyncio.sleep(0.05)  # a slow reader; what lies in between is bounded whatever it does
            taken += len(await answer.content.readexactly(len(piece)))
            assert made - taken < 32 << 20
        assert taken == pieces * len(piece)
        assert await answer.read() == b""


async def upload(socket: Any, data: bytes, piece: int = 700) -> dict[str, Any]:
    """Send it all, heed the credit, and read the outcome."""
    ready = await socket.receive_json_from(timeout=20)
    assert ready["type"] == "ready", ready
    for start in range(0, len(data), piece):
        await socket.send_to(bytes_data=data[start : start + piece])
        credit = await socket.receive_json_from(timeout=20)
        if credit["type"] != "credit":
            return dict(credit)
    await socket.send_json_to({"type": "end"})
    async with asyncio.timeout(20):
        while (message := await socket.receive_json_from(timeout=20))["type"] == "credit":
            pass
    return dict(message)


async def archive_of(api: EngineClient, name: str) -> bytes:
    return b"".join([piece async for piece in api.image_save([name])])


async def test_an_archive_is_loaded_by_upload(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, connect: Connect
) -> None:
    await api.image_tag("busybox:latest", repo="shop/loaded", tag="1")
    data = await archive_of(api, "shop/loaded:1")
    await api.image_remove("shop/loaded:1")
    socket = await connect(as_operator, f"/ws/images/load/?name=app.tar&size={len(data)}")
    done = await upload(socket, data)
    assert done["ok"] is True, done
    assert "Loaded image" in done["message"]
    assert (await closing(socket))[0] == 1000
    row = await Job.objects.aget(kind="load")
    assert (row.state, row.subject, row.current, row.total) == ("done", "app.tar", len(data), len(data))
    await eventually(lambda: Image.objects.filter(tag_rows__name="shop/loaded:1").aexists())
    assert await AuditEntry.objects.filter(action="image.load", result="ok").aexists()


async def test_a_root_file_system_is_imported_by_upload(
    synced: EngineSync, as_operator: AsyncClient, connect: Connect
) -> None:
    socket = await connect(as_operator, "/ws/images/load/?name=root.tar&size=10&reference=shop/root:2")
    assert (await upload(socket, b"0123456789"))["message"] == "shop/root:2 was imported."
    row = await Job.objects.aget(kind="import")
    assert (row.state, row.name) == ("done", "shop/root:2")


async def test_a_bad_upload_fails_in_plain_words(
    synced: EngineSync, as_operator: AsyncClient, connect: Connect
) -> None:
    socket = await connect(as_operator, "/ws/images/load/?name=x.tar&size=5")
    done = await upload(socket, b"no tar")
    assert done["ok"] is False
    assert "archive" in done["message"].lower()
    assert (await Job.objects.aget(kind="load")).state == "failed"
    bad = await connect(as_operator, "/ws/images/load/?name=x.tar&reference=%3B%20x")
    assert (await closing(bad))[0] == 4409


async def test_an_upload_ends_with_its_browser_and_can_be_cancelled(
    synced: EngineSync, as_operator: AsyncClient, connect: Connect
) -> None:
    socket = await connect(as_operator, "/ws/images/load/?name=gone.tar&size=5")
    assert (await socket.receive_json_from(timeout=20))["type"] == "ready"
    await socket.send_input({"type": "websocket.disconnect", "code": 1001})
    await eventually(lambda: Job.objects.filter(subject="gone.tar", state="failed").aexists())
    assert (await Job.objects.aget()).message == "The browser went away."
    socket = await connect(as_operator, "/ws/images/load/?name=cut.tar&size=5")
    ready = await socket.receive_json_from(timeout=20)
    answer = await as_operator.post(f"/jobs/{ready['job']}/cancel/", headers=JSON)
    assert answer.json()["ok"] is True
    assert (await socket.receive_json_from(timeout=20))["ok"] is False
    assert (await Job.objects.aget(subject="cut.tar")).state == "cancelled"


async def test_an_upload_is_for_who_may_pull_and_never_more_than_the_window(
    synced: EngineSync, as_viewer: AsyncClient, as_operator: AsyncClient, connect: Connect
) -> None:
    assert (await closing(await connect(as_viewer, "/ws/images/load/?name=x.tar")))[0] == 4403
    socket = await connect(as_operator, "/ws/images/load/?name=x.tar")
    await socket.send_to(bytes_data=b"x" * ((1 << 20) + 1))
    assert (await closing(socket, 20))[0] == 4429


async def test_layers_and_their_changes_are_shown(
    synced: EngineSync, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    image = await image_of("busybox:latest")
    page = await as_viewer.get(image.get_absolute_url())
    assert len(page.context["layers"]["rows"]) == 2
    path = f"{image.get_absolute_url()}layers/1/changes/"
    top = (await as_viewer.get(path)).json()
    assert {one["Path"] for one in top["changes"]} >= {"/bin"}
    below = (await as_viewer.get(f"{path}?path=/bin")).json()
    kinds = {one["Path"]: one["Kind"] for one in below["changes"]}
    assert kinds == {"/bin/program1": "added", "/bin/sh": "changed"}
    assert (await as_viewer.get(f"{image.get_absolute_url()}layers/9/changes/")).status_code == 404
    assert (await as_viewer.get(f"{path}?path=%00")).status_code == 400
    assert (await as_viewer.post(path)).status_code == 405
    assert (await as_stranger.get(path, headers=JSON)).status_code == 401


async def test_the_list_is_narrowed_by_use_tag_and_label(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_viewer: AsyncClient
) -> None:
    fake.offer(
        "shop/web:1", config={"Cmd": ["sleep", "1000"], "Labels": {"org.example/team": "shop", "a": "b"}}
    )
    async with api.image_pull("shop/web:1") as progress:
        async for _news in progress:
            pass
    await make_container(api, "web", Image="shop/web:1")

    async def names(query: str) -> set[str]:
        return {row.name for row in (await as_viewer.get(f"/images/?{query}")).context["rows"]}

    async def used() -> bool:
        return await names("show=used") == {"shop/web:1"}

    await eventually(used, 20)
    assert await names("label=org.example/team%3Dshop") == {"shop/web:1"}
    assert await names("label=a") == {"shop/web:1"}
    assert await names("label=a%3Dc") == set()
    assert "shop/web:1" not in await names("show=unused")
    assert await names("show=untagged") == set()
    await api.image_tag("busybox:latest", repo="shop/web", tag="1")  # takes the name away

    async def dangling() -> bool:
        return len(await names("show=untagged")) == 1

    await eventually(dangling, 20)
    counts = (await as_viewer.get("/images/?show=nonsense")).context["counts"]
    assert counts["total"] == counts["used"] + counts["unused"]


async def test_shared_and_unique_sizes_are_shown(synced: EngineSync, as_viewer: AsyncClient) -> None:
    await eventually(lambda: Image.objects.filter(shared_bytes=0).aexists())
    image = await image_of("busybox:latest")
    assert image.unique_bytes == image.size_bytes
    assert Image(size_bytes=5).unique_bytes == -1


@pytest.mark.parametrize("path", ["/images/", "/jobs/"])
async def test_lists_without_an_engine_still_show(as_viewer: AsyncClient, path: str) -> None:
    assert (await as_viewer.get(path)).status_code == 200


async def test_an_archive_that_breaks_off_never_looks_whole(web: Web, fake: FakeEngine) -> None:
    async def broken(refs: list[str]) -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise RuntimeError("the disk is gone")

    fake.rooms.images.save = broken  # type: ignore[method-assign]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await web.log_in(session)
        page = await (await session.get(f"{web.url}/images/")).text()
        found = re.search(r"/images/[0-9a-f]{64}/", page)
        assert found
        with pytest.raises(aiohttp.ClientError):  # at the head or in the middle, as far as it had come
            await (await session.get(f"{web.url}{found[0]}save/")).read()
    await web.stop()

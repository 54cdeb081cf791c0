"""The sync against an engine on a socket: watch, list, apply; breaks, floods, tombstones."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from containers_app.models import Container
from images_app.models import Image
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container
from webdock.engines import sync as sync_module
from webdock.engines.models import Engine
from webdock.engines.sync import EngineSync


async def state_of(id: str) -> str | None:
    row = await Container.objects.filter(container_id=id, removed_at=None).afirst()
    return row.state if row else None


async def test_sync_lists_what_was_there_before(
    transactional_db: None, fake: FakeEngine, api: EngineClient
) -> None:
    running = await make_container(api, "web")
    created = await make_container(api, "db", start=False)
    sync = EngineSync("local")
    task = asyncio.create_task(sync.run())
    async with asyncio.timeout(60):
        await sync.synced.wait()
    assert (await state_of(running), await state_of(created)) == ("running", "created")
    assert (await Image.objects.aget(tag_rows__name="busybox:latest")).platform.startswith("linux")
    engine = await Engine.objects.aget()
    assert engine.connected
    assert engine.kind == "native"
    assert engine.error == ""
    assert engine.last_seen
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_sync_follows_events(synced: EngineSync, fake: FakeEngine, api: EngineClient) -> None:
    id = await make_container(api, "web")
    await eventually(lambda: is_state(id, "running"))
    await api.container_pause(id)
    await eventually(lambda: is_state(id, "paused"))
    await api.container_unpause(id)
    await api.container_kill(id)
    await eventually(lambda: is_state(id, "exited"))
    assert (await Container.objects.aget(container_id=id)).exit_code == 137
    await api.container_rename(id, "other")
    await eventually(lambda: Container.objects.filter(name="other").aexists())
    await api.container_remove(id)
    await eventually(lambda: is_state(id, None))


async def is_state(id: str, state: str | None) -> bool:
    return await state_of(id) == state


async def test_sync_sees_a_change_within_300_ms(synced: EngineSync, api: EngineClient) -> None:
    took = []
    for _n in range(5):
        began = time.monotonic()
        id = await make_container(api)
        await eventually(lambda id=id: is_state(id, "running"))  # type: ignore[misc]
        took.append(time.monotonic() - began)
    assert min(took) < 0.3, took  # the others may have had to wait for the processor


async def test_sync_says_when_the_engine_goes_and_lists_again_when_it_is_back(
    synced: EngineSync, fake: FakeEngine, api: EngineClient
) -> None:
    id = await make_container(api, "web")
    await eventually(lambda: is_state(id, "running"))
    await fake.go_away()
    await eventually(lambda: Engine.objects.filter(connected=False).exclude(error="").aexists())
    assert await state_of(id) == "running", "the last that was known stays"
    await fake.rooms.containers.kill(id, "KILL")
    await fake.come_back()
    await eventually(lambda: is_state(id, "exited"))
    assert await Engine.objects.filter(connected=True, error="").aexists()


async def test_sync_buries_what_went_while_it_looked_away(
    synced: EngineSync, fake: FakeEngine, api: EngineClient
) -> None:
    id = await make_container(api, "web", start=False)
    await eventually(lambda: is_state(id, "created"))
    await fake.go_away()
    await eventually(lambda: Engine.objects.filter(connected=False).aexists())
    await fake.rooms.containers.remove(id, force=True)
    await fake.come_back()
    await eventually(lambda: is_state(id, None))
    assert (await Container.objects.aget()).removed_at is not None


async def test_sync_without_an_engine_says_why_and_keeps_trying(
    transactional_db: None, web_settings: Any
) -> None:
    task = asyncio.create_task(EngineSync("local").run())
    await eventually(lambda: Engine.objects.filter(connected=False).exclude(error="").aexists())
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_sync_of_a_lost_event_is_made_good_by_the_timer(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None, fake: FakeEngine, api: EngineClient
) -> None:
    monkeypatch.setattr(sync_module, "RELIST_S", 0.2)
    sync = EngineSync("local")
    task = asyncio.create_task(sync.run())
    async with asyncio.timeout(60):
        await sync.synced.wait()
    id = await make_container(api, "web")
    await eventually(lambda: is_state(id, "running"))
    await Container.objects.filter(container_id=id).aupdate(state="exited")  # as if an event had been lost
    await eventually(lambda: is_state(id, "running"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_sync_survives_an_answer_that_is_nonsense(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None, fake: FakeEngine, api: EngineClient, caplog: Any
) -> None:
    id = await make_container(api, "web")
    real = fake.rooms.containers.inspect
    broken = True

    async def inspect(ref: str, size: bool = False) -> Any:
        return {"Id": 5} if broken else await real(ref, size)

    monkeypatch.setattr(fake.rooms.containers, "inspect", inspect)
    sync = EngineSync("local")
    task = asyncio.create_task(sync.run())
    await asyncio.sleep(0.3)
    broken = False
    await eventually(lambda: is_state(id, "running"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_sync_of_a_burst_ends_with_every_row_right(synced: EngineSync, api: EngineClient) -> None:
    ids = await asyncio.gather(*(make_container(api, f"c{n}", start=n % 2 == 0) for n in range(30)))
    for n, id in enumerate(ids):
        await eventually(lambda id=id, n=n: is_state(id, "running" if n % 2 == 0 else "created"))  # type: ignore[misc]
    revisions = [row.revision async for row in Container.objects.all()]
    assert len(set(revisions)) == len(revisions) == 30


async def test_sync_takes_in_whatever_a_label_holds(synced: EngineSync, api: EngineClient) -> None:
    evil = {"nul\0": "\0", "half": "\ud800", "markup": "<script>", "bidi": "\u202e"}
    id = await make_container(api, "web", Labels=evil)
    await eventually(lambda: is_state(id, "running"))
    row = await Container.objects.aget(container_id=id)
    assert row.labels["markup"] == "<script>"

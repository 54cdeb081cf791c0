"""Promises about events: shape, order, filters, replay."""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import InvalidArgument
from tests.conformance.api import WAIT_S
from tests.conformance.conftest import BUSYBOX, MakeContainer, until


async def test_a_life_is_told_in_order(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    async with client.events(filters={"type": ["container"], "label": [f"cf={name}"]}) as events:
        container = await make_container("sh", "-c", "exit 3", name=name, Labels={"cf": name}, start=True)
        await client.container_wait(container)
        await client.container_remove(container)
        told = []
        async with asyncio.timeout(WAIT_S):
            async for event in events:
                told.append(event)
                if event["Action"] == "destroy":
                    break
    assert [event["Action"] for event in told] == ["create", "start", "die", "destroy"]
    for event in told:
        assert event["Type"] == "container"
        assert event["scope"] == "local"
        assert event["Actor"]["ID"] == container
        attributes = event["Actor"]["Attributes"]
        assert (attributes["image"], attributes["name"], attributes["cf"]) == (BUSYBOX, name, name)
        assert event["time"] == event["timeNano"] // 1_000_000_000
        assert (event["status"], event["id"], event["from"]) == (event["Action"], container, BUSYBOX)
    assert told[2]["Actor"]["Attributes"]["exitCode"] == "3"
    times = [event["timeNano"] for event in told]
    assert times == sorted(times)


async def test_the_past_can_be_replayed(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    before = time.time()
    container = await make_container("true", name=name, start=True)
    await client.container_wait(container)

    async def told() -> list[str]:
        past = client.events(since=before, until=time.time(), filters={"container": [name]})
        return [event["Action"] async for event in past]

    await until(told, lambda actions: actions[:3] == ["create", "start", "die"])


async def test_until_in_the_future_ends_then(client: EngineClient) -> None:
    end = time.time() + 0.5
    async with asyncio.timeout(WAIT_S):
        async for _ in client.events(until=end, filters={"type": ["plugin"]}):
            pass
    assert time.time() >= end - 0.05


async def test_since_after_until_is_refused(client: EngineClient) -> None:
    now = time.time()
    with pytest.raises(InvalidArgument, match="cannot be after"):
        await client.events(since=now, until=now - 10).open()


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"event": ["die"]}, ["die"]),
        ({"event": ["start", "die"]}, ["start", "die"]),
        ({"image": [BUSYBOX]}, ["create", "start", "die"]),
        ({"image": ["webdock/busybox"]}, ["create", "start", "die"]),
        ({"image": ["webdock/hello"]}, []),
        ({"type": ["image"]}, []),
    ],
)
async def test_filters_choose(
    client: EngineClient,
    make_container: MakeContainer,
    name: str,
    filters: dict[str, list[str]],
    wanted: list[str],
) -> None:
    before = time.time()
    container = await make_container("true", name=name, start=True)
    await client.container_wait(container)

    async def told(filters: dict[str, list[str]]) -> list[str]:
        stream = client.events(since=before, until=time.time(), filters={**filters, "container": [name]})
        actions = [event["Action"] async for event in stream]
        return [action for action in actions if action in ("create", "start", "die")]

    await until(lambda: told({}), lambda actions: "die" in actions)
    assert await told(filters) == wanted


async def test_exec_is_told_with_its_command(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sleep", "1000", start=True)
    async with client.events(
        filters={"container": [container], "event": ["exec_create", "exec_start"]}
    ) as events:
        session = await client.exec_create(container, {"Cmd": ["echo", "hi"]})
        await client.exec_start_detached(session)
        told = []
        async with asyncio.timeout(WAIT_S):
            async for event in events:
                told.append(event)
                if len(told) == 2:
                    break
    assert [event["Action"] for event in told] == ["exec_create: echo hi", "exec_start: echo hi"]
    assert told[0]["Actor"]["Attributes"]["execID"] == session


async def test_many_followers_hear_the_same(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    streams = [client.events(filters={"container": [name]}) for _ in range(10)]
    for stream in streams:
        await stream.open()
    await make_container("true", name=name)
    async with asyncio.timeout(WAIT_S):
        firsts = [await anext(stream) for stream in streams]
    assert {event["timeNano"] for event in firsts} == {firsts[0]["timeNano"]}
    for stream in streams:
        stream.close()

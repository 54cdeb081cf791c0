"""Promises about wait: its conditions, and that the client knows when the engine is waiting."""

from __future__ import annotations

import asyncio

from runtime.api.client import EngineClient
from tests.conformance.api import WAIT_S, Api
from tests.conformance.conftest import MakeContainer


async def test_wait_on_a_stopped_container_returns_at_once(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "exit 4", start=True)
    await client.container_wait(container)
    async with asyncio.timeout(WAIT_S):
        assert (await client.container_wait(container))["StatusCode"] == 4


async def test_wait_on_a_created_container_returns_at_once(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("true")
    async with asyncio.timeout(WAIT_S):
        assert (await client.container_wait(container))["StatusCode"] == 0


async def test_next_exit_sends_its_head_before_the_start(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "exit 8")
    async with asyncio.timeout(WAIT_S):
        waiting = await client.container_wait_started(container, condition="next-exit")
        await client.container_start(container)
        assert [result["StatusCode"] async for result in waiting] == [8]


async def test_removed_waits_for_the_removal(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "exit 2")
    async with asyncio.timeout(WAIT_S):
        waiting = await client.container_wait_started(container, condition="removed")
        await client.container_start(container)
        await client.container_wait(container)
        await client.container_remove(container)
        assert [result["StatusCode"] async for result in waiting] == [2]


async def test_many_waiters_all_hear_of_it(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sleep", "0.3", start=True)
    async with asyncio.timeout(WAIT_S):
        results = await asyncio.gather(*(client.container_wait(container) for _ in range(20)))
    assert [result["StatusCode"] for result in results] == [0] * 20


async def test_a_waiter_that_leaves_disturbs_nobody(
    api: Api, client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sleep", "1000", start=True)
    for _ in range(5):
        wire = await api.hijack(f"/containers/{container}/wait", headers={})
        wire.close()
    await client.container_kill(container)
    assert (await client.container_wait(container))["StatusCode"] == 137

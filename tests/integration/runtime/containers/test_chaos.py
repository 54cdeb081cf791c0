"""Many clients, few containers, and an engine killed again and again: what is left always makes sense."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable, NotFound, PeerProtocolError

from .engines import EngineProcess, Instance, body

ROUNDS = 4
CLIENTS = 6
NAMES = [f"chaos{number}" for number in range(5)]
LIVES = (
    ("sleep", "1000"),
    ("true",),
    ("sh", "-c", "exit 3"),
    ("sh", "-c", "while :; do echo x; sleep 0.01; done"),
    ("nosuch",),
)
HOSTS: tuple[dict[str, Any], ...] = (
    {},
    {"AutoRemove": True},
    {"RestartPolicy": {"Name": "always"}},
    {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}},
    {"Binds": ["chaosvolume:/v"]},
)


@pytest.fixture
async def instance() -> AsyncIterator[Instance]:
    instance = Instance()
    await instance.start()
    await instance.stop()
    yield instance
    await instance.purge()


async def one_step(client: EngineClient, chance: random.Random) -> None:
    name = chance.choice(NAMES)
    match chance.randrange(11):
        case 0 | 1 | 2:
            await client.container_create(body(*chance.choice(LIVES), host=chance.choice(HOSTS)), name=name)
            await client.container_start(name)
        case 3:
            await client.container_start(name)
        case 4:
            await client.container_stop(name, timeout_s=0)
        case 5:
            await client.container_kill(name, signal=chance.choice(["KILL", "TERM"]))
        case 6:
            await client.container_remove(name, force=chance.random() < 0.7, volumes=True)
        case 7:
            await client.container_restart(name, timeout_s=0)
        case 8:
            await client.container_pause(name)
            await client.container_unpause(name)
        case 9:
            await client.exec_start_detached(await client.exec_create(name, {"Cmd": ["sleep", "0.1"]}))
        case 10:
            await client.container_rename(name, chance.choice(NAMES))


async def client_until_the_end(
    process: EngineProcess, seed: int, over: asyncio.Event, bad: list[str]
) -> None:
    chance = random.Random(seed)
    async with EngineClient(process.client.url) as client:
        while not over.is_set():
            try:
                await one_step(client, chance)
            except (EngineUnreachable, PeerProtocolError):
                await asyncio.sleep(0.05)
            except EngineError as error:
                if error.status >= 500:
                    bad.append(f"{type(error).__name__}: {error.message}")


async def check(client: EngineClient, instance: Instance) -> None:
    """Every container the engine lists is what the machine says it is."""
    for row in await client.container_list(all=True):
        try:
            described = await client.container_inspect(row["Id"])
        except NotFound:
            continue
        state = described["State"]
        if state["Status"] in ("running", "paused"):
            with open(f"/proc/{state['Pid']}/cgroup") as file:
                assert row["Id"] in file.read()
            assert described["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        elif state["Status"] in ("exited", "created"):
            assert state["Pid"] == 0
            assert not [line for line in instance.processes() if row["Id"] in line], described


async def test_whatever_happens_what_is_left_makes_sense(instance: Instance) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1 << 30)
    print(f"CHAOS_SEED={seed}")
    process = EngineProcess(instance)
    await process.start()
    bad: list[str] = []
    try:
        for number in range(ROUNDS):
            over = asyncio.Event()
            clients = [
                asyncio.ensure_future(client_until_the_end(process, seed + 100 * number + n, over, bad))
                for n in range(CLIENTS)
            ]
            await asyncio.sleep(random.Random(seed + number).uniform(0.5, 2.0))
            await process.kill()
            over.set()
            await asyncio.gather(*clients)
            client = await process.start()
            # Policies restart for a moment longer; end that, so that there is something to compare.
            for row in await client.container_list(all=True):
                try:
                    await client.container_update(row["Id"], {"RestartPolicy": {"Name": "no"}})
                except EngineError:
                    pass
            await asyncio.sleep(1)
            await check(client, instance)
        assert not bad, "\n".join(bad)
    finally:
        await process.stop()
        print((instance.base / "engine.log").read_text()[-3000:])

"""Fifty networks with four containers each, all running at once: made, found by name, and taken away again.

Every container asks for its neighbour by name and reaches it, and none of another network; afterwards nothing
may be left. There is no peer: Docker's default pools end at thirty-one networks.
"""

from __future__ import annotations

import asyncio
import time

from runtime.api.client import EngineClient
from tests.integration.installation import Installation

NETWORKS = 50
MEMBERS = 4
AT_ONCE = 8
IMAGE = "webdock/busybox"


class Crowd:
    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def network(self, number: int) -> None:
        config = [{"Subnet": f"10.{120 + number}.0.0/24"}]
        await self._client.network_create({"Name": f"crowd{number}", "IPAM": {"Config": config}})

    async def container(self, number: int, member: int) -> str:
        async with self._turn:
            body = {
                "Image": IMAGE,
                "Cmd": ["sleep", "1000"],
                "HostConfig": {"NetworkMode": f"crowd{number}"},
                "NetworkingConfig": {"EndpointsConfig": {f"crowd{number}": {"Aliases": [f"member{member}"]}}},
            }
            id = (await self._client.container_create(body))["Id"]
            await self._client.container_start(id)
            return id

    async def reaches(self, id: str, name: str) -> bool:
        """Whether the container finds that name and gets an answer from there."""
        async with self._turn:
            command = ["ping", "-c1", "-W10", name]
            session = await self._client.exec_create(id, {"Cmd": command, "AttachStdout": True})
            async with await self._client.exec_start(session) as stream:
                while await stream.read() is not None:
                    pass
            while (seen := await self._client.exec_inspect(session)).get("Running"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return seen["ExitCode"] == 0

    async def remove(self, id: str) -> None:
        async with self._turn:
            await self._client.container_remove(id, force=True)


def told(what: str, began: float, count: int) -> None:
    took = time.monotonic() - began
    print(f"  {what:<44} {took:6.1f} s   {1000 * took / count:6.1f} ms each")


async def crowd(socket: str) -> None:
    async with EngineClient(f"unix://{socket}") as client:
        of = Crowd(client)
        places = [(number, member) for number in range(NETWORKS) for member in range(MEMBERS)]
        began = time.monotonic()
        await asyncio.gather(*(of.network(number) for number in range(NETWORKS)))
        told(f"{NETWORKS} networks made", began, NETWORKS)
        began = time.monotonic()
        ids = await asyncio.gather(*(of.container(*place) for place in places))
        told(f"{len(ids)} containers started on them", began, len(ids))
        began = time.monotonic()
        neighbours = [f"member{(member + 1) % MEMBERS}" for _, member in places]
        found = await asyncio.gather(*(of.reaches(*pair) for pair in zip(ids, neighbours, strict=True)))
        told(f"{sum(found)} of {len(ids)} reach their neighbour by name", began, len(ids))
        others = [ids[(place + MEMBERS) % len(ids)][:12] for place in range(0, len(ids), MEMBERS)]
        seen = await asyncio.gather(
            *(of.reaches(id, name) for id, name in zip(ids[::MEMBERS], others, strict=True))
        )
        print(f"  {sum(seen)} of {len(others)} find somebody of another network (0 is right)")
        began = time.monotonic()
        await asyncio.gather(*(of.remove(id) for id in ids))
        told(f"{len(ids)} containers removed", began, len(ids))
        await asyncio.gather(*(client.network_remove(f"crowd{number}") for number in range(NETWORKS)))


def main() -> None:
    ours = Installation("bench-crowd")
    try:
        ours.up()
        print(f"{NETWORKS} networks, {NETWORKS * MEMBERS} containers, {AT_ONCE} requests at once")
        asyncio.run(crowd(str(ours.run / "engine.sock")))
    finally:
        ours.purge()  # fails when something is left
    print("  nothing of it is left on the machine")


if __name__ == "__main__":
    main()

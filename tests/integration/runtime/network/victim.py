"""An engine's networks in a process of their own, busy until it is killed.

    python -m tests.integration.runtime.network.victim ROOT SEED

It starts, stops and connects containers and makes and removes networks at random, and prints a line for
each thing done.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from pathlib import Path

from runtime.api.errors import EngineError
from runtime.config import EngineConfig, instance_names
from runtime.events import EventHub
from runtime.network.endpoints import EndpointRequest
from runtime.network.networks import Member, Networks


class Containers:
    """The little of the containers' room that connect and disconnect need."""

    def __init__(self) -> None:
        self.running: dict[str, dict[str, dict[str, object]]] = {}

    def network_member(self, ref: str) -> Member:
        return Member(ref, ref[:8], True, "default", self.running[ref])

    async def save_endpoints(self, container_id: str, endpoints: dict[str, dict[str, object]]) -> None:
        self.running[container_id] = endpoints


async def main(root: Path, seed: int) -> None:
    dice = random.Random(seed)
    home = root / "engine"
    instance, short = instance_names(home)
    networks = Networks(EngineConfig(home, root / "run", instance, short), EventHub(), home / "networks")
    containers = networks.containers = Containers()
    await networks.start([])
    names: list[str] = []

    async def act() -> None:
        what = dice.random()
        running = sorted(containers.running)
        if what < 0.45:
            id = secrets.token_hex(32)
            mode = dice.choice(["default", *names])
            ports = {"80/tcp": [{"HostPort": ""}]} if dice.random() < 0.5 else {}
            containers.running[id] = {mode: {}}
            await networks.setup(id, EndpointRequest(mode=mode, name=id[:8], port_bindings=ports))
        elif what < 0.75 and running:
            id = dice.choice(running)
            del containers.running[id]
            await networks.teardown(id)
        elif what < 0.85:
            name = f"net{len(names)}"
            names.append(name)
            await networks.create({"Name": name})
        elif what < 0.9 and names:
            await networks.remove(dice.choice(names))
        elif running and names:
            verb = dice.choice([networks.connect, networks.disconnect])
            await verb(dice.choice(names), {"Container": dice.choice(running)})

    while True:
        done = await asyncio.gather(*(act() for _ in range(3)), return_exceptions=True)
        for error in done:
            if error is not None and not isinstance(error, EngineError | KeyError):
                raise error
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

"""One engine as a process of its own for tests that speak to its sockets, and a client that empties it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.api.client import EngineClient
from tests.conformance.engines import native


@pytest.fixture(scope="session")
def run() -> Iterator[Path]:
    """The directory of the sockets."""
    with native() as path:
        yield Path(path).parent


@pytest.fixture
async def client(run: Path) -> AsyncIterator[EngineClient]:
    """Root's, on engine.sock; no container and no volume is left to the next test."""
    async with EngineClient(f"unix://{run}/engine.sock") as client:
        yield client
        for container in await client.container_list(all=True):
            await client.container_remove(container["Id"], force=True, volumes=True)
        for volume in (await client.volume_list())["Volumes"]:
            await client.volume_remove(volume["Name"])

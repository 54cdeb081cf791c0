"""One engine for the whole run of the suite, and containers that are gone after each test."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, NotFound
from runtime.api.streams import ClientStream
from tests.conformance.api import WAIT_S, Api
from tests.conformance.engines import STARTS, asked_for

HELLO = "webdock/hello:latest"
BUSYBOX = "webdock/busybox:latest"

MakeContainer = Callable[..., Awaitable[str]]


@dataclass(frozen=True)
class UnderTest:
    kind: str  # fake | native | docker
    socket: str

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def ours(self) -> bool:
        return self.kind != "docker"

    def refuses(self, *statuses: int) -> tuple[int, ...]:
        """Statuses of a refusal; Docker 20.10 calls many a client's mistake its own."""
        return statuses if self.ours else (*statuses, 500)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, all tests of an engine go to the same: it is started once."""
    for item in items:
        engine = getattr(item, "callspec", None) and item.callspec.params.get("engine")  # type: ignore[attr-defined]
        if engine:
            item.add_marker(pytest.mark.xdist_group(engine))


@pytest.fixture(scope="session", params=asked_for())
def engine(request: pytest.FixtureRequest) -> Iterator[UnderTest]:
    if request.param != "fake" and os.geteuid() != 0:
        pytest.fail(f"the {request.param} engine needs root")
    with STARTS[request.param]() as socket:
        yield UnderTest(request.param, socket)


@pytest.fixture
async def api(engine: UnderTest) -> AsyncIterator[Api]:
    async with Api(engine.socket) as api:
        yield api


@pytest.fixture
async def client(engine: UnderTest) -> AsyncIterator[EngineClient]:
    async with EngineClient(engine.url) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"cf_{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def make_container(client: EngineClient) -> AsyncIterator[MakeContainer]:
    """``await make_container("sh", "-c", "...", Tty=True)`` -> id of a created container."""
    made: list[str] = []

    async def make(
        *cmd: str, name: str | None = None, start: bool = False, image: str = BUSYBOX, **config: Any
    ) -> str:
        body = {"Image": image, **config}
        if cmd:
            body["Cmd"] = list(cmd)
        created = await client.container_create(body, name=name)
        made.append(created["Id"])
        if start:
            await client.container_start(created["Id"])
        return str(created["Id"])

    yield make
    for container in made:
        try:
            await client.container_remove(container, force=True, volumes=True)
        except NotFound:
            pass
        except EngineError:
            # Race: with AutoRemove the engine may be removing it itself.
            await gone(client, container)


async def says(client: EngineClient, container: str, text: bytes) -> None:
    """Wait until it has written this."""

    async def log() -> bytes:
        return b"".join([data async for _, data in client.container_logs(container)])

    await until(log, lambda written: text in written)


async def gone(client: EngineClient, container: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await client.container_inspect(container)
            except NotFound:
                return
            await asyncio.sleep(0.05)


async def read_all(stream: ClientStream) -> dict[int, bytes]:
    """What a session says until it ends, by stream."""
    out = {1: b"", 2: b""}
    async with asyncio.timeout(WAIT_S):
        while (item := await stream.read()) is not None:
            out[item[0]] += item[1]
    return out


async def read_until(stream: ClientStream, text: bytes) -> bytes:
    """Output up to where ``text`` has come."""
    data = b""
    async with asyncio.timeout(WAIT_S):
        while text not in data:
            item = await stream.read()
            assert item is not None, f"ended before {text!r}: {data!r}"
            data += item[1]
    return data


async def until(look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """What ``look`` sees once ``holds`` says yes."""
    async with asyncio.timeout(WAIT_S):
        while not holds(seen := await look()):  # noqa: ASYNC110 - the engine is another process
            await asyncio.sleep(0.03)
    return seen

"""Fixtures of the images ring: a store on a real overlay snapshotter, registries that lie and a real one."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.config import RegistryConfig
from runtime.events import EventHub
from runtime.images.images import Images
from runtime.images.transport import Patience
from runtime.snapshots.overlay import OverlaySnapshotter
from tests import leftovers
from tests.fakes.registry import FakeRegistry
from tests.integration.registry import RealRegistry

HASTY = Patience(
    connect_s=20, stall_s=20, attempts=3, backoff_s=0.01, backoff_max_s=0.05, retry_after_max_s=2
)


class Engine:
    """The images room of one engine, and what tests look at besides it."""

    def __init__(
        self, root: Path, registries: Mapping[str, RegistryConfig], mirrors: Any, patience: Patience
    ):
        self.root = root
        self.users: dict[str, list[tuple[str, bool]]] = {}
        self.events = EventHub()
        self.snapshots = OverlaySnapshotter(root / "snapshots", root / "run")
        self.images = Images(
            root / "images",
            self.snapshots,
            registries,
            mirrors,
            self.events,
            lambda id: self.users.get(id, []),
            patience=patience,
        )

    def layer(self, ref: str, at: int = -1) -> Path:
        """The directory of one of an image's layers."""
        return self.snapshots.layer_path(self.images.get(ref).chain[at])

    def files(self) -> set[str]:
        """What lies in the image store, without the fixed files."""
        found = {
            str(path.relative_to(self.root / "images"))
            for path in (self.root / "images").rglob("*")
            if path.is_file()
        }
        return found - {"oci-layout", "index.json"}

    def stagings(self) -> list[str]:
        return [path.name for path in (self.root / "snapshots" / "staging").iterdir()]

    def is_empty(self) -> bool:
        """Whether nothing of any image is there, visible or not; prints what is."""
        left = [self.images.list(all=True), self.files(), self.snapshots.layers(), self.stagings()]
        print("left:", left)
        return not any(left)


MakeEngine = Callable[..., Any]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory on a real file system; tmpfs knows no user attributes."""
    path = leftovers.directory("webdock-images-", "/var/tmp")
    yield path
    left = [link for link in descriptors() if str(path) in link]
    for _ in range(500):
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        mounted = [place for place in reversed(mounted) if place.startswith(f"{path}/")]
        if not mounted:
            break
        # A worker that has just ended, or a new mount namespace elsewhere, may hold it for a moment.
        if subprocess.run(["umount", mounted[0]], stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.02)
    shutil.rmtree(path)
    assert not left, f"descriptors were left open: {left}"


def descriptors() -> list[str]:
    """What this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
async def make_engine(place: Path) -> AsyncIterator[MakeEngine]:
    """A factory: ``await make_engine(registry, …, mirrors={…})``; every registry given is configured."""
    made: list[Engine] = []

    async def make(
        *registries: FakeRegistry | RealRegistry,
        mirrors: Mapping[str, tuple[str, ...]] | None = None,
        patience: Patience = HASTY,
        root: Path | None = None,
        config: Mapping[str, RegistryConfig] | None = None,
    ) -> Engine:
        known = {one.host: RegistryConfig(one.host, insecure=True) for one in registries}
        engine = Engine(root or place, {**known, **(config or {})}, mirrors or {}, patience)
        await engine.images.start()
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.images.close()


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    fake = await FakeRegistry().start()
    yield fake
    await fake.stop()


@pytest.fixture
async def other_registry() -> AsyncIterator[FakeRegistry]:
    """A second one, on another host."""
    fake = await FakeRegistry(address="127.0.0.2").start()
    yield fake
    await fake.stop()


@pytest.fixture(scope="session")
def real_registry() -> Iterator[RealRegistry]:
    registry = RealRegistry()
    try:
        yield registry.start()
    finally:
        registry.stop()


async def told(stream: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every message of a stream."""
    return [message async for message in stream]


def failure(messages: list[dict[str, Any]]) -> str:
    """The error a stream ended with."""
    assert "error" in messages[-1], messages
    assert messages[-1]["errorDetail"] == {"message": messages[-1]["error"]}
    return str(messages[-1]["error"])


def lines(messages: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    """(id, status) of every message that is no step of a bar."""
    return [
        (message.get("id"), message["status"])
        for message in messages
        if "status" in message and not message.get("progressDetail")
    ]

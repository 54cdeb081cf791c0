"""The engine killed with SIGKILL in the middle of its work: nothing half-made is seen, and it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.image_files import Image, Layer, file, tar
from tests.fakes.registry import FakeRegistry, sending
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told

ROOT = Path(__file__).resolve().parents[4]
WAIT_S = 60.0
STALL_AT = 3_000_000  # bytes of the blob, after which the registry is silent
KEPT = 2_000_000  # of these, on the disk: the last ones may still be on their way

PROGRAM = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from runtime.config import RegistryConfig
from runtime.images.transport import Patience
from tests.integration.runtime.images.conftest import Engine, told

async def main(place, host, work):
    patience = Patience(stall_s=600)
    engine = Engine(Path(place), {host: RegistryConfig(host, insecure=True)}, {}, patience)
    await engine.images.start()
    if work == "pull":
        await told(engine.images.pull(f"{host}/x:y"))
    else:
        async def endless():
            yield Path(work).read_bytes()
            await asyncio.sleep(600)
        verb = engine.images.load if work.endswith("load") else engine.images.import_
        await told(verb(endless()))

asyncio.run(main(*sys.argv[2:]))
"""


@asynccontextmanager
async def victim(place: Path, host: str, work: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """An engine in a process of its own; killed, with its unpack workers gone, at the end."""
    argv = [sys.executable, "-c", PROGRAM, str(ROOT), str(place), host, work]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        children = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        assert process.stderr is not None
        process.stderr.close()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


async def started(make_engine: MakeEngine, *registries: FakeRegistry) -> Engine:
    """The next engine of the same place."""
    engine: Engine = await make_engine(*registries)
    engine.snapshots.sweep()  # what the room of containers asks for when it has read its records
    return engine


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.02)


def kept_bytes(place: Path) -> int:
    """Of blobs that have not come whole."""
    return sum(path.stat().st_size for path in (place / "images").rglob("*.partial"))


@pytest.fixture
def image() -> Image:
    return Image([Layer(tar(file("small", b"x"))), Layer(tar(file("big", os.urandom(4_000_000))))])


async def test_a_pull_goes_on_where_the_engine_was_killed(
    make_engine: MakeEngine, registry: FakeRegistry, place: Path, image: Image
) -> None:
    registry.put("x", "y", image)
    big = image.document["layers"][1]["digest"]
    registry.fault("GET", big, sending(image.blobs[big], pause_after=STALL_AT), times=1)
    async with victim(place, registry.host, "pull"):
        await until(lambda: kept_bytes(place) >= KEPT and whole(place, image))
    kept = kept_bytes(place)
    engine = await started(make_engine, registry)
    assert engine.images.list(all=True) == []
    assert engine.stagings() == []
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert engine.images.get(f"{registry.host}/x:y").id == image.id
    ranges = [seen.range for seen in registry.seen if big in seen.path]
    assert ranges == ["", f"bytes={kept}-"]
    assert registry.count("GET", image.document["layers"][0]["digest"]) == 1
    findings = [message for message in await told(engine.images.verify()) if "finding" in message]
    assert findings == []


def whole(place: Path, image: Image) -> bool:
    """Whether the first layer is there and unpacked."""
    digest = image.document["layers"][0]["digest"].removeprefix("sha256:")
    blob = place / "images/blobs/sha256" / digest
    return blob.exists() and any((place / "snapshots/layers").iterdir())


async def test_a_pull_nobody_takes_up_again_is_given_up(
    make_engine: MakeEngine, registry: FakeRegistry, place: Path, image: Image
) -> None:
    registry.put("x", "y", image)
    big = image.document["layers"][1]["digest"]
    registry.fault("GET", big, sending(image.blobs[big], pause_after=STALL_AT), times=1)
    async with victim(place, registry.host, "pull"):
        await until(lambda: kept_bytes(place) >= KEPT)
    engine = await started(make_engine, registry)
    await engine.images.prune()
    assert engine.is_empty()


@pytest.mark.parametrize("verb", ["load", "import"])
async def test_an_upload_that_was_under_way_leaves_nothing(
    make_engine: MakeEngine, place: Path, image: Image, verb: str
) -> None:
    archive = place / f"half.{verb}"
    archive.write_bytes(tar(file("a", b"x" * 1000), file("b", os.urandom(4 << 20)))[: 3 << 20])
    async with victim(place, "registry.invalid", str(archive)):
        await until(lambda: any((place / "images").rglob("new-*")))
    engine = await started(make_engine)
    assert engine.is_empty()

"""Removing, pruning and collecting: what goes, what stays, and that nothing is half gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import Conflict, NotFound
from tests.fakes.image_files import Image, Layer, file, simple, tar
from tests.fakes.registry import FakeRegistry
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told

BASE = Layer(tar(file("base", b"b" * 1000)))


@pytest.fixture
async def engine(make_engine: MakeEngine, registry: FakeRegistry) -> Engine:
    """An engine with x:one and x:two on one base, and y:alone."""
    registry.put("x", "one", Image([BASE, Layer(tar(file("one", b"1" * 100)))]))
    registry.put("x", "two", Image([BASE, Layer(tar(file("two", b"2" * 200)))]))
    registry.put("y", "alone", simple("alone"))
    made: Engine = await make_engine(registry)
    for name in ("x:one", "x:two", "y:alone"):
        await told(made.images.pull(f"{registry.host}/{name}"))
    return made


async def test_shared_layers_stay_for_the_other_image(engine: Engine, registry: FakeRegistry) -> None:
    one, two = engine.images.get(f"{registry.host}/x:one"), engine.images.get(f"{registry.host}/x:two")
    rows = await engine.images.remove(f"{registry.host}/x:one")
    assert rows[0] == {"Untagged": f"{registry.host}/x:one"}
    assert [row["Deleted"] for row in rows if "Deleted" in row] == [one.id, one.chain[1]]
    assert engine.snapshots.has_layer(two.chain[0])
    assert (engine.layer(two.id, 0) / "base").exists()
    with pytest.raises(NotFound):
        engine.images.get(one.id)


async def test_removing_everything_leaves_nothing(engine: Engine, registry: FakeRegistry) -> None:
    events = engine.events.subscribe()
    for name in ("x:one", "x:two", "y:alone"):
        await engine.images.remove(f"{registry.host}/{name}")
    assert engine.is_empty()
    assert json.loads((engine.root / "images/index.json").read_text())["manifests"] == []
    assert [event["Action"] for event in events.pending()].count("delete") == 3
    events.close()


async def test_sizes_add_up(engine: Engine, registry: FakeRegistry) -> None:
    usage = engine.images.usage()
    rows = {row["RepoTags"][0].rpartition("/")[2]: row for row in usage["Images"]}
    assert (rows["x:one"]["Size"], rows["x:one"]["SharedSize"]) == (1100, 1000)
    assert (rows["x:two"]["Size"], rows["x:two"]["SharedSize"]) == (1200, 1000)
    assert rows["y:alone"]["SharedSize"] == 0
    assert usage["LayersSize"] == 1100 + 200 + rows["y:alone"]["Size"]
    assert sum(row["Size"] for row in engine.images.history(f"{registry.host}/x:one")) == 1100


async def test_a_container_keeps_the_layers_of_an_image_removed_by_force(
    engine: Engine, registry: FakeRegistry
) -> None:
    record = engine.images.get(f"{registry.host}/x:one")
    container = "c" * 64
    await asyncio.to_thread(engine.snapshots.create, container, record.chain)
    engine.users[record.id] = [(container, False)]
    with pytest.raises(Conflict):
        await engine.images.remove(record.id)
    rows = await engine.images.remove(record.id, force=True)
    assert {"Deleted": record.id} in rows
    assert record.chain[1] not in [row.get("Deleted") for row in rows]
    await engine.images.released(record.id)
    assert engine.snapshots.has_layer(record.chain[1])
    usage = engine.images.usage()
    alone = engine.images.get(f"{registry.host}/y:alone").size_bytes
    assert usage["LayersSize"] == 1000 + 100 + 200 + alone  # the container's layer still takes its room
    await asyncio.to_thread(engine.snapshots.remove, container)
    engine.users.clear()
    await engine.images.released(engine.images.get(f"{registry.host}/x:two").id)
    assert engine.snapshots.has_layer(record.chain[1])  # that image is there: nothing to look for
    await engine.images.released(record.id)
    assert not engine.snapshots.has_layer(record.chain[1])
    assert engine.images.usage()["LayersSize"] == 1000 + 200 + alone


async def test_prune_takes_the_unnamed_and_with_all_the_unused(
    engine: Engine, registry: FakeRegistry
) -> None:
    one = engine.images.get(f"{registry.host}/x:one")
    await engine.images.tag(f"{registry.host}/x:two", f"{registry.host}/x", "one")
    pruned = await engine.images.prune()
    assert {"Deleted": one.id} in pruned["ImagesDeleted"]
    assert pruned["SpaceReclaimed"] > 0
    engine.users[engine.images.get(f"{registry.host}/y:alone").id] = [("c" * 64, False)]
    pruned = await engine.images.prune({"dangling": ["false"]})
    assert [row["RepoTags"] for row in engine.images.list()] == [[f"{registry.host}/y:alone"]]
    assert (await engine.images.prune({"dangling": ["false"]}))["ImagesDeleted"] is None


async def test_prune_minds_its_filters(engine: Engine) -> None:
    assert (await engine.images.prune({"dangling": ["false"], "until": ["2000-01-01"]}))[
        "ImagesDeleted"
    ] is None
    assert (await engine.images.prune({"dangling": ["false"], "label": ["x"]}))["ImagesDeleted"] is None
    assert len((await engine.images.prune({"dangling": ["false"], "label!": ["x"]}))["ImagesDeleted"]) > 3
    assert engine.is_empty()


async def test_a_restart_finds_the_same_images(engine: Engine, make_engine: MakeEngine) -> None:
    before = engine.images.list()
    again = await make_engine(root=engine.root)
    assert again.images.list() == before


async def test_a_restart_removes_what_nobody_needs(
    engine: Engine, make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    stray = engine.root / "images/blobs/sha256" / ("0" * 64)
    stray.write_bytes(b"stray")
    (engine.root / "images/ingest/new-0123").write_bytes(b"half")
    (engine.root / f"images/ingest/sha256-{'1' * 64}.partial").write_bytes(b"half")
    staging = await asyncio.to_thread(engine.snapshots.begin_layer, None)
    await asyncio.to_thread(engine.snapshots.commit_layer, staging, "sha256:" + "2" * 64, 0)
    before = len(engine.files())
    again = await make_engine(root=engine.root)
    assert len(again.files()) == before - 3
    assert not again.snapshots.has_layer("sha256:" + "2" * 64)
    assert again.images.get(f"{registry.host}/x:one")


async def test_pulls_and_removals_side_by_side_leave_a_whole_store(
    engine: Engine, registry: FakeRegistry
) -> None:
    async def churn(tag: str) -> None:
        for _ in range(8):
            await told(engine.images.pull(f"{registry.host}/x:{tag}"))
            try:
                await engine.images.remove(f"{registry.host}/x:{tag}")
            except NotFound:
                pass

    await asyncio.gather(churn("one"), churn("two"), churn("one"))
    for tag in ("one", "two"):
        await told(engine.images.pull(f"{registry.host}/x:{tag}"))
        record = engine.images.get(f"{registry.host}/x:{tag}")
        assert all(engine.snapshots.has_layer(chain_id) for chain_id in record.chain)
        assert (engine.layer(record.id, 0) / "base").exists()
        assert all((engine.root / "images/blobs/sha256" / digest[7:]).exists() for digest in record.all_blobs)


# -- the end of the engine at any moment

PROGRAM = """
import asyncio, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from runtime.config import RegistryConfig
from tests.integration.runtime.images.conftest import Engine, HASTY, told

async def main():
    engine = Engine(Path({place!r}), {{{host!r}: RegistryConfig({host!r}, insecure=True)}}, {{}}, HASTY)
    await engine.images.start()
    print("ready", flush=True)
    for line in sys.stdin:
        {body}
        print("done", flush=True)

asyncio.run(main())
"""


def engine_process(place: Path, host: str, body: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[4])
    program = PROGRAM.format(root=root, place=str(place), host=host, body=body)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except BrokenPipeError:
            pass


def big() -> Image:
    return Image([Layer(tar(file(f"f{at}", os.urandom(4 << 20)), file("g"))) for at in range(4)])


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
async def test_a_pull_that_was_killed_goes_on_or_is_cleaned(
    make_engine: MakeEngine, registry: FakeRegistry, place: Path, delay: float
) -> None:
    registry.put("x", "y", big())
    body = f'await told(engine.images.pull("{registry.host}/x:y"))'
    process = await asyncio.to_thread(engine_process, place, registry.host, body)
    await asyncio.to_thread(kill_after, process, delay)
    engine = await make_engine(registry)
    await asyncio.to_thread(engine.snapshots.reconcile, set())
    whole = [row["RepoTags"] for row in engine.images.list(all=True)]
    assert whole in ([], [[f"{registry.host}/x:y"]])
    assert engine.stagings() == []
    before = sum(int(seen.path.startswith("/v2/x/blobs/")) for seen in registry.seen)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    record = engine.images.get(f"{registry.host}/x:y")
    for at in range(4):
        assert (engine.layer(record.id, at) / f"f{at}").stat().st_size == 4 << 20
    assert before <= sum(int(seen.path.startswith("/v2/x/blobs/")) for seen in registry.seen)
    assert not [name for name in engine.files() if "ingest" in name or "lease" in name]


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02])
async def test_a_removal_that_was_killed_is_finished_or_has_not_begun(
    make_engine: MakeEngine, registry: FakeRegistry, place: Path, delay: float
) -> None:
    members = [file(f"f{at}", b"x") for at in range(3000)]
    registry.put("x", "y", Image([Layer(tar(*members)), BASE]))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    await engine.images.close()
    body = f'await engine.images.remove("{registry.host}/x:y")'
    process = await asyncio.to_thread(engine_process, place, registry.host, body)
    await asyncio.to_thread(kill_after, process, delay)
    again = await make_engine(registry)
    await asyncio.to_thread(again.snapshots.reconcile, set())
    if again.images.list(all=True):
        record = again.images.get(f"{registry.host}/x:y")
        assert len(list(again.layer(record.id, 0).iterdir())) == 3000
        assert all((place / "images/blobs/sha256" / digest[7:]).exists() for digest in record.all_blobs)
        await again.images.remove(f"{registry.host}/x:y")
    assert again.is_empty()


# -- a full disk


@pytest.fixture
def small(place: Path) -> Path:
    """A file system of 6 MB."""
    path = place / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], check=True)
    return path


@pytest.mark.parametrize("size", [2 << 20, 4 << 20, 20 << 20])
async def test_a_full_disk_fails_the_pull_and_gives_the_room_back(
    make_engine: MakeEngine, registry: FakeRegistry, small: Path, size: int
) -> None:
    registry.put("x", "fits", simple())
    layers = [Layer(tar(file("a", os.urandom(size)))), Layer(tar(file("b", os.urandom(size))))]
    registry.put("x", "large", Image(layers))
    engine = await make_engine(registry, root=small)
    await told(engine.images.pull(f"{registry.host}/x:fits"))
    files, layers_before = engine.files(), engine.snapshots.layers()
    messages: list[Any] = await told(engine.images.pull(f"{registry.host}/x:large"))
    assert "no space left on device" in messages[-1]["error"]
    assert [row["RepoTags"] for row in engine.images.list(all=True)] == [[f"{registry.host}/x:fits"]]
    assert engine.files() == files
    assert engine.snapshots.layers() == layers_before
    assert engine.stagings() == []
    assert (await told(engine.images.pull(f"{registry.host}/x:fits")))[-1]["status"].startswith("Status: ")

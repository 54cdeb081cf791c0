"""Verifying and mending: damage on the disk, and crashes of the machine before everything was on it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.images import settle
from tests.fakes.image_files import Image, Layer, directory, file, hardlink, symlink, tar
from tests.fakes.registry import FakeRegistry, answering
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told

LAYERS = [
    Layer(tar(directory("etc"), file("etc/a", b"x" * 5000), file("etc/b", b"y"), symlink("s", "etc/a"))),
    Layer(
        tar(
            directory("etc"),
            file("etc/.wh.b"),
            file("c/d/e", b"z"),
            hardlink("h", "c/d/e"),
            file("dup", b"1"),
            file("dup", b"22"),
        )
    ),
]


@pytest.fixture
async def engine(make_engine: MakeEngine, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """One that pulled an image and syncs it only when it is closed, however slow the test is."""
    monkeypatch.setattr(settle, "DELAY_S", 3600)
    registry.put("x", "y", Image(LAYERS))
    made: Engine = await make_engine(registry)
    await told(made.images.pull(f"{registry.host}/x:y"))
    return made


async def findings(engine: Engine, *, repair: bool = False) -> list[dict[str, Any]]:
    messages = await told(engine.images.verify(repair=repair))
    found = [message["finding"] for message in messages if "finding" in message]
    assert messages[-1] == {"verified": 1, "findings": len(found)}
    return found


async def test_a_sound_image_has_no_findings(engine: Engine) -> None:
    assert await findings(engine) == []


def change_contents(layer: Path) -> None:
    status = (layer / "etc/a").stat()
    (layer / "etc/a").write_bytes(b"x" * 4999 + b"!")
    os.utime(layer / "etc/a", ns=(status.st_mtime_ns, status.st_mtime_ns))


DAMAGES = {
    "/etc/a: has other contents": (0, change_contents),
    "/etc/a: has another size": (0, lambda layer: os.truncate(layer / "etc/a", 3)),
    "/etc/a: has another mode": (0, lambda layer: (layer / "etc/a").chmod(0o4755)),
    "/etc/a: has another owner": (0, lambda layer: os.chown(layer / "etc/a", 1, 1)),
    "/etc/a: is missing": (0, lambda layer: (layer / "etc/a").unlink()),
    "/s: points elsewhere": (0, lambda layer: ((layer / "s").unlink(), os.symlink("/x", layer / "s"))),
    "/new: is not in the layer": (0, lambda layer: (layer / "new").write_text("")),
    "/etc/b: is no longer hidden": (1, lambda layer: (layer / "etc/b").unlink()),
    "/h: is no longer a link": (1, lambda layer: ((layer / "h").unlink(), (layer / "h").write_text("z"))),
    "/dup: has another size": (1, lambda layer: (layer / "dup").write_text("1")),
    "/c/d/f: is not in the layer": (1, lambda layer: (layer / "c/d/f").mkdir()),
}


@pytest.mark.parametrize("what", DAMAGES)
async def test_damage_to_a_layer_is_found_and_mended(
    engine: Engine, registry: FakeRegistry, what: str
) -> None:
    at, damage = DAMAGES[what]
    damage(engine.layer(f"{registry.host}/x:y", at))
    [found] = await findings(engine)
    assert what in found["what"]
    assert not found["mended"]
    [found] = await findings(engine, repair=True)
    assert found["mended"]
    assert await findings(engine) == []


async def test_damage_to_a_layer_that_came_uncompressed_is_found(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    registry.put("x", "y", Image([Layer(LAYERS[0].archive, "plain")]))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    os.truncate(engine.layer(f"{registry.host}/x:y") / "etc/a", 3)
    [found] = await findings(engine)
    assert "/etc/a: has another size" in found["what"]


async def test_a_missing_layer_is_made_anew(engine: Engine, registry: FakeRegistry) -> None:
    shutil.rmtree(engine.layer(f"{registry.host}/x:y", 1).parent)
    [found] = await findings(engine, repair=True)
    assert "is missing" in found["what"]
    assert found["mended"]
    assert await findings(engine) == []


@pytest.mark.parametrize("missing", [True, False])
async def test_a_damaged_blob_is_fetched_by_the_next_pull(
    engine: Engine, registry: FakeRegistry, missing: bool
) -> None:
    digest = engine.images.get(f"{registry.host}/x:y").blobs[0].digest
    path = engine.root / "images/blobs/sha256" / digest[7:]
    if missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    registry.fault("GET", "/v2/", answering(404, b"{}"))
    [found] = await findings(engine, repair=True)
    assert "pull the image again (" in found["what"]
    registry.heal()
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert await findings(engine) == []


@pytest.mark.parametrize("what", ["blob", "config", "manifest", "blob and layer"])
async def test_what_is_damaged_is_pulled_again(engine: Engine, registry: FakeRegistry, what: str) -> None:
    record = engine.images.get(f"{registry.host}/x:y")
    digests = {"config": record.id, "manifest": record.manifest.digest}
    path = engine.root / "images/blobs/sha256" / digests.get(what, record.blobs[0].digest)[7:]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    if what == "blob and layer":
        (engine.layer(record.id, 0) / "etc/a").write_text("damaged")
    found = await findings(engine, repair=True)
    assert found
    assert all(finding["mended"] for finding in found)
    assert "pulled again" in found[0]["what"]
    assert await findings(engine) == []
    assert engine.images.get(f"{registry.host}/x:y").names == record.names
    assert (engine.layer(record.id, 0) / "etc/a").read_bytes() == b"x" * 5000


async def test_a_layer_a_container_stands_on_is_told_but_not_touched(
    engine: Engine, registry: FakeRegistry
) -> None:
    record = engine.images.get(f"{registry.host}/x:y")
    container = "c" * 64
    await asyncio.to_thread(engine.snapshots.create, container, record.chain)
    (engine.layer(record.id, 0) / "new").write_text("")
    [found] = await findings(engine, repair=True)
    assert not found["mended"]
    assert (engine.layer(record.id, 0) / "new").exists()
    await asyncio.to_thread(engine.snapshots.remove, container)


# -- crashes of the machine


def record_file(engine: Engine) -> Path:
    [path] = (engine.root / "images/records").iterdir()
    return path


async def test_a_pulled_image_is_settled_behind_the_pull(
    engine: Engine, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(record_file(engine).read_text())["boot"]
    await engine.images.close()
    assert json.loads(record_file(engine).read_text())["boot"] is None


async def test_images_are_settled_while_the_engine_runs(
    make_engine: MakeEngine, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "DELAY_S", 0.01)
    registry.put("x", "y", Image(LAYERS))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    async with asyncio.timeout(30):
        while json.loads(record_file(engine).read_text())["boot"]:  # noqa: ASYNC110 - a file is watched
            await asyncio.sleep(0.01)


def crash(engine: Engine) -> None:
    """Let it look as if the machine had gone down right after the pull."""
    path = record_file(engine)
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))


async def test_an_image_that_a_crash_damaged_is_mended_before_anything_uses_it(
    engine: Engine, make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    (engine.layer(f"{registry.host}/x:y", 0) / "etc/a").write_bytes(b"")
    crash(engine)
    again = await make_engine(registry)
    assert (again.layer(f"{registry.host}/x:y", 0) / "etc/a").stat().st_size == 5000
    assert await findings(again) == []


async def test_an_image_that_a_crash_took_is_no_image(
    engine: Engine, make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    digest = engine.images.get(f"{registry.host}/x:y").blobs[0].digest
    (engine.root / "images/blobs/sha256" / digest[7:]).write_bytes(b"")
    crash(engine)
    again = await make_engine(registry)
    assert again.is_empty()
    await told(again.images.pull(f"{registry.host}/x:y"))
    assert await findings(again) == []

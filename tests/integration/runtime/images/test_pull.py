"""Pulls from the distribution's own registry."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.images.manifest import OCI_INDEX
from tests.fakes.image_files import Image, Layer, directory, file, index, simple, tar
from tests.fakes.registry import FakeRegistry
from tests.integration.registry import RealRegistry
from tests.integration.runtime.images.conftest import MakeEngine, lines, told


def short(image: Image, at: int) -> str:
    return str(image.document["layers"][at]["digest"])[7:19]


async def test_a_pull_tells_what_docker_tells(make_engine: MakeEngine, real_registry: RealRegistry) -> None:
    image = simple("told")
    digest = real_registry.put("team/app", "v1", image)
    engine = await make_engine(real_registry)
    name = f"{real_registry.host}/team/app:v1"
    messages = await told(engine.images.pull(name))
    found = lines(messages)
    assert found[0] == ("v1", "Pulling from team/app")
    assert found[-2:] == [
        (None, f"Digest: {digest}"),
        (None, f"Status: Downloaded newer image for {name}"),
    ]
    for at in range(2):
        told_of_layer = [status for id, status in found if id == short(image, at)]
        assert told_of_layer == [
            "Pulling fs layer",
            "Verifying Checksum",
            "Download complete",
            "Pull complete",
        ]
    assert all("progressDetail" in message for message in messages if "id" in message)
    again = lines(await told(engine.images.pull(name)))
    assert [status for _, status in again] == [
        "Pulling from team/app",
        f"Digest: {digest}",
        f"Status: Image is up to date for {name}",
    ]


async def test_a_pulled_image_is_what_was_pushed(
    make_engine: MakeEngine, real_registry: RealRegistry
) -> None:
    image = simple("same", layers=3)
    digest = real_registry.put("same", "latest", image)
    engine = await make_engine(real_registry)
    await told(engine.images.pull(f"{real_registry.host}/same", "latest"))
    record = engine.images.get(f"{real_registry.host}/same")
    assert record.id == image.id
    assert record.digests == [f"{real_registry.host}/same@{digest}"]
    assert record.size_bytes == sum(len(f"same {at}\n") * 50 for at in range(3))
    for at in range(3):
        path = engine.layer(record.id, at) / "etc" / f"part{at}"
        assert path.read_bytes() == f"same {at}\n".encode() * 50
    assert engine.stagings() == []
    assert {name for name in engine.files() if "ingest" in name or "leases" in name} == set()


@pytest.mark.parametrize("packing", ["gzip", "zstd", "plain"])
@pytest.mark.parametrize("docker", [True, False])
async def test_every_packing_of_layers_is_unpacked(
    make_engine: MakeEngine, registry: FakeRegistry, packing: str, docker: bool
) -> None:
    registry.put("x", "y", simple(packing, packing=packing, docker=docker))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    assert (engine.layer(f"{registry.host}/x:y") / "etc/part1").exists()


@pytest.mark.parametrize("docker", [True, False])
async def test_the_machine_is_chosen_from_an_index(
    make_engine: MakeEngine, real_registry: RealRegistry, docker: bool
) -> None:
    ours = simple(f"ours {docker}", docker=docker)
    other = Image([Layer(tar(file("other")), docker=docker)], architecture="s390x", docker=docker)
    for image in (ours, other):
        real_registry.put("multi", f"part-{image.architecture}-{docker}", image)
    both = index(other, ours, docker=docker)
    media_type = OCI_INDEX if not docker else "application/vnd.docker.distribution.manifest.list.v2+json"
    digest = real_registry.put_manifest("multi", f"all-{docker}", both, media_type)
    engine = await make_engine(real_registry)
    name = f"{real_registry.host}/multi:all-{docker}"
    messages = await told(engine.images.pull(name))
    assert (None, f"Digest: {digest}") in lines(messages)
    assert engine.images.get(name).id == ours.id
    assert engine.images.get(f"{real_registry.host}/multi@{digest}").id == ours.id
    await told(engine.images.pull(name, platform="linux/s390x"))
    assert engine.images.get(name).id == other.id
    assert engine.images.get(ours.id).tags == []


async def test_a_platform_that_is_not_offered_is_named(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    registry.put_manifest("x", "multi", OCI_INDEX, index(simple()))
    registry.put("x", "single", simple())
    engine = await make_engine(registry)
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        await told(engine.images.pull(f"{registry.host}/x:multi", platform="linux/s390x"))
    messages = await told(engine.images.pull(f"{registry.host}/x:single", platform="linux/s390x"))
    assert "does not match the specified platform: wanted linux/s390x" in messages[-1]["error"]
    with pytest.raises(InvalidArgument):
        await told(engine.images.pull(f"{registry.host}/x:single", platform="linux/"))
    assert engine.is_empty()


async def test_layers_that_are_there_are_not_fetched_again(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    base = Layer(tar(file("base", b"b")))
    registry.put("x", "one", Image([base]))
    registry.put("x", "two", Image([base, Layer(tar(file("top", b"t")))]))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:one"))
    fetched = registry.count("GET", "/blobs/")
    messages = lines(await told(engine.images.pull(f"{registry.host}/x:two")))
    assert [status for _, status in messages if status == "Already exists"] == ["Already exists"]
    assert registry.count("GET", "/blobs/") == fetched + 2


async def test_a_pull_by_digest_gives_no_tag(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = simple()
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    name = f"{registry.host}/x@{image.digest}"
    messages = lines(await told(engine.images.pull(name)))
    assert messages[0] == (image.digest, "Pulling from x")
    assert messages[-1] == (None, f"Status: Downloaded newer image for {name}")
    assert engine.images.get(name).tags == []
    assert engine.images.list()[0]["RepoDigests"] == [name]


async def test_without_a_tag_every_tag_is_pulled(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    for tag in ("a", "b", "c"):
        registry.put("x", tag, simple(tag))
    engine = await make_engine(registry)
    messages = lines(await told(engine.images.pull(f"{registry.host}/x")))
    assert [id for id, status in messages if status == "Pulling from x"] == ["a", "b", "c"]
    assert len(engine.images.list()) == 3


async def test_two_pulls_of_one_image_share_the_work(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 20000)), "plain") for _ in range(1)])
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    pulls = [told(engine.images.pull(f"{registry.host}/x:y")) for _ in range(3)]
    for messages in await asyncio.gather(*pulls):
        assert lines(messages)[-1][1].startswith("Status: ")
        assert "error" not in messages[-1]
    assert registry.count("GET", image.document["layers"][0]["digest"]) == 1


async def test_a_follower_goes_on_when_who_began_leaves(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    gate = asyncio.Event()

    async def slow(request: Any) -> None:
        await gate.wait()

    image = simple()
    registry.put("x", "y", image)
    layer = image.document["layers"][0]["digest"]
    registry.fault("GET", layer, slow)
    engine = await make_engine(registry)
    first = engine.images.pull(f"{registry.host}/x:y")
    assert (await anext(first))["status"] == "Pulling from x"
    await registry.asked("GET", layer)
    second = asyncio.create_task(told(engine.images.pull(f"{registry.host}/x:y")))
    await registry.asked("GET", "/manifests/y", 2)
    await asyncio.sleep(0.1)
    await first.aclose()
    gate.set()
    messages = await second
    assert lines(messages)[-1][1].startswith("Status: Downloaded")
    assert registry.count("GET", layer) == 1


async def test_a_repeated_layer_is_fetched_once(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    same = Layer(tar(file("same", b"s")))
    image = Image([same, Layer(tar(file("x"))), same])
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert registry.count("GET", image.document["layers"][0]["digest"]) == 1
    assert len(engine.snapshots.layers()) == 3


async def test_an_image_without_layers_is_an_image(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.put("x", "y", Image([]))
    engine = await make_engine(registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    assert engine.images.get(f"{registry.host}/x:y").chain == []
    assert engine.images.history(f"{registry.host}/x:y") == []
    assert engine.images.inspect(f"{registry.host}/x:y")["Size"] == 0


async def test_skopeo_reads_the_store(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = simple()
    registry.put("team/app", "v1", image)
    engine = await make_engine(registry)
    name = f"{registry.host}/team/app:v1"
    await told(engine.images.pull(name))
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{engine.root}/images:{name}"], capture_output=True, check=True
    )
    assert raw.stdout == image.manifest
    target = engine.root / "copy"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{engine.root}/images:{name}", f"oci:{target}:x"], check=True
    )


async def test_a_layer_that_came_packed_otherwise_is_reused_and_the_store_stays_whole(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    archive = tar(directory("d"), file("d/f", b"x"))
    registry.put("x", "gzip", Image([Layer(archive, "gzip")]))
    registry.put("x", "zstd", Image([Layer(archive, "zstd")], config={"author": "another"}))
    engine = await make_engine(registry)
    for tag in ("gzip", "zstd"):
        await told(engine.images.pull(f"{registry.host}/x:{tag}"))
    assert len(engine.snapshots.layers()) == 1
    subprocess.run(
        [
            "skopeo",
            "copy",
            "-q",
            f"oci:{engine.root}/images:{registry.host}/x:zstd",
            f"oci:{engine.root}/copy:x",
        ],
        check=True,
    )
    await engine.images.remove(f"{registry.host}/x:gzip")
    subprocess.run(
        [
            "skopeo",
            "copy",
            "-q",
            f"oci:{engine.root}/images:{registry.host}/x:zstd",
            f"oci:{engine.root}/copy2:x",
        ],
        check=True,
    )


async def test_pulling_publishes_an_event(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.put("x", "y", simple())
    engine = await make_engine(registry)
    events = engine.events.subscribe()
    await told(engine.images.pull(f"{registry.host}/x:y"))
    [event] = events.pending()
    assert (event["Type"], event["Action"], event["id"]) == ("image", "pull", f"{registry.host}/x:y")
    assert event["Actor"]["Attributes"]["name"] == f"{registry.host}/x"
    events.close()

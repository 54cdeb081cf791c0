"""Mirrors: in order, with fall-back, never believed without a digest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runtime.config import RegistryConfig
from runtime.images.transport import Patience
from tests.fakes.image_files import simple
from tests.fakes.registry import FakeRegistry, answering, hanging
from tests.integration.runtime.images.conftest import MakeEngine, failure, told


@pytest.fixture
async def mirror() -> AsyncIterator[FakeRegistry]:
    fake = await FakeRegistry(address="127.0.0.3").start()
    yield fake
    await fake.stop()


async def test_the_mirror_is_asked_instead_of_the_registry(
    make_engine: MakeEngine, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    mirror.put("team/app", "v1", simple())
    engine = await make_engine(registry, mirror, mirrors={registry.host: (mirror.url,)})
    await told(engine.images.pull(f"{registry.host}/team/app:v1"))
    assert engine.images.get(f"{registry.host}/team/app:v1")
    assert registry.seen == []


async def test_a_mirror_of_docker_io_serves_plain_names(
    make_engine: MakeEngine, mirror: FakeRegistry
) -> None:
    mirror.put("library/debian", "12", simple())
    mirror.put("hub/webdock/app", "latest", simple("b"))
    engine = await make_engine(mirror, mirrors={"docker.io": (mirror.url, f"{mirror.url}/hub")})
    await told(engine.images.pull("debian:12"))
    assert engine.images.list()[0]["RepoTags"] == ["debian:12"]
    await told(engine.images.pull("webdock/app", "latest"))
    assert engine.images.get("webdock/app").id == simple("b").id


async def test_mirrors_that_fail_are_passed_over_in_order(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    registry.put("x", "y", simple())
    other_registry.fault("GET", "/manifests/", hanging())
    dead = "http://127.0.0.1:9"
    engine = await make_engine(
        registry,
        other_registry,
        mirror,
        mirrors={registry.host: (dead, mirror.url, other_registry.url)},
        config={"127.0.0.1:9": RegistryConfig("127.0.0.1:9", insecure=True)},
        patience=Patience(stall_s=2.0, attempts=1),
    )
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert mirror.count("GET", "/manifests/y") >= 1
    assert other_registry.count("GET", "/manifests/y") >= 1


async def test_a_mirror_that_lies_is_not_believed(
    make_engine: MakeEngine, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    image = simple()
    registry.put("x", "y", image)
    mirror.put("x", "y", image)
    layer = image.document["layers"][0]["digest"]
    mirror.blobs[layer] = mirror.blobs[layer][:-1] + b"x"
    engine = await make_engine(registry, mirror, mirrors={registry.host: (mirror.url,)})
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert (engine.layer(f"{registry.host}/x:y", 0) / "etc/part0").exists()
    assert registry.count("GET", layer) == 1


async def test_a_mirror_that_lacks_a_blob_is_helped_out(
    make_engine: MakeEngine, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    image = simple()
    registry.put("x", "y", image)
    mirror.put("x", "y", image)
    mirror.blobs.clear()
    engine = await make_engine(registry, mirror, mirrors={registry.host: (mirror.url,)})
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]


async def test_credentials_are_for_the_registry_and_not_for_its_mirror(
    make_engine: MakeEngine, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    registry.users = {"ann": "secret"}
    registry.put("x", "y", simple())
    engine = await make_engine(registry, mirror, mirrors={registry.host: (mirror.url,)})
    messages = await told(
        engine.images.pull(f"{registry.host}/x:y", auth={"username": "ann", "password": "secret"})
    )
    assert "error" not in messages[-1]
    assert mirror.seen
    assert {seen.authorization for seen in mirror.seen} == {""}


async def test_when_all_fail_the_registrys_own_answer_is_told(
    make_engine: MakeEngine, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    mirror.fault("GET", "/manifests/", answering(404, b"{}"))
    registry.put("x", "known", simple())
    engine = await make_engine(registry, mirror, mirrors={registry.host: (mirror.url,)})
    with pytest.raises(Exception, match="manifest unknown: manifest unknown"):
        await told(engine.images.pull(f"{registry.host}/x:nope"))
    image = simple("gone")
    registry.put("x", "gone", image)
    del registry.blobs[image.document["layers"][0]["digest"]]
    assert "blob unknown" in failure(await told(engine.images.pull(f"{registry.host}/x:gone")))

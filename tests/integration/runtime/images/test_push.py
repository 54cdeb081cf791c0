"""Pushes: into the distribution's own registry, and into one that misbehaves."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.images.transport import Patience
from tests.conformance.shape import problems, response_schema
from tests.fakes.image_files import Image, Layer, file, simple, tar
from tests.fakes.registry import FakeRegistry, answering
from tests.integration.registry import RealRegistry
from tests.integration.runtime.images.conftest import Engine, MakeEngine, failure, lines, told


async def pulled(
    make_engine: MakeEngine, source: FakeRegistry, *others: Any, image: Image | None = None
) -> Engine:
    """An engine that has pulled source/app:v1."""
    source.put("app", "v1", image or simple("pushed"))
    engine: Engine = await make_engine(source, *others)
    await told(engine.images.pull(f"{source.host}/app:v1"))
    return engine


async def test_a_pushed_image_is_the_one_that_was_pulled(
    make_engine: MakeEngine, registry: FakeRegistry, real_registry: RealRegistry
) -> None:
    image = simple("round trip", layers=3)
    engine = await pulled(make_engine, registry, real_registry, image=image)
    name = f"{real_registry.host}/round/trip"
    await engine.images.tag(f"{registry.host}/app:v1", name, "v2")
    messages = await told(engine.images.push(name, "v2"))
    found = [status for _, status in lines(messages)]
    assert found[0] == f"The push refers to repository [{name}]"
    assert found.count("Preparing") == found.count("Pushed") == 3
    assert found[-1] == f"v2: digest: {image.digest} size: {len(image.manifest)}"
    assert messages[-1]["aux"] == {"Tag": "v2", "Digest": image.digest, "Size": len(image.manifest)}
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}:v2"],
        capture_output=True,
        check=True,
    )
    assert raw.stdout == image.manifest
    assert f"{name}@{image.digest}" in engine.images.get(f"{name}:v2").digests


async def test_only_what_is_missing_is_uploaded(
    make_engine: MakeEngine, registry: FakeRegistry, real_registry: RealRegistry
) -> None:
    image = simple("twice")
    engine = await pulled(make_engine, registry, real_registry, image=image)
    for tag in ("one", "two"):
        await engine.images.tag(f"{registry.host}/app:v1", f"{real_registry.host}/twice", tag)
    await told(engine.images.push(f"{real_registry.host}/twice", "one"))
    found = [
        status for _, status in lines(await told(engine.images.push(f"{real_registry.host}/twice", "two")))
    ]
    assert found.count("Layer already exists") == 2
    assert "Pushed" not in found
    everything = await told(engine.images.push(f"{real_registry.host}/twice"))
    assert [message["aux"]["Tag"] for message in everything if "aux" in message] == ["one", "two"]


async def test_layers_are_mounted_from_a_repository_that_has_them(
    make_engine: MakeEngine, registry: FakeRegistry, real_registry: RealRegistry
) -> None:
    engine = await pulled(make_engine, registry, real_registry, image=simple("mounted"))
    for repository in ("first", "second"):
        name = f"{real_registry.host}/mount/{repository}"
        await engine.images.tag(f"{registry.host}/app:v1", name)
        found = [status for _, status in lines(await told(engine.images.push(name, "latest")))]
    assert found.count("Mounted from mount/first") == 2


async def test_large_layers_go_up_in_chunks_that_can_be_gone_on_with(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    engine = await pulled(make_engine, registry, other_registry, image=packed(80 << 20))
    name = f"{other_registry.host}/big"
    await engine.images.tag(f"{registry.host}/app:v1", name)
    cuts = 0

    async def cut(request: Any) -> Any:
        nonlocal cuts
        if "Content-Range" not in request.headers or cuts:
            return None
        cuts += 1
        await request.content.readexactly(1 << 20)
        request.transport.abort()
        return None

    other_registry.fault("PATCH", "/blobs/uploads/", cut)
    messages = await told(engine.images.push(name, "latest"))
    assert "error" not in messages[-1]
    assert cuts == 1
    assert any(message.get("status") == "Pushing" for message in messages)
    assert other_registry.count("PATCH", "/uploads/") >= 3
    pushed = {digest for _, digest in other_registry.pushed}
    assert {layer.digest for layer in engine.images.get(name).blobs} <= pushed


async def test_the_real_registry_takes_chunks(
    make_engine: MakeEngine, registry: FakeRegistry, real_registry: RealRegistry
) -> None:
    engine = await pulled(make_engine, registry, real_registry, image=packed(70 << 20))
    name = f"{real_registry.host}/chunks"
    await engine.images.tag(f"{registry.host}/app:v1", name)
    assert "error" not in (await told(engine.images.push(name, "latest")))[-1]
    subprocess.run(
        [
            "skopeo",
            "copy",
            "-q",
            "--src-tls-verify=false",
            f"docker://{name}:latest",
            f"dir:{engine.root}/copy",
        ],
        check=True,
    )


def packed(size: int) -> Image:
    """An image whose one layer does not compress."""
    return Image([Layer(tar(file("big", os.urandom(size))), "gzip")])


async def test_plain_layers_travel_compressed(
    make_engine: MakeEngine, registry: FakeRegistry, real_registry: RealRegistry
) -> None:
    image = Image([Layer(tar(file("text", b"again and again " * 100_000)), "plain")])
    engine = await pulled(make_engine, registry, real_registry, image=image)
    name = f"{real_registry.host}/plain"
    await engine.images.tag(f"{registry.host}/app:v1", name)
    await told(engine.images.push(name, "latest"))
    record = engine.images.get(name)
    assert record.id == image.id
    assert record.blobs[0].media_type.endswith("+gzip")
    assert record.blobs[0].size < 100_000
    other = await make_engine(real_registry, root=engine.root / "other")
    await told(other.images.pull(f"{name}:latest"))
    assert other.images.get(f"{name}:latest").diff_ids == record.diff_ids


async def test_a_registry_that_knows_only_dockers_manifests_gets_one(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    engine = await pulled(make_engine, registry, other_registry)
    name = f"{other_registry.host}/old"
    await engine.images.tag(f"{registry.host}/app:v1", name)

    async def picky(request: Any) -> Any:
        return await answering(415)(request) if "oci" in request.content_type else None

    other_registry.fault("PUT", "/manifests/", picky)
    messages = await told(engine.images.push(name, "latest"))
    assert "error" not in messages[-1]
    assert "docker" in other_registry.manifests["old", "latest"][0]


async def test_pushing_needs_the_right_credentials(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    engine = await pulled(make_engine, registry, other_registry)
    other_registry.users, other_registry.scheme = {"ann": "secret"}, "basic"
    name = f"{other_registry.host}/private"
    await engine.images.tag(f"{registry.host}/app:v1", name)
    assert failure(await told(engine.images.push(name, "latest"))) == "no basic auth credentials"
    wrong = {"username": "ann", "password": "wrong"}
    assert "unauthorized" in failure(await told(engine.images.push(name, "latest", auth=wrong)))
    right = {"username": "ann", "password": "secret"}
    assert "error" not in (await told(engine.images.push(name, "latest", auth=right)))[-1]


async def test_a_registry_that_refuses_is_told(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    engine = await pulled(make_engine, registry, other_registry)
    name = f"{other_registry.host}/x"
    await engine.images.tag(f"{registry.host}/app:v1", name)
    other_registry.fault(
        "POST", "/uploads/", answering(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')
    )
    assert failure(await told(engine.images.push(name, "latest"))) == (
        "denied: requested access to the resource is denied"
    )
    other_registry.heal()
    other_registry.fault("PUT", "/uploads/", answering(500))
    assert "500" in failure(await told(engine.images.push(name, "latest")))


async def test_what_is_not_there_cannot_be_pushed(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    engine = await make_engine(registry, patience=Patience())
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        engine.images.push(f"{registry.host}/nope")
    with pytest.raises(NotFound):
        engine.images.push(f"{registry.host}/nope", "v1")
    with pytest.raises(InvalidArgument, match="digest reference"):
        engine.images.push(f"{registry.host}/nope@sha256:" + "0" * 64)


async def test_distribution_and_search_ask_the_registry(
    make_engine: MakeEngine, real_registry: RealRegistry, registry: FakeRegistry
) -> None:
    image = simple("asked")
    digest = real_registry.put("asked/app", "v1", image)
    engine = await make_engine(real_registry, registry)
    body = await engine.images.distribution(f"{real_registry.host}/asked/app:v1")
    assert body["Descriptor"]["digest"] == digest
    assert body["Platforms"] == [{"architecture": image.architecture, "os": "linux"}]
    assert problems(body, response_schema("get", "/distribution/{name}/json")) == []
    with pytest.raises(NotFound, match="manifest unknown"):
        await engine.images.distribution(f"{real_registry.host}/asked/app:nope")
    found = await engine.images.search(f"{real_registry.host}/asked")
    assert [row["name"] for row in found] == [f"{real_registry.host}/asked/app"]
    assert problems(found, response_schema("get", "/images/search")) == []
    registry.fault("GET", "/v1/search", answering(404))
    registry.fault("GET", "/v2/_catalog", answering(404))
    with pytest.raises(Exception, match="offers no search"):
        await engine.images.search(f"{registry.host}/x")
    rows = b'{"results": [{"name": "team/app", "description": "d", "star_count": 5, "is_official": true}]}'
    registry.heal()
    registry.fault("GET", "/v1/search", answering(200, rows))
    [row] = await engine.images.search(f"{registry.host}/app", filters={"stars": ["5"]})
    assert (row["name"], row["star_count"], row["is_official"]) == ("team/app", 5, True)
    assert await engine.images.search(f"{registry.host}/app", filters={"stars": ["6"]}) == []
    with pytest.raises(InvalidArgument):
        await engine.images.search(f"{registry.host}/app", 1000)

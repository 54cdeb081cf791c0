"""Registries that say no, lie, hang, or are not there: Docker's words, and nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.errors import EngineError, Internal, InvalidArgument, NotFound
from runtime.config import RegistryConfig
from runtime.images import manifest as media
from runtime.images.transport import Patience
from tests.fakes.image_files import Image, Layer, file, index, sha256, simple, tar
from tests.fakes.registry import FakeRegistry, answering, error, hanging, redirecting, sending
from tests.integration.registry import RealRegistry
from tests.integration.runtime.images.conftest import Engine, MakeEngine, failure, told


async def refused(engine: Engine, name: str, **arguments: Any) -> EngineError:
    """The error a pull raises before its first message."""
    with pytest.raises(EngineError) as caught:
        await told(engine.images.pull(name, **arguments))
    return caught.value


async def failed(engine: Engine, name: str) -> str:
    """The error a pull ends with after it began."""
    return failure(await told(engine.images.pull(name)))


async def test_unknown_names_are_told_in_dockers_words(
    make_engine: MakeEngine, real_registry: RealRegistry, registry: FakeRegistry
) -> None:
    real_registry.put("known", "v1", simple())
    engine = await make_engine(real_registry, registry)
    error = await refused(engine, f"{real_registry.host}/known:nope")
    assert isinstance(error, NotFound)
    assert error.message == (
        f"manifest for {real_registry.host}/known:nope not found: manifest unknown: manifest unknown"
    )
    error = await refused(engine, f"{registry.host}/nope:v1")
    assert isinstance(error, NotFound)
    assert error.message == (
        f"repository {registry.host}/nope not found: name unknown: repository name not known to registry"
    )
    assert engine.is_empty()


async def test_an_unreachable_registry_is_told_in_dockers_words(make_engine: MakeEngine) -> None:
    engine = await make_engine(config={"127.0.0.1:9": RegistryConfig("127.0.0.1:9", insecure=True)})
    started = time.monotonic()
    error = await refused(engine, "127.0.0.1:9/x:y")
    assert type(error).status == 500
    assert error.message == (
        'Get "https://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused'
    )
    error = await refused(engine, "registry.invalid/x:y")
    assert error.message == (
        'Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid: no such host'
    )
    assert time.monotonic() - started < 60  # nobody tries for long


async def test_plain_http_is_spoken_only_where_configured(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    registry.put("x", "y", simple())
    engine = await make_engine(config={registry.host: RegistryConfig(registry.host, local=True)})
    error = await refused(engine, f"{registry.host}/x:y")
    assert error.message == (
        f'Get "https://{registry.host}/v2/": http: server gave HTTP response to HTTPS client'
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5999", "localhost:5999", "169.254.169.254", "[::1]:5999", "0.0.0.0:80"]
)
async def test_addresses_of_this_machine_are_asked_only_where_configured(
    make_engine: MakeEngine, host: str
) -> None:
    engine = await make_engine()
    error = await refused(engine, f"{host}/x:y")
    assert "dial tcp" in error.message
    assert "engine.toml" in error.message


async def test_a_registry_may_not_redirect_to_this_machine(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    image = simple()
    for one in (registry, other_registry):
        one.put("x", "y", image)
    registry.fault("GET", "/blobs/", redirecting(f"{other_registry.url}{{path}}"))
    engine = await make_engine(registry)
    assert "engine.toml" in await failed(engine, f"{registry.host}/x:y")
    assert other_registry.seen == []
    assert engine.is_empty()


@pytest.mark.parametrize("way", ["redirect", "token service", "upload", "mirror"])
async def test_what_root_asked_for_on_this_machine_is_in_reach_of_nobody_else(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry, way: str
) -> None:
    """Root has pulled from an address of this machine; another registry, or a mirror, leads there."""
    other_registry.put("x", "y", simple())
    registry.put("x", "y", Image([Layer(tar(file("other", b"content")))]))
    mirrors = {registry.host: (other_registry.url,)} if way == "mirror" else {}
    engine = await make_engine(registry, mirrors=mirrors)
    engine.images.registries.reach(other_registry.host, confined=False)
    await told(engine.images.pull(f"{other_registry.host}/x:y"))
    assert [row["name"] for row in await engine.images.search(f"{other_registry.host}/x")]
    other_registry.seen.clear()
    if way == "redirect":
        registry.fault("GET", "/blobs/", redirecting(f"{other_registry.url}{{path}}"))
    if way == "token service":
        challenge = {"WWW_Authenticate": f'Bearer realm="{other_registry.url}/token",service="x"'}
        registry.fault("GET", "/v2/", answering(401, b"{}", **challenge))
    if way == "upload":
        registry.fault("POST", "/uploads/", answering(202, Location=f"{other_registry.url}/u"))
    name = f"{registry.host}/x:y"
    if way == "upload":
        await engine.images.tag(f"{other_registry.host}/x:y", f"{registry.host}/new", "y")
        answer = failure(await told(engine.images.push(f"{registry.host}/new", "y")))
    elif way == "mirror":
        await told(engine.images.pull(name))
        answer = "engine.toml"  # the mirror was passed over
    else:
        try:
            answer = failure(await told(engine.images.pull(name)))
        except EngineError as error:
            answer = error.message
    assert "engine.toml" in answer
    assert other_registry.seen == []


async def test_redirects_to_another_storage_are_followed(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.put("x", "y", simple())
    other_registry.blobs = registry.blobs
    registry.fault("GET", "/blobs/", redirecting(f"{other_registry.url}{{path}}?X-Sig=a%2Fb%20c"))
    engine = await make_engine(registry, other_registry)
    await told(engine.images.pull(f"{registry.host}/x:y"))
    assert engine.images.get(f"{registry.host}/x:y")
    assert {seen.query for seen in other_registry.seen} == {"X-Sig=a%2Fb%20c"}


async def test_redirects_in_circles_end(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", redirecting("{path}"))
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert "stopped after 10 redirects" in error.message


@pytest.mark.parametrize("location", ["file:///etc/passwd", "//", "http://", "ftp://x/y", "http://[::1"])
async def test_redirects_to_what_is_no_registry_are_refused(
    make_engine: MakeEngine, registry: FakeRegistry, location: str
) -> None:
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", redirecting(location))
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert isinstance(error, Internal)


# -- answers that are none


async def test_a_web_page_is_no_registry(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.fault("GET", "/manifests/", answering(200, b"<html>", Content_Type="text/html"))
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert "web page" in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"not json", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "schema version"),
        (b'{"schemaVersion": 1}', "2015"),
        (b"[" * 100_000, "not JSON"),
    ],
)
async def test_a_broken_manifest_is_refused(
    make_engine: MakeEngine, registry: FakeRegistry, body: bytes, words: str
) -> None:
    registry.put_manifest("x", "y", media.OCI_MANIFEST, body)
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert isinstance(error, InvalidArgument)
    assert words in error.message
    assert engine.is_empty()


async def test_a_huge_manifest_is_refused_before_it_is_read(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    registry.put_manifest("x", "y", media.OCI_MANIFEST, b" " * (5 << 20))
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert "longer than" in error.message


async def test_a_manifest_that_is_not_the_asked_one_is_refused(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image, other = simple("a"), simple("b")
    registry.put("x", "y", other)
    registry.manifests["x", image.digest] = (other.media_type, other.manifest)
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x@{image.digest}")
    assert f"manifest verification failed for digest {image.digest}" in error.message
    registry.fault(
        "GET",
        "/manifests/",
        answering(200, other.manifest, Content_Type=other.media_type, Docker_Content_Digest=image.digest),
    )
    error = await refused(engine, f"{registry.host}/x:y")
    assert "verification failed" in error.message


async def test_an_index_that_names_itself_ends(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    engine = await make_engine(registry)
    entry = {"mediaType": media.OCI_INDEX, "size": 10, "platform": {"os": "linux", "architecture": "amd64"}}
    digests = [f"sha256:{at:064x}" for at in range(6)]
    for at, digest in enumerate(digests):
        body = {"schemaVersion": 2, "mediaType": media.OCI_INDEX}
        following = {**entry, "digest": digests[(at + 1) % 6]}
        registry.manifests["x", digest] = (
            media.OCI_INDEX,
            json.dumps({**body, "manifests": [following]}).encode(),
        )
    registry.manifests["x", "y"] = registry.manifests["x", digests[0]]
    error = await refused(engine, f"{registry.host}/x:y")
    assert "verification failed" in error.message  # a loop of digests cannot be made of true ones
    deep = index(simple())
    registry.put_manifest("x", "deep0", media.OCI_INDEX, deep)
    for _ in range(5):
        body = {"schemaVersion": 2, "mediaType": media.OCI_INDEX}
        deep = json.dumps(
            {**body, "manifests": [{**entry, "digest": sha256(deep), "size": len(deep)}]}
        ).encode()
        registry.put_manifest("x", "deep", media.OCI_INDEX, deep)
    error = await refused(engine, f"{registry.host}/x:deep")
    assert "nested too deeply" in error.message
    assert engine.is_empty()


async def test_an_index_that_lies_about_a_size_is_refused(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = simple()
    registry.put("x", "one", image)
    body = json.loads(index(image))
    body["manifests"][0]["size"] += 1
    registry.put_manifest("x", "y", media.OCI_INDEX, json.dumps(body).encode())
    engine = await make_engine(registry)
    error = await refused(engine, f"{registry.host}/x:y")
    assert "its index says" in error.message


# -- layers that lie


async def test_a_layer_whose_digest_lies_leaves_nothing(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = simple(layers=3)
    registry.put("x", "y", image)
    digest = image.document["layers"][1]["digest"]
    registry.blobs[digest] = registry.blobs[digest][:-1] + b"x"
    engine = await make_engine(registry)
    assert f"verification failed for digest {digest}" in await failed(engine, f"{registry.host}/x:y")
    assert engine.is_empty()


async def test_a_configuration_whose_digest_lies_leaves_nothing(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = simple()
    registry.put("x", "y", image)
    registry.blobs[image.id] = registry.blobs[image.id].replace(b"linux", b"linuz")
    engine = await make_engine(registry)
    assert "verification failed" in await failed(engine, f"{registry.host}/x:y")
    assert engine.is_empty()


@pytest.mark.parametrize("change", [-1, 1, 1_000_000])
async def test_a_layer_whose_length_lies_leaves_nothing(
    make_engine: MakeEngine, registry: FakeRegistry, change: int
) -> None:
    image = simple()
    image.document["layers"][0]["size"] += change
    image.manifest = json.dumps(image.document).encode()
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    assert "bytes" in await failed(engine, f"{registry.host}/x:y")
    assert engine.is_empty()


async def test_a_layer_that_is_not_the_configurations_leaves_nothing(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = Image([Layer(tar(file("a")), blob=gzip.compress(tar(file("b"))))])
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    assert "the image configuration says" in await failed(engine, f"{registry.host}/x:y")
    assert engine.is_empty()


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"\x1f\x8b\x08 nonsense", "gzip"),
        (gzip.compress(tar(file("a", b"x" * 5000)))[:-20], "unexpected end"),
        (gzip.compress(b"no tar at all" * 100), "header is broken"),
        (gzip.compress(tar(file("a", b"x" * 5000))[:3000]), "unexpected end"),
        (b"\x28\xb5\x2f\xfd nonsense", "zstd"),
        (b"plain nonsense" * 100, "header is broken"),
    ],
)
async def test_a_layer_that_cannot_be_unpacked_leaves_nothing(
    make_engine: MakeEngine, registry: FakeRegistry, blob: bytes, words: str
) -> None:
    registry.put("x", "y", Image([Layer(tar(file("good"))), Layer(tar(file("a")), blob=blob)]))
    engine = await make_engine(registry)
    message = await failed(engine, f"{registry.host}/x:y")
    assert message.startswith("failed to register layer: ")
    assert words in message
    assert engine.is_empty()


async def test_a_missing_layer_leaves_nothing(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = simple()
    registry.put("x", "y", image)
    del registry.blobs[image.document["layers"][1]["digest"]]
    engine = await make_engine(registry)
    assert "blob unknown" in await failed(engine, f"{registry.host}/x:y")
    assert not engine.images.list(all=True)


# -- registries that are slow or broken


async def test_a_registry_that_hangs_is_given_up(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", hanging())
    engine = await make_engine(registry, patience=Patience(stall_s=0.2, attempts=2, backoff_s=0.01))
    error = await refused(engine, f"{registry.host}/x:y")
    assert "Client.Timeout exceeded" in error.message


async def test_a_layer_that_stalls_is_asked_for_again_from_there(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 2000)), "plain")])
    registry.put("x", "y", image)
    digest = image.document["layers"][0]["digest"]
    blob = image.blobs[digest]
    registry.fault("GET", digest, sending(blob, pause_after=200_000), times=1)
    engine = await make_engine(registry, patience=Patience(stall_s=0.3, attempts=3, backoff_s=0.01))
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    ranges = [seen.range for seen in registry.seen if digest in seen.path]
    assert ranges == ["", "bytes=200000-"]
    assert any(message.get("status", "").startswith("Retrying in 1 second") for message in messages)


async def test_cut_connections_are_gone_on_with(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 2000)), "plain")])
    registry.put("x", "y", image)
    digest = image.document["layers"][0]["digest"]
    blob = image.blobs[digest]
    for cut in (100_000, 200_000, 300_000, 400_000):
        registry.fault("GET", digest, sending(blob[:cut], declared=len(blob)), times=1)
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    ranges = [seen.range for seen in registry.seen if digest in seen.path]
    assert ranges == ["", "bytes=100000-", "bytes=200000-", "bytes=300000-", "bytes=400000-"]


async def test_a_registry_without_ranges_begins_anew(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 2000)), "plain")])
    registry.put("x", "y", image)
    registry.ranges = False
    digest = image.document["layers"][0]["digest"]
    registry.fault("GET", digest, sending(image.blobs[digest][:150_000], declared=300_000), times=1)
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert (engine.layer(f"{registry.host}/x:y") / "big").stat().st_size == 512_000


async def test_another_range_than_asked_is_refused(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 2000)), "plain")])
    registry.put("x", "y", image)
    digest = image.document["layers"][0]["digest"]
    registry.fault("GET", digest, sending(image.blobs[digest][:150_000], declared=300_000), times=1)
    registry.fault("GET", digest, answering(206, b"x" * 1000, Content_Range="bytes 0-999/512000"))
    engine = await make_engine(registry)
    assert "another range" in await failed(engine, f"{registry.host}/x:y")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_passing_failures_are_tried_again(
    make_engine: MakeEngine, registry: FakeRegistry, status: int
) -> None:
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", answering(status), times=2)
    registry.fault("GET", "/blobs/", answering(status), times=2)
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert registry.count("GET", "/manifests/") == 3


async def test_retry_after_is_waited_for_and_bounded(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", answering(429, Retry_After="1"), times=1)
    engine = await make_engine(registry)
    started = time.monotonic()
    await told(engine.images.pull(f"{registry.host}/x:y"))
    assert time.monotonic() - started >= 1
    registry.heal()

    async def limited(request: Any) -> Any:
        return error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit", {"Retry-After": "3600"})

    registry.put("x", "z", simple("z"))
    registry.fault("GET", "/manifests/", limited)
    found = await refused(engine, f"{registry.host}/x:z")
    assert found.message == "toomanyrequests: You have reached your pull rate limit"
    assert time.monotonic() - started < 600  # not the hour that was asked for


async def kept(engine: Engine, stream: AsyncIterator[dict[str, Any]]) -> None:
    """Follow a pull until a good part of a layer lies on the disk."""
    async for message in stream:
        if message.get("progressDetail", {}).get("current", 0) > 0:
            break
    async with asyncio.timeout(60):
        while sum(path.stat().st_size for path in engine.root.rglob("*.partial")) <= 1_000_000:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_pull_that_is_cancelled_shows_nothing_and_goes_on_where_it_was(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 20000)), "plain"), Layer(tar(file("s")))])
    registry.put("x", "y", image)
    digest = image.document["layers"][0]["digest"]
    registry.fault("GET", digest, sending(image.blobs[digest], pause_after=3_000_000), times=1)
    engine = await make_engine(registry, patience=Patience(stall_s=30))
    stream = engine.images.pull(f"{registry.host}/x:y")
    await kept(engine, stream)
    await stream.aclose()
    assert engine.images.list(all=True) == []
    assert engine.stagings() == []
    assert len([name for name in engine.files() if name.endswith(".partial")]) == 1
    registry.heal()
    await told(engine.images.pull(f"{registry.host}/x:y"))
    ranges = [seen.range for seen in registry.seen if digest in seen.path]
    assert ranges[0] == ""
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) >= 500_000
    assert (engine.layer(f"{registry.host}/x:y", 0) / "big").stat().st_size == 5_120_000
    assert not [name for name in engine.files() if "ingest" in name or "lease" in name]


async def test_prune_gives_up_what_a_cancelled_pull_left(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = Image([Layer(tar(file("big", bytes(range(256)) * 20000)), "plain"), Layer(tar(file("s")))])
    registry.put("x", "y", image)
    digest = image.document["layers"][0]["digest"]
    registry.fault("GET", digest, sending(image.blobs[digest], pause_after=3_000_000))
    engine = await make_engine(registry, patience=Patience(stall_s=30))
    stream = engine.images.pull(f"{registry.host}/x:y")
    await kept(engine, stream)
    await stream.aclose()
    assert not engine.is_empty()
    assert (await engine.images.prune())["SpaceReclaimed"] > 500_000
    assert engine.is_empty()


async def test_kept_bytes_that_are_wrong_do_not_spoil_the_next_pull(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    image = simple()
    registry.put("x", "y", image)
    engine = await make_engine(registry)
    digest = image.document["layers"][0]["digest"].replace(":", "-")
    (engine.root / "images" / "ingest" / f"{digest}.partial").write_bytes(b"x" * 50)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]

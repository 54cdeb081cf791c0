"""Archives: loaded, saved, imported; from and for other tools."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import EngineError, InvalidArgument, NotFound
from runtime.images import make
from runtime.images import manifest as media
from runtime.images.starter import starter_archive
from tests.fakes.image_files import (
    Image,
    Layer,
    directory,
    file,
    hardlink,
    index,
    sha256,
    simple,
    symlink,
    tar,
)
from tests.fakes.registry import FakeRegistry
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told


async def body(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        await asyncio.sleep(0)


async def load(engine: Engine, data: bytes) -> list[str]:
    """What was loaded."""
    messages = await told(engine.images.load(body(data)))
    assert "error" not in messages[-1], messages[-1]
    return [message["stream"].strip() for message in messages if "stream" in message]


async def refused(engine: Engine, data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        await told(engine.images.load(body(data)))
    return caught.value.message


def docker_archive(*images: tuple[Image, list[str]], last: bool = True) -> bytes:
    """As `docker save` of the years before OCI wrote it."""
    members: list[Any] = []
    listed = []
    for image, names in images:
        layers = []
        for layer in image.layers:
            name = f"{layer.diff_id[7:]}/layer.tar"
            layers.append(name)
            members += [directory(layer.diff_id[7:]), file(name, layer.archive)]
        config = f"{image.id[7:]}.json"
        members.append(file(config, image.blobs[image.id]))
        listed.append({"Config": config, "RepoTags": names, "Layers": layers})
    document = file("manifest.json", json.dumps(listed).encode())
    members = [*members, document] if last else [document, *members]
    return tar(*members)


def oci_archive(image: Image, name: str | None, **changes: bytes) -> bytes:
    blobs = {**image.blobs, image.digest: image.manifest}
    entry: dict[str, Any] = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
    }
    if name:
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    top = {"schemaVersion": 2, "manifests": [entry]}
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(top).encode(),
        **{f"blobs/sha256/{digest[7:]}": blob for digest, blob in blobs.items()},
        **changes,
    }
    return tar(*[file(name, data) for name, data in files.items()])


async def test_the_starter_images_are_loaded(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    events = engine.events.subscribe()
    assert await load(engine, b"".join(starter_archive())) == [
        "Loaded image: webdock/hello:latest",
        "Loaded image: webdock/busybox:latest",
    ]
    assert engine.images.get("webdock/busybox").config["config"]["Cmd"] == ["sh"]
    assert (engine.layer("webdock/busybox") / "bin/busybox").stat().st_mode & 0o111
    done = subprocess.run([engine.layer("webdock/hello") / "hello"], capture_output=True, check=True)
    assert b"Hello from webdock!" in done.stdout
    assert [event["Action"] for event in events.pending()] == ["load", "load"]
    events.close()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
async def test_archives_of_older_dockers_are_loaded(make_engine: MakeEngine, last: bool, pack: Any) -> None:
    engine = await make_engine()
    one, two = simple("one"), simple("two")
    archive = docker_archive((one, ["a:1", "host:5/b:2"]), (two, []), last=last)
    assert await load(engine, pack(archive)) == [
        "Loaded image: a:1",
        "Loaded image: host:5/b:2",
        f"Loaded image ID: {two.id}",
    ]
    assert engine.images.get("a:1").id == one.id
    assert engine.images.get(two.id).tags == []
    assert (engine.layer("a:1", 0) / "etc/part0").exists()


async def test_equal_layers_that_are_links_in_the_archive_are_found(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    layer = Layer(tar(file("same")))
    image = Image([layer, layer])
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}]
    archive = tar(
        file("x/layer.tar", layer.archive),
        symlink("y/layer.tar", "../x/layer.tar"),
        file("c.json", image.blobs[image.id]),
        hardlink("manifest.json", "m"),
        file("m", json.dumps(listed).encode()),
    )
    assert await load(engine, archive) == ["Loaded image: a:1"]


@pytest.mark.parametrize(
    ("name", "said"), [("team/app:v1", "Loaded image: team/app:v1"), ("latest", None), (None, None)]
)
async def test_oci_archives_are_loaded_and_keep_their_manifests(
    make_engine: MakeEngine, name: str | None, said: str | None
) -> None:
    engine = await make_engine()
    image = simple(packing="zstd")
    assert await load(engine, oci_archive(image, name)) == [said or f"Loaded image ID: {image.id}"]
    assert engine.images.get(image.id).manifest.digest == image.digest


async def test_an_index_inside_chooses_this_machine(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    ours, other = simple("ours"), Image([Layer(tar())], architecture="s390x")
    inner = index(other, ours)
    top = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": media.OCI_INDEX, "digest": sha256(inner), "size": len(inner)}],
    }
    blobs = {**ours.blobs, ours.digest: ours.manifest, sha256(inner): inner}
    files = [file(f"blobs/sha256/{digest[7:]}", blob) for digest, blob in blobs.items()]
    assert await load(engine, tar(file("index.json", json.dumps(top).encode()), *files)) == [
        f"Loaded image ID: {ours.id}"
    ]


async def test_skopeo_and_podman_archives_are_loaded(make_engine: MakeEngine, place: Path) -> None:
    engine = await make_engine()
    (place / "source.tar").write_bytes(oci_archive(simple("other tools"), "x:1"))
    for kind in ("oci-archive", "docker-archive"):
        target = place / f"{kind}.tar"
        subprocess.run(
            ["skopeo", "copy", "-q", f"oci-archive:{place}/source.tar", f"{kind}:{target}:other/tools:v1"],
            check=True,
        )
        assert await load(engine, target.read_bytes()) == ["Loaded image: other/tools:v1"]


async def test_what_was_saved_is_loaded_again_the_same(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    registry.put("a", "1", simple("one", layers=3))
    registry.put("a", "2", simple("two", packing="zstd"))
    engine = await make_engine(registry)
    name = f"{registry.host}/a"
    await told(engine.images.pull(name))
    saved = b"".join([piece async for piece in engine.images.save([name, f"{name}:2"])])
    other = await make_engine(root=engine.root / "other")
    assert await load(other, saved) == [f"Loaded image: {name}:1", f"Loaded image: {name}:2"]
    for tag in ("1", "2"):
        ours, theirs = engine.images.get(f"{name}:{tag}"), other.images.get(f"{name}:{tag}")
        assert (ours.id, ours.manifest, ours.chain) == (theirs.id, theirs.manifest, theirs.chain)


async def test_what_was_saved_is_read_by_other_tools(
    make_engine: MakeEngine, registry: FakeRegistry, place: Path
) -> None:
    image = simple("for others")
    registry.put("a", "1", image)
    engine = await make_engine(registry)
    name = f"{registry.host}/a:1"
    await told(engine.images.pull(name))
    by_id = b"".join([piece async for piece in engine.images.save([image.id[7:19]])])
    (place / "s.tar").write_bytes(b"".join([piece async for piece in engine.images.save([name])]))
    with tarfile.open(fileobj=io.BytesIO(by_id)) as archive:
        assert "repositories" not in archive.getnames()
    listed = subprocess.run(
        ["skopeo", "list-tags", f"docker-archive:{place}/s.tar"], capture_output=True, check=True
    )
    assert json.loads(listed.stdout)["Tags"] == [name]
    subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{place}/s.tar", f"dir:{place}/d"], check=True)


async def test_saving_what_is_not_there_is_told_at_once(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        engine.images.save(["nope"])


# -- archives that are none


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither a manifest.json nor an index.json"),
        (b"nonsense" * 100, "cannot be read"),
        (b"\x1f\x8b\x08nonsense", "cannot be read"),
        (tar(file("x", b"y")), "neither a manifest.json"),
        (tar(file("manifest.json", b"{}")), "not a list"),
        (tar(file("manifest.json", b"[1]")), "not a list"),
        (tar(file("manifest.json", b"[]")), "no image"),
        (tar(file("manifest.json", b'[{"Config": 5}]')), "broken"),
        (tar(file("manifest.json", b'[{"Config": "c", "Layers": []}]')), "lacks the configuration"),
        (tar(file("index.json", b'{"schemaVersion": 2, "manifests": []}')), "no image"),
        (tar(file("../x", b"y")), "outside of the layer"),
        (tar(file("manifest.json", b"x" * (5 << 20))), "longer than"),
    ],
)
async def test_what_is_no_archive_is_refused_and_leaves_nothing(
    make_engine: MakeEngine, data: bytes, words: str
) -> None:
    engine = await make_engine()
    assert words in await refused(engine, data)
    assert engine.is_empty()


async def test_an_archive_that_is_cut_short_leaves_nothing(make_engine: MakeEngine) -> None:
    archive = docker_archive((simple(), ["a:1"]))
    for cut in (600, len(archive) // 2, len(archive) - 12_000):
        engine = await make_engine()
        await refused(engine, archive[:cut])
        assert engine.is_empty()


async def test_an_archive_whose_layer_lies_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    image = simple()
    image.layers[0].archive = tar(file("another"))
    assert "the image configuration says" in await refused(engine, docker_archive((image, ["a:1"])))
    assert engine.is_empty()


async def test_an_archive_with_a_damaged_blob_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    image = simple()
    layer = image.document["layers"][0]["digest"]
    archive = oci_archive(image, "a:1", **{f"blobs/sha256/{layer[7:]}": b"damaged"})
    assert f"lacks the blob {layer}" in await refused(engine, archive)
    assert engine.is_empty()


async def test_names_that_cannot_be_are_refused(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    assert "is no name" in await refused(engine, docker_archive((simple(), ["../x"])))
    assert engine.is_empty()


async def test_a_client_that_goes_away_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    archive = docker_archive((simple(), ["a:1"]))

    async def endless() -> AsyncIterator[bytes]:
        yield archive[:3000]
        await asyncio.sleep(3600)

    task = asyncio.create_task(told(engine.images.load(endless())))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.is_empty()


# -- import


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
async def test_a_root_file_system_becomes_an_image(make_engine: MakeEngine, pack: Any) -> None:
    engine = await make_engine()
    archive = tar(directory("bin"), file("bin/x", b"program", mode=0o755))
    messages = await told(
        engine.images.import_(
            body(pack(archive)),
            repo="imported/root",
            tag="v1",
            message="from a test",
            changes=['CMD ["/bin/x"]', "ENV A=b"],
            platform="linux/arm64",
        )
    )
    record = engine.images.get("imported/root:v1")
    assert messages == [{"status": record.id}]
    assert record.config["config"] == {"Cmd": ["/bin/x"], "Env": ["A=b"]}
    assert record.config["architecture"] == "arm64"
    assert record.diff_ids == (sha256(archive),)
    assert (engine.layer(record.id) / "bin/x").read_bytes() == b"program"
    [row] = engine.images.history(record.id)
    assert (row["Comment"], row["Size"]) == ("from a test", 7)
    assert subprocess.run(
        ["skopeo", "inspect", f"oci:{engine.root}/images:imported/root:v1"], capture_output=True, check=True
    )


async def test_an_import_that_fails_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    for data in (b"nonsense" * 100, tar(file("../x")), gzip.compress(tar(file("a", b"x" * 5000)))[:-30]):
        with pytest.raises(InvalidArgument):
            await told(engine.images.import_(body(data), repo="x"))
    with pytest.raises(InvalidArgument, match="not a valid change"):
        await told(engine.images.import_(body(tar()), repo="x", changes=["FROM y"]))
    with pytest.raises(InvalidArgument, match="must be lowercase"):
        engine.images.import_(body(tar()), repo="X")
    assert engine.is_empty()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
async def test_an_import_is_unpacked_while_it_comes(make_engine: MakeEngine, pack: Any) -> None:
    engine = await make_engine()
    noise = [(f"f{at}", os.urandom(3 << 20)) for at in range(3)]
    archive = pack(tar(*(file(name, data) for name, data in noise)))

    async def slow() -> AsyncIterator[bytes]:
        for at in range(0, len(archive) - 100, 1 << 17):
            yield archive[at : min(at + (1 << 17), len(archive) - 100)]
        async with asyncio.timeout(30):
            while not list((engine.root / "snapshots/staging").glob("*/diff/f0")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield archive[-100:]

    await told(engine.images.import_(slow(), repo="x"))
    for name, data in noise:
        assert (engine.layer("x") / name).read_bytes() == data


async def test_who_sends_a_broken_archive_is_heard_out(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    sent = 0

    async def whole() -> AsyncIterator[bytes]:
        nonlocal sent
        yield tar(file("../x"))[:512]
        for _ in range(40):
            yield bytes(1 << 18)
            sent += 1

    with pytest.raises(InvalidArgument, match="outside of the layer"):
        await told(engine.images.import_(whole(), repo="x"))
    assert sent == 40
    assert engine.is_empty()


async def test_an_import_whose_client_goes_away_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    asked = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield tar(file("a", bytes(5 << 20)))[: 4 << 20]
        asked.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(told(engine.images.import_(endless(), repo="x")))
    await asyncio.wait_for(asked.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.is_empty()


async def test_a_compressed_import_may_become_as_large_as_its_size_allows(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await make_engine()
    monkeypatch.setattr(make, "UNPACKED_FLOOR_BYTES", 1000)
    await told(engine.images.import_(body(gzip.compress(tar(file("a", bytes(5000))))), repo="x"))
    assert (engine.layer("x") / "a").stat().st_size == 5000

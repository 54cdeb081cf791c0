from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.images import reference as references
from runtime.images.content import ContentStore, Descriptor, digest_of
from runtime.images.leases import Leases
from runtime.images.manifest import Manifest, parse_config, parse_document
from runtime.images.reference import Digest, ImageId, Reference
from runtime.images.store import Change, ImageRecord, ImageStore, make_record, names_without
from tests.fakes.image_files import Image, simple


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path)
    store.prepare()
    return store


@pytest.fixture
def store(content: ContentStore) -> ImageStore:
    return opened(content)


def opened(content: ContentStore) -> ImageStore:
    store = ImageStore(content.root, content)
    assert store.load() == []
    return store


def record(content: ContentStore, image: Image, *names: str) -> ImageRecord:
    for blob in (*image.blobs.values(), image.manifest):
        content.write(blob)
    document = parse_document(image.manifest, image.media_type)
    assert isinstance(document, Manifest)
    described = Descriptor(image.media_type, digest_of(image.manifest), len(image.manifest))
    made = make_record(
        ImageId(image.id), parse_config(image.blobs[image.id]), described, document, 5, time.time()
    )
    parsed = [references.parse(name).with_default_tag() for name in names]
    return replace(
        made,
        names=tuple(name for name in parsed if not name.digest),
        sources=tuple(name for name in parsed if name.digest),
    )


async def put(store: ImageStore, *records: ImageRecord) -> None:
    await store.change(lambda: Change(records))


async def test_records_are_there_again_after_a_restart(content: ContentStore, store: ImageStore) -> None:
    digest = "sha256:" + "d" * 64
    one = record(content, simple("a"), "a", "host:5/b:v1", f"a@{digest}")
    await put(store, one, record(content, simple("b")))
    again = opened(content)
    assert len(again) == 2
    found = again.get("a")
    assert found == again.get("host:5/b:v1") == again.get(f"a@{digest}")
    assert (found.tags, found.digests) == (["a:latest", "host:5/b:v1"], [f"a@{digest}"])
    assert found.config == one.config
    assert found.chain == one.chain
    assert found.blobs == one.blobs


async def test_a_name_moves_from_one_image_to_another_at_once(
    content: ContentStore, store: ImageStore
) -> None:
    await put(store, record(content, simple("a"), "x", "y"))
    await put(store, record(content, simple("b"), "x"))
    for seen in (store, opened(content)):
        assert seen.get("x").id == simple("b").id
        assert seen.get("y").id == simple("a").id
        assert seen.get(simple("a").id).tags == ["y:latest"]


async def test_get_finds_by_every_spelling(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "webdock/hello"))
    id = simple("a").id
    for ref in (
        "webdock/hello",
        "webdock/hello:latest",
        "docker.io/webdock/hello",
        id,
        id[7:],
        id[7:19],
        id[:15],
        id[7:8],
    ):
        assert store.get(ref).id == id


async def test_a_name_wins_over_the_beginning_of_an_id(content: ContentStore, store: ImageStore) -> None:
    other = simple("b").id[7:15]
    await put(store, record(content, simple("a"), other), record(content, simple("b")))
    assert store.get(other).id == simple("a").id


async def test_an_ambiguous_beginning_lists_the_candidates(content: ContentStore, store: ImageStore) -> None:
    images: dict[str, list[Image]] = {}
    number = 0
    while not any(len(same) == 2 for same in images.values()):
        image = simple(str(number), layers=1)
        number += 1
        images.setdefault(image.id[7], []).append(image)
    [first, second] = next(same for same in images.values() if len(same) == 2)
    await put(store, record(content, first, "first"), record(content, second))
    with pytest.raises(InvalidArgument) as caught:
        store.get(first.id[7])
    for part in (first.id[7:19], second.id[7:19], "first:latest", "<none>", "ambiguous"):
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("nope", "No such image: nope:latest"),
        ("nope:1", "No such image: nope:1"),
        ("h.example/a/b", "No such image: h.example/a/b:latest"),
        ("sha256:" + "0" * 64, "No such image: sha256:" + "0" * 64),
        ("0" * 64, "No such image: " + "0" * 64),
        ("0123", "No such image: 0123:latest"),
    ],
)
def test_what_is_not_there_is_named_as_docker_does(store: ImageStore, ref: str, words: str) -> None:
    with pytest.raises(NotFound) as caught:
        store.get(ref)
    assert caught.value.message == words


@pytest.mark.parametrize("ref", ["", "A", "a b", "../x"])
def test_what_cannot_be_a_reference_is_an_invalid_argument(store: ImageStore, ref: str) -> None:
    with pytest.raises(InvalidArgument):
        store.get(ref)


async def test_the_index_is_an_oci_index_of_names(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "a", "host:5/b:v1"), record(content, simple("b")))
    index = json.loads((content.root / "index.json").read_text())
    names = [entry["annotations"].get("org.opencontainers.image.ref.name") for entry in index["manifests"]]
    assert set(names) == {"a:latest", "host:5/b:v1", None}
    assert index["schemaVersion"] == 2
    assert all(entry["platform"]["os"] == "linux" for entry in index["manifests"])


async def test_an_image_that_is_not_in_the_index_is_none(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "a"))
    (content.root / "index.json").write_text('{"manifests": []}')
    again = opened(content)
    assert len(again) == 0
    assert list((content.root / "records").iterdir()) == []


async def test_a_broken_record_is_told_and_the_others_live(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "a"), record(content, simple("b"), "b"))
    content.path(Digest(simple("a").id)).write_bytes(b"{}")
    again = ImageStore(content.root, content)
    [complaint] = again.load()
    assert "a:latest" in complaint
    assert again.get("b")


async def test_a_plan_that_fails_changes_nothing(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "a"))
    before = (content.root / "index.json").read_bytes()

    def plan() -> Change:
        raise NotFound("x")

    with pytest.raises(NotFound):
        await store.change(plan)
    assert (content.root / "index.json").read_bytes() == before


async def test_a_removed_image_leaves_no_record(content: ContentStore, store: ImageStore) -> None:
    await put(store, record(content, simple("a"), "a"))
    await store.change(lambda: Change(removed=[ImageId(simple("a").id)]))
    assert len(store) == len(opened(content)) == 0


def test_digests_go_with_the_last_tag_of_their_repository(content: ContentStore) -> None:
    digest = "sha256:" + "d" * 64
    image = record(content, simple(), "a:1", "a:2", "b:1", f"a@{digest}", f"b@{digest}")

    def names(image: ImageRecord) -> list[str]:
        return image.tags + image.digests

    left = names_without(image, references.parse("a:1"))
    assert names(left) == ["a:2", "b:1", f"a@{digest}", f"b@{digest}"]
    left = names_without(left, references.parse("a:2"))
    assert names(left) == ["b:1", f"b@{digest}"]
    assert names(names_without(left, references.parse(f"b@{digest}"))) == ["b:1"]


def test_leases_last_while_they_are_held_and_until_they_run_out(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.load()
    blob = Digest("sha256:" + "1" * 64)
    lease = leases.take("k", [blob], ["layer"], time.time() + 60)
    leases.expire(time.time() + 1000)
    assert leases.held() == ({blob}, {"layer"})
    leases.leave(lease, keep=True)
    again = Leases(tmp_path)
    again.load()
    assert again.held() == ({blob}, {"layer"})
    again.expire(time.time() + 1000)
    assert again.held() == (set(), set())
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_lease_two_operations_hold_goes_with_the_second(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.load()
    first = leases.take("k", [Digest("sha256:" + "1" * 64)], [], 0)
    second = leases.take("k", [Digest("sha256:" + "2" * 64)], [], 0)
    leases.leave(first, keep=False)
    assert len(leases.held()[0]) == 2
    leases.leave(second, keep=False)
    assert leases.held() == (set(), set())


def test_names_are_references(content: ContentStore) -> None:
    assert all(isinstance(name, Reference) for name in record(content, simple(), "a").names)

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.images import manifest as media
from runtime.images.content import Descriptor
from runtime.images.manifest import (
    Index,
    Manifest,
    chain_ids,
    make_manifest,
    parse_config,
    parse_document,
)
from runtime.images.platform import Platform
from runtime.images.reference import Digest
from tests.fakes.image_files import Image, Layer, index, simple, tar


def changed(image: Image, **keys: Any) -> bytes:
    return json.dumps({**image.document, **keys}).encode()


@pytest.mark.parametrize("docker", [True, False])
def test_a_manifest_names_its_configuration_and_layers(docker: bool) -> None:
    image = simple(docker=docker)
    found = parse_document(image.manifest, image.media_type)
    assert isinstance(found, Manifest)
    assert found.config.digest == image.id
    assert [layer.digest for layer in found.layers] == [layer["digest"] for layer in image.document["layers"]]


def test_the_media_type_may_stand_only_inside() -> None:
    image = simple()
    for told in ("", "text/plain", "application/json; charset=utf-8"):
        assert isinstance(parse_document(image.manifest, told), Manifest)
    bare = changed(image, mediaType=None)
    assert isinstance(parse_document(bare, ""), Manifest)


def test_an_index_chooses_the_machine_and_passes_over_what_is_no_image() -> None:
    amd, arm = simple("a"), Image([Layer(tar())], architecture="arm64")
    body = json.loads(index(amd, arm))
    body["manifests"].insert(
        0,
        {
            "mediaType": media.OCI_MANIFEST,
            "digest": "sha256:" + "1" * 64,
            "size": 5,
            "platform": {"os": "unknown", "architecture": "unknown"},
        },
    )
    body["manifests"].insert(0, {"mediaType": "application/x", "digest": "sha256:" + "2" * 64, "size": 5})
    found = parse_document(json.dumps(body).encode(), media.OCI_INDEX)
    assert isinstance(found, Index)
    assert found.choose(Platform("linux", "arm64")).digest == arm.digest  # type: ignore[union-attr]
    assert found.choose(Platform("linux", "s390x")) is None
    assert len(found.entries) == 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"schemaVersion": 1}, "2015"),
        ({"schemaVersion": 3}, "schema version 3"),
        ({"config": None}, "no configuration"),
        ({"layers": {}}, "broken list of layers"),
        ({"layers": [1]}, "broken list of layers"),
        ({"layers": [{"digest": "sha256:" + "1" * 64, "size": -1, "mediaType": media.OCI_LAYER}]}, "size"),
        (
            {"layers": [{"digest": "sha256:" + "1" * 64, "size": 1 << 60, "mediaType": media.OCI_LAYER}]},
            "size",
        ),
        ({"layers": [{"digest": "sha256:" + "1" * 64, "size": True, "mediaType": media.OCI_LAYER}]}, "size"),
        ({"layers": [{"digest": "../../etc/passwd", "size": 1, "mediaType": media.OCI_LAYER}]}, "digest"),
        ({"layers": [{"digest": 5, "size": 1, "mediaType": media.OCI_LAYER}]}, "descriptor"),
        ({"manifests": []}, "also claims to be an index"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_document(changed(simple(), **keys), media.OCI_MANIFEST)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    ],
)
def test_foreign_layers_are_refused_by_name(media_type: str) -> None:
    with pytest.raises(InvalidArgument, match=media_type.replace("+", r"\+").replace(".", r"\.")):
        parse_document(Image([Layer(tar(), media_type=media_type)]).manifest, media.OCI_MANIFEST)


def test_what_is_no_container_image_is_refused_by_name() -> None:
    image = simple()
    config = {**image.document["config"], "mediaType": "application/vnd.cncf.helm.config.v1+json"}
    with pytest.raises(InvalidArgument, match="helm"):
        parse_document(changed(image, config=config), media.OCI_MANIFEST)


def test_an_index_that_also_is_a_manifest_is_refused() -> None:
    body = {**json.loads(index(simple())), "layers": []}
    with pytest.raises(InvalidArgument, match="also claims"):
        parse_document(json.dumps(body).encode(), media.OCI_INDEX)


def test_documents_are_bounded() -> None:
    with pytest.raises(InvalidArgument, match="bytes long"):
        parse_document(b" " * (media.MANIFEST_MAX_BYTES + 1), media.OCI_MANIFEST)
    with pytest.raises(InvalidArgument, match="not JSON"):
        parse_document(b"[" * 1_000_000, media.OCI_MANIFEST)
    layer = {"digest": "sha256:" + "1" * 64, "size": 1, "mediaType": media.OCI_LAYER}
    with pytest.raises(InvalidArgument, match="more than"):
        parse_document(changed(simple(), layers=[layer] * 501), media.OCI_MANIFEST)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["schemaVersion", "config", "layers", "manifests", "mediaType", "digest", "size"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["", media.OCI_INDEX, media.OCI_MANIFEST, media.DOCKER_MANIFEST]),
)
def test_any_document_is_read_or_refused(body: Any, media_type: str) -> None:
    for data in (
        json.dumps(body),
        json.dumps({"schemaVersion": 2, **(body if isinstance(body, dict) else {})}),
    ):
        try:
            parse_document(data.encode(), media_type)
        except InvalidArgument:
            pass
        try:
            parse_config(data.encode())
        except InvalidArgument:
            pass


def test_a_configuration_must_fit_its_manifest() -> None:
    image = simple(layers=2)
    data = image.blobs[image.id]
    assert len(parse_config(data, 2).diff_ids) == 2
    with pytest.raises(InvalidArgument, match="has 2 layers, its manifest 3"):
        parse_config(data, 3)


@pytest.mark.parametrize(
    "keys",
    [
        {"rootfs": None},
        {"rootfs": {"type": "other"}},
        {"rootfs": {"type": "layers", "diff_ids": ["x"]}},
        {"rootfs": {"type": "layers", "diff_ids": "x"}},
        {"config": [1]},
        {"history": [1]},
        {"os": 5},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(keys: dict[str, Any]) -> None:
    image = simple()
    body = {**json.loads(image.blobs[image.id]), **keys}
    with pytest.raises(InvalidArgument):
        parse_config(json.dumps(body).encode())


def test_chain_ids_follow_the_specification() -> None:
    first, second = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)
    both = hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert chain_ids([first, second]) == [first, f"sha256:{both}"]
    assert chain_ids([]) == []


def test_the_same_image_gives_the_same_manifest() -> None:
    config = Descriptor(media.OCI_CONFIG, Digest("sha256:" + "a" * 64), 3)
    layers = [Descriptor(media.OCI_LAYER, Digest("sha256:" + "b" * 64), 4)]
    made = make_manifest(config, layers)
    assert made == make_manifest(config, layers)
    assert parse_document(made, "") == Manifest(media.OCI_MANIFEST, config, tuple(layers))

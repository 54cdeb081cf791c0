"""Manifests, indexes and image configurations: reading what registries and archives say; pure.

Owns the media types and what must be true of each document. Everything here came from outside and is
believed only as far as it was checked.

Spec: OCI image 1.1, manifest.md, image-index.md, config.md; Docker image manifest V2, schema 2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.images import platform as platforms
from runtime.images.content import Descriptor
from runtime.images.platform import Platform
from runtime.images.reference import Digest, check_digest

MANIFEST_MAX_BYTES = 4 << 20
CONFIG_MAX_BYTES = 8 << 20
LAYERS_MAX = 500
ENTRIES_MAX = 1000  # of an index
SIZE_MAX = 1 << 44  # of one blob

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"

INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
ACCEPT = (DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX)
_CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))
_LAYERS = frozenset(
    (
        OCI_LAYER,
        OCI_LAYER + "+gzip",
        OCI_LAYER + "+zstd",
        DOCKER_LAYER,
        DOCKER_LAYER + ".gzip",
        DOCKER_LAYER + ".zstd",
    )
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Images of several platforms under one name."""

    media_type: str
    entries: tuple[tuple[Descriptor, Platform | None], ...]

    def choose(self, wanted: Platform) -> Descriptor | None:
        """The manifest for ``wanted``; None when the index has none."""
        found = platforms.choose(wanted, [platform for _, platform in self.entries])
        return None if found is None else self.entries[found][0]


@dataclass(frozen=True, slots=True)
class Config:
    """What of an image configuration the engine relies on; ``body`` is all of it."""

    body: dict[str, Any]
    diff_ids: tuple[Digest, ...]
    platform: Platform


def parse_document(data: bytes, media_type: str) -> Manifest | Index:
    """What a registry answered for a reference; ``media_type`` is what it called it.

    Raises: InvalidArgument.
    """
    body = parse_object(data, "manifest", MANIFEST_MAX_BYTES)
    media_type = media_type.partition(";")[0].strip().lower()
    inside = body.get("mediaType")
    if media_type not in INDEXES | MANIFESTS:
        media_type = inside if isinstance(inside, str) else media_type
    if media_type.startswith(SCHEMA1) or body.get("schemaVersion") == 1:
        raise InvalidArgument(
            "the registry offers this image only in the format of 2015 (manifest schema 1), "
            "which is no longer supported; push it again with a current tool"
        )
    if body.get("schemaVersion") != 2:
        raise InvalidArgument(f"the manifest has schema version {body.get('schemaVersion')!r}, expected 2")
    # A document that could be read as both is a trick (CVE-2021-41190): the name of the type decides,
    # and the other reading must be impossible.
    if media_type in INDEXES:
        if "config" in body or "layers" in body:
            raise InvalidArgument("the index also claims to be a manifest")
        return _index(body, media_type)
    if media_type in MANIFESTS or (not media_type and "config" in body):
        if "manifests" in body:
            raise InvalidArgument("the manifest also claims to be an index")
        return _manifest(body, media_type or OCI_MANIFEST)
    if not media_type and "manifests" in body:
        return _index(body, OCI_INDEX)
    raise InvalidArgument(f"unsupported manifest media type {media_type[:128]!r}")


def _index(body: dict[str, Any], media_type: str) -> Index:
    entries = []
    for entry in _list(body, "manifests", ENTRIES_MAX):
        descriptor = _descriptor(entry, "entry of the index")
        if descriptor.media_type and descriptor.media_type not in INDEXES | MANIFESTS:
            continue  # other artefacts may stand beside images
        platform = entry.get("platform")
        if platform is not None and not isinstance(platform, dict):
            raise InvalidArgument("the index names a platform that is no object")
        named = platforms.of_json(platform) if platform else None
        if named is not None and named.os == "unknown":
            continue  # attestations, not images
        entries.append((descriptor, named))
    return Index(media_type, tuple(entries))


def _manifest(body: dict[str, Any], media_type: str) -> Manifest:
    config = body.get("config")
    if not isinstance(config, dict):
        raise InvalidArgument("the manifest names no configuration")
    described = _descriptor(config, "configuration")
    if described.media_type not in _CONFIGS:
        raise InvalidArgument(
            f"unsupported media type {described.media_type[:128]!r}: this is not a container image"
        )
    if described.size > CONFIG_MAX_BYTES:
        raise InvalidArgument(f"the image configuration is {described.size} bytes long, too long")
    layers = []
    for layer in _list(body, "layers", LAYERS_MAX):
        descriptor = _descriptor(layer, "layer")
        if descriptor.media_type not in _LAYERS:
            what = "foreign layers are" if _is_foreign(descriptor.media_type) else "this kind of layer is"
            raise InvalidArgument(
                f"unsupported media type {descriptor.media_type[:128]!r} of layer {descriptor.digest}: "
                f"{what} not supported"
            )
        layers.append(descriptor)
    return Manifest(media_type, described, tuple(layers))


def _is_foreign(media_type: str) -> bool:
    return "foreign" in media_type or "nondistributable" in media_type


def parse_config(data: bytes, layers: int | None = None) -> Config:
    """An image configuration; ``layers`` is how many the manifest has.

    Raises: InvalidArgument.
    """
    body = parse_object(data, "image configuration", CONFIG_MAX_BYTES)
    rootfs = body.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type", "layers") != "layers":
        raise InvalidArgument("the image configuration has no rootfs of layers")
    diff_ids = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list) or len(diff_ids) > LAYERS_MAX:
        raise InvalidArgument("the image configuration has a broken list of layers")
    checked = tuple(check_digest(value if isinstance(value, str) else "") for value in diff_ids)
    if any(not digest.startswith("sha256:") for digest in checked):
        raise InvalidArgument("the image configuration names layers by other digests than sha256")
    if layers is not None and layers != len(checked):
        raise InvalidArgument(f"the image configuration has {len(checked)} layers, its manifest {layers}")
    for key in ("config", "container_config"):
        if not isinstance(body.get(key) or {}, dict):
            raise InvalidArgument(f"the image configuration has a broken {key!r}")
    history = body.get("history") or []
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise InvalidArgument("the image configuration has a broken history")
    if not all(isinstance(body.get(key, ""), str) for key in ("os", "architecture", "created", "variant")):
        raise InvalidArgument("the image configuration has a broken os, architecture, variant or created")
    return Config(body, checked, platforms.of_json(body))


def parse_object(data: bytes, what: str, bytes_max: int) -> dict[str, Any]:
    """A JSON object from outside. Raises: InvalidArgument."""
    if len(data) > bytes_max:
        raise InvalidArgument(f"the {what} is {len(data)} bytes long, more than {bytes_max}")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidArgument(f"the {what} is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidArgument(f"the {what} is not a JSON object")
    return body


def chain_id(parent: str | None, diff_id: Digest) -> str:
    """The name of a layer with everything below it.

    Spec: OCI image 1.1, config.md "Layer ChainID".
    """
    if parent is None:
        return diff_id
    return f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}"


def chain_ids(diff_ids: Sequence[Digest]) -> list[str]:
    """The chain ids of an image's layers, lowest first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(chain_id(chain[-1] if chain else None, diff_id))
    return chain


def make_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """An OCI manifest; the same input gives the same bytes."""
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _list(body: dict[str, Any], key: str, length_max: int) -> list[dict[str, Any]]:
    values = body.get(key)
    if values is None:
        values = []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InvalidArgument(f"the manifest has a broken list of {key}")
    if len(values) > length_max:
        raise InvalidArgument(f"the manifest has {len(values)} {key}, more than {length_max}")
    return values


def _descriptor(body: dict[str, Any], what: str) -> Descriptor:
    size, media_type, digest = body.get("size"), body.get("mediaType", ""), body.get("digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= SIZE_MAX:
        raise InvalidArgument(f"the {what} has the size {str(size)[:32]}")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise InvalidArgument(f"the {what} has a broken descriptor")
    return Descriptor(media_type, check_digest(digest), size)

"""Archives of images as ``save`` writes them: an OCI image layout that old Dockers read, too; pure.

    oci-layout  index.json  manifest.json  repositories  blobs/sha256/<hex> …

Spec: OCI image 1.1, image-layout.md; Docker's image tarball, manifest.json and repositories.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.images.content import LAYOUT_VERSION, Descriptor
from runtime.images.manifest import OCI_INDEX
from runtime.images.reference import Digest, Reference

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Saved:
    """One image of an archive."""

    manifest: Descriptor
    config: Digest
    layers: tuple[Digest, ...]
    names: tuple[Reference, ...]


def documents(images: Sequence[Saved]) -> list[tuple[str, bytes]]:
    """The files of the archive that are not blobs."""
    entries: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for image in images:
        for name in image.names or (None,):
            entry = image.manifest.to_json()
            if name is not None:
                entry["annotations"] = {CONTAINERD_NAME: str(name), REF_NAME: name.tag or ""}
                repositories.setdefault(name.familiar_name, {})[name.tag or ""] = image.config.partition(":")[
                    2
                ]
            entries.append(entry)
        listed.append(
            {
                "Config": blob_name(image.config),
                "RepoTags": [name.familiar for name in image.names] or None,
                "Layers": [blob_name(layer) for layer in image.layers],
            }
        )
    found = [
        ("oci-layout", _json({"imageLayoutVersion": LAYOUT_VERSION})),
        ("index.json", _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})),
        ("manifest.json", _json(listed)),
    ]
    if repositories:
        found.append(("repositories", _json(repositories)))
    return found


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

"""Images made in memory, for registries and archives of tests: layers, configurations, manifests, indexes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

import zstandard

from runtime.images import manifest as media
from runtime.images.platform import host


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(*members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of these members; a plain TarInfo has no data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_600_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def file(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, **fields), data


def directory(name: str, **fields: Any) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, linkname=target)


@dataclass
class Layer:
    """One layer: its archive, and how it travels."""

    archive: bytes
    packing: str = "gzip"  # "gzip", "zstd" or "plain"
    docker: bool = False  # Docker's media types instead of OCI's
    media_type: str = ""
    blob: bytes = b""

    def __post_init__(self) -> None:
        if not self.blob:
            self.blob = pack(self.archive, self.packing)
        if not self.media_type:
            suffix = {"plain": "", "gzip": "gzip", "zstd": "zstd"}[self.packing]
            base, sign = (media.DOCKER_LAYER, ".") if self.docker else (media.OCI_LAYER, "+")
            self.media_type = base + (sign + suffix if suffix else "")

    @property
    def diff_id(self) -> str:
        return sha256(self.archive)


def pack(archive: bytes, packing: str) -> bytes:
    if packing == "gzip":
        return gzip.compress(archive, 1, mtime=0)
    if packing == "zstd":
        return zstandard.compress(archive, 1)
    return archive


@dataclass
class Image:
    """One image for one platform."""

    layers: list[Layer]
    config: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""
    variant: str = ""
    docker: bool = False
    blobs: dict[str, bytes] = field(init=False)
    manifest: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.architecture = self.architecture or host().architecture
        body = {
            "created": "2024-01-02T03:04:05.678901234Z",
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": [{"created_by": f"layer {at}"} for at in range(len(self.layers))],
            **({"variant": self.variant} if self.variant else {}),
            **self.config,
        }
        config = json.dumps(body).encode()
        self.blobs = {sha256(layer.blob): layer.blob for layer in self.layers}
        self.blobs[sha256(config)] = config
        self.id = sha256(config)
        self.document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": {
                "mediaType": media.DOCKER_CONFIG if self.docker else media.OCI_CONFIG,
                "digest": self.id,
                "size": len(config),
            },
            "layers": [
                {"mediaType": layer.media_type, "digest": sha256(layer.blob), "size": len(layer.blob)}
                for layer in self.layers
            ],
        }
        self.manifest = json.dumps(self.document).encode()

    @property
    def media_type(self) -> str:
        return media.DOCKER_MANIFEST if self.docker else media.OCI_MANIFEST

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def index(*images: Image, docker: bool = False) -> bytes:
    """An index of these images."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.DOCKER_INDEX if docker else media.OCI_INDEX,
            "manifests": [
                {
                    "mediaType": image.media_type,
                    "digest": image.digest,
                    "size": len(image.manifest),
                    "platform": {
                        "os": "linux",
                        "architecture": image.architecture,
                        **({"variant": image.variant} if image.variant else {}),
                    },
                }
                for image in images
            ],
        }
    ).encode()


def simple(text: str = "hello", *, layers: int = 2, packing: str = "gzip", docker: bool = False) -> Image:
    """A small image; the same text gives the same image."""
    made = [
        Layer(
            tar(directory("etc"), file(f"etc/part{at}", f"{text} {at}\n".encode() * 50)),
            packing,
            docker=docker,
        )
        for at in range(layers)
    ]
    return Image(made, docker=docker)

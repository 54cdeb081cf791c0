"""What the API says about images: bodies from records; pure.

Spec: Docker API 1.47, ImageSummary, ImageInspect, HistoryResponseItem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from runtime.images.filters import created_s
from runtime.images.store import ImageRecord
from runtime.images.times import rfc3339, seconds

_CONFIG_KEYS = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_CONFIG_OPTIONAL = ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell", "ArgsEscaped")


def summary(
    image: ImageRecord, *, containers: int, shared_bytes: int, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """One row of ``/images/json``; ``names`` narrows tags and digests to those a filter let through."""
    tags, digests = image.tags, image.digests
    if names is not None:
        tags = [tag for tag in tags if tag in names]
        digests = [
            digest for digest in digests if digest in names or _repository(digest) in map(_repository, tags)
        ]
    return {
        "Id": image.id,
        "ParentId": image.parent or "",
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": int(created_s(image)),
        "Size": image.size_bytes,
        "SharedSize": shared_bytes,
        "Labels": image.labels or None,
        "Containers": containers,
    }


def _repository(name: str) -> str:
    head, slash, last = name.partition("@")[0].rpartition("/")
    return head + slash + last.partition(":")[0]


def manifest(image: ImageRecord, *, packed_bytes: int, containers: Sequence[str]) -> dict[str, Any]:
    """One entry of ``Manifests`` in a row of ``/images/json``."""
    config = image.config
    platform = {key: _text(config, key) for key in ("architecture", "os", "variant") if _text(config, key)}
    return {
        "ID": image.manifest.digest,
        "Descriptor": image.manifest.to_json(),
        "Available": True,
        "Size": {"Content": packed_bytes, "Total": packed_bytes + image.size_bytes},
        "Kind": "image",
        "ImageData": {
            "Platform": platform,
            "Containers": list(containers),
            "Size": {"Unpacked": image.size_bytes},
        },
    }


def made_by(image: ImageRecord) -> list[_MadeBy]:
    """How each layer came to be, lowest first; empty where the history does not fit the layers."""
    entries = [entry for entry in image.config.get("history") or [] if not entry.get("empty_layer")]
    if len(entries) != len(image.chain):
        entries = [{} for _ in image.chain]
    return [
        {
            "Created": _text(entry, "created"),
            "CreatedBy": _text(entry, "created_by"),
            "Comment": _text(entry, "comment"),
        }
        for entry in entries
    ]


class _MadeBy(TypedDict):
    Created: str
    CreatedBy: str
    Comment: str


def inspect(image: ImageRecord, *, driver: str, directories: dict[str, str]) -> dict[str, Any]:
    """The body of ``/images/{name}/json``."""
    config = image.config
    body: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": image.parent or "",
        "Comment": _text(config, "comment") or _last_comment(config),
        "Created": image.created,
        "DockerVersion": _text(config, "docker_version"),
        "Author": _text(config, "author"),
        "Config": run_config(image),
        "Architecture": _text(config, "architecture"),
        "Os": _text(config, "os"),
        "Size": image.size_bytes,
        "GraphDriver": {"Data": directories or None, "Name": driver},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(image.tagged_s) if image.tagged_s else "0001-01-01T00:00:00Z"},
    }
    for key, name in (("variant", "Variant"), ("os.version", "OsVersion")):
        if _text(config, key):
            body[name] = _text(config, key)
    if config.get("container"):
        body["Container"] = _text(config, "container")
    if isinstance(config.get("container_config"), dict):
        body["ContainerConfig"] = config["container_config"]
    return body


def run_config(image: ImageRecord) -> dict[str, Any]:
    """What containers of the image run with, every key Docker shows in place."""
    given = image.config.get("config") or {}
    body = {key: given.get(key, default) for key, default in _CONFIG_KEYS.items()}
    for key in _CONFIG_OPTIONAL:
        if given.get(key):
            body[key] = given[key]
    return body


def history(
    image: ImageRecord, layer_sizes: Sequence[int], tags_of: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """The body of ``/images/{name}/history``, newest first.

    ``layer_sizes`` are those of the layers, lowest first; ``tags_of`` names the images known by id.
    """
    entries = image.config.get("history") or []
    if sum(not entry.get("empty_layer") for entry in entries) != len(layer_sizes):
        # A history that does not fit the layers tells nothing about them.
        entries = [{"created_by": ""} for _ in layer_sizes]
    rows: list[dict[str, Any]] = []
    sizes = iter(layer_sizes)
    for entry in entries:
        rows.append(
            {
                "Id": "<missing>",
                "Created": int(_seconds(entry)),
                "CreatedBy": _text(entry, "created_by"),
                "Tags": None,
                "Size": 0 if entry.get("empty_layer") else next(sizes),
                "Comment": _text(entry, "comment"),
            }
        )
    rows.reverse()
    if rows:
        rows[0]["Id"] = image.id
        rows[0]["Tags"] = tags_of.get(image.id) or None
    return rows


def _seconds(entry: dict[str, Any]) -> float:
    return seconds(_text(entry, "created")) or 0.0


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _last_comment(config: dict[str, Any]) -> str:
    entries = config.get("history") or []
    return _text(entries[-1], "comment") if entries else ""

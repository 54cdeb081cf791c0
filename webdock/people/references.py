"""Which other things the body of a create call names: volumes, networks, containers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SHARED = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode", "Cgroup")
NO_NETWORK = ("", "default", "bridge", "host", "none")


def references(body: dict[str, Any]) -> list[tuple[str, str]]:
    """[("volume", "data"), ("network", "shop"), ("container", "db")], each once."""
    return list(dict.fromkeys(_references(body)))


def _references(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    host = _table(body.get("HostConfig"))
    for key in SHARED:
        mode = str(host.get(key) or "")
        if mode.startswith("container:"):
            yield "container", mode.partition(":")[2]
        elif key == "NetworkMode" and mode not in NO_NETWORK:
            yield "network", mode
    for entry in (*_list(host.get("VolumesFrom")), *_list(host.get("Links"))):
        yield "container", str(entry).partition(":")[0].removeprefix("/")
    for bind in _list(host.get("Binds")):
        source, colon, _rest = str(bind).partition(":")
        if colon and source and not source.startswith("/"):
            yield "volume", source
    for mount in _list(host.get("Mounts")):
        if isinstance(mount, dict) and mount.get("Type") == "volume" and mount.get("Source"):
            yield "volume", str(mount["Source"])
    for name in _table(_table(body.get("NetworkingConfig")).get("EndpointsConfig")):
        if name not in NO_NETWORK:
            yield "network", str(name)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

"""Engine JSON -> field values of a Container. Pure: dictionaries in, dictionaries out.

Spec: Docker API 1.47, ContainerInspect; Podman's and older Docker's gaps are tolerated.
"""

from __future__ import annotations

import shlex
from typing import Any

from webdock.engines.moments import moment

STATES = {"created", "running", "paused", "restarting", "removing", "exited", "dead"}
COMMAND_MAX_CHARS = 2000


def container_fields(body: dict[str, Any]) -> dict[str, Any]:
    """The observed fields of one container from GET /containers/{id}/json."""
    state = body.get("State") or {}
    config = body.get("Config") or {}
    network = body.get("NetworkSettings") or {}
    status = str(state.get("Status", ""))
    started = moment(state.get("StartedAt"))
    finished = moment(state.get("FinishedAt"))
    return {
        "name": str(body.get("Name", "")).removeprefix("/")[:255],
        "image": str(config.get("Image") or body.get("Image", ""))[:512],
        "image_id": str(body.get("Image", ""))[:80],
        "command": command_of(body),
        "state": status if status in STATES else "dead",
        "exit_code": int(state.get("ExitCode") or 0) if finished else None,
        "oom_killed": bool(state.get("OOMKilled")),
        "health": health_of(state),
        "error": str(state.get("Error") or ""),
        "tty": bool(config.get("Tty")),
        "created_at": moment(body.get("Created")),
        "started_at": started,
        "finished_at": finished,
        "ports": ports_of(network.get("Ports")),
        "labels": {str(key): str(value) for key, value in (config.get("Labels") or {}).items()},
        "networks": networks_of(network.get("Networks")),
    }


def command_of(body: dict[str, Any]) -> str:
    """The main process as one shell-quoted line."""
    words = [str(body.get("Path") or ""), *(str(word) for word in body.get("Args") or ())]
    return (
        shlex.join(word for word in words if word or len(words) > 1)[:COMMAND_MAX_CHARS] if words[0] else ""
    )


def health_of(state: dict[str, Any]) -> str:
    status = str((state.get("Health") or {}).get("Status", ""))
    return "" if status == "none" else status[:16]


def ports_of(ports: object) -> list[dict[str, Any]]:
    """{"80/tcp": [{"HostIp", "HostPort"}]} -> [{"private": 80, "public": 8080, "type": "tcp", "ip": ""}];
    a port that is exposed and not published has public None and comes last; one published on every address is
    told once, though engines name it for both families."""
    found: list[dict[str, Any]] = []
    if not isinstance(ports, dict):
        return found
    for key, bindings in ports.items():
        number, _, protocol = str(key).partition("/")
        if not number.isdigit():
            continue
        port = {"private": int(number), "type": protocol or "tcp"}
        if not bindings:
            found.append({**port, "public": None, "ip": ""})
        everywhere = {str(one.get("HostPort")) for one in bindings or () if one.get("HostIp") == "0.0.0.0"}  # noqa: S104
        for binding in bindings or ():
            if binding.get("HostIp") == "::" and str(binding.get("HostPort")) in everywhere:
                continue
            public = str(binding.get("HostPort") or "")
            found.append(
                {
                    **port,
                    "public": int(public) if public.isdigit() else None,
                    "ip": str(binding.get("HostIp") or ""),
                }
            )

    def place(one: dict[str, Any]) -> tuple[Any, ...]:
        return one["public"] is None, one["private"], one["type"], one["public"] or 0, one["ip"]

    return sorted(found, key=place)


def networks_of(networks: object) -> list[dict[str, Any]]:
    """[{"name", "ip", "gateway", "mac", "aliases"}] sorted by name."""
    if not isinstance(networks, dict):
        return []
    return [
        {
            "name": str(name),
            "ip": str((settings or {}).get("IPAddress") or ""),
            "gateway": str((settings or {}).get("Gateway") or ""),
            "mac": str((settings or {}).get("MacAddress") or ""),
            "aliases": [str(alias) for alias in (settings or {}).get("Aliases") or ()],
        }
        for name, settings in sorted(networks.items())
    ]


def summary_differs(summary: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a line of GET /containers/json gives reason to inspect: the row says something else.

    ``row`` has name, state, image and health.
    """
    names = [str(name).removeprefix("/") for name in summary.get("Names") or ()]
    status = str(summary.get("Status") or "")
    health = next((word for word in ("unhealthy", "healthy") if f"({word})" in status), "")
    if "health: starting" in status:
        health = "starting"
    return (
        summary.get("State") != row["state"]
        or (bool(names) and row["name"] not in names)
        or health != row["health"]
    )

"""Records as Docker's bodies: inspect and the rows of the list; pure.

Spec: Docker API 1.47, ContainerInspect, ContainerSummary.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from runtime.containers.addresses import NO_ADDRESSES
from runtime.containers.record import Health, Record
from runtime.containers.state import ACTIVE, State
from runtime.containers.times import NEVER, SECOND_NS, human_duration, rfc3339

Body = dict[str, Any]

_ENDPOINT: Body = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    **NO_ADDRESSES,
    "DNSNames": None,
}
# The default bridge's settings stand at the top level of NetworkSettings, too.
_TOP = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen"),
    *("IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress"),
)


def endpoint(settings: Body) -> Body:
    """EndpointSettings with every field."""
    return {**_ENDPOINT, **{key: value for key, value in settings.items() if value is not None}}


def health(found: Health) -> Body:
    return {
        "Status": found.status,
        "FailingStreak": found.failing_streak,
        "Log": [
            {
                "Start": rfc3339(probe.start_ns),
                "End": rfc3339(probe.end_ns),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in found.log
        ],
    }


def state(record: Record) -> Body:
    body: Body = {
        "Status": str(record.state),
        "Running": record.state in ACTIVE,
        "Paused": record.state is State.PAUSED,
        "Restarting": record.state is State.RESTARTING,
        "OOMKilled": record.oom_killed,
        "Dead": record.state is State.DEAD,
        "Pid": record.pid,
        "ExitCode": record.exit_code,
        "Error": record.error,
        "StartedAt": rfc3339(record.started_ns),
        "FinishedAt": rfc3339(record.finished_ns) if record.finished_ns else NEVER,
    }
    if record.health is not None:
        body["Health"] = health(record.health)
    return body


def network_settings(record: Record) -> Body:
    networks = {name: endpoint(settings) for name, settings in record.networks.items()}
    top = networks.get("bridge", _ENDPOINT)
    return {
        "Bridge": "",
        "SandboxID": record.sandbox_id,
        "SandboxKey": record.netns,
        "Ports": record.ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{key: top[key] for key in _TOP},
        "Networks": networks,
    }


def describe(
    record: Record,
    *,
    driver: str,
    directories: dict[str, str],
    etc: Path,
    log_path: Path | None,
    exec_ids: list[str],
) -> Body:
    """The body of GET /containers/{id}/json, without sizes. directories: of its layers, for GraphDriver."""
    etc_paths = {name: str(etc / name) for name in ("resolv.conf", "hostname", "hosts")}
    return {
        "Id": record.id,
        "Created": rfc3339(record.created_ns),
        "Path": record.path,
        "Args": list(record.args),
        "State": state(record),
        "Image": record.image_id,
        "ResolvConfPath": etc_paths["resolv.conf"],
        "HostnamePath": etc_paths["hostname"],
        "HostsPath": etc_paths["hosts"],
        "LogPath": str(log_path or ""),
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": exec_ids or None,
        "HostConfig": {**record.host_config, "Links": _links(record)},
        "GraphDriver": {"Data": directories, "Name": driver},
        "Mounts": [point.describe() for point in record.mounts],
        "Config": dict(record.config),
        "NetworkSettings": network_settings(record),
    }


def _links(record: Record) -> list[str] | None:
    """As Docker shows them: "/db:/web/alias" for web's link "db:alias"."""
    links = []
    for link in record.host_config["Links"] or ():
        name, _, alias = link.partition(":")
        links.append(f"/{name.lstrip('/')}:/{record.name}/{alias or name.lstrip('/')}")
    return links or None


def summarize(record: Record, now_ns: int) -> Body:
    """One row of GET /containers/json, without sizes."""
    host: Body = {"NetworkMode": record.host_config["NetworkMode"]}
    if record.host_config.get("Annotations"):
        host["Annotations"] = record.host_config["Annotations"]
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": record.image,
        "ImageID": record.image_id,
        "Command": command_line(record),
        "Created": record.created_ns // SECOND_NS,
        "Ports": ports(record),
        "Labels": dict(record.config["Labels"]),
        "State": str(record.state),
        "Status": status(record, now_ns),
        "HostConfig": host,
        "NetworkSettings": {
            "Networks": {name: endpoint(settings) for name, settings in record.networks.items()}
        },
        "Mounts": [point.describe() for point in record.mounts],
    }


def command_line(record: Record) -> str:
    """Program and arguments as `docker ps` shows them: arguments with blanks in quotes."""
    words = [f"'{word}'" if " " in word else word for word in record.args]
    return " ".join([record.path, *words])


def quoted_command(record: Record) -> str:
    return shlex.join([record.path, *record.args])


def ports(record: Record) -> list[Body]:
    """Published ports while it runs, exposed ones always; by number."""
    found: list[Body] = []
    bindings = {**dict.fromkeys(record.config.get("ExposedPorts") or ()), **record.ports}
    if record.state not in ACTIVE:
        return []
    for port, published in bindings.items():
        number, _, protocol = port.partition("/")
        if not number.isdecimal():
            continue
        private = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        if not published:
            found.append(private)
        for binding in published or ():
            found.append(
                {
                    "IP": binding.get("HostIp") or "0.0.0.0",  # noqa: S104 - Docker's word for any address
                    "PrivatePort": private["PrivatePort"],
                    "PublicPort": int(binding.get("HostPort") or 0),
                    "Type": private["Type"],
                }
            )
    return sorted(found, key=lambda port: (port["PrivatePort"], port["Type"], port.get("IP", "")))


def status(record: Record, now_ns: int) -> str:
    """ "Up 5 minutes (healthy)", "Exited (0) 2 hours ago", …"""

    def since(time_ns: int) -> str:
        return human_duration(max(0, now_ns - time_ns) / SECOND_NS)

    match record.state:
        case State.RUNNING | State.PAUSED:
            text = f"Up {since(record.started_ns)}"
            if record.state is State.PAUSED:
                return f"{text} (Paused)"
            if record.health is not None:
                shown = "health: starting" if record.health.status == "starting" else record.health.status
                return f"{text} ({shown})"
            return text
        case State.RESTARTING:
            return f"Restarting ({record.exit_code}) {since(record.finished_ns)} ago"
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"
        case State.CREATED:
            return "Created"
    if not record.finished_ns:
        return "Created"
    return f"Exited ({record.exit_code}) {since(record.finished_ns)} ago"

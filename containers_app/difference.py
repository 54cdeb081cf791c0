"""What a recreation changes, field by field, in the words of the form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app import mounts, variables
from containers_app.fields import FIELDS, Body

# Parts of a body that the form shows in whole; the others are carried over and named.
_SHOWN = frozenset(
    [
        "Image",
        "Cmd",
        "Entrypoint",
        "Env",
        "ExposedPorts",
        "Volumes",
        "Hostname",
        "Domainname",
        "MacAddress",
        "WorkingDir",
        "User",
        "Labels",
        "Tty",
        "OpenStdin",
        "StopSignal",
        "StopTimeout",
        "HostConfig",
        "NetworkingConfig",
        "Healthcheck",
        "PortBindings",
        "PublishAllPorts",
        "Binds",
        "Tmpfs",
        "NetworkMode",
        "Dns",
        "DnsSearch",
        "ExtraHosts",
        "GroupAdd",
        "AutoRemove",
        "Init",
        "ReadonlyRootfs",
        "Privileged",
        "RestartPolicy",
        "Memory",
        "MemoryReservation",
        "MemorySwap",
        "NanoCpus",
        "CpuShares",
        "CpusetCpus",
        "PidsLimit",
        "ShmSize",
        "OomScoreAdj",
        "CapAdd",
        "CapDrop",
        "SecurityOpt",
        "Devices",
        "Sysctls",
        "Ulimits",
        "LogConfig",
        "PidMode",
        "IpcMode",
        "UTSMode",
        "UsernsMode",
        "CgroupnsMode",
        "Runtime",
        "Mounts",
        "VolumesFrom",
        "DnsOptions",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpusetMems",
        "MemorySwappiness",
        "BlkioWeight",
        "CgroupParent",
        "DeviceCgroupRules",
        "Links",
        "Annotations",
        "StorageOpt",
        "VolumeDriver",
        "OomKillDisable",
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
    ]
)


def differences(before: Body, after: Body, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """[{"field", "label", "removed": [lines], "added": [lines]}] of the fields that differ; secrets masked.

    ``labels``: field name -> what the form calls it.
    """
    found = []
    for name in FIELDS:
        old, new = _lines(name, before), _lines(name, after)
        removed = [line for line in old if line not in new]
        added = [line for line in new if line not in old]
        if old == new:
            continue
        if not removed and not added:  # only their order
            removed, added = old, new
        if name == "env":
            removed, added = ([variables.masked_entry(line) for line in lines] for lines in (removed, added))
        found.append({"field": name, "label": labels.get(name, name), "removed": removed, "added": added})
    return found


def _lines(name: str, body: Body) -> list[str]:
    if name == "env":
        return [str(entry) for entry in body.get("Env") or ()]
    value = FIELDS[name].read(body)
    if isinstance(value, bool):
        return [_("yes")] if value else []
    return str(value).splitlines()


def carried(body: Body) -> list[str]:
    """The settings no field of the form shows; they are kept as they are."""
    host = body.get("HostConfig") or {}
    found = {key for key in (*body, *host) if key not in _SHOWN}
    if mounts.shown(host.get("Mounts"))[1]:  # some of them
        found.add("Mounts")
    return sorted(found)

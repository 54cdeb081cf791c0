"""A create request completed: the image's defaults merged in, every field of Docker's bodies present; pure.

Owns which defaults there are and how request and image combine. Checks nothing (see `checks.py`).

Spec: Docker API 1.47, ContainerConfig and HostConfig.
"""

from __future__ import annotations

import copy
from typing import Any

Body = dict[str, Any]

SHM_BYTES = 64 << 20

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_CONFIG: Body = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": [],
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": {},
}
# Shown only when set, as Docker omits them.
_CONFIG_OPTIONAL = (
    "ExposedPorts",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "Healthcheck",
)

_HOST_CONFIG: Body = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "bridge",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "ConsoleSize": [0, 0],
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "private",
    "Dns": None,
    "DnsOptions": None,
    "DnsSearch": None,
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": SHM_BYTES,
    "Runtime": "",
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": [],
    "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [],
    "BlkioDeviceWriteIOps": [],
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": [],
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": [],
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "MaskedPaths": list(MASKED_PATHS),
    "ReadonlyPaths": list(READONLY_PATHS),
}
_HOST_CONFIG_OPTIONAL = (
    *("Annotations", "StorageOpt", "Sysctls", "Tmpfs", "Init", "Mounts", "KernelMemoryTCP"),
    "KernelMemory",  # older clients': warned of and dropped
)
# For these an empty value means "not given".
_EMPTY_IS_DEFAULT = (
    *("NetworkMode", "CgroupnsMode", "IpcMode", "Runtime", "ShmSize", "RestartPolicy", "LogConfig"),
    "ConsoleSize",
)

UNCONFINED_PATHS = "systempaths=unconfined"


def container_config(request: Body, image: Body) -> Body:
    """`Config` of the new container. image: the `config` object of its OCI image configuration."""
    config = {**copy.deepcopy(_CONFIG), **{key: request[key] for key in _CONFIG if key in request}}
    for key in _CONFIG_OPTIONAL:
        if request.get(key):
            config[key] = request[key]
    for key in ("NetworkDisabled", "StopTimeout"):  # false and 0 say something here
        if key in request:
            config[key] = request[key]
    _merge_command(config, request, image)
    config["Env"] = merge_env(request.get("Env") or [], image.get("Env") or [])
    config["Labels"] = {**(image.get("Labels") or {}), **(request.get("Labels") or {})}
    config["User"] = config["User"] or image.get("User") or ""
    config["WorkingDir"] = config["WorkingDir"] or image.get("WorkingDir") or ""
    ports = {**(image.get("ExposedPorts") or {}), **(request.get("ExposedPorts") or {})}
    if ports:
        config["ExposedPorts"] = {port if "/" in port else f"{port}/tcp": {} for port in ports}
    volumes = {**(image.get("Volumes") or {}), **(request.get("Volumes") or {})}
    config["Volumes"] = {path: {} for path in volumes} if volumes else None
    for key in ("StopSignal", "Shell"):
        if not config.get(key) and image.get(key):
            config[key] = image[key]
    if image.get("OnBuild") and not config["OnBuild"]:
        config["OnBuild"] = image["OnBuild"]
    if health := _merge_health(request.get("Healthcheck"), image.get("Healthcheck")):
        config["Healthcheck"] = health
    return config


def command(config: Body) -> list[str]:
    """Program and arguments: entrypoint, then command."""
    return [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]


def merge_env(request: list[str], image: list[str]) -> list[str]:
    """The request's variables, then those of the image it does not name."""
    names = {entry.partition("=")[0] for entry in request}
    return [*request, *(entry for entry in image if entry.partition("=")[0] not in names)]


def environment(env: list[str]) -> list[str]:
    """What processes get: the last value of each name; a name without "=" is taken out."""
    values: dict[str, str] = {}
    for entry in env:
        name, equals, _ = entry.partition("=")
        if equals:
            values[name] = entry
        else:
            values.pop(name, None)
    return list(values.values())


def host_config(request: Body, *, runtime: str, cgroup_version: int) -> Body:
    """`HostConfig` of the new container."""
    config = copy.deepcopy(_HOST_CONFIG)
    config["CgroupnsMode"] = "private" if cgroup_version == 2 else "host"
    config["Runtime"] = runtime
    for key, value in request.items():
        known = key in config and (value or key not in _EMPTY_IS_DEFAULT)
        if known or (key in _HOST_CONFIG_OPTIONAL and (value or key == "Init")):
            config[key] = value
    if config["NetworkMode"] == "default":
        config["NetworkMode"] = "bridge"
    config["RestartPolicy"] = {
        "Name": config["RestartPolicy"].get("Name") or "no",
        "MaximumRetryCount": config["RestartPolicy"].get("MaximumRetryCount", 0),
    }
    config["LogConfig"] = {
        "Type": config["LogConfig"].get("Type") or "json-file",
        "Config": config["LogConfig"].get("Config") or {},
    }
    config["PortBindings"] = complete_bindings(config["PortBindings"])
    unconfined = config["Privileged"] or UNCONFINED_PATHS in (config["SecurityOpt"] or ())
    for key in ("MaskedPaths", "ReadonlyPaths"):
        if unconfined and key not in request:
            config[key] = None
    for key in (
        "CapAdd",
        "CapDrop",
        "Binds",
        "GroupAdd",
        "Links",
        "VolumesFrom",
        "ExtraHosts",
        "SecurityOpt",
    ):
        config[key] = config[key] or None
    return config


def complete_bindings(bindings: Body | None) -> Body:
    """PortBindings with a protocol in every key and both fields in every entry."""
    return {
        port if "/" in port else f"{port}/tcp": [
            {"HostIp": entry.get("HostIp", ""), "HostPort": entry.get("HostPort", "")}
            for entry in (entries or [{}])
        ]
        for port, entries in (bindings or {}).items()
    }


def _merge_command(config: Body, request: Body, image: Body) -> None:
    entrypoint, words = request.get("Entrypoint"), request.get("Cmd") or None
    if not entrypoint:
        words = words or image.get("Cmd") or None
        if entrypoint is None:
            entrypoint = image.get("Entrypoint") or None
    config["Entrypoint"] = None if entrypoint in ([], [""]) else entrypoint
    config["Cmd"] = words


def _merge_health(request: Body | None, image: Body | None) -> Body | None:
    if not image or not request:
        return request or image or None
    return {**image, **{key: value for key, value in request.items() if value}}

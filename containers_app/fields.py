"""The Run form's fields as parts of a create body: each is read out of one and written into one. Pure.

A field that was not changed is not written, so what it cannot show stays as it was.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from containers_app import endpoints, mounts, notations, variables
from containers_app.runspec import size_text

Body = dict[str, Any]

UNMASKED = "systempaths=unconfined"
_PATHS = ("MaskedPaths", "ReadonlyPaths")


@dataclass(frozen=True)
class Field:
    """How one field shows a part of a body, and how its parsed value (None when empty) is put there."""

    read: Callable[[Body], Any]  # text, or a bool
    write: Callable[[Body, Any], None]


def texts_of(body: Body) -> dict[str, Any]:
    """What the form shows of a body: text for each field, bools for boxes."""
    return {name: field.read(body) for name, field in FIELDS.items()}


def overlay(base: Body, changed: Mapping[str, Any]) -> Body:
    """The base with the fields that were changed; ``changed`` has their parsed values."""
    body = copy.deepcopy(base)
    body.setdefault("HostConfig", {})
    for name, value in changed.items():
        FIELDS[name].write(body, value)
    return body


def _put(place: Body, key: str, value: Any) -> None:
    """A value, or nothing at all when it is empty: then the image's or the engine's own holds."""
    if value in (None, "", [], {}, False):
        place.pop(key, None)
    else:
        place[key] = value


def _config(key: str, show: Callable[[Any], Any] = lambda value: value or "") -> Field:
    return Field(lambda body: show(body.get(key)), lambda body, value: _put(body, key, value))


def _host(key: str, show: Callable[[Any], Any] = lambda value: value or "") -> Field:
    return Field(
        lambda body: show((body.get("HostConfig") or {}).get(key)),
        lambda body, value: _put(body["HostConfig"], key, value),
    )


def _box(place: Callable[..., Field], key: str) -> Field:
    return place(key, bool)


def _joined(values: Any) -> str:
    return "\n".join(str(value) for value in values or ())


def _words(values: Any) -> str:
    return shlex.join(values or ())


def _cpus(nano: Any) -> str:
    return f"{int(nano or 0) / 10**9:.9f}".rstrip("0").rstrip(".") if nano else ""


def _write_env(body: Body, entries: Any) -> None:
    before = [str(entry) for entry in body.get("Env") or ()]
    _put(body, "Env", variables.kept_with(entries or (), before))


def _write_labels(body: Body, labels: Any) -> None:
    before = body.get("Labels") or {}
    shown = variables.label_lines(before)
    _put(body, "Labels", {**{name: before[name] for name in before if name not in shown}, **(labels or {})})


# Ports: what is published is exposed as well.


def _bindings(body: Body) -> Body:
    return (body.get("HostConfig") or {}).get("PortBindings") or {}


def port_lines(bindings: Mapping[str, Any]) -> list[str]:
    """PortBindings as [address:][public:]port[/protocol] lines."""
    found = []
    for port, published in bindings.items():
        number, _slash, protocol = str(port).partition("/")
        inside = number if protocol in ("", "tcp") else f"{number}/{protocol}"
        for one in published or [{}]:
            ip, public = str(one.get("HostIp") or ""), str(one.get("HostPort") or "")
            ip = f"[{ip}]" if ":" in ip else ip
            found.append(":".join([ip, public, inside] if ip else [public, inside] if public else [inside]))
    return found


def _write_ports(body: Body, parsed: Any) -> None:
    exposed, bindings = parsed or ({}, {})
    only = {port: {} for port in body.get("ExposedPorts") or {} if port not in _bindings(body)}
    _put(body["HostConfig"], "PortBindings", bindings)
    _put(body, "ExposedPorts", {**only, **exposed})


def _write_expose(body: Body, ports: Any) -> None:
    published = {port: {} for port in body.get("ExposedPorts") or {} if port in _bindings(body)}
    _put(body, "ExposedPorts", {**published, **{port: {} for port in ports or ()}})


def _write_volumes(body: Body, parsed: Any) -> None:
    binds, anonymous = parsed or ([], {})
    _put(body["HostConfig"], "Binds", binds)
    _put(body, "Volumes", anonymous)


def _read_restart(policy: Any) -> str:
    name = (policy or {}).get("Name") or "no"
    count = (policy or {}).get("MaximumRetryCount")
    return f"{name}:{count}" if name == "on-failure" and count else str(name)


def _write_restart(body: Body, policy: Any) -> None:
    off = not policy or policy.get("Name") in (None, "", "no")
    _put(body["HostConfig"], "RestartPolicy", None if off else policy)


def _health(key: str, show: Callable[[Any], Any]) -> Field:
    def write(body: Body, value: Any) -> None:
        check = dict(body.get("Healthcheck") or {})
        _put(check, key, value)
        _put(body, "Healthcheck", check)

    return Field(lambda body: show((body.get("Healthcheck") or {}).get(key)), write)


def _log(key: str, show: Callable[[Any], Any]) -> Field:
    def write(body: Body, value: Any) -> None:
        log = dict(body["HostConfig"].get("LogConfig") or {})
        _put(log, key, value)
        _put(body["HostConfig"], "LogConfig", log)

    return Field(lambda body: show(((body.get("HostConfig") or {}).get("LogConfig") or {}).get(key)), write)


def _time(ns: Any) -> str:
    return notations.duration_text(int(ns or 0))


def _number(value: Any) -> str:
    return "" if value is None else str(value)


def _put_number(place: Body, key: str, value: Any) -> None:
    """Where 0 says something, too."""
    place.pop(key, None)
    if value is not None:
        place[key] = value


def _mount_lines(body: Body) -> list[str]:
    return mounts.shown((body.get("HostConfig") or {}).get("Mounts"))[0]


def _write_mounts(body: Body, asked: Any) -> None:
    kept = mounts.shown(body["HostConfig"].get("Mounts"))[1]
    _put(body["HostConfig"], "Mounts", [*(asked or ()), *kept])


# Spec: docker's own client says "systempaths=unconfined" with two empty lists.


def _read_security(body: Body) -> str:
    host = body.get("HostConfig") or {}
    bare = all(host.get(key) == [] for key in _PATHS) and not host.get("Privileged")
    return _joined(dict.fromkeys([*(host.get("SecurityOpt") or ()), *([UNMASKED] if bare else ())]))


def _write_security(body: Body, options: Any) -> None:
    host, asked = body["HostConfig"], list(options or ())
    bare = UNMASKED in asked
    was = UNMASKED in _read_security(body).splitlines()
    _put(host, "SecurityOpt", [one for one in asked if one != UNMASKED])
    for key in _PATHS if bare or was else ():
        host.pop(key, None)
        if bare:
            host[key] = []


FIELDS: dict[str, Field] = {
    "image": _config("Image"),
    "command": _config("Cmd", _words),
    "entrypoint": _config("Entrypoint", _words),
    "env": Field(lambda body: "\n".join(variables.env_lines(body.get("Env"))), _write_env),
    "ports": Field(lambda body: "\n".join(port_lines(_bindings(body))), _write_ports),
    "publish_all": _box(_host, "PublishAllPorts"),
    "expose": Field(
        lambda body: _joined(port for port in body.get("ExposedPorts") or () if port not in _bindings(body)),
        _write_expose,
    ),
    "volumes": Field(
        lambda body: _joined(
            [*((body.get("HostConfig") or {}).get("Binds") or ()), *(body.get("Volumes") or ())]
        ),
        _write_volumes,
    ),
    "mounts": Field(lambda body: "\n".join(_mount_lines(body)), _write_mounts),
    "tmpfs": _host("Tmpfs", notations.tmpfs_text),
    "volume_driver": _host("VolumeDriver"),
    "storage_opt": _host("StorageOpt", notations.pairs_text),
    "volumes_from": _host("VolumesFrom", _joined),
    "network": Field(endpoints.read, endpoints.write),
    "links": Field(lambda body: _joined(endpoints.links_of(body)), endpoints.write_links),
    "hostname": _config("Hostname"),
    "domainname": _config("Domainname"),
    "dns": _host("Dns", _joined),
    "dns_search": _host("DnsSearch", _joined),
    "dns_options": _host("DnsOptions", _joined),
    "extra_hosts": _host("ExtraHosts", _joined),
    "workdir": _config("WorkingDir"),
    "user": _config("User"),
    "group_add": _host("GroupAdd", _joined),
    "labels": Field(
        lambda body: "\n".join(variables.label_lines(body.get("Labels")).values()), _write_labels
    ),
    "tty": _box(_config, "Tty"),
    "open_stdin": _box(_config, "OpenStdin"),
    "auto_remove": _box(_host, "AutoRemove"),
    "init": _box(_host, "Init"),
    "read_only": _box(_host, "ReadonlyRootfs"),
    "privileged": _box(_host, "Privileged"),
    "restart": Field(
        lambda body: _read_restart((body.get("HostConfig") or {}).get("RestartPolicy")), _write_restart
    ),
    "stop_signal": _config("StopSignal"),
    "stop_timeout": Field(
        lambda body: _number(body.get("StopTimeout")),
        lambda body, value: _put_number(body, "StopTimeout", value),
    ),
    "memory": _host("Memory", size_text),
    "memory_reservation": _host("MemoryReservation", size_text),
    "memory_swap": _host("MemorySwap", lambda value: "-1" if value == -1 else size_text(value)),
    "memory_swappiness": Field(
        lambda body: _number((body.get("HostConfig") or {}).get("MemorySwappiness")),
        lambda body, value: _put_number(body["HostConfig"], "MemorySwappiness", value),
    ),
    "cpus": _host("NanoCpus", _cpus),
    "cpu_shares": _host("CpuShares"),
    "cpu_period": _host("CpuPeriod"),
    "cpu_quota": _host("CpuQuota"),
    "cpu_rt_period": _host("CpuRealtimePeriod"),
    "cpu_rt_runtime": _host("CpuRealtimeRuntime"),
    "cpuset_cpus": _host("CpusetCpus"),
    "cpuset_mems": _host("CpusetMems"),
    "pids": _host("PidsLimit"),
    "shm_size": _host("ShmSize", size_text),
    "oom_score_adj": _host("OomScoreAdj"),
    "oom_kill_disable": _box(_host, "OomKillDisable"),
    "blkio_weight": _host("BlkioWeight"),
    "blkio_weight_device": _host("BlkioWeightDevice", notations.WEIGHTS[1]),
    "device_read_bps": _host("BlkioDeviceReadBps", notations.BYTES[1]),
    "device_write_bps": _host("BlkioDeviceWriteBps", notations.BYTES[1]),
    "device_read_iops": _host("BlkioDeviceReadIOps", notations.COUNTS[1]),
    "device_write_iops": _host("BlkioDeviceWriteIOps", notations.COUNTS[1]),
    "cgroup_parent": _host("CgroupParent"),
    "health_cmd": _health("Test", notations.check_text),
    "health_interval": _health("Interval", _time),
    "health_timeout": _health("Timeout", _time),
    "health_start_period": _health("StartPeriod", _time),
    "health_start_interval": _health("StartInterval", _time),
    "health_retries": _health("Retries", lambda value: value or ""),
    "cap_add": _host("CapAdd", _joined),
    "cap_drop": _host("CapDrop", _joined),
    "security_opt": Field(_read_security, _write_security),
    "devices": _host("Devices", notations.devices_text),
    "device_rules": _host("DeviceCgroupRules", _joined),
    "sysctls": _host("Sysctls", notations.pairs_text),
    "ulimits": _host("Ulimits", notations.ulimits_text),
    "annotations": _host("Annotations", notations.pairs_text),
    "log_driver": _log("Type", lambda value: value or ""),
    "log_opts": _log("Config", notations.pairs_text),
    "pid_mode": _host("PidMode"),
    # Every container's own where nothing was said, and seen as such.
    "ipc_mode": _host("IpcMode", lambda value: "" if value in (None, "private") else value),
    "uts_mode": _host("UTSMode"),
    "userns_mode": _host("UsernsMode"),
    "cgroupns_mode": _host("CgroupnsMode"),
    "runtime": _host("Runtime"),
}

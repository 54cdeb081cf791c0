"""The Run form's fields as parts of a create body: each is read out of one and written into one. Pure.

A field that was not changed is not written, so what it cannot show stays as it was.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from containers_app import mounts, notations, runspec
from containers_app.intent import BRIDGE, JOINED, NETWORKLESS
from containers_app.runspec import size_text
from webdock.engines import secrets
from webdock.people.belongings import CLAIM_LABEL

Body = dict[str, Any]


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


# Variables and labels: what a line cannot say is not shown, and kept.


def env_lines(entries: Any, *, masked: bool = True) -> list[str]:
    """Entries as lines of the form, secret values masked; those no line can say are left out."""
    shown = []
    for entry in entries or ():
        name, equals, value = str(entry).partition("=")
        line = f"{name}={runspec.quoted(value)}" if equals else name
        if _reads_back(line, str(entry)):
            shown.append(masked_entry(str(entry)) if masked and is_masked(str(entry)) else line)
    return shown


def masked_entry(entry: str) -> str:
    """KEY=value with its secret hidden, when it looks like one."""
    found = secrets.environment([entry])[0]
    return f"{found['name']}={found['value']}" if "=" in entry else entry


def is_masked(entry: str) -> bool:
    return secrets.MASK in masked_entry(entry)


def _reads_back(line: str, entry: str) -> bool:
    try:
        return runspec.parse_env(line) == [entry]
    except ValueError:
        return False


def unmasked(entries: list[str], before: list[str]) -> list[str]:
    """Entries in which a mask that came back is the value it hides.

    Raises: ValueError naming a variable whose mask was changed or stands for nothing.
    """
    values = {entry.partition("=")[0]: entry for entry in before}
    found = []
    for entry in entries:
        name = entry.partition("=")[0]
        if secrets.MASK in entry:
            if name not in values or masked_entry(values[name]) != entry:
                raise ValueError(
                    _("%(name)s: type the whole value; its hidden part is not known here") % {"name": name}
                )
            entry = values[name]
        found.append(entry)
    return found


def _write_env(body: Body, entries: Any) -> None:
    before = [str(entry) for entry in body.get("Env") or ()]
    shown = {line.partition("=")[0] for line in env_lines(before)}
    kept = [entry for entry in before if entry.partition("=")[0] not in shown]
    _put(body, "Env", [*(entries or ()), *kept])


def _label_lines(labels: Any) -> dict[str, str]:
    shown = {}
    for name, value in (labels or {}).items():
        if name == CLAIM_LABEL:
            continue  # ours; it goes with the container
        line = f"{name}={runspec.quoted(str(value))}"
        try:
            reads_back = runspec.parse_labels(line) == {name: value}
        except ValueError:
            reads_back = False
        if reads_back:
            shown[name] = line
    return shown


def _write_labels(body: Body, labels: Any) -> None:
    before = body.get("Labels") or {}
    shown = _label_lines(before)
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


# Networks: the mode and the endpoints are one list, the network it is made on first.


def _networks(body: Body) -> list[tuple[str, Body]]:
    mode = str((body.get("HostConfig") or {}).get("NetworkMode") or "")
    endpoints: Body = dict((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    if mode in NETWORKLESS or mode.startswith(JOINED):
        return [(mode, {})]
    primary = "bridge" if mode in BRIDGE else mode
    first = dict(endpoints.pop(primary, None) or {})
    if body.get("MacAddress"):
        first["MacAddress"] = body["MacAddress"]
    return [(primary, first), *endpoints.items()]


def _read_networks(body: Body) -> str:
    found = _networks(body)
    return "" if found == [("bridge", {})] else notations.networks_text(found)


def _write_networks(body: Body, networks: Any) -> None:
    before = dict(_networks(body))
    body.pop("NetworkingConfig", None)
    body.pop("MacAddress", None)
    asked: list[tuple[str, Body]] = list(networks or ())
    body["HostConfig"]["NetworkMode"] = asked[0][0] if asked else "default"
    endpoints: Body = {}
    for at, (name, settings) in enumerate(asked):
        kept = {
            key: value
            for key, value in (before.get(name) or {}).items()
            if key in ("Links", "DriverOpts", "GwPriority")
        }
        local = ((before.get(name) or {}).get("IPAMConfig") or {}).get("LinkLocalIPs")
        settings = {**kept, **copy.deepcopy(settings)}
        if local:
            settings.setdefault("IPAMConfig", {})["LinkLocalIPs"] = local
        if at == 0 and settings.get("MacAddress"):
            body["MacAddress"] = settings.pop("MacAddress")  # the spelling every version knows
        if name not in NETWORKLESS and not name.startswith(JOINED):
            endpoints[name] = settings
    if endpoints and endpoints != {"bridge": {}}:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}


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


FIELDS: dict[str, Field] = {
    "image": _config("Image"),
    "command": _config("Cmd", _words),
    "entrypoint": _config("Entrypoint", _words),
    "env": Field(lambda body: "\n".join(env_lines(body.get("Env"))), _write_env),
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
    "volumes_from": _host("VolumesFrom", _joined),
    "network": Field(_read_networks, _write_networks),
    "hostname": _config("Hostname"),
    "domainname": _config("Domainname"),
    "dns": _host("Dns", _joined),
    "dns_search": _host("DnsSearch", _joined),
    "dns_options": _host("DnsOptions", _joined),
    "extra_hosts": _host("ExtraHosts", _joined),
    "workdir": _config("WorkingDir"),
    "user": _config("User"),
    "group_add": _host("GroupAdd", _joined),
    "labels": Field(lambda body: "\n".join(_label_lines(body.get("Labels")).values()), _write_labels),
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
    "blkio_weight": _host("BlkioWeight"),
    "cgroup_parent": _host("CgroupParent"),
    "health_cmd": _health("Test", notations.check_text),
    "health_interval": _health("Interval", _time),
    "health_timeout": _health("Timeout", _time),
    "health_start_period": _health("StartPeriod", _time),
    "health_start_interval": _health("StartInterval", _time),
    "health_retries": _health("Retries", lambda value: value or ""),
    "cap_add": _host("CapAdd", _joined),
    "cap_drop": _host("CapDrop", _joined),
    "security_opt": _host("SecurityOpt", _joined),
    "devices": _host("Devices", notations.devices_text),
    "device_rules": _host("DeviceCgroupRules", _joined),
    "sysctls": _host("Sysctls", notations.pairs_text),
    "ulimits": _host("Ulimits", notations.ulimits_text),
    "log_driver": _log("Type", lambda value: value or ""),
    "log_opts": _log("Config", notations.pairs_text),
    "pid_mode": _host("PidMode"),
    "ipc_mode": _host("IpcMode"),
    "uts_mode": _host("UTSMode"),
    "userns_mode": _host("UsernsMode"),
    "cgroupns_mode": _host("CgroupnsMode"),
    "runtime": _host("Runtime"),
}

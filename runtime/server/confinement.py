"""The rules for one container of the confined socket, but for what it mounts (``confined_mounts``); pure.

Every function yields reasons; no reason, no objection. A field that is not mentioned here is in ``HARMLESS``:
the test of this module compares both with ``runtime.api.types``, so a new field cannot slip in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.config import PolicyConfig
from runtime.server.confined_mounts import (
    Body,
    Known,
    Reasons,
    of_bind,
    of_bind_source,
    of_mount,
    of_mount_points,
    of_target,
    of_tmpfs,
    of_volume_fact,
    words,
)

SHARED_MODES = ("NetworkMode", "PidMode", "IpcMode")
DEPTH_MAX = 16  # containers that share with containers that share ...

# What Docker gives every container; adding one of these adds nothing.
DEFAULT_CAPABILITIES = words(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP "
    "SETUID SYS_CHROOT"
)
# Hidden and read-only in every container; a request may name more, never fewer.
MASKED_PATHS = words(
    "/proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    "/proc/sched_debug /proc/scsi /sys/firmware"
)
READONLY_PATHS = words("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger")

_SYSCTL = re.compile(r"^[a-z0-9_.-]+$")
_SYSCTL_NAMES = words(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced net.core.somaxconn"
)
_SYSCTL_PREFIXES = ("fs.mqueue.", "net.ipv4.", "net.ipv6.")
_ULIMITS = words("as core cpu data fsize locks msgqueue nofile nproc sigpending stack")
_LOG_DRIVERS = ("", "json-file", "local", "none")
_LOG_OPTIONS = words("max-size max-file compress labels labels-regex env env-regex tag mode max-buffer-size")
_RUNTIMES = ("", "crun", "runc", "io.containerd.runc.v2")

# Fields of HostConfig that are harmless as they stand, whatever their value.
HARMLESS = words(
    "AutoRemove BlkioWeight CapDrop ConsoleSize CpuCount CpuPercent CpuPeriod CpuQuota CpuShares CpusetCpus "
    "CpusetMems Dns DnsOptions DnsSearch ExtraHosts GroupAdd IOMaximumBandwidth IOMaximumIOps Init "
    "KernelMemory KernelMemoryTCP Links MemoryReservation MemorySwappiness PublishAllPorts ReadonlyRootfs "
    "RestartPolicy ShmSize"
)


def of_request(
    body: Body, policy: PolicyConfig, containers: Known, volumes: Known, networks: Known
) -> Reasons:
    """A container that is asked for: ContainerConfig with HostConfig and NetworkingConfig."""
    host = body.get("HostConfig", {})
    yield from _host_config(host, policy, volumes)
    yield from _ceilings(host, policy)
    yield from of_mount_points(body.get("Volumes", {}))
    for name in networks_of(host, body.get("NetworkingConfig", {}).get("EndpointsConfig", {})):
        yield from of_network(name, policy, networks)
    for endpoint in body.get("NetworkingConfig", {}).get("EndpointsConfig", {}).values():
        yield from of_endpoint(endpoint)
    yield from _shared(host, policy, containers, volumes, networks, DEPTH_MAX)


def of_existing(
    inspect: Body,
    policy: PolicyConfig,
    containers: Known,
    volumes: Known,
    networks: Known,
    depth: int = DEPTH_MAX,
) -> Reasons:
    """A container that is there, whoever made it."""
    host = inspect.get("HostConfig", {})
    yield from _host_config(host, policy, volumes)
    for mount in inspect.get("Mounts") or ():
        if mount.get("Type") == "bind":
            yield from of_bind_source(str(mount.get("Source", "")), not mount.get("RW", True), policy)
        elif mount.get("Type") == "volume":
            yield from of_volume_fact(str(mount.get("Name", "")), volumes)
    for name in networks_of(host, {}):  # also the host's by its id
        yield from of_network(name, policy, networks)
    yield from _shared(host, policy, containers, volumes, networks, depth - 1)


def on_cgroup_v1(inspect: Body) -> Body:
    """A container as it is to be judged on cgroup v1.

    Kernel: there all containers have the host's cgroup namespace; it shows names and changes nothing.
    """
    host = {key: value for key, value in inspect.get("HostConfig", {}).items() if key != "CgroupnsMode"}
    return {**inspect, "HostConfig": host}


def _shared(
    host: Body, policy: PolicyConfig, containers: Known, volumes: Known, networks: Known, depth: int
) -> Reasons:
    if depth <= 0:
        yield "it shares with containers that share with others, and so on without end"
        return
    refs = [(key, str(host.get(key, "")).partition(":")) for key in SHARED_MODES]
    shared = [(key, parts[2]) for key, parts in refs if parts[0] == "container"]
    shared += [("VolumesFrom", str(entry).partition(":")[0]) for entry in host.get("VolumesFrom") or ()]
    for key, ref in shared:
        found = containers.get(ref)
        if found is None:
            continue  # the handler says that there is none
        for reason in of_existing(found, policy, containers, volumes, networks, depth):
            yield f"{key} of container {ref[:60]}: {reason}"


def of_update(body: Body, policy: PolicyConfig) -> Reasons:
    """New limits for a container that is there."""
    yield from _host_config(body, policy, {})
    for key, ceiling, name in _limits(policy):
        if ceiling is None or key not in body:
            continue
        if key == "NanoCpus" and body.get("CpuQuota"):
            continue
        if body[key] < 0 or body[key] > ceiling:
            yield f"{key} over the ceiling ({name})"
        elif key == "PidsLimit" and body[key] == 0:  # Spec: ContainerUpdate, 0 takes the limit away
            yield f"{key} taken away ({name})"
    yield from _swap_ceiling(body, policy)
    yield from _quota_ceiling(body, policy)
    if policy.cpus_max is not None and body.get("CpuPeriod") and not body.get("CpuQuota"):
        yield "CpuPeriod without CpuQuota, which makes a quota worth more (policy.cpus_max)"


def of_network(name: str, policy: PolicyConfig, networks: Known) -> Reasons:
    """Joining a network by name or id."""
    if policy.allow_host_network:
        return
    found = networks.get(name, {})
    if name == "host" or found.get("Name") == "host" or found.get("Driver") == "host":
        yield "the host's network (policy.allow_host_network)"


def of_endpoint(endpoint: Body) -> Reasons:
    if endpoint.get("DriverOpts"):
        yield "driver options of an endpoint"


def networks_of(host: Body, endpoints: Mapping[str, Body]) -> list[str]:
    """Names and ids of the networks a container asks for."""
    mode = str(host.get("NetworkMode", ""))
    names = [] if mode.startswith("container:") or mode in ("", "default", "none") else [mode]
    return names + [name for name in endpoints if name not in names]


def _host_config(host: Body, policy: PolicyConfig, volumes: Known) -> Reasons:
    """HostConfig, Resources or an update of them, field by field."""
    if host.get("Privileged"):
        yield "a privileged container"
    for key in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode"):
        yield from _mode(key, str(host.get(key, "")))
    if str(host.get("NetworkMode", "")).split(":")[0] == "ns":
        yield "a network namespace by path"
    for key in (
        "Annotations",
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeightDevice",
        "Cgroup",
        "CgroupParent",
        "ContainerIDFile",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "DeviceCgroupRules",
        "DeviceRequests",
        "Devices",
        "OomKillDisable",
        "StorageOpt",
    ):
        if host.get(key):
            yield f"HostConfig.{key}"
    for name in host.get("CapAdd") or ():
        bare = str(name).upper().removeprefix("CAP_")
        if bare not in DEFAULT_CAPABILITIES and bare not in policy.allowed_capabilities:
            yield f"capability {bare[:40]} (policy.allowed_capabilities)"
    for option in host.get("SecurityOpt") or ():
        if option not in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
            yield f"security option {str(option)[:60]!r}"
    yield from _at_least(host, "MaskedPaths", MASKED_PATHS)
    yield from _at_least(host, "ReadonlyPaths", READONLY_PATHS)
    if (host.get("OomScoreAdj") or 0) < 0:
        yield "a negative OomScoreAdj"
    if host.get("Runtime") not in (None, *_RUNTIMES):
        yield f"runtime {str(host['Runtime'])[:40]!r}"
    if host.get("Isolation", "") not in ("", "default"):
        yield "Isolation"
    if host.get("VolumeDriver", "") not in ("", "local"):
        yield f"volume driver {host['VolumeDriver'][:40]!r}"
    for limit in host.get("Ulimits") or ():
        if str(limit.get("Name")) not in _ULIMITS:
            yield f"ulimit {str(limit.get('Name'))[:40]!r}"
    log = host.get("LogConfig") or {}
    if log.get("Type", "") not in _LOG_DRIVERS or set(log.get("Config") or ()) - _LOG_OPTIONS:
        yield "a log driver that writes elsewhere"
    yield from _sysctls(host, policy)
    for target, options in (host.get("Tmpfs") or {}).items():
        yield from of_target(str(target))
        yield from of_tmpfs(str(options))
    for bind in host.get("Binds") or ():
        yield from of_bind(str(bind), policy, volumes)
    for mount in host.get("Mounts") or ():
        yield from of_mount(mount, policy, volumes)
    yield from _ports(host, policy)


def _mode(key: str, mode: str) -> Reasons:
    plain = {
        "PidMode": ("", "private"),
        "IpcMode": ("", "none", "private", "shareable"),
        "UTSMode": ("", "private"),
        "UsernsMode": ("", "private"),
        "CgroupnsMode": ("", "private"),
    }[key]
    if mode in plain or (key in SHARED_MODES and mode.startswith("container:")):
        return
    yield f"{key} {mode[:60]!r}"


def _at_least(host: Body, key: str, needed: frozenset[str]) -> Reasons:
    value = host.get(key)
    if value is not None and not needed <= set(value):
        yield f"{key} without {', '.join(sorted(needed - set(value)))}"


def _sysctls(host: Body, policy: PolicyConfig) -> Reasons:
    for name in host.get("Sysctls") or ():
        # The runtime makes a path of the name: a slash or an empty step would lead elsewhere.
        plain = _SYSCTL.match(str(name)) is not None and ".." not in name
        known = name in _SYSCTL_NAMES or name in policy.allowed_sysctls or name.startswith(_SYSCTL_PREFIXES)
        if not plain or not known:
            yield f"sysctl {str(name)[:60]!r} (policy.allowed_sysctls)"
        elif name.startswith("net.") and str(host.get("NetworkMode", "")).startswith(("container:", "host")):
            yield f"sysctl {name[:60]!r} of a shared network"


def _ports(host: Body, policy: PolicyConfig) -> Reasons:
    allowed = policy.allowed_ports
    if not allowed:
        return
    if host.get("PublishAllPorts"):
        yield "publishing on ports the engine chooses (policy.allowed_ports)"
    published: dict[str, list[Body]] = host.get("PortBindings") or {}
    for bindings in published.values():
        for binding in bindings or [{}]:
            text = str(binding.get("HostPort", ""))
            first, _, last = text.partition("-")
            if not first.isdecimal() or not (last or first).isdecimal():
                yield f"host port {text[:20]!r}: name one (policy.allowed_ports)"
            elif not any(int(first) in ports and int(last or first) in ports for ports in allowed):
                yield f"host port {text[:20]} (policy.allowed_ports)"


def _limits(policy: PolicyConfig) -> tuple[tuple[str, int | None, str], ...]:
    return (
        ("Memory", policy.memory_max_bytes, "policy.memory_max"),
        ("NanoCpus", None if policy.cpus_max is None else int(policy.cpus_max * 1e9), "policy.cpus_max"),
        ("PidsLimit", policy.pids_max, "policy.pids_max"),
    )


def _ceilings(host: Body, policy: PolicyConfig) -> Reasons:
    """With a ceiling, a container must ask for a limit, and not for more."""
    for key, ceiling, name in _limits(policy):
        if ceiling is None or (key == "NanoCpus" and host.get("CpuQuota")):
            continue
        value = host.get(key) or 0
        if value <= 0:
            yield f"a container without {key} ({name})"
        elif value > ceiling:
            yield f"{key} over the ceiling ({name})"
    yield from _swap_ceiling(host, policy)
    yield from _quota_ceiling(host, policy)


def _swap_ceiling(host: Body, policy: PolicyConfig) -> Reasons:
    if policy.memory_max_bytes is not None:
        swap = host.get("MemorySwap") or 0
        if swap < 0 or swap > 2 * policy.memory_max_bytes:
            yield "MemorySwap over twice the ceiling (policy.memory_max)"


def _quota_ceiling(host: Body, policy: PolicyConfig) -> Reasons:
    if policy.cpus_max is not None and host.get("CpuQuota"):
        period = host.get("CpuPeriod") or 100_000
        if host["CpuQuota"] < 0 or host["CpuQuota"] > period * policy.cpus_max:
            yield "CpuQuota over the ceiling (policy.cpus_max)"

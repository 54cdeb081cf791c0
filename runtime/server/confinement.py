"""The rules for one container of the confined socket; pure.

Every function yields reasons; no reason, no objection. A field that is not mentioned here is in ``HARMLESS``:
the test of this module compares both with ``runtime.api.types``, so a new field cannot slip in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from runtime.config import PolicyConfig

Body = dict[str, Any]
Known = Mapping[str, Body]
Reasons = Iterator[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHARED_MODES = ("NetworkMode", "PidMode", "IpcMode")
DEPTH_MAX = 16  # containers that share with containers that share ...

# What Docker gives every container; adding one of these adds nothing.
DEFAULT_CAPABILITIES = _words(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP "
    "SETUID SYS_CHROOT"
)
# Hidden and read-only in every container; a request may name more, never fewer.
MASKED_PATHS = _words(
    "/proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    "/proc/sched_debug /proc/scsi /sys/firmware"
)
READONLY_PATHS = _words("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger")

_SYSCTL = re.compile(r"^[a-z0-9_.-]+$")
_SYSCTL_NAMES = _words(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced net.core.somaxconn"
)
_SYSCTL_PREFIXES = ("fs.mqueue.", "net.ipv4.", "net.ipv6.")
_TMPFS_WORDS = _words("rw ro exec noexec nosuid nodev noatime relatime")
_TMPFS_VALUE = re.compile(r"^(size|mode|uid|gid|nr_inodes)=[0-9]+[kKmMgG%]?$")
_BIND_WORDS = _words("ro rw private rprivate nocopy cached delegated consistent default")
_VOLUME_WORDS = _BIND_WORDS
_ULIMITS = _words("as core cpu data fsize locks msgqueue nofile nproc sigpending stack")
_LOG_DRIVERS = ("", "json-file", "local", "none")
_LOG_OPTIONS = _words("max-size max-file compress labels labels-regex env env-regex tag mode max-buffer-size")
_RUNTIMES = ("", "crun", "runc", "io.containerd.runc.v2")

# Fields of HostConfig that are harmless as they stand, whatever their value.
HARMLESS = _words(
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
    yield from _mount_point_names(body.get("Volumes", {}))
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
            yield from _bind_source(str(mount.get("Source", "")), not mount.get("RW", True), policy)
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


def of_volume(driver: str, options: Mapping[str, str]) -> Reasons:
    """A volume with these driver options: only a tmpfs is not somebody's disk."""
    if driver not in ("", "local"):
        yield f"volume driver {driver[:40]!r}"
    if not options:
        return
    for key in sorted(set(options) - {"type", "device", "o"}):
        yield f"volume option {key[:40]!r}"
    if options.get("type") != "tmpfs" or options.get("device", "tmpfs") not in ("", "tmpfs"):
        yield "a volume that mounts something of the host or of the network; only type=tmpfs is taken"
    yield from _tmpfs_options(options.get("o", ""))


def networks_of(host: Body, endpoints: Mapping[str, Body]) -> list[str]:
    """Names and ids of the networks a container asks for."""
    mode = str(host.get("NetworkMode", ""))
    names = [] if mode.startswith("container:") or mode in ("", "default", "none") else [mode]
    return names + [name for name in endpoints if name not in names]


def bind_sources(body: Body) -> list[str]:
    """Host paths a container asks for."""
    host = body.get("HostConfig", {})
    found = [str(bind).partition(":")[0] for bind in host.get("Binds") or () if ":" in str(bind)]
    found += [
        str(mount.get("Source", "")) for mount in host.get("Mounts") or () if mount.get("Type") == "bind"
    ]
    return [source for source in found if source.startswith("/")]


def volumes_of(host: Body) -> list[str]:
    """Named volumes a container asks for."""
    names = []
    for bind in host.get("Binds") or ():
        source, colon, _ = str(bind).partition(":")
        if colon and source and not source.startswith("/"):
            names.append(source)
    for mount in host.get("Mounts") or ():
        if mount.get("Type") == "volume" and mount.get("Source"):
            names.append(str(mount["Source"]))
    return names


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
        yield from _target(str(target))
        yield from _tmpfs_options(str(options))
    for bind in host.get("Binds") or ():
        yield from _bind(str(bind), policy, volumes)
    for mount in host.get("Mounts") or ():
        yield from _mount(mount, policy, volumes)
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


def _tmpfs_options(text: str) -> Reasons:
    for word in text.split(","):
        if word and word not in _TMPFS_WORDS and not _TMPFS_VALUE.match(word):
            yield f"tmpfs option {word[:40]!r}"


def _target(path: str) -> Reasons:
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps or "\0" in path:
        yield f"mount point {path[:80]!r}"
    elif not steps or steps[0] in ("proc", "sys"):
        yield f"mounting over {path[:80]!r}"


def _mount_point_names(volumes: Mapping[str, Any]) -> Reasons:
    for target in volumes:
        yield from _target(str(target))


def _bind(text: str, policy: PolicyConfig, volumes: Known) -> Reasons:
    parts = text.split(":")
    if len(parts) == 1:
        yield from _target(parts[0])
        return
    if len(parts) > 3:
        yield f"bind {text[:80]!r}"
        return
    words = parts[2].split(",") if len(parts) == 3 and parts[2] else []
    for word in words:
        if word not in _BIND_WORDS:
            yield f"bind option {word[:40]!r}"
    yield from _target(parts[1])
    if parts[0].startswith("/"):
        yield from _bind_source(parts[0], "ro" in words, policy)
    elif "/" in parts[0] or parts[0] in ("", ".", "..") or parts[0].startswith("~"):
        yield f"bind source {parts[0][:80]!r}"
    else:
        yield from of_volume_fact(parts[0], volumes)


def _mount(mount: Body, policy: PolicyConfig, volumes: Known) -> Reasons:
    kind, source = str(mount.get("Type", "")), str(mount.get("Source", ""))
    yield from _target(str(mount.get("Target", "")))
    if mount.get("ClusterOptions"):
        yield "a cluster volume"
    if kind == "bind":
        options = mount.get("BindOptions") or {}
        if options.get("Propagation", "") not in ("", "private", "rprivate"):
            yield f"mount propagation {options['Propagation'][:40]!r}"
        if options.get("CreateMountpoint"):
            yield "making the source of a bind"
        yield from _bind_source(source, bool(mount.get("ReadOnly")), policy)
    elif kind == "volume":
        options = mount.get("VolumeOptions") or {}
        driver = options.get("DriverConfig") or {}
        yield from of_volume(driver.get("Name", ""), driver.get("Options") or {})
        if options.get("Subpath"):
            yield "VolumeOptions.Subpath"
        if "/" in source or source in (".", ".."):
            yield f"volume name {source[:80]!r}"
        elif source:
            yield from of_volume_fact(source, volumes)
    elif kind == "tmpfs":
        for words in (mount.get("TmpfsOptions") or {}).get("Options") or ():
            yield from _tmpfs_options("=".join(words))
    else:
        yield f"mount type {kind[:40]!r}"


def _bind_source(source: str, read_only: bool, policy: PolicyConfig) -> Reasons:
    """A host path: exactly an allowed one, or below one that is read-only for every confined container.

    Race: whoever may write into an allowed directory can put a symbolic link into it at any moment, also
    between this check and the mount; so nothing below a writable one is taken.
    """
    if not source.startswith("/") or ".." in source.split("/") or "\0" in source:
        yield f"bind source {source[:80]!r}"
        return
    path = PurePosixPath("/" + posixpath.normpath(source).lstrip("/"))
    for rule in policy.allowed_binds:
        if path == PurePosixPath(rule.path):
            if rule.read_only and not read_only:
                yield f"host path {source[:120]} other than read-only (policy.allowed_binds)"
            return
    inside = [rule for rule in policy.allowed_binds if PurePosixPath(rule.path) in path.parents]
    if inside and all(rule.read_only for rule in inside) and read_only:
        return
    yield f"host path {source[:120]} (policy.allowed_binds)"


def of_volume_fact(name: str, volumes: Known) -> Reasons:
    """A volume that is there, whoever made it; one that is not there yet is judged when it is made."""
    found = volumes.get(name)
    if found is not None:
        for reason in of_volume(str(found.get("Driver", "")), found.get("Options") or {}):
            yield f"volume {name[:60]}: {reason}"


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

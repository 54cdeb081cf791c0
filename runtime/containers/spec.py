"""A container's configuration as the OCI `config.json`; pure, nothing is read from the host here.

What must be looked up (rootfs, user, devices, seccomp profile, host facts) comes in as `SpecContext`.
A setting that cannot be honoured raises; none is dropped. Defaults are Docker's.

Spec: OCI runtime 1.1 config.md, config-linux.md; Docker API 1.47 ContainerConfig and HostConfig.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.containers import capabilities, filter, resources
from runtime.containers.admission import check, check_annotations, owns, userns_mode
from runtime.containers.devices import Device, cgroup_rule
from runtime.containers.facts import HostFacts
from runtime.containers.limits import rlimits, sysctls
from runtime.containers.mounts import INIT_PATH, PROPAGATIONS, Mount, container_mounts
from runtime.containers.security import confine, security_options
from runtime.containers.users import User
from runtime.idmap import IdMap

__all__ = [
    "Device",
    "HostFacts",
    "Mount",
    "SpecContext",
    "User",
    "build_spec",
    "check",
    "exec_process",
    "userns_mode",
]

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# "c *:* m": making any node is allowed, using only these: null, zero, full, random, urandom, tty, console,
# ptmx and the terminals of the container's own devpts.
DEVICE_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)


@dataclass(frozen=True)
class SpecContext:
    """What the caller resolved for one start of one container."""

    id: str
    rootfs: Path
    args: list[str]  # entrypoint + cmd
    user: User
    facts: HostFacts
    cgroup_path: str  # "/webdock/<id>"
    cwd: str = "/"
    env: list[str] = field(default_factory=list)  # image's, then container's; build_spec adds the defaults
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    console_size: tuple[int, int] | None = None  # height, width
    mounts: list[Mount] = field(default_factory=list)  # binds and volumes; tmpfs are taken from HostConfig
    devices: list[Device] = field(default_factory=list)  # of HostConfig.Devices, or all for privileged
    blkio_devices: dict[str, tuple[int, int]] = field(default_factory=dict)  # `devices.block_numbers`
    netns: Path | None = None  # None: the host's network (NetworkMode host)
    ipcns: Path | None = None  # of another container (IpcMode container:), as /proc/<pid>/ns/ipc
    pidns: Path | None = None  # of another container (PidMode container:)
    own_network: bool = True  # False when netns belongs to another container
    mapping: IdMap | None = None  # None: host ids
    init: Path | None = None  # host path of a static init program when Init is asked for
    seccomp_profile: dict[str, Any] | None = None  # a client's own, parsed; None: the default one
    apparmor_profile: str | None = None  # the default one, used where the host has it loaded
    annotations: dict[str, str] = field(default_factory=dict)


def unlimited(host_config: dict[str, Any]) -> dict[str, Any]:
    """Without limits that say there is none: a new cgroup has none, and crun cannot write -1 to cgroup v1."""
    return {**host_config, "CpuQuota": max(0, host_config.get("CpuQuota") or 0)}


def build_spec(config: dict[str, Any], host_config: dict[str, Any], ctx: SpecContext) -> dict[str, Any]:
    """The OCI config.json of one start. Raises: what `check` raises."""
    privileged = bool(host_config.get("Privileged"))
    if privileged and ctx.mapping is not None:
        raise InvalidArgument("privileged mode is incompatible with user namespaces")
    held = _capability_set(host_config, ctx.facts)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "root": {"path": str(ctx.rootfs), "readonly": bool(host_config.get("ReadonlyRootfs"))},
        "hostname": "" if host_config.get("UTSMode") == "host" else ctx.hostname,
        "process": _process(host_config, ctx, held),
        "mounts": _mounts(host_config, ctx, privileged),
        "linux": {
            "namespaces": _namespaces(host_config, ctx),
            "cgroupsPath": ctx.cgroup_path,
            "resources": {
                **resources.oci_resources(unlimited(host_config), ctx.blkio_devices),
                "devices": _device_rules(host_config, ctx, privileged),
            },
            "sysctl": _all_sysctls(host_config, ctx),
        },
    }
    if not spec["hostname"]:
        del spec["hostname"]
    linux = spec["linux"]
    if ctx.mapping is not None:
        if ctx.domainname:
            # Kernel: a mapped root may set it by setdomainname(2), not in /proc/sys. runc 1.1 ignores this.
            spec["domainname"] = ctx.domainname
        linux["uidMappings"] = linux["gidMappings"] = ctx.mapping.oci()
    elif ctx.devices:
        linux["devices"] = [_oci_device(device) for device in ctx.devices]
    linux.update(confine(host_config, ctx.facts, held, ctx.seccomp_profile))
    check_annotations(host_config)
    annotations = {**(host_config.get("Annotations") or {}), **ctx.annotations}
    if "seccomp" in linux and (program := filter.compiled(linux["seccomp"])) is not None:
        annotations[filter.ANNOTATION] = program
    if annotations:
        spec["annotations"] = annotations
    if propagation := _rootfs_propagation(ctx.mounts):
        linux["rootfsPropagation"] = propagation
    return spec


def exec_process(
    body: dict[str, Any],
    user: User,
    spec: dict[str, Any],
    facts: HostFacts,
    *,
    console_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The OCI `process` of an exec session: the body of POST /containers/{id}/exec in a container of `spec`.

    Raises: InvalidArgument.
    """
    base: dict[str, Any] = spec["process"]
    tty = bool(body.get("Tty"))
    args = [str(word) for word in body.get("Cmd") or ()]
    if not args:
        raise InvalidArgument("No exec command specified")
    cwd = str(body.get("WorkingDir") or base["cwd"])
    if not cwd.startswith("/"):
        raise InvalidArgument(f"the working directory '{cwd}' is invalid, it needs to be an absolute path")
    inherited = [entry for entry in base["env"] if not entry.startswith("HOME=")]
    env = merge_env(inherited, ["TERM=xterm"] if tty and not _has(inherited, "TERM") else [])
    env = merge_env(env, body.get("Env") or ())
    if not _has(env, "HOME"):
        env.append(f"HOME={user.home}")
    root = base["capabilities"]["bounding"]
    if body.get("Privileged"):
        root = [name for name in capabilities.NUMBERED if name in facts.capabilities]
    process: dict[str, Any] = {
        "terminal": tty,
        "args": args,
        "cwd": cwd,
        "env": env,
        "user": _oci_user(user),
        "capabilities": _oci_capabilities(root, user),
        "noNewPrivileges": bool(base.get("noNewPrivileges")),
        "rlimits": base.get("rlimits", []),
    }
    if "apparmorProfile" in base and not body.get("Privileged"):
        process["apparmorProfile"] = base["apparmorProfile"]
    if "oomScoreAdj" in base:
        process["oomScoreAdj"] = base["oomScoreAdj"]
    if tty and console_size:
        process["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    return process


def merge_env(env: Iterable[str], changes: Iterable[str]) -> list[str]:
    """Docker's rule: a later "K=v" replaces an earlier one in its place, a bare "K" removes it."""
    merged = {entry.partition("=")[0]: entry for entry in env}
    for entry in changes:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return list(merged.values())


# The process.


def _process(host_config: dict[str, Any], ctx: SpecContext, held: list[str]) -> dict[str, Any]:
    if not ctx.args:
        raise InvalidArgument("no command specified")
    security = security_options(host_config, ctx.facts)
    env = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={ctx.hostname}", *(["TERM=xterm"] if ctx.tty else [])]
    env = merge_env(env, ctx.env)
    if not _has(env, "HOME"):
        env.append(f"HOME={ctx.user.home}")
    process: dict[str, Any] = {
        "terminal": ctx.tty,
        "args": [INIT_PATH, "--", *ctx.args] if ctx.init and owns(host_config, "PidMode") else ctx.args,
        "cwd": ctx.cwd or "/",
        "env": env,
        "user": _oci_user(ctx.user),
        "capabilities": _oci_capabilities(held, ctx.user),
        "noNewPrivileges": security.get("no-new-privileges") == "true",
        "rlimits": rlimits(host_config),
        "oomScoreAdj": int(host_config.get("OomScoreAdj") or 0),
    }
    profile = security.get("apparmor", ctx.apparmor_profile)
    if profile in ctx.facts.apparmor:  # one that was asked for is there, the default one may not be
        process["apparmorProfile"] = profile
    if ctx.tty and ctx.console_size:
        process["consoleSize"] = {"height": ctx.console_size[0], "width": ctx.console_size[1]}
    return process


def _oci_user(user: User) -> dict[str, Any]:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def _oci_capabilities(held: list[str], user: User) -> dict[str, list[str]]:
    """Others than root could gain them by set-uid programs only, as execve does it."""
    if user.uid == 0:
        return {"bounding": held, "effective": held, "permitted": held}
    return {"bounding": held}


def _capability_set(host_config: dict[str, Any], facts: HostFacts) -> list[str]:
    return capabilities.resolve(
        add=host_config.get("CapAdd"),
        drop=host_config.get("CapDrop"),
        privileged=bool(host_config.get("Privileged")),
        available=facts.capabilities,
    )


def cgroup_namespace(host_config: dict[str, Any], facts: HostFacts) -> bool:
    """Docker's default: an own one on cgroup v2, the host's on v1."""
    mode = host_config.get("CgroupnsMode") or ("private" if facts.cgroup_version == 2 else "host")
    return bool(mode == "private")


def _namespaces(host_config: dict[str, Any], ctx: SpecContext) -> list[dict[str, str]]:
    namespaces: list[dict[str, str]] = [{"type": "mount"}]
    for kind, mode, path in (
        ("network", "NetworkMode", ctx.netns),
        ("ipc", "IpcMode", ctx.ipcns),
        ("pid", "PidMode", ctx.pidns),
        ("uts", "UTSMode", None),
    ):
        if path is not None:
            namespaces.append({"type": kind, "path": str(path)})
        elif str(host_config.get(mode) or "").startswith("container:"):
            raise RuntimeError(f"expected the {kind} namespace of the other container, got none")
        elif host_config.get(mode) != "host" and (kind != "network" or ctx.netns is not None):
            namespaces.append({"type": kind})
    if cgroup_namespace(host_config, ctx.facts):
        namespaces.append({"type": "cgroup"})
    if ctx.mapping is not None:
        namespaces.append({"type": "user", "path": str(ctx.mapping.userns)})
    return namespaces


def _mounts(host_config: dict[str, Any], ctx: SpecContext, privileged: bool) -> list[dict[str, Any]]:
    extra: list[Mount] = []
    if ctx.init and owns(host_config, "PidMode"):
        extra.append(Mount(INIT_PATH, source=str(ctx.init), read_only=True))
    mounts = container_mounts(
        host_config,
        resolved=[*ctx.mounts, *extra],
        privileged=privileged,
        mapping=ctx.mapping,
        cgroup_namespace=cgroup_namespace(host_config, ctx.facts),
    )
    if ctx.mapping is not None:
        # Kernel: no nodes can be made in a user namespace; the host's own are bound.
        mounts += [
            {
                "destination": device.path,
                "type": "bind",
                "source": device.source,
                "options": ["bind", "rprivate", "nosuid", "noexec"],
            }
            for device in ctx.devices
        ]
    return mounts


def _rootfs_propagation(mounts: list[Mount]) -> str | None:
    kinds = {mount.propagation.removeprefix("r") for mount in mounts if mount.propagation in PROPAGATIONS}
    if "shared" in kinds:
        return "shared"
    return "slave" if "slave" in kinds else None


def _device_rules(host_config: dict[str, Any], ctx: SpecContext, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules = [dict(rule) for rule in DEVICE_RULES]
    for device in ctx.devices:
        rules.append(
            {
                "allow": True,
                "type": device.type,
                "major": device.major,
                "minor": device.minor,
                "access": device.access,
            }
        )
    return rules + [cgroup_rule(text) for text in host_config.get("DeviceCgroupRules") or ()]


def _oci_device(device: Device) -> dict[str, Any]:
    return {
        "path": device.path,
        "type": device.type,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _all_sysctls(host_config: dict[str, Any], ctx: SpecContext) -> dict[str, str]:
    preset: dict[str, str] = {}
    if ctx.netns is not None and ctx.own_network:
        # As Docker: low ports and ping need no rights in a network of one's own.
        last = ctx.mapping.size - 1 if ctx.mapping else 2**31 - 1
        preset["net.ipv4.ip_unprivileged_port_start"] = "0"
        preset["net.ipv4.ping_group_range"] = f"0 {last}"
    if ctx.domainname and owns(host_config, "UTSMode") and ctx.mapping is None:
        preset["kernel.domainname"] = ctx.domainname
    own_network = owns(host_config, "NetworkMode") and ctx.netns is not None
    return {**preset, **sysctls(host_config, own_ipc=owns(host_config, "IpcMode"), own_network=own_network)}


def _has(env: list[str], name: str) -> bool:
    return any(entry.startswith(f"{name}=") for entry in env)

"""A container's configuration as the OCI `config.json`; pure, nothing is read from the host here.

What must be looked up (rootfs, user, devices, seccomp profile, host facts) comes in as `SpecContext`.
A setting that cannot be honoured raises; none is dropped.

Spec: OCI runtime 1.1 config.md, config-linux.md; Docker API 1.47 ContainerConfig and HostConfig.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.idmap import IdMap


@dataclass(frozen=True)
class User:
    """Who a process runs as; `users.resolve(rootfs, "name:group", group_add)` makes one."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()  # supplementary groups, also those of GroupAdd
    home: str = "/"  # from the image's passwd file, "/" when it has none


@dataclass(frozen=True)
class Mount:
    """A mount the caller resolved: bind (also volumes and our hosts/hostname/resolv.conf) or tmpfs."""

    destination: str  # absolute path in the container
    type: str  # "bind" | "tmpfs"
    source: str = ""  # host path for bind
    read_only: bool = False
    propagation: str = "rprivate"  # private, rprivate, shared, rshared, slave, rslave
    recursive: bool = True  # bind what is mounted below, too (BindOptions.NonRecursive is the opposite)
    options: tuple[str, ...] = ()  # further mount(8) options, as "size=64m", "mode=1777", "noexec"
    idmap: bool = False  # host ids appear as container ids (mapped containers only)


@dataclass(frozen=True)
class Device:
    """A device node, resolved on the host (`devices.resolve`)."""

    path: str  # in the container
    type: str  # "c" | "b"
    major: int
    minor: int
    access: str = "rwm"
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class HostFacts:
    """What build_spec must know about the machine (`runtime.cgroups.host_facts()`)."""

    cgroup_version: int  # 1 (also hybrid) or 2
    controllers: frozenset[str]  # as "memory", "cpu", "pids"
    swap_limit: bool = True  # memory.memsw.* or memory.swap.max is there
    cpus: int = 1
    memory_bytes: int = 0
    kernel: tuple[int, int] = (6, 1)
    arch: str = "x86_64"  # uname -m
    apparmor: bool = False
    seccomp: bool = True


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
    env: list[str] = field(default_factory=list)  # image's and container's, merged; build_spec adds the defaults
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    mounts: list[Mount] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)  # beyond the default ones
    netns: Path | None = None  # None: the host's network (NetworkMode host)
    ipcns: Path | None = None  # of another container (IpcMode container:), /proc/<pid>/ns/ipc
    pidns: Path | None = None  # of another container (PidMode container:)
    mapping: IdMap | None = None  # None: host ids
    init: Path | None = None  # host path of the init program when Init is asked for
    seccomp_profile: dict[str, Any] | None = None  # Docker's JSON form (`seccomp.load_default()`), None: unconfined
    apparmor_profile: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)


def userns_mode(host_config: dict[str, Any], default: str) -> str:
    """Whether a container runs mapped ("auto") or with host ids ("host"), given the engine's default.

    Host is chosen for privileged containers, host namespaces and `UsernsMode: host`.
    """
    raise NotImplementedError


def check(config: dict[str, Any], host_config: dict[str, Any], facts: HostFacts) -> list[str]:
    """Everything about these bodies that belongs to the OCI side, at create time: Docker's warnings.

    Raises: InvalidArgument in Docker's words, NotSupported for what this machine cannot do.
    """
    raise NotImplementedError


def build_spec(config: dict[str, Any], host_config: dict[str, Any], ctx: SpecContext) -> dict[str, Any]:
    """The OCI config.json. Raises: what `check` raises."""
    raise NotImplementedError


def exec_process(
    exec_body: dict[str, Any], user: User, base_env: list[str], container_spec: dict[str, Any]
) -> dict[str, Any]:
    """The OCI `process` of an exec session: body of POST /containers/{id}/exec over the container's config.json.

    base_env: the container's own environment (config.json's process.env).
    """
    raise NotImplementedError


def oci_resources(host_config: dict[str, Any], facts: HostFacts) -> dict[str, Any]:
    """`linux.resources` of HostConfig's fields (without devices): for build_spec and for live updates."""
    raise NotImplementedError

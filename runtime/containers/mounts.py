"""The mounts of a container: Docker's defaults, what the caller resolved, and tmpfs; pure.

Spec: OCI runtime 1.1 config.md, Mounts; Docker API 1.47 HostConfig.Tmpfs, Mount, ReadonlyRootfs, IpcMode.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.idmap import IdMap

SHM = "/dev/shm"  # noqa: S108 - a mount point, no temporary file
PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
INIT_PATH = "/sbin/docker-init"

_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_OPPOSITES = {
    **{name: f"no{name}" for name in ("exec", "suid", "dev", "atime", "diratime")},
    "rw": "ro",
    "sync": "async",
}
_TMPFS_FLAGS = frozenset((*_OPPOSITES, *_OPPOSITES.values(), "relatime", "strictatime", "noswap"))
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "huge", "mpol"})


@dataclass(frozen=True)
class Mount:
    """A mount the caller resolved: a bind of a host path, of a volume, of our hosts file; or a tmpfs."""

    destination: str  # absolute path in the container
    type: str = "bind"  # "bind" | "tmpfs"
    source: str = ""  # host path for bind
    read_only: bool = False
    propagation: str = "rprivate"  # one of PROPAGATIONS
    recursive: bool = True  # bind what is mounted below, too (BindOptions.NonRecursive is the opposite)
    options: tuple[str, ...] = ()  # further mount(8) options, as "size=64m", "mode=1777", "noexec"
    idmap: bool = False  # mapped containers: host ids appear as container ids (see `userns.mappable`)


def container_mounts(
    host_config: dict[str, Any],
    *,
    resolved: Iterable[Mount],
    privileged: bool,
    mapping: IdMap | None,
    cgroup_namespace: bool,
) -> list[dict[str, Any]]:
    """All OCI mounts in the order to be made, parents first. Raises: InvalidArgument."""
    own: dict[str, dict[str, Any]] = {}
    for mount in (*_tmpfs_mounts(host_config), *resolved):
        destination = _destination(mount.destination)
        own[destination] = _oci(mount, destination, mapping)
    mounts = [
        mount
        for mount in _defaults(host_config, privileged)
        if mount["destination"] not in own
        and not (mount["destination"].startswith("/dev/") and "/dev" in own)
        and not (mount["destination"].startswith("/sys/") and "/sys" in own)
    ]
    if host_config.get("ReadonlyRootfs"):
        mounts = [_read_only(mount) for mount in mounts]
    # A mount hides what is mounted below it, so shallow ones come first; equal depths keep their order.
    return mounts + sorted(own.values(), key=lambda mount: mount["destination"].count("/"))


def _defaults(host_config: dict[str, Any], privileged: bool) -> list[dict[str, Any]]:
    ipc = host_config.get("IpcMode") or "private"
    view = "rw" if privileged else "ro"

    def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
        return {"destination": destination, "type": kind, "source": source, "options": list(options)}

    quiet = ("nosuid", "noexec", "nodev")
    mounts = [
        mount("/proc", "proc", "proc", *quiet),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount(
            *("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance"),
            *("ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        mount("/sys", "sysfs", "sysfs", *quiet, view),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", view, *quiet),
    ]
    # It shows the queues of the IPC namespace it is mounted in: also with the host's or another container's.
    mounts.append(mount("/dev/mqueue", "mqueue", "mqueue", *quiet))
    if ipc == "host":
        mounts.append(mount(SHM, "bind", SHM, "rbind", *quiet))
    if ipc in ("private", ""):  # shareable and container: get one from the caller that others can bind, too
        size = host_config.get("ShmSize") or 64 << 20
        mounts.append(mount(SHM, "tmpfs", "shm", *quiet, "mode=1777", f"size={size}"))
    return mounts


def _oci(mount: Mount, destination: str, mapping: IdMap | None) -> dict[str, Any]:
    view = "ro" if mount.read_only else "rw"
    if mount.type == "tmpfs":
        return {
            "destination": destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*mount.options, *(("ro",) if mount.read_only else ())],
        }
    if mount.type != "bind" or not mount.source.startswith("/"):
        raise InvalidArgument(
            f"invalid mount for {destination}: bind source {mount.source!r} is not absolute"
        )
    if mount.propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid propagation mode for {destination}: {mount.propagation!r}")
    source, options = mount.source, ["rbind" if mount.recursive else "bind", view, mount.propagation]
    if mapping is not None and mount.idmap:
        options.append("idmap")
    elif mapping is not None and mapping.holds(source):
        source = str(mapping.seen(source))
    return {
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": [*options, *mount.options],
    }


def _read_only(mount: dict[str, Any]) -> dict[str, Any]:
    """With a read-only root, the defaults a program must write to stay writable."""
    if mount["destination"] in ("/proc", "/dev", "/dev/pts", SHM, "/dev/mqueue"):
        return mount
    options = [option for option in mount["options"] if option not in ("rw", "ro")]
    return {**mount, "options": [*options, "ro"]}


def _tmpfs_mounts(host_config: dict[str, Any]) -> list[Mount]:
    found = []
    for destination, text in (host_config.get("Tmpfs") or {}).items():
        found.append(Mount(destination, "tmpfs", options=_tmpfs_options(str(text), destination)))
    for entry in host_config.get("Mounts") or ():
        if entry.get("Type") != "tmpfs":
            continue
        given = entry.get("TmpfsOptions") or {}
        options = [":".join(pair) if len(pair) > 1 else pair[0] for pair in given.get("Options") or ()]
        if given.get("SizeBytes"):
            options.append(f"size={int(given['SizeBytes'])}")
        if given.get("Mode"):
            options.append(f"mode={int(given['Mode']):o}")
        text = ",".join(option.replace(":", "=", 1) for option in options)
        found.append(
            Mount(
                str(entry.get("Target") or ""),
                "tmpfs",
                options=_tmpfs_options(text, str(entry.get("Target"))),
                read_only=bool(entry.get("ReadOnly")),
            )
        )
    return found


def _tmpfs_options(text: str, destination: str) -> tuple[str, ...]:
    """Docker's defaults, then what was asked for; opposites cancel. Raises: InvalidArgument."""
    options = dict.fromkeys(_TMPFS_DEFAULTS)
    for option in filter(None, text.split(",")):
        name, equals, _ = option.partition("=")
        if not (option in _TMPFS_FLAGS or (equals and name in _TMPFS_VALUES)):
            raise InvalidArgument(f'invalid tmpfs option "{option}" for {destination}')
        for word, opposite in _OPPOSITES.items():
            if option in (word, opposite):
                options.pop(word, None)
                options.pop(opposite, None)
        if equals:
            options = {o: None for o in options if not o.startswith(f"{name}=")}
        options[option] = None
    return tuple(options)


def _destination(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    clean = posixpath.normpath(path)
    clean = "/" + clean.lstrip("/")
    if clean == "/":
        raise InvalidArgument("invalid mount: destination can't be '/'")
    return clean

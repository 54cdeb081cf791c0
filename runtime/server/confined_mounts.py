"""The rules for volumes and for what a container mounts, on the confined socket; pure.

Every function that begins with ``of_`` yields reasons; no reason, no objection.
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


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TMPFS_WORDS = words("rw ro exec noexec nosuid nodev noatime relatime")
_TMPFS_VALUE = re.compile(r"^(size|mode|uid|gid|nr_inodes)=[0-9]+[kKmMgG%]?$")
_BIND_WORDS = words("ro rw private rprivate nocopy cached delegated consistent default")


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
    yield from of_tmpfs(options.get("o", ""))


def of_volume_fact(name: str, volumes: Known) -> Reasons:
    """A volume that is there, whoever made it; one that is not there yet is judged when it is made."""
    found = volumes.get(name)
    if found is not None:
        for reason in of_volume(str(found.get("Driver", "")), found.get("Options") or {}):
            yield f"volume {name[:60]}: {reason}"


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


def bind_sources(body: Body) -> list[str]:
    """Host paths a container asks for."""
    host = body.get("HostConfig", {})
    found = [str(bind).partition(":")[0] for bind in host.get("Binds") or () if ":" in str(bind)]
    found += [
        str(mount.get("Source", "")) for mount in host.get("Mounts") or () if mount.get("Type") == "bind"
    ]
    return [source for source in found if source.startswith("/")]


def of_mount_points(volumes: Mapping[str, Any]) -> Reasons:
    for target in volumes:
        yield from of_target(str(target))


def of_target(path: str) -> Reasons:
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps or "\0" in path:
        yield f"mount point {path[:80]!r}"
    elif not steps or steps[0] in ("proc", "sys"):
        yield f"mounting over {path[:80]!r}"


def of_tmpfs(text: str) -> Reasons:
    for word in text.split(","):
        if word and word not in _TMPFS_WORDS and not _TMPFS_VALUE.match(word):
            yield f"tmpfs option {word[:40]!r}"


def of_bind(text: str, policy: PolicyConfig, volumes: Known) -> Reasons:
    parts = text.split(":")
    if len(parts) == 1:
        yield from of_target(parts[0])
        return
    if len(parts) > 3:
        yield f"bind {text[:80]!r}"
        return
    words = parts[2].split(",") if len(parts) == 3 and parts[2] else []
    for word in words:
        if word not in _BIND_WORDS:
            yield f"bind option {word[:40]!r}"
    yield from of_target(parts[1])
    if parts[0].startswith("/"):
        yield from of_bind_source(parts[0], "ro" in words, policy)
    elif "/" in parts[0] or parts[0] in ("", ".", "..") or parts[0].startswith("~"):
        yield f"bind source {parts[0][:80]!r}"
    else:
        yield from of_volume_fact(parts[0], volumes)


def of_mount(mount: Body, policy: PolicyConfig, volumes: Known) -> Reasons:
    kind, source = str(mount.get("Type", "")), str(mount.get("Source", ""))
    yield from of_target(str(mount.get("Target", "")))
    if mount.get("ClusterOptions"):
        yield "a cluster volume"
    if kind == "bind":
        options = mount.get("BindOptions") or {}
        if options.get("Propagation", "") not in ("", "private", "rprivate"):
            yield f"mount propagation {options['Propagation'][:40]!r}"
        if options.get("CreateMountpoint"):
            yield "making the source of a bind"
        yield from of_bind_source(source, bool(mount.get("ReadOnly")), policy)
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
            yield from of_tmpfs("=".join(words))
    else:
        yield f"mount type {kind[:40]!r}"


def of_bind_source(source: str, read_only: bool, policy: PolicyConfig) -> Reasons:
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

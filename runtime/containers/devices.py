"""Device nodes of the host, looked up for a container.

Spec: Docker API 1.47 DeviceMapping, DeviceCgroupRules; OCI runtime 1.1 config-linux.md, Devices.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from runtime.api.errors import InvalidArgument

DEVICES = 4096  # of one container; a directory of devices adds all of its nodes

# Of the terminal and of file systems each container gets a fresh one.
_NOT_PASSED = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"})
_RULE = re.compile(r"^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$")


@dataclass(frozen=True)
class Device:
    """A device node, as the container shall see it."""

    path: str  # in the container
    source: str  # on the host
    type: str  # "c" | "b"
    major: int
    minor: int
    access: str = "rwm"
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


def resolve(mappings: Iterable[dict[str, Any]]) -> list[Device]:
    """HostConfig.Devices on this host; a directory stands for all devices below it.

    Raises: InvalidArgument in Docker's words.
    """
    found: list[Device] = []
    for mapping in mappings:
        source = str(mapping.get("PathOnHost") or "")
        target = str(mapping.get("PathInContainer") or source)
        access = str(mapping.get("CgroupPermissions") or "rwm")
        if not access or set(access) - set("rwm"):
            raise InvalidArgument(f'invalid device mode "{access}"')
        if not target.startswith("/"):
            raise InvalidArgument(f"invalid device path in the container: {target!r} is not absolute")
        try:
            real = os.path.realpath(source, strict=True)
            if os.path.isdir(real):
                nodes = [
                    _device(path, target + path[len(real) :], access) for path in _below(real, frozenset())
                ]
            else:
                nodes = [_device(real, target, access)]
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error).lower()
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{source}": {reason}'
            ) from error
        if not nodes:
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{source}": no devices found'
            )
        found += nodes
    if len(found) > DEVICES:
        raise InvalidArgument(f"{len(found)} devices are too many, a container can have {DEVICES}")
    return found


def all_devices() -> list[Device]:
    """Every device of the host, for a privileged container."""
    found = []
    for path in _below("/dev", _NOT_PASSED):
        try:
            found.append(_device(path, path, "rwm"))
        except (OSError, ValueError):
            continue  # Race: it was unplugged
    return found[:DEVICES]


def cgroup_rule(text: str) -> dict[str, Any]:
    """ "c 189:* rwm" as an OCI device rule. Raises: InvalidArgument in Docker's words."""
    match = _RULE.match(text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, value in (("major", major), ("minor", minor)):
        if value != "*":
            rule[name] = int(value)
    return rule


def block_numbers(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """{"/dev/sda": (8, 0)} for block devices. Raises: InvalidArgument."""
    numbers = {}
    for path in paths:
        try:
            device = _device(path, path, "rwm")
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"cannot limit the block device {path}: {error}") from error
        if device.type != "b":
            raise InvalidArgument(f"cannot limit the block device {path}: it is not a block device")
        numbers[path] = (device.major, device.minor)
    return numbers


def _below(directory: str, skip: frozenset[str]) -> Iterator[str]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.name in skip or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, skip)
        elif stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
            yield entry.path


def _device(source: str, target: str, access: str) -> Device:
    status = os.stat(source)
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        raise ValueError("not a device node")
    return Device(
        path=os.path.normpath(target),
        source=source,
        type=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        access=access,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )

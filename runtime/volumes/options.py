"""Options of the local volume driver: what is to be mounted when such a volume is used.

Pure. The spellings are those of Docker's local driver: ``type``, ``device`` and ``o``, as for mount(8).

Spec: Docker, volume create, driver-specific options; mount(2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from runtime.api.errors import InvalidArgument, NotSupported

OPTION_BYTES = 4096  # the kernel takes one page of mount data

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS = 1, 2, 4, 8, 16
MS_MANDLOCK, MS_DIRSYNC, MS_NOATIME, MS_NODIRATIME = 64, 128, 1024, 2048
MS_BIND, MS_REC, MS_RELATIME, MS_STRICTATIME = 4096, 16384, 1 << 21, 1 << 24

# word -> (flags set, flags cleared)
_FLAGS = {
    "defaults": (0, 0),
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0),
    "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0),
    "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0),
    "exec": (0, MS_NOEXEC),
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "mand": (MS_MANDLOCK, 0),
    "nomand": (0, MS_MANDLOCK),
    "noatime": (MS_NOATIME, 0),
    "atime": (0, MS_NOATIME),
    "nodiratime": (MS_NODIRATIME, 0),
    "diratime": (0, MS_NODIRATIME),
    "relatime": (MS_RELATIME, 0),
    "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, 0),
    "nostrictatime": (0, MS_STRICTATIME),
    "bind": (MS_BIND, 0),
    "rbind": (MS_BIND | MS_REC, 0),
}
_NETWORKED = ("nfs", "nfs4", "cifs", "smb3")
_ADDRESS = re.compile(r"(?:^|,)addr=([^,]*)")


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One call of mount(2)."""

    kind: str  # file system type; "none" for binds
    device: str
    flags: int
    data: str

    @property
    def is_bind(self) -> bool:
        return bool(self.flags & MS_BIND)

    @property
    def host_name(self) -> str | None:
        """The server of a network file system that is named and not numbered: its address is to be found
        anew at every mount."""
        found = _ADDRESS.search(self.data) if self.kind in _NETWORKED else None
        if found is None:
            return None
        try:
            ip_address(found[1])
        except ValueError:
            return found[1]
        return None

    def with_address(self, address: str) -> MountPlan:
        data = _ADDRESS.sub(lambda found: found[0].replace(found[1], address), self.data)
        return MountPlan(self.kind, self.device, self.flags, data)


def parse_options(options: Mapping[str, str]) -> MountPlan | None:
    """What to mount; None for a plain directory.

    Raises: InvalidArgument, NotSupported.
    """
    for key, value in options.items():
        if key not in ("type", "device", "o", "size"):
            raise InvalidArgument(f'invalid option: "{key}"')
        if "\0" in value or len(value.encode()) > OPTION_BYTES:
            raise InvalidArgument(f'invalid option: "{key}" has a NUL byte or is too long')
    if "size" in options:
        raise NotSupported("quota size of local volumes is not supported; a tmpfs volume takes o=size=…")
    given = {key: value for key, value in options.items() if value}
    if not given:
        return None
    for key in ("device", "type"):
        if key not in given:
            raise InvalidArgument(f'missing required option: "{key}"')
    flags, data = 0, []
    for word in given.get("o", "").split(","):
        if word in _FLAGS:
            on, off = _FLAGS[word]
            flags = (flags | on) & ~off
        elif word:
            data.append(word)
    kind, device = given["type"], given["device"]
    if flags & MS_BIND and not device.startswith("/"):
        raise InvalidArgument(f'invalid option: "device": a bind needs an absolute path, got {device!r}')
    return MountPlan(kind, device, flags, ",".join(data))

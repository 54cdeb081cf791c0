"""Which capabilities a container gets; pure.

Spec: capabilities(7); Docker API 1.47 HostConfig.CapAdd, CapDrop, Privileged.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.api.errors import InvalidArgument

# In the kernel's order: the index is the capability's number.
# fmt: off
NUMBERED = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN",
    "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
# Docker's, in its order.
DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
# fmt: on
ALL = frozenset(NUMBERED)


def from_mask(mask: int) -> frozenset[str]:
    """The names of a bit mask as /proc/<pid>/status shows it (CapBnd)."""
    return frozenset(name for number, name in enumerate(NUMBERED) if mask >> number & 1)


def resolve(
    *, add: Iterable[str] | None, drop: Iterable[str] | None, privileged: bool, available: frozenset[str]
) -> list[str]:
    """The capability set of a container's root, in the kernel's order.

    available: what this engine has itself; defaults beyond that are left out, asked for ones are refused.
    Raises: InvalidArgument in Docker's words.
    """
    added = _names(add or (), "CapAdd", available)
    dropped = _names(drop or (), "CapDrop", ALL)
    if privileged:
        chosen = available
    elif "ALL" in added:
        chosen = available - dropped
    elif "ALL" in dropped:
        chosen = frozenset(added)
    else:
        chosen = frozenset(DEFAULT) - dropped | added
    return [name for name in NUMBERED if name in chosen & available]


def normalize(name: str) -> str:
    """ "net_admin", "CAP_NET_ADMIN" -> "CAP_NET_ADMIN"; "all" -> "ALL"."""
    upper = name.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def _names(names: Iterable[str], field: str, available: frozenset[str]) -> frozenset[str]:
    found = set()
    for name in names:
        full = normalize(name)
        if full != "ALL" and full not in ALL:
            raise InvalidArgument(f'invalid {field}: unknown capability: "{full}"')
        if full != "ALL" and full not in available:
            raise InvalidArgument(
                f"invalid {field}: capability not supported by your kernel or not available in the current "
                f'environment: "{full}"'
            )
        found.add(full)
    return frozenset(found)

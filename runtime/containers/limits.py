"""Limits that are no control groups: ulimits and sysctls; pure.

Spec: Docker API 1.47 Resources.Ulimits, HostConfig.Sysctls; OCI runtime 1.1 config.md POSIX process, rlimits;
namespaces(7).
"""

from __future__ import annotations

from typing import Any

from runtime.api.errors import InvalidArgument

ULIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC"),
        *("RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)

_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in (*("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"),)
)


def rlimits(host_config: dict[str, Any]) -> list[dict[str, Any]]:
    """OCI `process.rlimits`. Raises: InvalidArgument in Docker's words."""
    limits: dict[str, dict[str, Any]] = {}
    for limit in host_config.get("Ulimits") or ():
        name = f"RLIMIT_{str(limit.get('Name') or '').upper()}"
        soft, hard = int(limit.get("Soft") or 0), int(limit.get("Hard") or 0)
        if name not in ULIMITS:
            raise InvalidArgument(f"invalid ulimit type: {limit.get('Name')}")
        if hard != -1 and (soft > hard or soft == -1):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        limits[name] = {"type": name, "soft": soft % 2**64, "hard": hard % 2**64}
    return list(limits.values())


def sysctls(host_config: dict[str, Any], *, own_ipc: bool, own_network: bool) -> dict[str, str]:
    """HostConfig.Sysctls, all of them settable in the container's own namespaces. Raises: InvalidArgument."""
    asked = {str(name): str(value) for name, value in (host_config.get("Sysctls") or {}).items()}
    for name in asked:
        dotted = name.replace("/", ".")
        if dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            if not own_ipc:
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif dotted.startswith("net."):
            if not own_network:
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
        elif dotted != "kernel.domainname":
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
    return asked

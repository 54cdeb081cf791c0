"""What a container's config depends on about the machine; read once, at the engine's start.

Spec: Docker API 1.47, SystemInfo (MemoryLimit, SwapLimit, CpuCfsQuota, …); kernel cgroup-v1, cgroup-v2.rst.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtime.cgroups import Cgroups, detect, parse_list
from runtime.containers.capabilities import from_mask


@dataclass(frozen=True)
class HostFacts:
    """What a container's config depends on about the machine; `docker info` shows some of it."""

    cgroup_version: int  # 1 (also hybrid) or 2
    controllers: frozenset[str]  # as "memory", "cpu", "pids"
    features: frozenset[str]  # what can be limited, of FEATURES
    cpus: int = 1
    cpu_set: frozenset[int] = frozenset()  # CPUs a container may be bound to; empty: unknown
    memory_nodes: frozenset[int] = frozenset()  # the same of NUMA nodes
    memory_bytes: int = 0
    kernel: tuple[int, int] = (6, 1)
    arch: str = "x86_64"  # as `uname -m`
    apparmor: frozenset[str] = frozenset()  # loaded profiles; empty where the kernel has no AppArmor
    seccomp: bool = True
    capabilities: frozenset[str] = frozenset()  # "CAP_CHOWN", …: what the engine has and can pass on


# feature -> (controller, file in its tree) on v1 and on v2; no file: it is there with the controller
FEATURES: dict[str, tuple[tuple[str, str] | None, tuple[str, str] | None]] = {
    "memory": (("memory", "memory.limit_in_bytes"), ("memory", "")),
    "reservation": (("memory", "memory.soft_limit_in_bytes"), ("memory", "")),
    "swap": (("memory", "memory.memsw.limit_in_bytes"), ("memory", "*/memory.swap.max")),
    "oom-kill-disable": (("memory", "memory.oom_control"), None),
    "swappiness": (("memory", "memory.swappiness"), None),
    "kernel-memory-tcp": (("memory", "memory.kmem.tcp.limit_in_bytes"), None),
    "cpu-shares": (("cpu", "cpu.shares"), ("cpu", "")),
    "cpu-cfs": (("cpu", "cpu.cfs_quota_us"), ("cpu", "")),
    "cpu-realtime": (("cpu", "cpu.rt_runtime_us"), None),
    "cpuset": (("cpuset", "cpuset.cpus"), ("cpuset", "")),
    "pids": (("pids", ""), ("pids", "")),
    "blkio-weight": (("blkio", "blkio*weight"), ("io", "*/io*weight")),
    "blkio-weight-device": (("blkio", "blkio*weight_device"), None),
    "blkio-throttle": (("blkio", "blkio.throttle.read_bps_device"), ("io", "")),
    "hugetlb": (("hugetlb", ""), ("hugetlb", "")),
}


@cache
def host_facts() -> HostFacts:
    """This machine's, read once."""
    found = detect()
    major, minor = platform.release().split(".")[:2]
    return HostFacts(
        cgroup_version=found.version,
        controllers=found.controllers,
        features=features(found),
        cpus=os.cpu_count() or 1,
        cpu_set=_cpuset(found, "cpus"),
        memory_nodes=_cpuset(found, "mems"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=(int(major), int("".join(c for c in minor if c.isdigit()) or 0)),
        arch=platform.machine(),
        apparmor=_profiles(_text(Path("/sys/kernel/security/apparmor/profiles"))),
        seccomp=os.path.exists("/proc/sys/kernel/seccomp"),
        capabilities=_bounding_set(_text(Path("/proc/self/status"))),
    )


def features(found: Cgroups) -> frozenset[str]:
    """What of FEATURES these trees can limit."""
    held = set()
    for feature, versions in FEATURES.items():
        wanted = versions[found.version - 1]
        if wanted is None or wanted[0] not in found.controllers:
            continue
        # Some files are in groups below the root only; a tree without groups gets the benefit of the doubt.
        mount = found.mounts[wanted[0]]
        if not wanted[1] or any(mount.glob(wanted[1])) or (wanted[1][0] == "*" and not any(mount.glob("*/"))):
            held.add(feature)
    return frozenset(held)


def _profiles(text: str) -> frozenset[str]:
    """ "docker-default (enforce)" a line, as the kernel lists them."""
    return frozenset(line.rpartition(" (")[0] for line in text.splitlines() if " (" in line)


def _bounding_set(status: str) -> frozenset[str]:
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.M)
    return from_mask(int(match[1], 16) if match else 0)


def _cpuset(found: Cgroups, what: str) -> frozenset[int]:
    mount = found.mounts.get("cpuset")
    if mount is None:
        return frozenset()
    name = f"cpuset.{what}" if found.version == 1 else f"cpuset.{what}.effective"
    return parse_list(_text(mount / name))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

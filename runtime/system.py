"""What the engine tells about itself and the machine: bodies of /version and /info.

Facts that do not change are read once, at the engine's start.

Spec: Docker API 1.47, SystemVersion, SystemInfo.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import VERSION
from runtime.api.types import RegistryRow
from runtime.config import EngineConfig
from runtime.containers.facts import HostFacts
from runtime.containers.times import rfc3339
from runtime.oci.runtime import Probe

API_VERSION = "1.47"
MIN_API_VERSION = "1.24"

_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}

Body = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """What was found out once."""

    id: str  # of this engine instance, kept with its state
    config: EngineConfig
    facts: HostFacts
    probe: Probe  # of the default runtime
    runtimes: dict[str, str]  # name -> path
    conmon: str  # version
    driver: str
    warnings: tuple[str, ...] = ()  # what this machine lacks, in words for people
    security: tuple[str, ...] = field(default=())


def version(machine: Machine) -> Body:
    facts = machine.facts
    arch = _GO_ARCH.get(facts.arch, facts.arch)
    engine = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "Arch": arch,
        "Os": "linux",
        "KernelVersion": platform.release(),
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
        "Experimental": "false",
    }
    return {
        "Platform": {"Name": "webdock"},
        "Components": [
            {"Name": "Engine", "Version": VERSION, "Details": engine},
            {
                "Name": machine.probe.name,
                "Version": machine.probe.version,
                "Details": {"GitCommit": machine.probe.commit},
            },
            {"Name": "conmon", "Version": machine.conmon, "Details": {"GitCommit": ""}},
            {"Name": "Python", "Version": sys.version.split()[0], "Details": {"GitCommit": ""}},
        ],
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": platform.release(),
        "BuildTime": "",
    }


def info(
    machine: Machine,
    *,
    counts: dict[str, int],
    images: int,
    registries: Sequence[RegistryRow],
    listeners: int,
    now_ns: int,
    mapped: bool,
) -> Body:
    """counts: the four numbers of containers; registries: docker.io first."""
    facts, config = machine.facts, machine.config
    name, os_version = _distribution()
    return {
        "ID": machine.id,
        **counts,
        "Images": images,
        "Driver": machine.driver,
        "DriverStatus": [
            ["Backing Filesystem", _filesystem(config.home)],
            ["Supports d_type", "true"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": "memory" in facts.features,
        "SwapLimit": "swap" in facts.features,
        "CpuCfsPeriod": "cpu-cfs" in facts.features,
        "CpuCfsQuota": "cpu-cfs" in facts.features,
        "CPUShares": "cpu-shares" in facts.features,
        "CPUSet": "cpuset" in facts.features,
        "PidsLimit": "pids" in facts.features,
        "OomKillDisable": "oom-kill-disable" in facts.features,
        "IPv4Forwarding": _flag("/proc/sys/net/ipv4/ip_forward"),
        "BridgeNfIptables": _flag("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        "BridgeNfIp6tables": _flag("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": 0,
        "SystemTime": rfc3339(now_ns),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": str(facts.cgroup_version),
        "NEventsListener": listeners,
        "KernelVersion": platform.release(),
        "OperatingSystem": name,
        "OSVersion": os_version,
        "OSType": "linux",
        "Architecture": facts.arch,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(registries),
        "NCPU": facts.cpus,
        "MemTotal": facts.memory_bytes,
        "GenericResources": None,
        "DockerRootDir": str(config.home),
        "HttpProxy": os.environ.get("HTTP_PROXY", ""),
        "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
        "NoProxy": os.environ.get("NO_PROXY", ""),
        "Name": platform.node(),
        "Labels": list(config.labels),
        "ExperimentalBuild": False,
        "ServerVersion": VERSION,
        "Runtimes": {name: {"path": path} for name, path in machine.runtimes.items()},
        "DefaultRuntime": machine.probe.name,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "catatonit",
        "ContainerdCommit": {"ID": "", "Expected": ""},
        "RuncCommit": {"ID": machine.probe.commit, "Expected": machine.probe.commit},
        "InitCommit": {"ID": "", "Expected": ""},
        "SecurityOptions": [
            *(["name=apparmor"] if facts.apparmor else []),
            *(["name=seccomp,profile=builtin"] if facts.seccomp else []),
            *(["name=userns"] if mapped else []),
            *(["name=cgroupns"] if facts.cgroup_version == 2 else []),
        ],
        "DefaultAddressPools": [{"Base": str(pool.base), "Size": pool.size} for pool in config.network.pools],
        "Warnings": list(machine.warnings) or None,
        "CDISpecDirs": [],
    }


def _registries(rows: Sequence[RegistryRow]) -> Body:
    """As Docker shows them; ``rows`` begin with docker.io."""
    indexes = {
        row["Host"]: {
            "Name": row["Host"],
            "Mirrors": row["Mirrors"],
            "Secure": not row["Insecure"],
            "Official": row["Host"] == "docker.io",
        }
        for row in rows
    }
    return {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": [],
        "IndexConfigs": indexes,
        "Mirrors": rows[0]["Mirrors"],
    }


def _distribution() -> tuple[str, str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "Linux", ""
    return release.get("PRETTY_NAME", "Linux"), release.get("VERSION_ID", "")


def _filesystem(path: Path) -> str:
    """The type of the file system a directory lies on, by the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        point = words[1].rstrip("/") + "/"
        if f"{path}/".startswith(point) and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def _flag(path: str) -> bool:
    try:
        return Path(path).read_text().strip() == "1"
    except OSError:
        return False

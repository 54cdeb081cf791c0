"""Limits of a container: HostConfig's fields checked as Docker does, and as OCI `linux.resources`; pure.

Spec: Docker API 1.47, Resources; OCI runtime 1.1 config-linux.md, Control groups.
"""

from __future__ import annotations

from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.cgroups import parse_list
from runtime.containers.facts import HostFacts

MEMORY_MIN_BYTES = 6 << 20
SHM_BYTES = 64 << 20
CPU_PERIOD_US = 100_000
# What the kernel and the runtime can count; a greater limit could not be set at the start.
MEMORY_MAX_BYTES = 1 << 60
PIDS_MAX = 1 << 22
CPU_QUOTA_MAX_US = (1 << 44) - 1
REALTIME_MAX_US = (1 << 64) // 1000 - 1
REALTIME_PERIOD_US = 1_000_000  # of a group for which none is given

_DISCARDED = "Your kernel does not support {} or the cgroup is not mounted. {} discarded."
_BLKIO_DEVICES = {
    "BlkioWeightDevice": "weightDevice",
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}


def adapt(host_config: dict[str, Any], facts: HostFacts) -> tuple[dict[str, Any], list[str]]:
    """HostConfig with Docker's defaults filled in and what the kernel lacks taken out, and Docker's warnings.

    This is what is kept in the record, and shown by inspect. Raises: InvalidArgument.
    """
    adapted = dict(host_config)
    warnings = check_resources(adapted, facts, update=False)
    if _int(adapted, "Memory") > 0 and not _int(adapted, "MemorySwap"):
        adapted["MemorySwap"] = 2 * _int(adapted, "Memory") if "swap" in facts.features else -1
    if not _int(adapted, "ShmSize"):
        adapted["ShmSize"] = SHM_BYTES
    adapted["IpcMode"] = adapted.get("IpcMode") or "private"
    adapted["CgroupnsMode"] = adapted.get("CgroupnsMode") or (
        "private" if facts.cgroup_version == 2 else "host"
    )
    if (adapted.get("PidsLimit") or 0) <= 0:
        adapted["PidsLimit"] = None
    return adapted, warnings


def check_resources(host_config: dict[str, Any], facts: HostFacts, *, update: bool) -> list[str]:
    """Docker's warnings; fields it discards with one are reset in `host_config`.

    Raises: InvalidArgument in Docker's words.
    """
    warnings: list[str] = []
    _memory(host_config, facts, warnings, update)
    _oom(host_config, facts, warnings)
    _cpu(host_config, facts, warnings)
    _cpuset(host_config, facts, warnings)
    _blkio(host_config, facts, warnings)
    if (host_config.get("PidsLimit") or 0) > 0 and "pids" not in facts.features:
        warnings.append(_DISCARDED.format("PIDs limit capabilities", "PIDs limit"))
        host_config["PidsLimit"] = None
    if (host_config.get("PidsLimit") or 0) > PIDS_MAX:
        raise InvalidArgument(
            f"Invalid value: a PIDs limit of {host_config['PidsLimit']}, the most is {PIDS_MAX}"
        )
    if _int(host_config, "ShmSize") < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    _of_windows(host_config, warnings)
    return warnings


def _of_windows(host_config: dict[str, Any], warnings: list[str]) -> None:
    for field, what in (("IOMaximumBandwidth", "bandwidth"), ("IOMaximumIOps", "IOPs")):
        if _int(host_config, field):
            raise InvalidArgument(
                f"Invalid QoS settings: linux does not support configuration of maximum {what}"
            )
    if _int(host_config, "CpuPercent"):
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host_config["CpuPercent"] = 0
    if _int(host_config, "CpuCount"):  # Docker keeps it and says nothing
        warnings.append("linux does not support CPU count. It has no effect.")


def oci_resources(
    host_config: dict[str, Any], blkio_devices: dict[str, tuple[int, int]] | None = None
) -> dict[str, Any]:
    """`linux.resources` of the limits that are set, without the device list.

    blkio_devices: {"/dev/sda": (8, 0)} of the paths the block IO fields name (`devices.block_numbers`).
    """
    resources: dict[str, Any] = {}
    if memory := _oci_memory(host_config):
        resources["memory"] = memory
    if cpu := _oci_cpu(host_config):
        resources["cpu"] = cpu
    pids_limit = host_config.get("PidsLimit")
    if pids_limit:
        resources["pids"] = {"limit": pids_limit if pids_limit > 0 else -1}
    if block := _oci_blkio(host_config, blkio_devices or {}):
        resources["blockIO"] = block
    return resources


def blkio_paths(host_config: dict[str, Any]) -> list[str]:
    """Host paths of the devices the block IO fields name."""
    return sorted({str(d.get("Path", "")) for field in _BLKIO_DEVICES for d in host_config.get(field) or ()})


def _memory(host: dict[str, Any], facts: HostFacts, warnings: list[str], update: bool) -> None:
    memory, swap, reservation = (_int(host, f) for f in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory < 0 or (memory and memory < MEMORY_MIN_BYTES):
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    for field in ("Memory", "MemorySwap", "MemoryReservation", "KernelMemoryTCP"):
        if _int(host, field) > MEMORY_MAX_BYTES:
            raise InvalidArgument(
                f"Invalid value: {field} of {_int(host, field)} bytes, the most is {MEMORY_MAX_BYTES}"
            )
    if memory and "memory" not in facts.features:
        warnings.append(_DISCARDED.format("memory limit capabilities", "Limitation"))
        host["Memory"], host["MemorySwap"], memory, swap = 0, -1, 0, -1
    if memory and swap != -1 and "swap" not in facts.features:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
        host["MemorySwap"], swap = -1, -1
    if swap < -1:
        raise InvalidArgument("Invalid value: memory swap must be -1, 0 or a positive number of bytes")
    if memory and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0 and not update:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and swappiness != -1:
        if not 0 <= swappiness <= 100:
            raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
        if "swappiness" not in facts.features:
            warnings.append(_DISCARDED.format("memory swappiness capabilities", "Memory swappiness"))
            host["MemorySwappiness"] = None
    if reservation and "reservation" not in facts.features:
        warnings.append(_DISCARDED.format("memory soft limit capabilities", "Limitation"))
        host["MemoryReservation"], reservation = 0, 0
    if reservation and reservation < MEMORY_MIN_BYTES:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory and memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if _int(host, "KernelMemory"):
        warnings.append("Specifying a kernel memory limit is deprecated and has no effect.")
    host.pop("KernelMemory", None)
    if _int(host, "KernelMemoryTCP") and "kernel-memory-tcp" not in facts.features:
        warnings.append(_DISCARDED.format("kernel memory TCP capabilities", "Limitation"))
        host["KernelMemoryTCP"] = 0


def _oom(host: dict[str, Any], facts: HostFacts, warnings: list[str]) -> None:
    score = _int(host, "OomScoreAdj")
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    if not host.get("OomKillDisable"):
        return
    if "oom-kill-disable" not in facts.features:
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        host["OomKillDisable"] = None
    elif not _int(host, "Memory"):
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
            "system running out of resources."
        )


def _cpu(host: dict[str, Any], facts: HostFacts, warnings: list[str]) -> None:
    nano, period, quota, shares = (_int(host, f) for f in ("NanoCpus", "CpuPeriod", "CpuQuota", "CpuShares"))
    if nano and period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano and quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano < 0 or nano > facts.cpus * 10**9:
        raise InvalidArgument(
            f"range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs available"
        )
    if nano and "cpu-cfs" not in facts.features:
        raise InvalidArgument("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler")
    if shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({shares}): value must be a positive integer")
    if shares and "cpu-shares" not in facts.features:
        warnings.append(_DISCARDED.format("CPU shares", "Shares"))
        host["CpuShares"] = 0
    if (period or quota) and "cpu-cfs" not in facts.features:
        warnings.append(_DISCARDED.format("CPU CFS scheduler", "CPU period/quota"))
        host["CpuPeriod"], host["CpuQuota"] = 0, 0
        return
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if quota > 0 and quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if quota > CPU_QUOTA_MAX_US:
        raise InvalidArgument(f"CPU cfs quota can not be larger than {CPU_QUOTA_MAX_US}")
    realtime = _int(host, "CpuRealtimePeriod"), _int(host, "CpuRealtimeRuntime")
    if any(realtime) and "cpu-realtime" not in facts.features:
        raise InvalidArgument("Your kernel does not support CPU real-time scheduler")
    if min(realtime) < 0 or max(realtime) > REALTIME_MAX_US:
        raise InvalidArgument(
            f"cpu real-time period and runtime are numbers of microseconds up to {REALTIME_MAX_US}"
        )
    if realtime[1] > (realtime[0] or REALTIME_PERIOD_US):
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def _cpuset(host: dict[str, Any], facts: HostFacts, warnings: list[str]) -> None:
    for field, what, there in (
        ("CpusetCpus", "cpus", facts.cpu_set),
        ("CpusetMems", "mems", facts.memory_nodes),
    ):
        text = host.get(field) or ""
        try:
            wanted = parse_list(text)
        except ValueError as error:
            raise InvalidArgument(f"Invalid value {text} for cpuset {what}") from error
        if wanted and "cpuset" not in facts.features:
            warnings.append(_DISCARDED.format("cpuset", "Cpuset"))
            host[field] = ""
        elif there and not wanted <= there:
            kind = "CPUs" if what == "cpus" else "memory nodes"
            have = ",".join(map(str, sorted(there)))
            raise InvalidArgument(f"Requested {kind} are not available - requested {text}, available: {have}")


def _blkio(host: dict[str, Any], facts: HostFacts, warnings: list[str]) -> None:
    weight = _int(host, "BlkioWeight")
    if weight and "blkio-weight" not in facts.features:
        warnings.append(_DISCARDED.format("Block I/O weight", "Weight"))
        host["BlkioWeight"] = 0
    elif weight and not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if host.get("BlkioWeightDevice") and "blkio-weight-device" not in facts.features:
        warnings.append(_DISCARDED.format("Block I/O weight_device", "Weight-device"))
        host["BlkioWeightDevice"] = []
    for field in _BLKIO_DEVICES:
        entries = host.get(field) or []
        if entries and field != "BlkioWeightDevice" and "blkio-throttle" not in facts.features:
            warnings.append(_DISCARDED.format("block I/O throttling", field))
            host[field] = []


def _oci_memory(host: dict[str, Any]) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    for field, name in (
        ("Memory", "limit"),
        ("MemoryReservation", "reservation"),
        ("MemorySwap", "swap"),
        ("KernelMemoryTCP", "kernelTCP"),
    ):
        if value := _int(host, field):
            memory[name] = value
    if memory.get("swap") == -1 and "limit" not in memory:
        del memory["swap"]  # unlimited is what it is without a limit
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and swappiness != -1:
        memory["swappiness"] = swappiness
    if host.get("OomKillDisable"):
        memory["disableOOMKiller"] = True
    return memory


def _oci_cpu(host: dict[str, Any]) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if nano := _int(host, "NanoCpus"):
        cpu["period"] = CPU_PERIOD_US
        cpu["quota"] = nano * CPU_PERIOD_US // 10**9
    for field, name in (
        ("CpuShares", "shares"),
        ("CpuPeriod", "period"),
        ("CpuQuota", "quota"),
        ("CpuRealtimePeriod", "realtimePeriod"),
        ("CpuRealtimeRuntime", "realtimeRuntime"),
    ):
        if value := _int(host, field):
            cpu[name] = value
    for field, name in (("CpusetCpus", "cpus"), ("CpusetMems", "mems")):
        if host.get(field):
            cpu[name] = host[field]
    return cpu


def _oci_blkio(host: dict[str, Any], numbers: dict[str, tuple[int, int]]) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if weight := _int(host, "BlkioWeight"):
        block["weight"] = weight
    for field, name in _BLKIO_DEVICES.items():
        entries = []
        for device in host.get(field) or ():
            major, minor = numbers[str(device.get("Path", ""))]
            value = {"weight": device["Weight"]} if "Weight" in device else {"rate": device.get("Rate", 0)}
            entries.append({"major": major, "minor": minor, **value})
        if entries:
            block[name] = entries
    return block


def _int(host: dict[str, Any], field: str) -> int:
    return int(host.get(field) or 0)

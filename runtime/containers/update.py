"""Changing limits and the restart policy of a container; pure.

Spec: Docker API 1.47, ContainerUpdate.
"""

from __future__ import annotations

import copy
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.containers.checks import check_restart_policy
from runtime.containers.facts import HostFacts
from runtime.containers.resources import check_resources

Body = dict[str, Any]

RESOURCES = (
    *("BlkioWeight", "CpuShares", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime"),
    *("CpusetCpus", "CpusetMems", "Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "PidsLimit"),
)
# As Docker, which leaves these out without a word; refused here instead.
FIXED = (
    *("BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps"),
    *("BlkioDeviceWriteIOps", "CgroupParent", "Devices", "DeviceCgroupRules", "DeviceRequests"),
    *("KernelMemoryTCP", "MemorySwappiness", "OomKillDisable", "Ulimits"),
    *("CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"),
)


def merge(host: Body, request: Body, facts: HostFacts) -> tuple[Body, list[str]]:
    """(new HostConfig, warnings). Raises: InvalidArgument in Docker's words."""
    merged = copy.deepcopy(host)
    for field in FIXED:
        if request.get(field):
            raise InvalidArgument(f"{field} of a container cannot be changed once it is created")
    if request.get("NanoCpus") and (host["CpuPeriod"] or host["CpuQuota"]):
        what = "CPU Period" if host["CpuPeriod"] else "CPU Quota"
        raise InvalidArgument(
            f"Conflicting options: Nano CPUs cannot be updated as {what} has already been set"
        )
    if (request.get("CpuPeriod") or request.get("CpuQuota")) and host["NanoCpus"]:
        what = "CPU Period" if request.get("CpuPeriod") else "CPU Quota"
        raise InvalidArgument(
            f"Conflicting options: {what} cannot be updated as NanoCPUs has already been set"
        )
    memory, swap = request.get("Memory") or 0, request.get("MemorySwap") or 0
    if memory and not swap and 0 < host["MemorySwap"] < memory:
        raise InvalidArgument(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
            "same time"
        )
    for field in RESOURCES:
        value = request.get(field)
        if value:
            merged[field] = value
    if request.get("PidsLimit") is not None and request["PidsLimit"] <= 0:
        merged["PidsLimit"] = -1  # no limit any more
    warnings = check_resources(merged, facts, update=True)
    policy = request.get("RestartPolicy") or {}
    if policy.get("Name"):
        check_restart_policy(policy)
        if host["AutoRemove"] and policy["Name"] != "no":
            raise InvalidArgument(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        merged["RestartPolicy"] = {
            "Name": policy["Name"],
            "MaximumRetryCount": policy.get("MaximumRetryCount", 0),
        }
    return merged, warnings


def touches_resources(request: Body) -> bool:
    return any(request.get(field) is not None for field in RESOURCES)

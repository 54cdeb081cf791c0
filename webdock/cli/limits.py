"""What a container may use: processor, memory, disks, devices, as ``run`` and ``update`` ask for it; pure.

Spec: Docker API 1.47, Resources.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from webdock.cli.errors import USAGE, Failure
from webdock.cli.output import parse_size

#: option, field, what is limited, how its number is read
DISK_LIMITS: tuple[tuple[str, str, str, Callable[[str, str], int]], ...] = (
    ("blkio_weight_device", "BlkioWeightDevice", "Weight", lambda text, option: whole(text, option)),
    ("device_read_bps", "BlkioDeviceReadBps", "Rate", parse_size),
    ("device_write_bps", "BlkioDeviceWriteBps", "Rate", parse_size),
    ("device_read_iops", "BlkioDeviceReadIOps", "Rate", lambda text, option: whole(text, option)),
    ("device_write_iops", "BlkioDeviceWriteIOps", "Rate", lambda text, option: whole(text, option)),
)


def resources(options: argparse.Namespace) -> dict[str, Any]:
    """Limits, as ``run`` and ``update`` share them; only those that were given."""
    given: dict[str, Any] = {}
    sizes = {"memory": "Memory", "memory_reservation": "MemoryReservation", "shm_size": "ShmSize"}
    sizes["kernel_memory"] = "KernelMemory"
    for name, key in sizes.items():
        if value := getattr(options, name, None):
            given[key] = parse_size(value, f"--{name.replace('_', '-')}")
    if swap := getattr(options, "memory_swap", None):
        given["MemorySwap"] = -1 if swap == "-1" else parse_size(swap, "--memory-swap")
    if cpus := getattr(options, "cpus", None):
        given["NanoCpus"] = nano_cpus(cpus)
    plain = {
        "cpu_shares": "CpuShares",
        "cpu_period": "CpuPeriod",
        "cpu_quota": "CpuQuota",
        "cpu_rt_period": "CpuRealtimePeriod",
        "cpu_rt_runtime": "CpuRealtimeRuntime",
        "memory_swappiness": "MemorySwappiness",
        "cpuset_cpus": "CpusetCpus",
        "cpuset_mems": "CpusetMems",
        "pids_limit": "PidsLimit",
        "blkio_weight": "BlkioWeight",
        "oom_score_adj": "OomScoreAdj",
    }
    for name, key in plain.items():
        if (value := getattr(options, name, None)) is not None:
            given[key] = value
    if getattr(options, "oom_kill_disable", False):
        given["OomKillDisable"] = True
    if limits := getattr(options, "ulimit", None):
        given["Ulimits"] = [ulimit(text) for text in limits]
    if devices := getattr(options, "device", None):
        given["Devices"] = [device(text) for text in devices]
    if rules := getattr(options, "device_cgroup_rule", None):
        given["DeviceCgroupRules"] = rules
    if request := getattr(options, "gpus", None):
        given["DeviceRequests"] = [gpu_request(request)]
    for name, key, unit, read in DISK_LIMITS:
        if limits := getattr(options, name, None):
            option = f"--{name.replace('_', '-')}"
            given[key] = [disk_limit(text, option, unit, read) for text in limits]
    return given


def nano_cpus(text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Failure(f"--cpus: {text!r} is no number; write 1.5", USAGE) from None
    if value <= 0 or not value.is_finite():
        raise Failure(f"--cpus: {text!r} must be more than 0", USAGE)
    return int(value * 10**9)


def ulimit(text: str) -> dict[str, Any]:
    """``nofile=1024:2048`` -> {"Name": …, "Soft": …, "Hard": …}."""
    match = re.fullmatch(r"(\w+)=(-?\d+)(?::(-?\d+))?", text)
    if not match:
        raise Failure(f"--ulimit: {text!r}: write NAME=SOFT[:HARD]", USAGE)
    return {"Name": match[1], "Soft": int(match[2]), "Hard": int(match[3] or match[2])}


def device(text: str) -> dict[str, str]:
    """``/dev/fuse:/dev/fuse:rwm`` -> one entry of Devices."""
    outside, *rest = text.split(":")
    inside, rights = outside, "rwm"
    if rest and re.fullmatch("[rwm]+", rest[-1]):
        rights = rest.pop()
    if rest:
        inside = rest[0]
    return {"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": rights}


def whole(text: str, option: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Failure(f"{option}: {text!r} is no whole number", USAGE)
    return int(text)


def disk_limit(text: str, option: str, unit: str, read: Callable[[str, str], int]) -> dict[str, Any]:
    """``/dev/sda:1mb`` -> {"Path": "/dev/sda", "Rate": 1048576}."""
    path, colon, number = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise Failure(f"{option}: {text!r}: write /dev/NAME:NUMBER", USAGE)
    return {"Path": path, unit: read(number, option)}


def gpu_request(text: str) -> dict[str, Any]:
    """``all``, ``2`` or ``device=0,capabilities=utility`` -> one entry of DeviceRequests."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}}
    capabilities = ["gpu"]
    counted = False
    for position, part in enumerate(next(csv.reader([text]), [])):
        key, equals, value = part.partition("=")
        if not equals and position == 0:
            key, value = "count", part
        if key == "count":
            request["Count"], counted = -1 if value == "all" else whole(value, "--gpus"), True
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            capabilities = [*value.split(","), "gpu"]
        elif key == "options":
            request["Options"] = dict(item.partition("=")[::2] for item in next(csv.reader([value]), []))
        else:
            raise Failure(f"--gpus: {key!r} is not known", USAGE)
    if not counted and request["DeviceIDs"] is None:
        request["Count"] = 1
    return {**request, "Capabilities": [capabilities]}

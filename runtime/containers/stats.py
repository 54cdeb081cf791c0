"""What a container uses, from its control groups, as Docker's stats body. Parsing is pure; `read` reads.

    raw = stats.read(path, pid)            # now
    body = stats.body(id, name, raw, before, read_at, before_at)

Spec: Docker API 1.47, ContainerStats; kernel cgroup-v1/{memory,cpuacct,blkio-controller}.rst, cgroup-v2.rst;
proc(5), /proc/stat and /proc/pid/net/dev.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runtime.cgroups import Cgroups, detect
from runtime.containers.facts import HostFacts, host_facts

NEVER = "0001-01-01T00:00:00Z"
UNLIMITED = 2**64 - 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_BLKIO = (
    *("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive"),
    *("io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive"),
    *("io_time_recursive", "sectors_recursive"),
)
_NETWORK_COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_errors": 2,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_errors": 10,
    "tx_dropped": 11,
}


def read(
    path: str,
    pid: int,
    *,
    networks: bool = True,
    cgroups: Cgroups | None = None,
    facts: HostFacts | None = None,
    proc: Path = Path("/proc"),
) -> dict[str, Any]:
    """The group's numbers now: cpu_stats, memory_stats, pids_stats, blkio_stats, networks.

    path: the container's group. pid: a process in its network; networks False leaves them out (host network).
    What has gone meanwhile reads as zeros. Blocks for some small reads.
    """
    cgroups, facts = cgroups or detect(), facts or host_facts()
    collect = _version_1 if cgroups.version == 1 else _version_2
    raw = collect(_Group(cgroups, path), facts)
    system, online = parse_proc_stat(_text(proc / "stat"))
    raw["cpu_stats"]["system_cpu_usage"] = system
    raw["cpu_stats"]["online_cpus"] = online
    if networks:
        raw["networks"] = parse_net_dev(_text(proc / str(pid) / "net/dev"))
    return raw


def body(
    id: str,
    name: str,
    raw: dict[str, Any] | None,
    before: dict[str, Any] | None,
    read_at: str,
    before_at: str = NEVER,
) -> dict[str, Any]:
    """Docker's body of one sample; raw None is a container that does not run. Times are RFC 3339 text."""
    empty_cpu = {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    made: dict[str, Any] = {
        "read": read_at if raw else NEVER,
        "preread": before_at if before else NEVER,
        "pids_stats": raw["pids_stats"] if raw else {},
        "blkio_stats": raw["blkio_stats"] if raw else dict.fromkeys(_BLKIO),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": raw["cpu_stats"] if raw else empty_cpu,
        "precpu_stats": before["cpu_stats"] if before else empty_cpu,
        "memory_stats": raw["memory_stats"] if raw else {},
        "name": f"/{name}",
        "id": id,
    }
    if raw and "networks" in raw:
        made["networks"] = raw["networks"]
    return made


class _Group:
    """Reads files of one group."""

    def __init__(self, cgroups: Cgroups, path: str) -> None:
        self._cgroups = cgroups
        self._path = path

    def text(self, controller: str, name: str) -> str:
        directory = self._cgroups.directory(controller, self._path)
        return _text(directory / name) if directory else ""

    def number(self, controller: str, name: str, default: int = 0) -> int:
        text = self.text(controller, name).strip()
        return int(text) if text.isdigit() else default

    def table(self, controller: str, name: str) -> dict[str, int]:
        return parse_table(self.text(controller, name))


def _version_1(group: _Group, facts: HostFacts) -> dict[str, Any]:
    percpu = [int(n) for n in group.text("cpuacct", "cpuacct.usage_percpu").split()]
    ticks = group.table("cpuacct", "cpuacct.stat")
    throttled = group.table("cpu", "cpu.stat")
    limit = group.number("memory", "memory.limit_in_bytes", facts.memory_bytes)
    return {
        "cpu_stats": _cpu(
            total=group.number("cpuacct", "cpuacct.usage"),
            percpu=percpu,
            kernel=ticks.get("system", 0) * 10**9 // TICKS_PER_S,
            user=ticks.get("user", 0) * 10**9 // TICKS_PER_S,
            throttled=(
                throttled.get("nr_periods", 0),
                throttled.get("nr_throttled", 0),
                throttled.get("throttled_time", 0),
            ),
        ),
        "memory_stats": {
            "usage": group.number("memory", "memory.usage_in_bytes"),
            "max_usage": group.number("memory", "memory.max_usage_in_bytes"),
            "failcnt": group.number("memory", "memory.failcnt"),
            "stats": group.table("memory", "memory.stat"),
            "limit": min(limit, facts.memory_bytes) if facts.memory_bytes else limit,
        },
        "pids_stats": _pids(group, unlimited=None),
        "blkio_stats": {
            **{name: [] for name in _BLKIO},
            "io_service_bytes_recursive": parse_blkio(_first(group, "io_service_bytes_recursive")),
            "io_serviced_recursive": parse_blkio(_first(group, "io_serviced_recursive")),
        },
    }


def _version_2(group: _Group, facts: HostFacts) -> dict[str, Any]:
    cpu = group.table("cgroup", "cpu.stat")
    limit = group.number("memory", "memory.max", facts.memory_bytes)
    memory = {
        "usage": group.number("memory", "memory.current"),
        "stats": group.table("memory", "memory.stat"),
        "limit": min(limit, facts.memory_bytes) if facts.memory_bytes else limit,
    }
    peak = group.number("memory", "memory.peak")  # since Linux 5.19
    if peak:
        memory["max_usage"] = peak
    return {
        "cpu_stats": _cpu(
            total=cpu.get("usage_usec", 0) * 1000,
            percpu=[],
            kernel=cpu.get("system_usec", 0) * 1000,
            user=cpu.get("user_usec", 0) * 1000,
            throttled=(
                cpu.get("nr_periods", 0),
                cpu.get("nr_throttled", 0),
                cpu.get("throttled_usec", 0) * 1000,
            ),
        ),
        "memory_stats": memory,
        "pids_stats": _pids(group, unlimited=UNLIMITED),
        "blkio_stats": {
            **dict.fromkeys(_BLKIO),
            "io_service_bytes_recursive": parse_io_stat(group.text("io", "io.stat")),
        },
    }


def _cpu(
    *, total: int, percpu: list[int], kernel: int, user: int, throttled: tuple[int, int, int]
) -> dict[str, Any]:
    usage: dict[str, Any] = {"total_usage": total, "usage_in_kernelmode": kernel, "usage_in_usermode": user}
    if percpu:
        usage["percpu_usage"] = percpu
    periods, throttled_periods, throttled_time = throttled
    return {
        "cpu_usage": usage,
        "throttling_data": {
            "periods": periods,
            "throttled_periods": throttled_periods,
            "throttled_time": throttled_time,
        },
    }


def _pids(group: _Group, unlimited: int | None) -> dict[str, int]:
    """Docker leaves an absent limit out on v1, and shows the largest number on v2."""
    found = {"current": group.number("pids", "pids.current")}
    limit = group.number("pids", "pids.max", -1)
    if limit >= 0:
        found["limit"] = limit
    elif unlimited is not None:
        found["limit"] = unlimited
    return found


def _first(group: _Group, name: str) -> str:
    """The scheduler's own numbers, or the throttling layer's where no scheduler counts."""
    for prefix in ("blkio.bfq.", "blkio.", "blkio.throttle."):
        text = group.text("blkio", prefix + name)
        if len(text.splitlines()) > 1:
            return text
    return ""


def parse_table(text: str) -> dict[str, int]:
    """ "anon 4096\\nfile 0" -> {"anon": 4096, "file": 0}; other lines are no part of it."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def parse_blkio(text: str) -> list[dict[str, Any]]:
    """ "8:0 Read 512\\nTotal 512" -> [{"major": 8, "minor": 0, "op": "Read", "value": 512}]."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) != 3 or not words[2].isdigit():
            continue  # the sum of all devices has no device
        major, _, minor = words[0].partition(":")
        if major.isdigit() and minor.isdigit():
            found.append(_block(int(major), int(minor), words[1], int(words[2])))
    return found


def parse_io_stat(text: str) -> list[dict[str, Any]]:
    """ "8:0 rbytes=512 wbytes=0 rios=1 wios=0" as Docker's read and write entries."""
    found = []
    for line in text.splitlines():
        device, _, rest = line.strip().partition(" ")
        fields = rest.split()
        major, _, minor = device.partition(":")
        values = dict(field.partition("=")[::2] for field in fields)
        if not (major.isdigit() and minor.isdigit()):
            continue
        for op, name in (("read", "rbytes"), ("write", "wbytes")):
            if values.get(name, "").isdigit():
                found.append(_block(int(major), int(minor), op, int(values[name])))
    return found


def _block(major: int, minor: int, op: str, value: int) -> dict[str, Any]:
    return {"major": major, "minor": minor, "op": op, "value": value}


def parse_net_dev(text: str) -> dict[str, dict[str, int]]:
    """/proc/<pid>/net/dev as Docker's networks, without the loopback interface."""
    found = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        values = rest.split()
        if colon and name.strip() != "lo" and len(values) >= 16:
            found[name.strip()] = {key: int(values[at]) for key, at in _NETWORK_COLUMNS.items()}
    return found


def parse_proc_stat(text: str) -> tuple[int, int]:
    """(nanoseconds all CPUs spent since boot, idle or not, how many CPUs) from /proc/stat."""
    total = online = 0
    for line in text.splitlines():
        words = line.split()
        if not words or not words[0].startswith("cpu"):
            break
        if words[0] == "cpu":
            total = sum(int(word) for word in words[1:8]) * 10**9 // TICKS_PER_S
        else:
            online += 1
    return total, online


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

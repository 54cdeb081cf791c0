"""Two samples of GET /containers/{id}/stats -> what the charts show. Pure.

Spec: Docker API 1.47, ContainerStats; memory without the page cache, as ``docker stats`` counts it.
"""

from __future__ import annotations

from typing import Any

from webdock.engines.moments import moment


def rates(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """{"at", "cpu", "memory", "memory_limit", "rx", "tx", "read", "write", "pids"}: percent of one CPU,
    bytes, bytes per second. Without an earlier sample the rates are 0."""
    at = moment(now.get("read"))
    earlier = moment(before.get("read")) if before else None
    seconds = (at - earlier).total_seconds() if at and earlier else 0.0
    memory = now.get("memory_stats") or {}
    received, sent = network(now)
    read, written = blocks(now)
    result: dict[str, Any] = {
        "at": int(at.timestamp() * 1000) if at else 0,
        "cpu": round(_cpu(before, now, seconds), 2),
        "memory": memory_used(now),
        "memory_limit": int(memory.get("limit") or 0),
        "rx": 0,
        "tx": 0,
        "read": 0,
        "write": 0,
        "pids": int((now.get("pids_stats") or {}).get("current") or 0),
    }
    if before is not None and seconds > 0:
        old_received, old_sent = network(before)
        old_read, old_written = blocks(before)
        # A counter that went back (the container was restarted) counts from zero.
        for key, old, new in (
            ("rx", old_received, received),
            ("tx", old_sent, sent),
            ("read", old_read, read),
            ("write", old_written, written),
        ):
            result[key] = int((new - old if new >= old else new) / seconds)
    return result


def running(sample: dict[str, Any]) -> bool:
    """Whether the sample is of a container that runs; engines measure stopped ones as nothing at all."""
    pids = (sample.get("pids_stats") or {}).get("current")
    memory = (sample.get("memory_stats") or {}).get("usage")
    return moment(sample.get("read")) is not None and bool(pids or memory)


def usage(sample: dict[str, Any]) -> int:
    """Nanoseconds of processor time used so far."""
    return int(((sample.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0)


def _cpu(before: dict[str, Any] | None, now: dict[str, Any], seconds: float) -> float:
    """Percent of one CPU: nanoseconds used per nanosecond passed."""
    if before is None or seconds <= 0:
        return 0.0
    return max(0.0, (usage(now) - usage(before)) / (seconds * 1e9) * 100)


def memory_used(sample: dict[str, Any]) -> int:
    """Bytes in use, without the page cache that can be given back at once."""
    memory = sample.get("memory_stats") or {}
    used = int(memory.get("usage") or 0)
    detail = memory.get("stats") or {}
    cache = int(detail.get("total_inactive_file") or detail.get("inactive_file") or 0)
    return used - cache if cache < used else used


def network(sample: dict[str, Any]) -> tuple[int, int]:
    """Bytes received and sent so far, over all interfaces."""
    networks = (sample.get("networks") or {}).values()
    received = sum(int(one.get("rx_bytes") or 0) for one in networks)
    return received, sum(int(one.get("tx_bytes") or 0) for one in networks)


def blocks(sample: dict[str, Any]) -> tuple[int, int]:
    """Bytes read from and written to disks so far."""
    read = written = 0
    for one in (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        operation = str(one.get("op", "")).lower()
        if operation == "read":
            read += int(one.get("value") or 0)
        elif operation == "write":
            written += int(one.get("value") or 0)
    return read, written

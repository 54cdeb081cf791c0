"""Numbers of the machine the web process runs on. For an engine elsewhere there are none."""

from __future__ import annotations

from typing import Any

import psutil


def host_numbers(path: str) -> dict[str, Any]:
    """{"cpu_percent", "memory_used", "memory_total", "disk_used", "disk_total"}; the disk is the one ``path``
    lies on. CPU is measured since the last call, so the first one says 0."""
    memory = psutil.virtual_memory()
    try:
        disk = psutil.disk_usage(path)
    except OSError:
        disk = psutil.disk_usage("/")
    return {
        "cpu_percent": psutil.cpu_percent(interval=None),
        "memory_used": memory.total - memory.available,
        "memory_total": memory.total,
        "disk_used": disk.used,
        "disk_total": disk.used + disk.free,  # what root keeps for itself is not ours to fill
    }

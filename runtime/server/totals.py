"""What all containers of an engine may use together; pure.

Limits are counted, not use: what was promised once must be there when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from runtime.config import PolicyConfig

Body = dict[str, Any]
NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Totals:
    """The limits of some containers, added up; those without one count nothing."""

    memory_bytes: int = 0
    nano_cpus: int = 0


def limits_of(host: Body) -> Totals:
    """Memory and CPU limit of one HostConfig."""
    nano = int(host.get("NanoCpus") or 0)
    quota = int(host.get("CpuQuota") or 0)
    if not nano and quota > 0:
        nano = quota * NANO // int(host.get("CpuPeriod") or 100_000)
    return Totals(max(0, int(host.get("Memory") or 0)), nano)


def added(hosts: Iterable[Body]) -> Totals:
    each = [limits_of(host) for host in hosts]
    return Totals(sum(one.memory_bytes for one in each), sum(one.nano_cpus for one in each))


def counts(config: PolicyConfig) -> bool:
    """Whether anything in total is limited."""
    return (config.containers_max, config.memory_total_bytes, config.cpus_total) != (None, None, None)


def reasons(asked: Body, others: Totals, config: PolicyConfig) -> Iterator[str]:
    """Why a container with this HostConfig is too much beside the others."""
    limits = limits_of(asked)
    if config.memory_total_bytes is not None:
        if not limits.memory_bytes:
            yield "a container without Memory (policy.memory_total)"
        elif others.memory_bytes + limits.memory_bytes > config.memory_total_bytes:
            yield f"more Memory than is left of {config.memory_total_bytes} bytes (policy.memory_total)"
    if config.cpus_total is not None:
        if not limits.nano_cpus:
            yield "a container without NanoCpus or CpuQuota (policy.cpus_total)"
        elif others.nano_cpus + limits.nano_cpus > config.cpus_total * NANO:
            yield f"more CPU than is left of {config.cpus_total:g} (policy.cpus_total)"

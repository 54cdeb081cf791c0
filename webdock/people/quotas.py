"""How much a person or a team may have made at a time: containers, their memory and CPU limits, disk.

Of memory and CPU limits are counted, not use; a container without the limit a quota counts is refused, as it
could use anything. Of disk what containers and volumes hold is counted: who is over it makes nothing more,
what runs goes on writing. Asks the database; call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.utils.translation import gettext as _

from runtime.api.errors import Forbidden
from webdock.people.models import Belonging, Quota

MIB = 1 << 20
PROMISED_S = 60.0  # the projection has seen a change long before that
FIELDS = ("containers", "memory_mib", "cpus", "disk_mib")  # of a quota, as forms and rows call them


@dataclass(frozen=True)
class Use:
    """Containers and their limits."""

    containers: int = 0
    memory_bytes: int = 0
    cpus: float = 0.0

    @property
    def memory_mib(self) -> int:
        return self.memory_bytes // MIB


def limits_of(host: Mapping[str, Any]) -> tuple[int, float]:
    """(memory in bytes, CPUs) of a HostConfig; 0 without a limit, and for what is no limit; pure."""
    cpus = _amount(host, "NanoCpus") / 1e9
    if not cpus:
        cpus = _amount(host, "CpuQuota") / (_amount(host, "CpuPeriod") or 100_000)
    return _amount(host, "Memory"), cpus


def _amount(host: Mapping[str, Any], key: str) -> int:
    """A body may hold anything: what is no number the engine refuses, and it must not count as one here."""
    value = host.get(key)
    return max(0, value) if isinstance(value, int) else 0


_promised: dict[str, tuple[float, tuple[int, float]]] = {}  # by container: until when, its limits


def promise(id: str, host: Mapping[str, Any]) -> None:
    """Count these limits for a container that the projection does not show yet, or not with them.

    Race: who makes or changes several in a moment would be judged by what was seen before all of them.
    Another web process sees it a moment later, as the projection does.
    """
    now = time.monotonic()
    for old in [old for old, (until, _limits) in list(_promised.items()) if until < now]:
        _promised.pop(old, None)
    _promised[id] = (now + PROMISED_S, limits_of(host))


def promised_is(before: str, id: str) -> None:
    """What was promised for a claim is about this container."""
    kept = _promised.pop(before, None)
    if kept is not None:
        _promised[id] = kept


Limits = Mapping[str, tuple[int, float] | None]  # memory and CPUs by container; None: it is gone


def limits_now(ids: set[str] | None = None) -> Limits:
    """What was seen of the limits of these containers, or of all."""
    rows = apps.get_model("containers_app", "Container").everything.all()
    rows = rows if ids is None else rows.filter(container_id__in=ids)
    found = rows.values_list("container_id", "removed_at", "inspect__HostConfig")
    limits = {id: None if removed_at else limits_of(host or {}) for id, removed_at, host in found}
    now = time.monotonic()
    for id, (until, (memory, cpus)) in list(_promised.items()):
        seen = limits.get(id, (0, 0.0))
        if seen is not None and until >= now and (ids is None or id in ids):
            limits[id] = (max(memory, seen[0]), max(cpus, seen[1]))
    return limits


def added(limits: Limits, ids: set[str]) -> Use:
    """What these containers use together; pure."""
    each = [limits.get(id, (0, 0.0)) for id in ids]
    there = [one for one in each if one is not None]
    return Use(len(there), sum(memory for memory, _cpus in there), sum(cpus for _memory, cpus in there))


def use_of(belongings: Any, without: str = "") -> Use:
    """What the containers of these rows use; ``without`` one of them."""
    ids = set(belongings.values_list("object_id", flat=True)) - {without}
    return added(limits_now(ids), ids)


def check(
    owner_id: int | None, team_id: int | None, host: Mapping[str, Any], *, instead_of: str = ""
) -> None:
    """Pass when one more container with these limits fits beside the others of its owner and of its team;
    ``instead_of`` one of them, whose place it takes.

    Raises: Forbidden.
    """
    for quota, rows in _quotas(owner_id, team_id):
        use = use_of(rows, instead_of)
        if quota.containers is not None and use.containers >= quota.containers:
            words = _("quota: %(n)d containers is all %(who)s may have")
            raise Forbidden(words % {"n": quota.containers, "who": quota})
        _fits(quota, use, host)


def check_limits(owner_id: int | None, team_id: int | None, host: Mapping[str, Any], existing: str) -> None:
    """``check`` for the new limits of a container that is there."""
    for quota, rows in _quotas(owner_id, team_id):
        _fits(quota, use_of(rows, existing), host)


Sizes = Mapping[tuple[str, str], int]  # {("container", id): bytes of its own files, ("volume", name): bytes}


def counts_disk() -> bool:
    """Whether anybody's disk is counted at all: measuring takes a while."""
    return Quota.objects.exclude(disk_mib=None).exists()


def disk_of(rows: Any, sizes: Sizes) -> int:
    """Bytes that the containers and volumes of these rows hold."""
    held = rows.filter(kind__in=("container", "volume")).values_list("kind", "object_id")
    return sum(sizes.get((kind, id), 0) for kind, id in held)


def check_disk(owner_id: int | None, team_id: int | None, sizes: Sizes) -> None:
    """Pass while what the owner, and the team, hold is less than they may. Raises: Forbidden."""
    for field, id in (("user_id", owner_id), ("team_id", team_id)):
        quota = Quota.objects.filter(**{field: id}).exclude(disk_mib=None).first() if id is not None else None
        if quota is None or quota.disk_mib is None:
            continue
        rows = Belonging.objects.filter(**{"owner_id" if field == "user_id" else field: id})
        held = disk_of(rows, sizes)
        if held >= quota.disk_mib * MIB:
            words = _("quota: %(who)s holds %(held)d of %(most)d MiB on disk: remove something first")
            raise Forbidden(words % {"who": quota, "held": held // MIB, "most": quota.disk_mib})


def check_disk_of(kind: str, id: str, sizes: Sizes) -> None:
    """``check_disk`` for whose this thing is. Raises: Forbidden."""
    row = Belonging.objects.filter(kind=kind, object_id=id).first()
    if row is not None:
        check_disk(row.owner_id, row.team_id, sizes)


def _quotas(owner_id: int | None, team_id: int | None) -> Iterator[tuple[Quota, Any]]:
    rows = Belonging.objects.filter(kind="container")
    for quota in Quota.objects.filter(user_id=owner_id) if owner_id is not None else ():
        yield quota, rows.filter(owner_id=owner_id)
    for quota in Quota.objects.filter(team_id=team_id) if team_id is not None else ():
        yield quota, rows.filter(team_id=team_id)


def _fits(quota: Quota, use: Use, host: Mapping[str, Any]) -> None:
    memory, cpus = limits_of(host)
    if quota.memory_mib is not None:
        if not memory:
            words = _("quota: give it a memory limit, as memory is counted for %(who)s")
            raise Forbidden(words % {"who": quota})
        if use.memory_bytes + memory > quota.memory_mib * MIB:
            left = max(0, quota.memory_mib - use.memory_bytes // MIB)
            raise Forbidden(_("quota: %(n)d MiB of memory are left for %(who)s") % {"n": left, "who": quota})
    if quota.cpus is not None:
        if not cpus:
            words = _("quota: give it a CPU limit, as CPUs are counted for %(who)s")
            raise Forbidden(words % {"who": quota})
        if use.cpus + cpus > quota.cpus + 1e-9:
            left_cpus = max(0.0, quota.cpus - use.cpus)
            words = _("quota: %(n)s CPUs are left for %(who)s")
            raise Forbidden(words % {"n": f"{left_cpus:g}", "who": quota})

"""What people and teams use beside what they may, as pages show it. Asks the database; call it from a thread.

Containers and their limits are counted as the quotas count them; what is on disk is what was measured last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from runtime.api.errors import EngineError
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.sizes import memory_size
from webdock.engines.threads import spawn
from webdock.people import quotas, viewer
from webdock.people.guarded import GuardedClient
from webdock.people.models import Belonging, Quota
from webdock.people.quotas import MIB, Sizes, Use
from webdock.people.standing import Standing

MEASURE_S = 30.0  # what is on disk; no page waits for it
FRESH_S, KEPT_S = 5.0, 60.0  # after these it is measured again, and shown no more
NAMED_MAX = 1000  # containers a query names; more are read with all the others
NEAR, FULL = 0.75, 0.95  # of a quota: from there on its bar warns


@dataclass(frozen=True)
class Gauge:
    """One thing that is counted."""

    name: str
    used: str  # "" while it is not known
    most: str = ""  # "" where nothing is set
    value: float = 0.0  # the bar's, up to ``maximum``
    maximum: float = 0.0

    @property
    def near(self) -> float:
        return NEAR * self.maximum

    @property
    def full(self) -> float:
        return FULL * self.maximum


@dataclass(frozen=True)
class Usage:
    """All that is counted for one person or team."""

    who: str  # "" for the person who looks
    gauges: list[Gauge] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to tell: no quota, and no container."""
        return not any(one.most or one.value for one in self.gauges)


@dataclass
class Measured:
    """What one engine said last, and whether it is being asked again."""

    sizes: Sizes | None = None
    at: float = -KEPT_S  # monotonic
    asking: asyncio.Task[None] | None = None

    async def ask(self, client: GuardedClient) -> None:
        """In a task of its own: it outlives the request, and is for everybody."""
        viewer.look_as(None)
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(MEASURE_S):
                self.sizes = await client.disk_sizes()
                self.at = time.monotonic()


_measured: WeakKeyDictionary[GuardedClient, Measured] = WeakKeyDictionary()


async def measured() -> Sizes | None:
    """What containers and volumes hold on disk; None while that is not known.

    To measure takes longer than a page may: the page has what is known, and the engine is asked meanwhile.
    Quotas are decided by what is measured then (``GuardedClient.disk_sizes``), never by this.
    """
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    known = _measured.setdefault(client, Measured())
    age = time.monotonic() - known.at
    if age > FRESH_S and (known.asking is None or known.asking.done()):
        known.asking = spawn(known.ask(client), name="disk sizes")
    return known.sizes if age <= KEPT_S else None


def gauges(use: Use, disk_bytes: int | None, quota: Quota | None) -> list[Gauge]:
    """The four things a quota counts, each with its bar where one is set; without a quota, too."""

    def gauge(name: str, value: float, text: str, most: float | None, most_text: str) -> Gauge:
        if most is None:
            return Gauge(name, text, value=value)
        # A quota of 0 is full with nothing in it.
        return Gauge(name, text, most_text, min(value, most) if most else 1.0, most or 1.0)

    containers = quota.containers if quota else None
    memory = quota.memory_mib if quota else None
    cpus = quota.cpus if quota else None
    disk = quota.disk_mib if quota else None
    return [
        gauge(_("Containers"), use.containers, str(use.containers), containers, str(containers)),
        gauge(
            _("Memory limits together"),
            use.memory_bytes,
            memory_size(use.memory_bytes),
            None if memory is None else memory * MIB,
            memory_size((memory or 0) * MIB),
        ),
        gauge(_("CPU limits together"), use.cpus, f"{use.cpus:.3g}", cpus, f"{cpus or 0:.3g}"),
        gauge(
            _("On disk"),
            disk_bytes or 0,
            "" if disk_bytes is None else memory_size(disk_bytes),
            None if disk is None else disk * MIB,
            memory_size((disk or 0) * MIB),
        ),
    ]


def of_team(team_id: int, sizes: Sizes | None) -> list[Gauge]:
    """A team's."""
    belongings = Belonging.objects.filter(team_id=team_id)
    disk = None if sizes is None else quotas.disk_of(belongings, sizes)
    use = quotas.use_of(belongings.filter(kind="container"))
    return gauges(use, disk, Quota.objects.filter(team_id=team_id).first())


def of_person(who: Standing, names: dict[int, str], sizes: Sizes | None) -> list[Usage]:
    """A person's own first, then each of their teams'; ``names`` by the teams' numbers."""
    of_one = of_people([who.user_id] if who.user_id is not None else [], sizes)
    return [
        *(Usage("", found) for found in of_one.values()),
        *(Usage(name, of_team(id, sizes)) for id, name in names.items()),
    ]


def of_people(ids: list[int], sizes: Sizes | None) -> dict[int, list[Gauge]]:
    """Of many at once."""
    owned: dict[int, list[tuple[str, str]]] = defaultdict(list)
    rows = Belonging.objects.filter(owner_id__in=ids)
    for owner_id, kind, id in rows.values_list("owner_id", "kind", "object_id"):
        if owner_id is not None:
            owned[owner_id].append((kind, id))
    containers = {ref for things in owned.values() for kind, ref in things if kind == "container"}
    limits = quotas.limits_now(containers if len(containers) <= NAMED_MAX else None)
    set_ones = {quota.user_id: quota for quota in Quota.objects.filter(user_id__in=ids)}
    found = {}
    for id in ids:
        things = owned.get(id, [])
        use = quotas.added(limits, {ref for kind, ref in things if kind == "container"})
        disk = None if sizes is None else sum(sizes.get(thing, 0) for thing in things)
        found[id] = gauges(use, disk, set_ones.get(id))
    return found

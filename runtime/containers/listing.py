"""Which containers a list shows: Docker's filters; pure but for looking up images and networks.

Spec: Docker API 1.47, ContainerList `filters`, ContainerPrune `filters`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runtime.api.errors import EngineError, InvalidArgument
from runtime.containers.record import Record
from runtime.containers.state import ACTIVE, State
from runtime.containers.table import Table
from runtime.containers.times import parse_moment

Filters = dict[str, list[str]]

LIST_FILTERS = frozenset(
    (
        *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name"),
        *("network", "publish", "since", "status", "volume"),
    )
)
PRUNE_FILTERS = frozenset(("label", "label!", "until"))

_HEALTH = ("starting", "healthy", "unhealthy", "none")
_PORTS = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?$")


@dataclass(frozen=True)
class Lookups:
    """What filters name besides containers."""

    image_id: Callable[[str], str]  # raises EngineError when there is none
    network_id: Callable[[str], str]
    ancestors: Callable[[str], set[str]]  # ids of an image and everything it stands on


def select(
    table: Table, filters: Filters, lookups: Lookups, *, all: bool, limit: int | None, now_ns: int
) -> list[Record]:
    """Records to show, newest first. Raises: InvalidArgument in Docker's words, NotFound."""
    check(filters, LIST_FILTERS)
    records = sorted((c.record for c in table), key=lambda r: (r.created_ns, r.id), reverse=True)
    tests = _tests(table, filters, lookups)
    everything = all or limit is not None or bool(filters.get("status") or filters.get("exited"))
    found = [record for record in records if (everything or record.state in ACTIVE) and _all(record, tests)]
    return found if limit is None else found[:limit]


def prunable(table: Table, filters: Filters, now_ns: int) -> list[Record]:
    """Stopped containers a prune removes. Raises: InvalidArgument."""
    check(filters, PRUNE_FILTERS)
    limits = [parse_moment(text, now_ns) for text in filters.get("until", ())]
    if len(limits) > 1:
        raise InvalidArgument("more than one until filter specified")
    return [
        container.record
        for container in table
        if container.record.state in (State.CREATED, State.EXITED, State.DEAD)
        and not container.removing
        and all(container.record.created_ns < limit for limit in limits)
        and labels_match(container.record.config["Labels"], filters)
    ]


def check(filters: Filters, known: Iterable[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name[:40]}'")


def labels_match(labels: dict[str, str], filters: Filters) -> bool:
    def has(text: str) -> bool:
        key, equals, value = text.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return all(has(text) for text in filters.get("label", ())) and not any(
        has(text) for text in filters.get("label!", ())
    )


Test = Callable[[Record], bool]


def _all(record: Record, tests: list[Test]) -> bool:
    return all(test(record) for test in tests)


def _tests(table: Table, filters: Filters, lookups: Lookups) -> list[Test]:
    tests: list[Test] = []

    def add(name: str, make: Callable[[list[str]], Test]) -> None:
        if values := filters.get(name):
            tests.append(make(values))

    add("status", _status)
    add("exited", _exited)
    add("health", _health)
    add("id", lambda values: lambda r: any(r.id.startswith(value) for value in values))
    add("name", _name)
    add("label", lambda values: lambda r: labels_match(r.config["Labels"], {"label": values}))
    add("volume", _volume)
    add("publish", lambda values: _ports("publish", values))
    add("expose", lambda values: _ports("expose", values))
    add("network", lambda values: _network(values, lookups))
    add("ancestor", lambda values: _ancestor(values, lookups))
    add("is-task", _is_task)
    add("isolation", _isolation)
    for name in ("before", "since"):
        for value in filters.get(name, ())[:1]:
            limit = table.find(value).record.created_ns
            before = name == "before"
            tests.append(lambda r, t=limit, b=before: r.created_ns < t if b else r.created_ns > t)  # type: ignore[misc]
    return tests


def _status(values: list[str]) -> Test:
    for value in values:
        if value not in tuple(State):
            raise InvalidArgument(f"invalid filter 'status={value[:40]}'")
    return lambda record: str(record.state) in values


def _exited(values: list[str]) -> Test:
    codes: set[int] = set()
    for value in values:
        if not re.fullmatch(r"-?\d{1,9}", value):
            raise InvalidArgument(f"invalid filter 'exited={value[:40]}'")
        codes.add(int(value))
    return lambda record: record.state not in ACTIVE and record.started_ns > 0 and record.exit_code in codes


def _health(values: list[str]) -> Test:
    for value in values:
        if value not in _HEALTH:
            raise InvalidArgument(f"unrecognised filter value for health: {value[:40]}")
    return lambda record: (record.health.status if record.health else "none") in values


def _name(values: list[str]) -> Test:
    """Docker's names are regular expressions, searched in the name with and without its slash."""
    patterns = []
    for value in values:
        try:
            patterns.append(re.compile(value[:256]))
        except re.error as error:
            raise InvalidArgument(f"invalid filter 'name={value[:40]}': {error}") from None
    return lambda record: any(p.search(record.name) or p.search(f"/{record.name}") for p in patterns)


def _volume(values: list[str]) -> Test:
    return lambda record: any(
        value in (point.name, point.destination, point.source) for point in record.mounts for value in values
    )


def _ports(name: str, values: list[str]) -> Test:
    wanted: set[tuple[int, str]] = set()
    for value in values:
        found = _PORTS.match(value)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if found is None or not first <= last <= 65535:
            raise InvalidArgument(f"invalid filter '{name}={value[:40]}'")
        wanted |= {(port, found[3] or "tcp") for port in range(first, last + 1)}

    def exposed(record: Record) -> bool:
        return any(_port(port) in wanted for port in record.config.get("ExposedPorts") or ())

    def published(record: Record) -> bool:
        bindings = {**record.host_config["PortBindings"], **record.ports}
        return any(
            _port(port) in wanted
            or any((int(b.get("HostPort") or 0), _port(port)[1]) in wanted for b in entries or ())
            for port, entries in bindings.items()
        )

    return published if name == "publish" else exposed


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return (int(number) if number.isdecimal() else 0, protocol or "tcp")


def _network(values: list[str], lookups: Lookups) -> Test:
    ids = set(values)
    for value in values:
        try:
            ids.add(lookups.network_id(value))
        except EngineError:
            pass  # nobody is on a network that is not there
    return lambda record: any(
        name in ids or settings.get("NetworkID") in ids for name, settings in record.networks.items()
    )


def _ancestor(values: list[str], lookups: Lookups) -> Test:
    ids: set[str] = set()
    for value in values:
        try:
            ids.add(lookups.image_id(value))
        except EngineError:
            pass  # as Docker: no such image, no such container
    return lambda record: bool(ids & ({record.image_id} | lookups.ancestors(record.image_id)))


def _is_task(values: list[str]) -> Test:
    for value in values:
        if value.lower() not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"invalid filter 'is-task={value[:40]}'")
    return lambda record: any(value.lower() in ("false", "0") for value in values)


def _isolation(values: list[str]) -> Test:
    return lambda record: any(value in ("default", "") for value in values)

"""Filters of lists and prunes, and the times they compare; shared by networks and volumes.

Pure but for the clock.

Spec: Docker API 1.47, filters of NetworkList, NetworkPrune, VolumeList, VolumePrune.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from runtime.api.errors import InvalidArgument

Filters = Mapping[str, list[str]]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def rfc3339(time_ns: int | None = None) -> str:
    """A time in UTC with nanoseconds, ``2024-05-01T10:00:00.123456789Z``; such strings sort by time."""
    moment = time.time_ns() if time_ns is None else time_ns
    whole = datetime.fromtimestamp(moment // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{moment % 1_000_000_000:09d}Z"


def check_keys(filters: Filters, known: Iterable[str]) -> None:
    """Raises: InvalidArgument for a filter that does not exist here."""
    for key in filters:
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key}'")


def labels_match(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether every ``key`` or ``key=value`` is among the labels."""
    for entry in wanted:
        key, equals, value = entry.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def created_before(values: list[str]) -> str | None:
    """The moment an ``until`` filter names, as ``rfc3339`` writes it: a unix time, a date, or a duration ago.

    Raises: InvalidArgument.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    value = values[0]
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return rfc3339(int(float(value) * 1e9))
    parts = _DURATION.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        return rfc3339(time.time_ns() - int(seconds * 1e9))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidArgument(f"invalid until filter {value!r}: not a time or duration") from None
    return rfc3339(int(moment.astimezone(UTC).timestamp() * 1e9))

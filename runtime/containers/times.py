"""Points in time and spans as Docker writes and reads them; pure.

Times are nanoseconds since 1970, 0 for never.

Spec: RFC 3339 with nanoseconds; Go time.ParseDuration; docker/go-units HumanDuration.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from runtime.api.errors import InvalidArgument

SECOND_NS = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNIX = re.compile(r"^(-?\d{1,12})(?:\.(\d{1,9}))?$")
_RFC3339 = re.compile(
    r"^(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d(?::\d\d)?)?)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?$"
)


def rfc3339(time_ns: int) -> str:
    """As Go's RFC3339Nano: no trailing zeros; 0 is Go's zero time."""
    if time_ns == 0:
        return NEVER
    seconds, fraction = divmod(time_ns, SECOND_NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def rfc3339_fixed(time_ns: int) -> str:
    """With all nine digits, as `docker logs --timestamps` writes them."""
    seconds, fraction = divmod(time_ns, SECOND_NS)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds of "2024-01-02T03:04:05.123456789Z"; shorter forms count from their beginning.

    Raises: ValueError.
    """
    if text == NEVER:
        return 0
    found = _RFC3339.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time")
    day, clock, fraction, zone = found.groups()
    clock = clock or "00"
    clock += ":00" * (2 - clock.count(":"))
    moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in (None, 'Z') else zone}")
    return round(moment.timestamp()) * SECOND_NS + int((fraction or "0").ljust(9, "0"))


def parse_duration(text: str) -> int:
    """Nanoseconds of Go's "1h30m". Raises: ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, end = 0.0, 0
    for found in _DURATION.finditer(rest):
        if found.start() != end:
            break
        total += float(found[1]) * _UNITS_NS[found[2]]
        end = found.end()
    if not rest or end != len(rest):
        raise ValueError(f"{text!r} is not a duration")
    return sign * int(total)


def parse_moment(text: str, now_ns: int) -> int:
    """A filter's point in time: unix seconds, RFC 3339, or a duration before now.

    Raises: InvalidArgument.
    """
    if found := _UNIX.match(text):
        fraction = int((found[2] or "0").ljust(9, "0"))
        return int(found[1]) * SECOND_NS + fraction
    try:
        return now_ns - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidArgument(f"invalid time {text[:60]!r}: a unix time, RFC 3339 or a duration") from None


def human_duration(seconds: float) -> str:
    """ "5 minutes", as in `docker ps`."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"

"""Times in filters and bodies: RFC 3339, Unix seconds, Go durations; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from runtime.api.errors import InvalidArgument

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?)?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS = re.compile(r"-?\d+(?:\.\d+)?")


def seconds(text: str) -> float | None:
    """Unix seconds of an RFC 3339 time; None when it is none."""
    found = _RFC3339.fullmatch(text.strip())
    if not found:
        return None
    clock = found[2] or "00:00"
    zone = (found[4] or "Z").upper().replace("Z", "+00:00")
    zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        found_at = datetime.fromisoformat(
            f"{found[1]}T{clock if clock.count(':') == 2 else clock + ':00'}{zone}"
        )
        return found_at.timestamp() + (float(f"0.{found[3]}") if found[3] else 0.0)
    except (ValueError, OverflowError):
        return None


def moment(text: str, now_s: float) -> float:
    """What ``until`` filters take: a time, Unix seconds, or a Go duration before now.

    Raises: InvalidArgument.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    found = seconds(text)
    if found is not None:
        return found
    try:
        return now_s - duration_s(text)
    except InvalidArgument:
        raise InvalidArgument(
            f"invalid time {text[:64]!r}: expected RFC 3339, Unix seconds or a duration like 1h30m"
        ) from None


def duration_s(text: str) -> float:
    """Seconds of a Go duration, "1h30m". Raises: InvalidArgument."""
    at, total = 0, 0.0
    while piece := _DURATION.match(text, at):
        total += float(piece[1]) * _UNITS[piece[2]]
        at = piece.end()
    if at != len(text) or not text:
        raise InvalidArgument(f"time: invalid duration {text[:64]!r}")
    return total


def rfc3339(seconds_: float) -> str:
    """With nanosecond digits, as Docker writes times."""
    whole = datetime.fromtimestamp(int(seconds_), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int((seconds_ - int(seconds_)) * 1_000_000) * 1000:09d}Z"

"""Times of the Engine API. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$")


def moment(text: object) -> datetime | None:
    """A time of the Engine API (nanoseconds, RFC 3339); None for Go's zero time and for nonsense."""
    if not isinstance(text, str) or (found := _TIME.match(text)) is None or text.startswith("0001-"):
        return None
    fraction = (found[2] or "")[:6].ljust(6, "0")
    zone = "+00:00" if found[3] == "Z" else found[3]
    try:
        return datetime.fromisoformat(f"{found[1]}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None

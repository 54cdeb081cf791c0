"""What the rooms of the fake engine share: names, references, time, filters."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from runtime.api.errors import InvalidArgument, NotFound

Body = dict[str, Any]
NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
ZERO_TIME = "0001-01-01T00:00:00Z"


def new_id() -> str:
    return secrets.token_hex(32)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "000Z")


def find(things: Mapping[str, Any], ref: str, what: str, names: Mapping[str, str]) -> Any:
    """By id, name or unique prefix of an id, as Docker does."""
    ref = ref.removeprefix("/")
    if ref in things:
        return things[ref]
    if ref in names:
        return things[names[ref]]
    found = [key for key in things if ref and key.startswith(ref)]
    if len(found) == 1:
        return things[found[0]]
    if found:
        raise InvalidArgument(
            f"multiple IDs found with provided prefix: {ref}: {', '.join(key[:12] for key in sorted(found))}"
        )
    raise NotFound(f"No such {what}: {ref}")


def check_filters(filters: Mapping[str, list[str]], known: Iterable[str]) -> None:
    for key in filters:
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key}'")


def labels_match(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    for entry in wanted:
        key, equals, value = entry.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True

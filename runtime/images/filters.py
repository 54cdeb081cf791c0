"""Filters of image lists and prunes; pure.

Spec: Docker API 1.47, ImageList and ImagePrune "filters".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from runtime.api.errors import InvalidArgument
from runtime.images.store import ImageRecord
from runtime.images.times import moment, seconds

Filters = dict[str, list[str]]

LIST_FILTERS = frozenset(("before", "dangling", "label", "reference", "since", "until"))
PRUNE_FILTERS = frozenset(("dangling", "label", "label!", "until"))
_TRUE, _FALSE = frozenset(("1", "t", "true")), frozenset(("0", "f", "false"))


def check(filters: Filters, known: frozenset[str]) -> None:
    """Raises: InvalidArgument for a filter nobody knows, in Docker's words."""
    for key in filters:
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key[:64]}'")


def flag(filters: Filters, key: str) -> bool | None:
    """A filter that is true or false; None when it is not given. Raises: InvalidArgument."""
    values = {value.lower() for value in filters.get(key, ())}
    if not values:
        return None
    if values <= _TRUE:
        return True
    if values <= _FALSE:
        return False
    raise InvalidArgument(f"invalid filter '{key}={filters[key]}'")


def select(
    images: Iterable[ImageRecord], filters: Filters, get: Callable[[str], ImageRecord], now_s: float
) -> list[ImageRecord]:
    """The images that Docker would list under these filters. Raises: InvalidArgument, NotFound."""
    check(filters, LIST_FILTERS)
    dangling = flag(filters, "dangling")
    before = [created_s(get(ref)) for ref in filters.get("before", ())]
    since = [created_s(get(ref)) for ref in filters.get("since", ())]
    until = [moment(value, now_s) for value in filters.get("until", ())]
    patterns = filters.get("reference", [])
    found = []
    for image in images:
        made_s = created_s(image)
        if dangling is not None and dangling == bool(image.names):
            continue
        if any(made_s >= limit for limit in (*before, *until)) or any(made_s <= limit for limit in since):
            continue
        if not has_labels(image, filters.get("label", ())):
            continue
        if patterns and not matching_names(image, patterns):
            continue
        found.append(image)
    return found


def created_s(image: ImageRecord) -> float:
    """When the image was made; 0 when it does not say."""
    return seconds(image.created) or 0.0


def has_labels(image: ImageRecord, wanted: Sequence[str]) -> bool:
    """Whether every ``key`` or ``key=value`` is there."""
    labels = image.labels
    for label in wanted:
        key, equals, value = label.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def lacks_labels(image: ImageRecord, unwanted: Sequence[str]) -> bool:
    """Whether none of them is there, as prune's ``label!`` asks."""
    return not any(has_labels(image, [label]) for label in unwanted)


def matching_names(image: ImageRecord, patterns: Sequence[str]) -> list[str]:
    """The familiar names of an image that a ``reference`` filter lets through."""
    found = []
    for name in (*image.names, *image.sources):
        candidates = (name.familiar, name.familiar_name, str(name), name.name)
        if any(_matches(candidate, pattern) for candidate in candidates for pattern in patterns):
            found.append(name.familiar)
    return found


def _matches(name: str, pattern: str) -> bool:
    """Go's path.Match: a star does not cross a slash."""
    names, parts = name.split("/"), pattern.split("/")
    if len(names) != len(parts):
        return False
    return all(
        re.fullmatch(fnmatch.translate(part), one) is not None for one, part in zip(names, parts, strict=True)
    )

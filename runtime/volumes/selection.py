"""Which volumes a list or a prune means; pure.

Spec: Docker API 1.47, VolumeList and VolumePrune, filters.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.api.errors import InvalidArgument
from runtime.network.filters import Filters, check_keys, labels_match
from runtime.volumes.records import Volume

ANONYMOUS_LABEL = "com.docker.volume.anonymous"

_LIST_FILTERS = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS = ("all", "label", "label!")
_TRUE = ("1", "true", "True")
_FALSE = ("0", "false", "False")


def listed(filters: Filters | None, used: Callable[[str], bool]) -> Callable[[Volume], bool]:
    """What a list shows; ``used`` tells whether anybody uses the volume of a name.

    Raises: InvalidArgument for an unknown filter; what it returns, for a value that is no yes or no.
    """
    wanted = filters or {}
    check_keys(wanted, _LIST_FILTERS)
    names, drivers = wanted.get("name", []), wanted.get("driver", [])

    def shows(volume: Volume) -> bool:
        if any(_flag("dangling", value) == used(volume.name) for value in wanted.get("dangling", [])):
            return False
        return (
            (not names or any(value in volume.name for value in names))
            and (not drivers or volume.driver in drivers)
            and labels_match(volume.labels or {}, wanted.get("label", []))
        )

    return shows


def pruned(filters: Filters | None) -> Callable[[Volume], bool]:
    """What a prune removes where nobody uses it: anonymous volumes, with the filter ``all=true`` others too.

    Raises: InvalidArgument for an unknown filter, or a value that is no yes or no.
    """
    wanted = filters or {}
    check_keys(wanted, _PRUNE_FILTERS)
    named_too = [_flag("all", value) for value in wanted.get("all", [])][-1:] == [True]

    def takes(volume: Volume) -> bool:
        labels = volume.labels or {}
        return (
            (named_too or ANONYMOUS_LABEL in labels)
            and labels_match(labels, wanted.get("label", []))
            and not any(labels_match(labels, [value]) for value in wanted.get("label!", []))
        )

    return takes


def _flag(name: str, value: str) -> bool:
    if value not in (*_TRUE, *_FALSE):
        raise InvalidArgument(f"invalid filter '{name}={value}'")
    return value in _TRUE

"""What templates compute with: values as Go sees and prints them, and the functions of ``--format``; pure.

Spec: Go text/template (Functions), and Docker's json, join, split, lower, upper, title, pad, truncate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Missing:
    """What a name stands for that is not there: false, and shown as Go shows it."""

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


def truth(value: Any) -> bool:
    """Go's idea of empty: zero, "", false, nil and anything of length 0."""
    return bool(value)


def show(value: Any) -> str:
    """A value as Go prints it: ``[a b]``, ``map[k:v]``, ``<nil>``, ``<no value>``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, Missing):
        return "<no value>"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{show(k)}:{show(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, Sequence):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, MISSING)
        elif isinstance(value, Sequence):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise IndexError(f"index {key} of a list of {len(value)}")
            value = value[key]
        else:
            return MISSING
    return value


def printf(form: str, *values: Any) -> str:
    parts = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        value = next(parts)
        if match[2] == "q":
            return json.dumps(show(value), ensure_ascii=False)
        if match[2] in "dxXo" and isinstance(value, int):
            return f"%{match[1]}{match[2]}" % value
        if match[2] in "fge" and isinstance(value, int | float):
            return f"%{match[1]}{match[2]}" % value
        return f"%{match[1]}s" % show(value)

    try:
        return re.sub(r"%([-+0-9.]*)([a-zA-Z%])", one, form)
    except StopIteration:
        raise ValueError("more signs than values") from None


def json_text(value: Any) -> str:
    return json.dumps(
        None if isinstance(value, Missing) else value, separators=(",", ":"), ensure_ascii=False
    )


def every(*values: Any) -> Any:
    """Go's ``and``: the first empty value, else the last."""
    return next((value for value in values if not truth(value)), values[-1])


def some(*values: Any) -> Any:
    """Go's ``or``: the first value that is not empty, else the last."""
    return next((value for value in values if truth(value)), values[-1])


def length(value: Any) -> int:
    return 0 if value is None or isinstance(value, Missing) else len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": json_text,
    "join": lambda items, by: by.join(show(item) for item in items or ()),
    "split": lambda text, by: show(text).split(by),
    "lower": lambda text: show(text).lower(),
    "upper": lambda text: show(text).upper(),
    "title": lambda text: show(text).title(),
    "pad": lambda text, left, right: " " * left + show(text) + " " * right,
    "truncate": lambda text, count: show(text)[:count],
    "len": length,
    "index": index,
    "slice": lambda value, *bounds: value[slice(*bounds)],
    "print": lambda *values: "".join(show(value) for value in values),
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "printf": printf,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "not": lambda value: not truth(value),
    "and": every,
    "or": some,
}

"""Requests to values: query strings, filters, JSON bodies; pure.

Owns the reading of what clients send, as leniently as Go's decoder (any case of a key, null as absent) and as
strictly (types and ranges). Knows no endpoint and no rule about what a value may mean.

Spec: Docker API 1.47; Go encoding/json, Unmarshal.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from runtime.api.errors import InvalidArgument
from runtime.api.types import WORDS

INT64 = 1 << 63
LIST_MAX = 100_000  # entries of one list or map
_FALSE = frozenset({"", "0", "no", "false", "none"})
_INTEGER = re.compile(r"[+-]?[0-9]+")


class Query:
    """The query of one request; the first value of a key counts, as in Go's FormValue."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> frozenset[str]:
        return frozenset(self._values)

    def replace(self, key: str, value: str) -> None:
        self._values[key] = [value]

    def text(self, key: str, default: str = "") -> str:
        """The value; ``default`` when it is absent or empty."""
        values = self._values.get(key)
        return (values[0] if values else "") or default

    def texts(self, key: str) -> list[str]:
        return list(self._values.get(key, ()))

    def flag(self, key: str, default: bool = False) -> bool:
        """1, true, True, yes and whatever else is not a spelling of no."""
        if key not in self._values:
            return default
        return self._values[key][0].strip().lower() not in _FALSE

    def integer(self, key: str) -> int | None:
        """A whole number; None when it is absent or empty.

        Raises: InvalidArgument.
        """
        text = self.text(key).strip()
        if not text:
            return None
        if not _INTEGER.fullmatch(text) or len(text) > 20 or not -INT64 <= int(text) < INT64:
            raise InvalidArgument(f"invalid value for {key}: {text[:40]!r} is not a whole number")
        return int(text)

    def filters(self, key: str = "filters") -> dict[str, list[str]]:
        """Filters in both spellings: {"status": ["exited"]} and {"status": {"exited": true}}.

        Raises: InvalidArgument.
        """
        text = self.text(key)
        if not text:
            return {}
        value = load_json(text.encode("utf-8", "surrogatepass"), what="invalid filter")
        filters: dict[str, list[str]] = {}
        if value is None:
            return filters
        if not isinstance(value, dict):
            raise InvalidArgument(f"invalid filter: expected an object, got {_kind(value)}")
        for name, found in value.items():
            if isinstance(found, list) and all(isinstance(item, str) for item in found):
                filters[name] = found
            elif isinstance(found, dict) and all(isinstance(flag, bool) for flag in found.values()):
                filters[name] = [item for item, wanted in found.items() if wanted]
            elif found is not None:
                raise InvalidArgument(f"invalid filter: {name}: expected a list of strings")
        return filters


def load_json(data: bytes, *, what: str = "invalid JSON") -> Any:
    """The value in ``data``; None for nothing but space.

    Raises: InvalidArgument.
    """
    if not data.strip():
        return None
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidArgument(f"{what}: nested too deeply") from None
    except ValueError as error:
        raise InvalidArgument(f"{what}: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def shape(value: Any, kind: Any, *, strict: bool = False) -> Any:
    """``value`` as the TypedDict ``kind`` describes it, keys in Docker's spelling, nulls left out.

    Unknown keys are dropped as Docker drops them, or refused when ``strict``.

    Raises: InvalidArgument naming the field.
    """
    return _shape({} if value is None else value, kind, "", strict)


def _shape(value: Any, kind: Any, path: str, strict: bool) -> Any:
    if kind is Any:
        return value
    if is_typeddict(kind):
        return _object(value, kind, path, strict)
    if kind is bool:
        if isinstance(value, bool):
            return value
    elif kind is str:
        if isinstance(value, str):
            return value if value.isascii() else _clean(value)
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            if not -INT64 <= value < INT64:
                raise InvalidArgument(f"invalid JSON: {path}: {str(value)[:30]} does not fit in 64 bits")
            return value
    elif getattr(kind, "__metadata__", ()) == (WORDS,):
        if isinstance(value, str):
            return [_shape(value, str, path, strict)]
        return _shape(value, list[str], path, strict)
    elif get_origin(kind) is list:
        if isinstance(value, list):
            (inner,) = get_args(kind)
            if len(value) > LIST_MAX:
                raise InvalidArgument(f"invalid JSON: {path}: more than {LIST_MAX} entries")
            return [_shape(_zero(item, inner), inner, path, strict) for item in value]
    elif get_origin(kind) is dict and isinstance(value, dict):
        _, inner = get_args(kind)
        if len(value) > LIST_MAX:
            raise InvalidArgument(f"invalid JSON: {path}: more than {LIST_MAX} entries")
        return {
            _shape(key, str, path, strict): _shape(_zero(item, inner), inner, f"{path}[{key[:80]}]", strict)
            for key, item in value.items()
        }
    raise InvalidArgument(f"invalid JSON: {path or 'body'}: expected {_name(kind)}, got {_kind(value)}")


def _object(value: Any, kind: Any, path: str, strict: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"invalid JSON: {path or 'body'}: expected an object, got {_kind(value)}")
    hints, folded = _fields(kind)
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in hints else folded.get(key.lower(), "")
        if not name:
            if strict:
                raise InvalidArgument(f"unknown field {_join(path, key[:80])}")
            continue
        if item is None:
            out.pop(name, None)  # as in Go, the last of two spellings wins
        else:
            out[name] = _shape(item, hints[name], _join(path, name), strict)
    return out


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], dict[str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    return hints, {name.lower(): name for name in hints}


def _zero(item: Any, kind: Any) -> Any:
    """What Go makes of a null inside a list or map."""
    if item is not None or kind is Any:
        return item
    if is_typeddict(kind) or get_origin(kind) is dict:
        return {}
    if kind in (str, int, bool):
        return kind()
    return []


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(kind: Any) -> str:
    names: Mapping[Any, str] = {bool: "true or false", str: "a string", int: "a whole number"}
    if kind in (bool, str, int):
        return names[kind]
    return "an object" if get_origin(kind) is dict else "a list"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in (
        (bool, "a boolean"),
        (str, "a string"),
        (int | float, "a number"),
        (list, "a list"),
    ):
        if isinstance(value, kind):
            return name
    return "an object"

"""The tables of ``engine.toml``, key by key: what is refused names the file, the line and the key. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file, the line where it is known, and the key."""


class Table:
    """A TOML table that knows where it stands, so that every refusal can say so."""

    def __init__(self, content: Mapping[str, Any], path: tuple[str, ...], file: Path, text: str) -> None:
        self._content = content
        self._path = path
        self._file = file
        self._text = text
        self._asked: set[str] = set()

    def error(self, key: str, why: str) -> ConfigError:
        line = _line_of(self._text, self._path, key)
        where = f"{self._file}:{line}" if line else str(self._file)
        return ConfigError(f"{where}: {'.'.join((*self._path, key))}: {why}")

    def names(self) -> tuple[str, ...]:
        return tuple(self._content)

    def _get(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        self._asked.add(key)
        value = self._content.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"must be {what}, got {type(value).__name__}")
        return value

    def text(self, key: str, default: str) -> str:
        value: str | None = self._get(key, str, "a string")
        return default if value is None else value

    def flag(self, key: str, default: bool) -> bool:
        value: bool | None = self._get(key, bool, "true or false")
        return default if value is None else value

    def number(self, key: str, default: int) -> int:
        value: int | None = self._get(key, int, "a whole number")
        return default if value is None else value

    def positive(self, key: str) -> int | None:
        value: int | None = self._get(key, int, "a whole number")
        if value is not None and value < 1:
            raise self.error(key, f"must be at least 1, got {value}")
        return value

    def decimal(self, key: str) -> float | None:
        value: float | None = self._get(key, (int, float), "a number")
        if value is not None and not 0 < value < 100_000:
            raise self.error(key, f"must be more than 0, got {value}")
        return None if value is None else float(value)

    def size(self, key: str) -> int | None:
        value: int | str | None = self._get(key, (int, str), 'a size such as "512m"')
        size = parse_size(str(value)) if value is not None else None
        if value is not None and not size:
            raise self.error(key, f'must be a size such as "512m", got {value!r}')
        return size

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}, got {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._get(key, list, "a list of strings")
        for value in values or ():
            if not isinstance(value, str):
                raise self.error(key, f"must be a list of strings, got {value!r} in it")
        return tuple(values or ())

    def network(self, key: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        value = self.text(key, "")
        try:
            return ipaddress.ip_network(value) if value else None
        except ValueError as error:
            raise self.error(key, str(error)) from None

    def address(self, key: str, value: str) -> str:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError as error:
            raise self.error(key, str(error)) from None

    def table(self, key: str) -> Table:
        content = self._get(key, dict, "a table")
        return Table(content or {}, (*self._path, key), self._file, self._text)

    def tables(self) -> list[tuple[str, Table]]:
        return [(key, self.table(key)) for key in self._content]

    def list_of_tables(self, key: str) -> list[Table]:
        values = self._get(key, list, "a list of tables")
        for value in values or ():
            if not isinstance(value, dict):
                raise self.error(key, f"must be a list of tables, got {value!r} in it")
        return [Table(value, (*self._path, key), self._file, self._text) for value in values or ()]

    def refuse_rest(self) -> None:
        """An unknown key is a mistake: a misspelt rule of the policy must not pass as absent."""
        for key in self._content:
            if key not in self._asked:
                raise self.error(key, "unknown key")


def _line_of(text: str, path: tuple[str, ...], key: str) -> int | None:
    """The line of ``key`` under the table ``path``; None when it is written inline."""
    current: tuple[str, ...] = ()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("["):
            current = tuple(
                part.strip().strip("\"'")
                for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[^.\[\]]+)\s*\.?""", line.split("#")[0])
            )
            if (*path, key) == current:
                return number
        elif current == path and line.partition("=")[0].strip().strip("\"'") == key:
            return number
    return None


def parse_size(text: str) -> int | None:
    """Bytes of "512", "64k", "1.5g", "2GiB"; None when it is no size."""
    found = _SIZE.match(text.strip())
    return int(float(found[1]) * _SIZE_UNITS[found[2].lower()]) if found else None

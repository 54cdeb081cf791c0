"""Values that many options share: KEY=VALUE, files of such lines, spans of time; pure but for those files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from webdock.cli.errors import USAGE, Failure

NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def environment(given: Sequence[str], files: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Files first, then -e in its order; a bare name is copied from here.

    One that is unset here is left out of a file; of ``-e NAME`` the engine takes the image's own away.
    """
    result = []
    kept = [line for name in files for line in read_lines(name, "--env-file")]
    for position, text in enumerate([*kept, *given]):
        name, equals, _ = text.partition("=")
        if not name:
            raise Failure(f"-e: {text!r} has no name; write KEY=VALUE", USAGE)
        if equals:
            result.append(text)
        elif name in environ:
            result.append(f"{name}={environ[name]}")
        elif position >= len(kept):
            result.append(name)
    return result


def pairs(given: Sequence[str], files: Sequence[str], option: str) -> dict[str, str]:
    """``["a=b", "c"]`` -> {"a": "b", "c": ""}."""
    result = {}
    for text in [*(line for name in files for line in read_lines(name, option)), *given]:
        key, _, value = text.partition("=")
        if not key:
            raise Failure(f"{option}: {text!r} has no name; write KEY=VALUE", USAGE)
        result[key] = value
    return result


def read_lines(path: str, option: str) -> list[str]:
    """The lines of a file of pairs, without comments and empty ones."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{option} {path}: {getattr(error, 'strerror', None) or error}", USAGE) from None
    return [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def duration_ns(text: str, option: str) -> int:
    """Go's durations: ``1m30s`` -> 90000000000."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise Failure(f"{option}: {text!r} is no time; write 30s or 1m30s", USAGE)
    return int(sum(Decimal(number) * NANOSECONDS[unit] for number, unit in parts))

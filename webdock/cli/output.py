"""How results look: Docker's tables, sizes and times, ``--format``, ``--filter``. Only ``emit`` writes."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from webdock.cli.errors import Failure

MIN_COLUMN = 10  # Docker's tables: no column narrower, three spaces between
GAP = 3
ID_CHARS = 12

Row = Mapping[str, Any]
Columns = Sequence[tuple[str, str]]  # (field, heading)


def table(columns: Columns, rows: Iterable[Row]) -> str:
    """Text columns, each as wide as its widest cell; the last one is not padded."""
    lines = [[heading for _, heading in columns]]
    lines += [[one_line(row.get(name, "")) for name, _ in columns] for row in rows]
    return align(lines)


def align(lines: Sequence[Sequence[str]]) -> str:
    """Put cells under each other."""
    count = max((len(line) for line in lines), default=0)
    widths = [
        max(MIN_COLUMN, GAP + max((len(line[i]) for line in lines if i < len(line)), default=0))
        for i in range(count)
    ]
    text = []
    for line in lines:
        cells = [cell.ljust(widths[i]) for i, cell in enumerate(line[:-1])]
        text.append(("".join(cells) + line[-1]).rstrip())
    return "".join(f"{line}\n" for line in text)


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def one_line(value: object) -> str:
    """A value for a table cell: what a container put into its names or command cannot move the cursor."""
    text = str(value).replace("\n", " ").replace("\t", " ")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def format_option(parser: argparse.ArgumentParser, *short: str) -> None:
    parser.add_argument(
        *short, "--format", metavar="FORM", help='"json", "table …" or a Go template like {{.ID}}'
    )


def emit(
    columns: Columns, rows: Sequence[Row], form: str | None, headings: Mapping[str, str] | None = None
) -> None:
    """Print rows as a table, or in the form that was asked for.

    ``headings`` names the headings of fields that are not among the columns, for ``table {{.Field}}``.
    """
    if not form or form == "table":
        sys.stdout.write(table(columns, rows))
    elif form == "json":
        for row in rows:
            sys.stdout.write(json.dumps(public(row), ensure_ascii=False) + "\n")
    else:
        from webdock.cli.template import parse, render

        as_table = form.startswith("table")
        text = form.removeprefix("table").lstrip() if as_table else form
        nodes = parse(text.replace("\\t", "\t").replace("\\n", "\n"))
        lines = [render(nodes, row) for row in rows]
        if as_table:
            names = {name: name.upper() for row in rows[:1] for name in row}
            head = render(nodes, {**names, **(headings or {}), **dict(columns), "LabelMap": LabelNames()})
            sys.stdout.write(align([line.split("\t") for line in [head, *lines]]))
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines)


class LabelNames(dict[str, str]):
    """Every label's heading is its own name."""

    def get(self, name: str, default: object = None) -> str:
        return name

    def __bool__(self) -> bool:
        return True


def public(row: Row) -> dict[str, Any]:
    """A row without what only templates need."""
    return {key: value for key, value in row.items() if key != "LabelMap"}


# -- values ------------------------------------------------------------------------------------------------


def short_id(full: str) -> str:
    """``sha256:9f86d081884c…`` or an id -> its first 12 characters."""
    return full.removeprefix("sha256:")[:ID_CHARS]


def size(count: float, digits: int = 4) -> str:
    """Decimal units as Docker writes them: 1234 -> 1.234kB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{significant(count, digits)}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


def binary_size(count: float) -> str:
    """Binary units: 1048576 -> 1MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{significant(count, 4)}{unit}"
        count /= 1024
    raise AssertionError("unreachable")


def significant(number: float, digits: int) -> str:
    """At most so many digits and no trailing zeros; never an exponent."""
    if number >= 10 ** (digits - 1):
        return f"{number:.0f}"
    return f"{number:.{digits}g}"


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b)?$", re.IGNORECASE)


def parse_size(text: str, what: str) -> int:
    """``512m`` -> 536870912; units are binary, as in Docker's options.

    Raises:
        Failure: when it is no size.
    """
    match = _SIZE.match(text.strip())
    if not match:
        raise Failure(f"{what}: {text!r} is no size; write 512m or 2g", 125)
    return int(float(match[1]) * 1024 ** "bkmgtp".index((match[2] or "b").lower()))


def parse_time(text: str) -> float | None:
    """An engine's RFC 3339 time as seconds since 1970; None for "never" (year 1 or empty)."""
    if not text or text.startswith("0001-"):
        return None
    match = re.match(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?$", text)
    if not match:
        return None
    seconds = datetime.fromisoformat(match[1] + (match[3] or "Z").replace("Z", "+00:00")).timestamp()
    return seconds + float(match[2] or 0)


def age(seconds: float) -> str:
    """``About an hour``, ``3 days``: Docker's words for a span of time."""
    seconds = max(0.0, seconds)
    minutes, hours = int(seconds // 60), int(seconds / 3600 + 0.5)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 730, f"{hours // 24 // 30} months"),
    )
    return next((text for applies, text in steps if applies), f"{hours // 24 // 365} years")


def ago(unix_seconds: float | None) -> str:
    """``3 days ago``, or "N/A" when there is no time."""
    return "N/A" if not unix_seconds else f"{age(time.time() - unix_seconds)} ago"


def local_time(unix_seconds: float | None) -> str:
    """``2026-01-31 12:00:00 +0100 CET``: Docker's CreatedAt."""
    if not unix_seconds:
        return ""
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")


def iso_time(unix_seconds: float | None) -> str:
    """``2026-01-31T12:00:00+01:00``: the moments of an image's history."""
    if not unix_seconds:
        return ""
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone().isoformat(timespec="seconds")


def shortened(text: str, count: int) -> str:
    """At most ``count`` characters, the last one a … when something was cut."""
    return text if len(text) <= count else text[: count - 1] + "…"


# -- filters -----------------------------------------------------------------------------------------------


def filter_option(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument(
        "--filter",
        "-f",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"only what fits, like {example}",
    )


def filters(texts: Sequence[str]) -> dict[str, list[str]] | None:
    """``["status=running"]`` -> the API's filters; None when there are none.

    Raises:
        Failure: when one has no ``=``.
    """
    result: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Failure(f"--filter {text!r}: write KEY=VALUE", 125)
        result.setdefault(key.strip().lower(), []).append(value.strip())
    return result or None

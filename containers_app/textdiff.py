"""Two versions of a text as the lines a reader compares. Pure; bounded in time and in what it gives.

Signs that hide or move others (control characters, bidirectional marks) are written out: what is shown is
what is there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile

from webdock.engines.signs import written_out

CONTEXT_LINES = 3
SHOWN_LINES_MAX = 2000
COMPARED_LINES_MAX = 10_000  # that differ; more are shown as one piece
COMPARE_MAX_S = 1.0
LINE_MAX_CHARS = 2000


@dataclass(frozen=True)
class Line:
    """One line of the comparison."""

    kind: str  # same | removed | added | gap
    text: str  # hidden signs written out; of a gap nothing
    old: int | None = None  # its number in the version before, from 1 on
    new: int | None = None
    ended: bool = True  # by a line end
    skipped: int = 0  # lines a gap stands for


@dataclass(frozen=True)
class Comparison:
    lines: list[Line]
    removed: int
    added: int
    cut: int  # lines of the comparison that are not in ``lines``


def compare(before: str, after: str, *, max_s: float = COMPARE_MAX_S) -> Comparison:
    """Changed lines with a few around them."""
    old, new = _lines(before), _lines(after)
    everything = list(_everything(old, new, max_s))
    lines = list(_without_middles(everything))
    return Comparison(
        lines=lines[:SHOWN_LINES_MAX],
        removed=sum(line.kind == "removed" for line in everything),
        added=sum(line.kind == "added" for line in everything),
        cut=max(0, len(lines) - SHOWN_LINES_MAX),
    )


def _lines(text: str) -> list[str]:
    """With their ends: the last may have none, which is a difference."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _everything(old: list[str], new: list[str], max_s: float) -> Iterator[Line]:
    pairs = zip(old, new, strict=False)
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    rest = min(len(old), len(new)) - head
    ends = zip(reversed(old), reversed(new), strict=False)
    tail = min(rest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends)))
    yield from _same(old, 0, 0, head)
    for kind, low, high, low_new, high_new in _steps(
        old[head : len(old) - tail], new[head : len(new) - tail], max_s
    ):
        if kind == "equal":
            yield from _same(old, head + low, head + low_new, high - low)
            continue
        for at in range(head + low, head + high):
            yield _line("removed", old[at], at + 1, None)
        for at in range(head + low_new, head + high_new):
            yield _line("added", new[at], None, at + 1)
    yield from _same(old, len(old) - tail, len(new) - tail, tail)


def _same(old: list[str], at: int, at_new: int, count: int) -> Iterator[Line]:
    for step in range(count):
        yield _line("same", old[at + step], at + step + 1, at_new + step + 1)


def _steps(old: list[str], new: list[str], max_s: float) -> list[tuple[str, int, int, int, int]]:
    whole = [("replace", 0, len(old), 0, len(new))]
    if not old or not new or max(len(old), len(new)) > COMPARED_LINES_MAX:
        return whole
    try:
        return list(_Matcher(old, new, max_s).get_opcodes())
    except TimeoutError:
        return whole


class _Matcher(SequenceMatcher[str]):
    """Gives up after a while: the worst texts take it minutes."""

    def __init__(self, old: list[str], new: list[str], max_s: float) -> None:
        self._until = time.monotonic() + max_s
        super().__init__(None, old, new)

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> object:  # type: ignore[override]
        if time.monotonic() > self._until:
            raise TimeoutError
        return super().find_longest_match(alo, ahi, blo, bhi)


def _line(kind: str, text: str, old: int | None, new: int | None) -> Line:
    body = text.removesuffix("\n")
    shown = body[:LINE_MAX_CHARS] + ("…" if len(body) > LINE_MAX_CHARS else "")
    return Line(kind, written_out(shown), old, new, ended=text.endswith("\n"))


def _without_middles(lines: list[Line]) -> Iterator[Line]:
    """Runs of same lines cut down to the few beside a change."""
    near = [False] * len(lines)
    for at, line in enumerate(lines):
        if line.kind != "same":
            for beside in range(max(0, at - CONTEXT_LINES), min(len(lines), at + CONTEXT_LINES + 1)):
                near[beside] = True
    skipped = 0
    for line, shown in zip(lines, near, strict=True):
        if not shown:
            skipped += 1
            continue
        if skipped:
            yield Line("gap", "", skipped=skipped)
            skipped = 0
        yield line
    if skipped and any(near):
        yield Line("gap", "", skipped=skipped)

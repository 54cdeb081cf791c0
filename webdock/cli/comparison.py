"""Compares the engine's own log with the pages' audit log: what stands in one and not in the other; pure.

Knows which operations of the engine each of the pages' actions may ask for. Reads no file and no database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

LONGEST_S = 86400.0  # between an action's beginning and a call it makes
STREAMS = ("container_attach", "container_attach_websocket", "exec_start", "exec_attach")

# Changes nothing: waiting for an exit leaves no row.
WITHOUT_A_ROW = frozenset(("container_wait",))

# What goes on with a terminal or attach that was opened, for as long as it is open, by whoever looks on.
OPENINGS = ("container.shell", "container.attach", "container.exec", "container.exec.start")
WHILE_OPEN = frozenset(
    (
        "exec_start",
        "exec_attach",
        "exec_resize",
        "exec_kill",
        "exec_end",
        "container_attach",
        "container_resize",
    )
)


@dataclass(frozen=True)
class Action:
    """What one row of the pages stands for."""

    operations: frozenset[str]
    needs: str = ""  # the operation without which it cannot have been done
    once: bool = False  # one row, one call
    elsewhere: bool = False  # on other things than the row names, too


def _actions() -> dict[str, Action]:
    found: dict[str, Action] = {}

    def action(name: str, words: str, **more: Any) -> None:
        found[name] = Action(frozenset(words.split()), **more)

    for verb in ("start", "stop", "restart", "kill", "pause", "unpause", "rename", "update", "remove"):
        action(f"container.{verb}", f"container_{verb}", needs=f"container_{verb}", once=True)
    action(
        "container.create",
        "container_create network_connect container_remove",
        needs="container_create",
        elsewhere=True,
    )
    action(
        "container.recreate",
        "container_create container_rename container_stop container_start container_pause container_unpause "
        "container_remove network_connect volume_remove",
        needs="container_create",
        elsewhere=True,
    )
    action("container.prune", "container_prune container_remove", elsewhere=True)
    action("container.export", "container_export", needs="container_export")
    action("container.shell", "exec_create exec_start exec_kill exec_end", needs="exec_create")
    action("container.exec", "exec_create", needs="exec_create", once=True)
    action("container.exec.start", "exec_start")
    action("container.attach", "container_attach")
    action("terminal.end", "exec_kill exec_end")
    action("container.file.list", "exec_create exec_start")
    action("container.file.read", "container_archive container_image_archive", needs="container_archive")
    action("container.file.write", "container_archive container_archive_put", needs="container_archive_put")
    action("container.file.mkdir", "container_archive_put", needs="container_archive_put")
    action("container.file.remove", "exec_create exec_start", needs="exec_create")

    for verb in ("load", "push", "save"):
        action(f"image.{verb}", f"image_{verb}", needs=f"image_{verb}", elsewhere=True)
    for verb in ("pull", "import"):
        action(f"image.{verb}", "image_create", needs="image_create", once=True, elsewhere=True)
    action("image.tag", "image_tag", needs="image_tag", once=True, elsewhere=True)
    action("image.remove", "image_remove", needs="image_remove", elsewhere=True)
    action("image.untag", "image_remove", needs="image_remove", once=True, elsewhere=True)
    action("image.prune", "image_prune", needs="image_prune", once=True, elsewhere=True)

    for verb in ("remove", "connect", "disconnect"):
        action(f"network.{verb}", f"network_{verb}", needs=f"network_{verb}", once=True)
    action("network.create", "network_create", needs="network_create", once=True, elsewhere=True)
    action("network.prune", "network_prune network_remove", elsewhere=True)

    action("volume.create", "volume_create", needs="volume_create", once=True, elsewhere=True)
    action("volume.remove", "volume_remove", needs="volume_remove", once=True)
    action("volume.prune", "volume_prune volume_remove", elsewhere=True)
    action("volume.clone", "volume_clone", needs="volume_clone", once=True)
    action("volume.download", "volume_archive", needs="volume_archive", once=True)
    action("volume.file.list", "volume_files")
    action("volume.file.read", "volume_archive", needs="volume_archive")
    for verb in ("volume.file.write", "volume.restore"):
        action(verb, "volume_archive_put", needs="volume_archive_put", once=True)

    action("registry.login", "auth", needs="auth", elsewhere=True)
    action("registry.test", "registry_test auth", elsewhere=True)
    action("registry.save", "registry_test auth registry_set registry_forget", elsewhere=True)
    action("registry.remove", "registry_forget")
    action(
        "registry.local",
        "image_create volume_create container_create container_start registry_set registry_test",
        elsewhere=True,
    )
    return found


ACTIONS = _actions()


@dataclass
class Call:
    """A line of the engine's log."""

    began: float
    operation: str
    actor: str
    names: frozenset[str]  # what it may be about, by id and as it was called
    line: dict[str, Any]


@dataclass
class Row:
    """A row of the pages' audit log."""

    at: float
    ended: float | None  # None: not known, or not yet
    action: str
    username: str
    names: frozenset[str]
    row: dict[str, Any]
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """What one log says and the other does not."""

    calls: list[Call]  # carried out or refused by the engine, and in no row of the pages
    rows: list[Row]  # done, as the pages say, and never asked of the engine
    compared: tuple[int, int]  # calls and rows that were looked at
    others: int  # calls on engine.sock, which the pages know nothing of

    @property
    def found(self) -> bool:
        return bool(self.calls or self.rows)


def compare(
    lines: Iterable[dict[str, Any]],
    rows: Iterable[dict[str, Any]],
    *,
    since: float,
    until: float,
    tolerance_s: float,
) -> Difference:
    """Judge what began from ``since`` to ``until``; rows from before and after may explain it as well.

    ``lines`` are the engine's, ``rows`` the pages' as their export has them. Clocks may be ``tolerance_s``
    apart.
    """
    trail = _Trail([_row(one) for one in rows if one.get("action") in ACTIONS], tolerance_s)
    calls, others = [], 0
    for line in lines:
        if line.get("socket") != "web":
            others += 1 if since <= _seconds(line["time"]) <= until else 0
        elif _counts(line):
            calls.append(_call(line))
    calls.sort(key=lambda one: one.began)
    missing = [one for one in calls if not trail.explains(one) and since <= one.began <= until]
    judged = [one for one in trail.rows if since <= one.at <= until]
    idle = [one for one in judged if not _happened(one)]
    looked = sum(1 for one in calls if since <= one.began <= until)
    return Difference(missing, idle, (looked, len(judged)), others)


def _counts(line: dict[str, Any]) -> bool:
    """Whether the pages have to know of it: what changes or opens something, and whatever is no operation."""
    if line["operation"] in WITHOUT_A_ROW:
        return False
    if line["operation"] in STREAMS and line.get("event") == "end" and line["verdict"] == "allowed":
        return False  # its beginning has a line, too
    reads = line["method"] in ("GET", "HEAD") and line["operation"] not in _KNOWN
    return not (reads and line["operation"])


_KNOWN = frozenset(operation for one in ACTIONS.values() for operation in one.operations)


def _happened(row: Row) -> bool:
    """Whether the engine did what the row says was done; rows that say less are not judged."""
    needs = ACTIONS[row.action].needs
    return row.row.get("result") != "ok" or not needs or any(call.operation == needs for call in row.calls)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _call(line: dict[str, Any]) -> Call:
    ended = _seconds(line["time"])
    path, _, query = str(line["path"]).partition("?")
    segments = path.strip("/").split("/")
    names = {str(line.get("container") or ""), *segments[1:], *parse_qs(query).get("name", ())}
    began = ended - float(line.get("duration_ms") or 0) / 1000
    return Call(began, line["operation"], str(line.get("actor", "")), frozenset(names - {""}), line)


def _row(row: dict[str, Any]) -> Row:
    at = _seconds(row["at"])
    took = row.get("duration_ms")
    ended = None if took is None and row.get("result") == "asked" else at + (took or 0) / 1000
    names = frozenset({str(row.get("object_id") or ""), str(row.get("object_name") or "")} - {""})
    return Row(at, ended, row["action"], str(row.get("username", "")), names, row)


class _Trail:
    """The pages' rows, found by what they may explain."""

    def __init__(self, rows: list[Row], tolerance_s: float) -> None:
        self.rows = sorted(rows, key=lambda one: one.at)
        self._tolerance_s = tolerance_s
        self._about: dict[tuple[str, str], list[Row]] = defaultdict(list)  # by operation and name; "" for any
        self._opened: dict[str, float] = {}  # container -> when something was first opened in it
        for row in self.rows:
            action = ACTIONS[row.action]
            for operation in action.operations:
                for name in ("",) if action.elsewhere or not row.names else row.names:
                    self._about[operation, name].append(row)
            if row.action in OPENINGS:
                for name in row.names:
                    self._opened.setdefault(name, row.at)

    def explains(self, call: Call) -> bool:
        """Whether a row stands for this call. The likeliest is taken, and used up where it stands for one."""
        likeliest = min(self._near(call), key=lambda row: self._distance(row, call), default=None)
        if likeliest is not None:
            likeliest.calls.append(call)
            return True
        if call.operation not in WHILE_OPEN:
            return False
        opened = (self._opened[name] for name in call.names if name in self._opened)
        return any(at <= call.began + self._tolerance_s for at in opened)

    def _near(self, call: Call) -> Iterator[Row]:
        """Rows that were under way when it was asked for, and are not used up."""
        for name in ("", *call.names):
            rows = self._about.get((call.operation, name), [])
            last = bisect_right(rows, call.began + self._tolerance_s, key=lambda one: one.at)
            for number in range(last - 1, -1, -1):
                row = rows[number]
                if row.at < call.began - LONGEST_S:
                    break
                if row.ended is not None and row.ended < call.began - self._tolerance_s:
                    continue
                if call.actor and call.actor != row.username:
                    continue
                once = ACTIONS[row.action].once
                if not (once and any(one.operation == call.operation for one in row.calls)):
                    yield row

    def _distance(self, row: Row, call: Call) -> tuple[bool, float]:
        """First those that say of its outcome what the engine says, then the nearest."""
        done = row.row.get("result") in ("ok", "asked")
        return done != (call.line["verdict"] == "allowed"), abs(call.began - row.at)

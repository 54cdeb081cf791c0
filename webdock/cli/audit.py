"""``webdock audit compare``: the engine's own log beside the pages' audit log, for who is root here.

The pages' rows are read by the web side's own command as the web user: root opens nothing the web user could
have put there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webdock.cli import instance as instances
from webdock.cli.accounts import managed
from webdock.cli.comparison import Call, Difference, Row, compare
from webdock.cli.errors import Failure
from webdock.cli.serve import chosen, need_root
from webdock.cli.watch import when

DIFFERENT_EXIT = 1
CANNOT_EXIT = 2
DEFAULT_SPAN_S = 86400.0
TOLERANCE_S = 5.0
SHOWN_CHARS = 120  # of a path


def audit_compare_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("--since", metavar="TIME", help="from then on: 2026-01-31T12:00:00 or 10m (24h)")
    parser.add_argument("--until", metavar="TIME", help="up to then (now)")
    parser.add_argument(
        "--tolerance", metavar="SECONDS", type=float, default=TOLERANCE_S, help="by which clocks differ (5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def audit_compare(options: argparse.Namespace) -> int:
    """0 when each log says what the other does, 1 when one says more, 2 when they cannot be compared."""
    need_root("audit compare")
    if options.tolerance < 0:
        raise Failure("--tolerance: expected seconds from 0 on", CANNOT_EXIT)
    now = time.time()
    # What is being asked right now may stand in one of them only.
    until = min(float(when(options.until, "--until") or now), now - options.tolerance)
    since = float(when(options.since, "--since") or until - DEFAULT_SPAN_S)
    if since > until:
        raise Failure("--since is not before --until", CANNOT_EXIT)
    directory = chosen(options).engine_home / "audit"
    lines = list(read_log(directory))
    kept = _kept_since(directory, lines)
    try:
        said = managed(options, "auditrows", f"--since={since}", f"--until={until + options.tolerance}")
        head, *rows = (json.loads(line) for line in said.splitlines())
    except (Failure, ValueError) as error:
        raise Failure(f"the pages' audit log cannot be read: {error}", CANNOT_EXIT) from None
    since = max(since, kept, now - float(head["days"]) * 86400)
    found = compare(lines, rows, since=since, until=until, tolerance_s=options.tolerance)
    print(json.dumps(document(found, since, until)) if options.json else text(found, since, until))
    return DIFFERENT_EXIT if found.found else 0


def read_log(directory: Path) -> Iterator[dict[str, Any]]:
    """The engine's lines, the oldest first. Raises: Failure for one that cannot be read."""
    files = sorted(directory.glob("audit.jsonl.*"), key=lambda file: -int(file.suffix[1:]))
    for file in [*files, directory / "audit.jsonl"]:
        try:
            with file.open(encoding="utf-8") as opened:
                for number, line in enumerate(opened, 1):
                    try:
                        yield json.loads(line)
                    except ValueError:
                        raise Failure(f"{file}: line {number} is no JSON", CANNOT_EXIT) from None
        except OSError as error:
            raise Failure(f"the engine's log cannot be read: {error}", CANNOT_EXIT) from None


def _kept_since(directory: Path, lines: list[dict[str, Any]]) -> float:
    """What is older than this is gone from the engine's log; 0 while nothing had to make room."""
    if not lines or not (directory / "audit.jsonl.7").exists():
        return 0.0
    return datetime.fromisoformat(lines[0]["time"]).timestamp()


def document(found: Difference, since: float, until: float) -> dict[str, Any]:
    """What is printed with --json."""
    return {
        "since": moment(since),
        "until": moment(until),
        "calls": found.compared[0],
        "rows": found.compared[1],
        "not_compared": found.others,
        "only_in_engine": [call.line for call in found.calls],
        "only_in_pages": [row.row for row in found.rows],
        "same": not found.found,
    }


def text(found: Difference, since: float, until: float) -> str:
    """What is printed for people."""
    lines = []
    if found.calls:
        lines.append("In the engine's log, and in no row of the pages:")
        lines += [f"  {call_line(call)}" for call in found.calls]
    if found.rows:
        lines.append("Done, as the pages say, and never asked of the engine:")
        lines += [f"  {row_line(row)}" for row in found.rows]
    calls, rows = found.compared
    lines.append(
        f"{calls} calls and {rows} rows compared, {moment(since)} to {moment(until)}"
        + ("" if found.found else ": each has its counterpart")
    )
    if found.others:
        lines.append(f"{found.others} calls came over engine.sock, which the pages know nothing of")
    return "\n".join(lines)


def call_line(call: Call) -> str:
    line = call.line
    who = f"uid {line.get('uid')}, pid {line.get('pid')}" + (f", for {call.actor}" if call.actor else "")
    return f"{line['time']}  {line['method']} {line['path'][:SHOWN_CHARS]}  {line['verdict']}  ({who})"


def row_line(row: Row) -> str:
    about = row.row.get("object_name") or row.row.get("object_id") or ""
    return f"{row.row['at']}  {row.action} {about}  by {row.username or 'nobody'}"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

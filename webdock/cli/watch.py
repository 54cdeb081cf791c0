"""Verbs that watch: logs, stats, events."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
import time
from datetime import datetime
from typing import Any

from webdock.cli import output
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, segment
from webdock.cli.terminal import HEADER_BYTES, READ_BYTES, write_all

STATS_INTERVAL_S = 0.5  # how often the table is drawn on a terminal


# -- logs --------------------------------------------------------------------------------------------------


def logs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more is written")
    parser.add_argument("-n", "--tail", default="all", metavar="N", help="only the last N lines")
    parser.add_argument("-t", "--timestamps", action="store_true", help="a time before each line")
    parser.add_argument(
        "--since", metavar="TIME", help="from then on: 2026-01-31T12:00:00, 10m or seconds since 1970"
    )
    parser.add_argument("--until", metavar="TIME", help="until then")
    parser.add_argument("--details", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("container", metavar="CONTAINER")


def logs(options: argparse.Namespace) -> int:
    """Write a container's output as it was written, each stream to its own."""
    client = connect(options)
    name = segment(options.container)
    tty = bool(client.get(f"/containers/{name}/json")["Config"]["Tty"])
    query = {
        "stdout": True,
        "stderr": True,
        "follow": options.follow,
        "timestamps": options.timestamps,
        "tail": options.tail,
        "since": when(options.since, "--since"),
        "until": when(options.until, "--until"),
        "details": options.details,
    }
    with client.open("GET", f"/containers/{name}/logs", query) as response:
        if tty:
            while data := response.read1(READ_BYTES):
                write_all(1, data)
            return 0
        while len(header := response.read(HEADER_BYTES)) == HEADER_BYTES:
            left = int.from_bytes(header[4:], "big")
            while left and (data := response.read(min(left, READ_BYTES))):
                write_all(2 if header[0] == 2 else 1, data)
                left -= len(data)
    return 0


def when(text: str | None, option: str) -> str | None:
    """A moment as the API takes it: ``10m`` is ten minutes ago, a date without a zone is local.

    Raises:
        Failure: for anything that is neither.
    """
    if not text:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return text
    if re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", text):
        from webdock.cli.pairs import duration_ns

        return f"{time.time() - duration_ns(text, option) / 1e9:.9f}"
    try:
        return f"{datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp():.9f}"
    except ValueError:
        raise Failure(f"{option}: {text!r} is no time; write 2026-01-31T12:00:00 or 10m", 125) from None


# -- events ------------------------------------------------------------------------------------------------


def events_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="TIME", help="also those since then")
    parser.add_argument("--until", metavar="TIME", help="and end then")
    output.filter_option(parser, "type=container or event=die")
    output.format_option(parser)


def events(options: argparse.Namespace) -> int:
    """Print events until interrupted, or until --until."""
    query = {
        "since": when(options.since, "--since"),
        "until": when(options.until, "--until"),
        "filters": output.filters(options.filter),
    }
    line = event_text
    if options.format == "json":
        line = lambda event: json.dumps(event, ensure_ascii=False)  # noqa: E731 - the simplest of three forms
    elif options.format:
        from webdock.cli.template import parse, render

        nodes = parse(options.format)
        line = lambda event: render(nodes, event)  # noqa: E731
    for event in connect(options).stream("GET", "/events", query):
        print(line(event), flush=True)
    return 0


def event_text(event: dict[str, Any]) -> str:
    """``2026-01-31T12:00:00.000000000+01:00 container start 9f86… (image=busybox, name=web)``."""
    nanoseconds = int(event.get("timeNano") or 0) or int(event.get("time") or 0) * 10**9
    moment = datetime.fromtimestamp(nanoseconds // 10**9).astimezone()
    zone = moment.strftime("%z")
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}{zone[:3]}:{zone[3:]}"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{k}={v}" for k, v in sorted((actor.get("Attributes") or {}).items()))
    text = f"{stamp} {event.get('Type')} {event.get('Action')} {actor.get('ID')}"
    return output.one_line(f"{text} ({attributes})" if attributes else text)


# -- stats -------------------------------------------------------------------------------------------------

STATS_COLUMNS = (
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
)


def stats_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    parser.add_argument("--no-stream", action="store_true", help="once, then end")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    output.format_option(parser)
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", help="all that run, unless named")


def stats(options: argparse.Namespace) -> int:
    """Show what containers use; drawn again and again on a terminal."""
    client = connect(options)
    names = options.containers or [
        container["Id"] for container in client.get("/containers/json", {"all": options.all})
    ]
    if options.no_stream or not sys.stdout.isatty():
        output.emit(STATS_COLUMNS, stats_once(client, names, options), options.format)
        return 0
    return watch_stats(client, names, options)


def stats_once(client: Client, names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each container; side by side, as the engine measures each for a second."""
    rows: dict[str, dict[str, Any]] = {}
    failures: list[Failure] = []

    def ask(name: str) -> None:
        try:
            answer = client.get(f"/containers/{segment(name)}/stats", {"stream": "false"})
            rows[name] = stats_row(answer, whole=options.no_trunc)
        except Failure as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [rows[name] for name in names]


def watch_stats(client: Client, names: list[str], options: argparse.Namespace) -> int:
    """One thread per container reads its stream; this one draws what is newest."""
    newest: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
    failures: list[str] = []

    def follow(name: str) -> None:
        try:
            for answer in client.stream("GET", f"/containers/{segment(name)}/stats", {"stream": "true"}):
                newest[name] = stats_row(answer, whole=options.no_trunc)
        except Refused as error:
            failures.append(str(error))
        newest.pop(name, None)

    for name in names:
        threading.Thread(target=follow, args=(name,), daemon=True).start()
    while True:
        time.sleep(STATS_INTERVAL_S)
        rows = [row for row in list(newest.values()) if row]
        sys.stdout.write("\x1b[H\x1b[2J")
        output.emit(STATS_COLUMNS, rows, options.format)
        sys.stdout.flush()
        if failures:
            raise Failure(failures[0])
        if names and not newest:
            return 0


def stats_row(answer: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """One message of the stats stream as the fields of ``stats --format``.

    Spec: Docker API 1.47, ContainerStats: how the percentages are made.
    """
    memory = answer.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = max(0, memory.get("usage", 0) - cache)
    limit = memory.get("limit", 0)
    networks = (answer.get("networks") or {}).values()
    blocks = (answer.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    moved = {
        way: sum(entry["value"] for entry in blocks if entry["op"].lower() == way)
        for way in ("read", "write")
    }
    received, sent = (sum(network[key] for network in networks) for key in ("rx_bytes", "tx_bytes"))
    full = answer.get("id", "")
    return {
        "Container": full,
        "ID": full if whole else output.short_id(full),
        "Name": answer.get("name", "").removeprefix("/"),
        "CPUPerc": f"{cpu_percent(answer):.2f}%",
        "MemUsage": f"{output.binary_size(used)} / {output.binary_size(limit)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{output.size(received, 3)} / {output.size(sent, 3)}",
        "BlockIO": f"{output.size(moved['read'], 3)} / {output.size(moved['write'], 3)}",
        "PIDs": str((answer.get("pids_stats") or {}).get("current", 0)),
    }


def cpu_percent(answer: dict[str, Any]) -> float:
    now, before = answer.get("cpu_stats") or {}, answer.get("precpu_stats") or {}
    used = now.get("cpu_usage", {}).get("total_usage", 0) - before.get("cpu_usage", {}).get("total_usage", 0)
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    count = now.get("online_cpus") or os.cpu_count() or 1
    return 100.0 * count * used / whole if used > 0 and whole > 0 else 0.0

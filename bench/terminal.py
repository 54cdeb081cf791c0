"""Terminals: echo, bulk output, Ctrl-C in a flood, many sessions, a slow viewer, returns; two peers beside.

.venv/bin/python -m bench.terminal [PART]...      parts: echo bulk interrupt many slow return
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

import aiohttp

from bench import _returns
from bench._login import Session
from bench._measure import busy_s, resident_mib
from bench._terminals import Json, Peer, Plain, Terminal, Webdock
from tests.integration.installation import Installation, eventually

PARTS = ("echo", "bulk", "interrupt", "many", "slow", "return")
TURNS, KEYS = 10, 100  # keys of each terminal in turns
BULK_BYTES = 64_000_000
BULK_ROUNDS = 3
FLOOD_S = 1.0
SESSIONS, FLOODING, WATCHED_S = 100, 20, 10.0
SETTLE_S = 70.0  # until what nobody looks at any more has been let go of
WAIT_S = 60.0
QUIET_S = 20.0  # a terminal that floods on for so long after Ctrl-C never stops


def spread(times: list[float]) -> str:
    """Median and the slowest of a hundred, in milliseconds."""
    return f"p50 {1000 * quantile(times, 0.5):7.2f} ms  p99 {1000 * quantile(times, 0.99):7.2f} ms"


def quantile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


class Busy:
    """Processor time that the processes of a server take, added up over its turns."""

    def __init__(self) -> None:
        self._total: dict[str, float] = {}
        self._began: dict[int, float] = {}
        self._pids: dict[str, list[int]] = {}

    def begin(self, server: Any) -> None:
        self._pids = server.pids()
        self._began = {pid: busy_s(pid) for pids in self._pids.values() for pid in pids}

    def end(self) -> None:
        for name, pids in self._pids.items():
            took = sum(busy_s(pid) - self._began[pid] for pid in pids)
            self._total[name] = self._total.get(name, 0.0) + took

    def shown(self, count: float, unit: float) -> str:
        return " + ".join(f"{name} {took / count / unit:.1f}" for name, took in self._total.items())


async def until(terminal: Terminal, mark: bytes, wait_s: float = WAIT_S) -> int:
    """Read until the mark has come; how many bytes that were. Raises: TimeoutError."""
    seen, end = 0, b""
    async with asyncio.timeout(wait_s):
        while mark not in end:
            data = await terminal.receive()
            seen += len(data)
            end = (end + data)[-4096:] if len(data) < 4096 else data[-4096:]
    return seen


async def echoing(terminal: Terminal) -> None:
    """Let the terminal give back each byte, and nothing else."""
    await terminal.send(b"stty raw -echo; echo re''ady; cat\n")
    await until(terminal, b"ready")
    await asyncio.sleep(0.3)


async def key(terminal: Terminal) -> float:
    began = time.perf_counter()
    await terminal.send(b"x")
    await terminal.receive()
    return time.perf_counter() - began


async def echo(servers: list[Any]) -> None:
    terminals = {server.name: await server.open() for server in servers}
    times: dict[str, list[float]] = {name: [] for name in terminals}
    busy = {name: Busy() for name in terminals}
    for terminal in terminals.values():
        await echoing(terminal)
    for turn in range(TURNS + 1):
        for server in servers:
            busy[server.name].begin(server)
            took = [await key(terminals[server.name]) for _ in range(KEYS)]
            if turn:
                busy[server.name].end()
                times[server.name] += took
    print("echo of a key, and the processor time it takes")
    for name, values in times.items():
        print(f"  {name:<26} {spread(values)}   µs: {busy[name].shown(len(values), 1e-6)}")
    ours, *peers = (quantile(values, 0.5) for values in times.values())
    print(f"  p50 is {ours / min(peers):.2f} of the best peer's")
    await close(terminals)


async def bulk(servers: list[Any]) -> None:
    terminals = {server.name: await server.open() for server in servers}
    rates: dict[str, list[float]] = {name: [] for name in terminals}
    busy = {name: Busy() for name in terminals}
    line = b"yes 'a line of output as programs write them, about eighty characters in all of it'"
    for _ in range(BULK_ROUNDS):
        for server in servers:
            name, terminal = server.name, terminals[server.name]
            busy[name].begin(server)
            began = time.perf_counter()
            # To a terminal the container's head writes line by line, the machine's does not: cat is alike.
            await terminal.send(line + b" | head -c %d | cat; echo the e''nd\n" % BULK_BYTES)
            seen = await until(terminal, b"the end")
            rates[name].append(seen / (time.perf_counter() - began) / 1e6)
            busy[name].end()
    print("bulk output, with flow control (terminado has none), and the processor time a MB takes")
    for name, values in rates.items():
        took = busy[name].shown(len(values) * BULK_BYTES / 1e6, 1e-3)
        print(f"  {name:<26} {statistics.median(values):7.1f} MB/s   ms: {took}")
    ours, *peers = (statistics.median(values) for values in rates.values())
    print(f"  {ours / max(peers):.2f} times the best peer's")
    await close(terminals)


async def interrupt(servers: list[Any]) -> None:
    print("from Ctrl-C in a flood of yes to quiet")
    for server in servers:
        try:
            waits = [await _quiet(server) for _ in range(5)]
            print(f"  {server.name:<26} {spread(waits)}")
        except TimeoutError:
            print(f"  {server.name:<26} floods on for more than {QUIET_S:.0f} s")


async def _quiet(server: Any) -> float:
    """Raises: TimeoutError."""
    terminal = await server.open()
    try:
        await terminal.send(b"yes\n")
        end = time.perf_counter() + FLOOD_S
        while time.perf_counter() < end:
            await terminal.receive()
        began = time.perf_counter()
        await terminal.send(b"\x03")
        await terminal.send(b"echo st''opped\n")
        await until(terminal, b"stopped", QUIET_S)
        return time.perf_counter() - began
    finally:
        await terminal.close()


async def many(server: Webdock, web: int) -> None:
    """Twice: the first round brings in what the process loads once, the second shows what goes back."""
    print(f"{SESSIONS} sessions, {FLOODING} of them flooding")
    memory = [resident_mib(web)]
    for _ in range(2):
        times, highest = await _crowd(server, web)
        await asyncio.sleep(SETTLE_S)
        memory += [highest, resident_mib(web)]
        print(f"  echo in an idle one        {spread(times)}")
    print("  web process {:.0f} MiB; at most {:.0f}, then {:.0f}; again {:.0f}, then {:.0f}".format(*memory))


async def _crowd(server: Webdock, web: int) -> tuple[list[float], float]:
    """(seconds of each echo in an idle terminal, the web process's highest MiB)."""
    terminals = [await server.open() for _ in range(SESSIONS)]
    flooding, idle = terminals[:FLOODING], terminals[FLOODING:]
    for terminal in idle:
        await echoing(terminal)
    for terminal in flooding:
        await terminal.send(b"yes\n")
    readers = [asyncio.create_task(_drain(terminal)) for terminal in flooding]
    times: list[float] = []
    end = time.perf_counter() + WATCHED_S
    highest = 0.0
    while time.perf_counter() < end:
        for terminal in idle[:: max(1, len(idle) // 20)]:
            times.append(await key(terminal))
            await asyncio.sleep(0.005)
        highest = max(highest, resident_mib(web))
    for reader in readers:
        reader.cancel()
    for terminal in flooding:
        await terminal.send(b"\x03")
    await close(dict(enumerate(terminals)))
    return times, highest


async def _drain(terminal: Terminal) -> None:
    while True:
        await terminal.receive()


async def slow(server: Webdock) -> None:
    quick = await server.open()
    rates = []
    for beside in (False, True):
        if beside:
            await server.open(server.path, credit=False)
        began = time.perf_counter()
        await quick.send(
            b"yes 'a line of output as programs write them' | head -c 30000000; echo the e''nd\n"
        )
        rates.append(await until(quick, b"the end") / (time.perf_counter() - began) / 1e6)
    print(f"one viewer {rates[0]:.1f} MB/s, with one beside it that draws nothing {rates[1]:.1f} MB/s")
    await quick.close()


async def close(terminals: dict[Any, Any]) -> None:
    await asyncio.gather(*(terminal.close() for terminal in terminals.values()))


async def measure(ours: Installation, parts: set[str]) -> None:
    container = ours.docker("run", "-d", "webdock/busybox", "sleep", "100000").stdout.strip()
    session = Session(ours)
    eventually(
        lambda: container in session.get("/containers/")[0].decode(), 20, "the container is on its page"
    )
    async with aiohttp.ClientSession() as http:
        server = Webdock(session, container, http, ours)
        peers: list[Peer] = []
        try:
            if parts & {"echo", "bulk", "interrupt"}:
                peers = [Peer("terminado, sh", http, Json), Peer("node-pty and ws, sh", http, Plain)]
            servers = [server, *peers]
            for part, work in (("echo", echo), ("bulk", bulk), ("interrupt", interrupt)):
                if part in parts:
                    await work(servers)
            if "return" in parts:
                await asyncio.to_thread(_returns.measure, ours, session, container)
            if "slow" in parts:
                await slow(server)
            if "many" in parts:
                await many(server, ours.web_pid())
        finally:
            for peer in peers:
                peer.close()


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        asyncio.run(measure(ours, set(sys.argv[1:] or PARTS)))
    finally:
        ours.purge()


if __name__ == "__main__":
    main()

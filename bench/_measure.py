"""What the benchmarks share: taking times, medians, and one way to print them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def timed(act: Callable[[], object]) -> float:
    """Seconds one call takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def interleaved(
    acts: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each act, taken in turns, so that a busy minute of the machine hits all of them alike."""
    for _ in range(warm_up):
        for act in acts.values():
            act()
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            times[name].append(timed(act))
    return times


def run(argv: Sequence[str], environ: Mapping[str, str], timeout_s: float | None = None) -> None:
    """Run a command that must succeed, its output thrown away. Raises: subprocess.TimeoutExpired."""
    done = subprocess.run(
        list(argv), env=dict(environ), capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout_s
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")


def milliseconds(times: Sequence[float]) -> str:
    """Median and the slowest of ten, in milliseconds."""
    ordered = sorted(times)
    slow = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    middle = statistics.median(ordered)
    return f"median {1000 * middle:8.1f} ms   90 % under {1000 * slow:8.1f} ms   n={len(ordered)}"


def table(title: str, times: Mapping[str, Sequence[float]]) -> None:
    """Print each row, and how the first compares with the last, the peer."""
    print(f"{title}   ({platform.machine()}, Linux {platform.release()})")
    first, *_, peer = times
    for name, values in times.items():
        print(f"  {name:<28} {milliseconds(values)}")
    ratio = statistics.median(times[first]) / statistics.median(times[peer])
    print(f"  {first} takes {ratio:.2f} of the time of {peer}")


def processes(*words: str) -> list[int]:
    """Processes whose command line holds all the words."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(int(process.name))
    return found


def processor_s(pid: int) -> float:
    """Processor time a process has taken; 0 when it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def busy_s(pid: int) -> float:
    """As `processor_s`, of all threads and to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def private_mib(pid: int) -> float:
    """Memory that would be free again without the process: private pages, in MiB."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1])
    return total / 1024

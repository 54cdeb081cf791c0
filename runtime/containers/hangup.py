"""The end of a session: HUP to every process of it, KILL to those that stay.

A session's processes are those in the kernel's session its program leads, background jobs included, what has
its terminal for input or output though it made a session of its own, and what descends from them. A daemon is
none of them any more: it let go of the terminal, and its parents have gone.

Kernel: setsid(2); proc(5), /proc/pid/stat.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from runtime.oci.process import Process, process, processes, send

GRACE_S = 2.0  # between HUP and KILL
KILLED_S = 5.0  # for what was killed to be gone
LOOK_S = (0.01, 0.1)  # between two looks at what is left; at first, and at last
PTY_MAJORS = range(136, 144)  # Kernel: Documentation/admin-guide/devices.txt


def members(
    leader: Process,
    table: Iterable[Process],
    known: Mapping[int, int],
    holds: Callable[[Process], bool] = lambda _: False,
) -> list[Process]:
    """What of the table belongs to the leader's session.

    known: pid and beginning of what once did. holds: whether a process has the leader's terminal.
    """
    table = list(table)
    # Race: once all of it have ended, pid and session may be given to somebody else.
    again = any(one.pid == leader.pid and one.began != leader.began for one in table)
    leads = leader.session == leader.pid and not again
    children = defaultdict(list)
    for one in table:
        children[one.parent].append(one)
    waiting = [
        one
        for one in table
        if known.get(one.pid) == one.began
        or (leads and one.session == leader.session)
        # What has a terminal of its own, or is older, was given this one by somebody else.
        or (not one.tty and one.began >= leader.began and holds(one))
    ]
    found: dict[int, Process] = {}
    while waiting:
        one = waiting.pop()
        if one.pid not in found:
            found[one.pid] = one
            waiting += children[one.pid]
    return list(found.values())


async def hang_up(pid: int, *, frozen: bool = False) -> None:
    """End the session this program leads; returns when nothing of it is left.

    frozen: nothing of it can end now; it does as soon as it goes on.
    Raises: TimeoutError when something stays.
    """
    leader = process(pid)
    if leader is None:
        return
    known = {leader.pid: leader.began}
    terminal = _terminals(leader.pid)

    def look() -> list[Process]:
        return members(leader, processes(), known, lambda one: bool(terminal & _terminals(one.pid)))

    clock, pause_s = asyncio.get_running_loop().time, LOOK_S[0]
    began, told = clock(), False
    while left := await asyncio.to_thread(look):
        known.update((one.pid, one.began) for one in left)
        late = frozen or clock() - began > GRACE_S
        for one in left:
            if not told:
                send(one, signal.SIGHUP)
                send(one, signal.SIGCONT)  # one that was stopped acts on nothing
            if late:
                send(one, signal.SIGKILL)
        told = True
        if frozen:
            return
        if clock() - began > GRACE_S + KILLED_S:
            raise TimeoutError(f"processes {[one.pid for one in left]} of session {pid} do not end")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_S[1])


def _terminals(pid: int) -> set[tuple[int, int]]:
    """What a process has for its input and output; the file system tells one container's from another's."""
    found = set()
    for number in range(3):
        try:
            status = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in PTY_MAJORS:
            found.add((status.st_dev, status.st_rdev))
    return found

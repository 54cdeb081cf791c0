"""Which processes are a session's, and that all of them end and nobody else does."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from runtime.containers import hangup
from runtime.containers.hangup import hang_up, members
from runtime.oci.process import Process, alive, process

LEADER = Process(10, 1, 10, 0, 100)
JOB = Process(11, 10, 10, 0, 110)
LEFT_JOB = Process(12, 1, 10, 0, 111)  # its parent has ended, its session goes on
DETACHED = Process(13, 11, 13, 0, 112)  # setsid, and its parent is there still
BELOW = Process(14, 13, 13, 0, 113)
DAEMON = Process(15, 1, 15, 0, 114)  # setsid, and its parent has ended
NEIGHBOUR = Process(20, 1, 20, 0, 90)
ALL = [Process(1, 0, 1, 0, 1), LEADER, JOB, LEFT_JOB, DETACHED, BELOW, DAEMON, NEIGHBOUR]


def pids(found: list[Process]) -> set[int]:
    return {one.pid for one in found}


def test_a_session_is_its_jobs_and_what_descends_from_them() -> None:
    assert pids(members(LEADER, ALL, {10: 100})) == {10, 11, 12, 13, 14}


def test_without_its_leader_a_session_is_what_is_left_of_it() -> None:
    assert pids(members(LEADER, [JOB, LEFT_JOB, DAEMON, NEIGHBOUR], {10: 100})) == {11, 12}
    moved = DETACHED._replace(parent=1)  # known from before
    assert pids(members(LEADER, [moved, BELOW, NEIGHBOUR], {10: 100, 13: 112})) == {13, 14}


def test_who_holds_the_terminal_is_of_the_session_unless_it_has_one_of_its_own_or_is_older() -> None:
    writer = Process(30, 29, 29, 34817, 500)  # of another terminal, into this one
    table = [*ALL, writer]
    assert pids(members(LEADER, table, {10: 100}, lambda one: True)) == {10, 11, 12, 13, 14, 15}


def test_a_pid_that_was_given_again_is_somebody_else() -> None:
    again = LEADER._replace(began=900)
    assert members(LEADER, [again, JOB._replace(began=901)], {10: 100, 11: 110}) == []


def test_a_program_that_leads_no_session_has_its_descendants_only() -> None:
    leader = LEADER._replace(session=20)
    assert pids(members(leader, [leader, JOB._replace(session=20), NEIGHBOUR], {10: 100})) == {10, 11}


async def test_what_ignores_the_hang_up_is_killed_and_a_neighbour_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hangup, "GRACE_S", 0.1)
    script = "trap '' HUP; sleep 1000 & echo $!; setsid sleep 1000 & echo $!; kill -STOP $!; wait; wait"
    neighbour = subprocess.Popen(["sleep", "1000"])
    shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert shell.stdout is not None
        jobs = [int(await asyncio.to_thread(shell.stdout.readline)) for _ in range(2)]
        reaped = asyncio.create_task(asyncio.to_thread(shell.wait))
        await hang_up(shell.pid)
        assert await reaped == -9
        assert not any(alive(pid) for pid in jobs)
        assert process(neighbour.pid) is not None
        await hang_up(shell.pid)  # nothing is left to be ended
    finally:
        for child in (shell, neighbour):
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()

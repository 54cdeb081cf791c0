"""A terminal in our own hands, its conmon standing still: every byte, each ending, the next engine."""

from __future__ import annotations

import asyncio
import errno
import os
import signal

import pytest

from runtime.oci import hold
from runtime.oci.conmon import Conmon, ConmonHandle, ConmonStream
from runtime.oci.process import alive, state

from .conftest import Yard
from .test_conmon import PATIENCE_S, drain, expect, process

LINES = 200_000
COUNTED = "".join(f"{number}\r\n" for number in range(1, LINES + 1)).encode()


async def begin(yard: Yard, *command: str) -> tuple[ConmonHandle, ConmonStream]:
    """A program with a terminal in a container that lives, as an engine keeps it."""
    box = await yard.run("sleep", "1000")
    session, stream = await yard.conmon.exec(
        id=box.id,
        exec_id="e1",
        dir=box.dir / "exec-1",
        process=lambda: process(*command, tty=True),
        tty=True,
        stdin=True,
        lasting=True,
    )
    assert stream is not None
    return session, stream


async def ended(yard: Yard, session: ConmonHandle) -> int:
    async with asyncio.timeout(PATIENCE_S):
        return (await yard.conmon.wait_exit(session)).code


async def test_conmon_stands_still_while_keys_sizes_and_output_pass(yard: Yard) -> None:
    session, stream = await begin(yard, "sh")
    assert state(session.conmon_pid) == "T"
    assert stream.resize(33, 77)
    await stream.write(b"stty size; echo val-$((6*7))\n")
    assert b"33 77" in await expect(stream, b"val-42")
    assert stream.write_some(b"exit 9\n") == 7
    await drain(stream)
    assert await ended(yard, session) == 9
    assert not stream.resize(1, 1)
    stream.close()
    assert not alive(session.conmon_pid)


async def test_a_flood_is_complete_to_the_byte_and_its_exit_code_right(yard: Yard) -> None:
    session, stream = await begin(yard, "sh", "-c", f"stty -echo; seq {LINES}; exit 3")
    assert (await drain(stream))[1] == COUNTED
    assert await ended(yard, session) == 3
    stream.close()


async def test_the_next_engine_goes_on_with_the_next_byte(yard: Yard) -> None:
    session, stream = await begin(yard, "sh", "-c", f"stty -echo; seq {LINES}; exit 4")
    seen = b""
    for _ in range(5):
        item = await stream.read()
        assert item is not None
        seen += item[1]
        stream.close()
        assert state(session.conmon_pid) == "T"
        stream = await Conmon(yard.runtime).take_up(session)
    assert state(session.conmon_pid) == "T"
    assert seen + (await drain(stream))[1] == COUNTED
    assert await ended(yard, session) == 4
    stream.close()


async def test_what_a_program_wrote_last_waits_for_the_next_engine(yard: Yard) -> None:
    session, stream = await begin(yard, "sh", "-c", "echo ready; read x; echo last words; exit 6")
    await expect(stream, b"ready")
    await stream.write(b"\n")
    stream.close()
    async with asyncio.timeout(PATIENCE_S):
        while alive(session.pid):  # noqa: ASYNC110 - nobody tells of it: its conmon stands still
            await asyncio.sleep(0.01)
    assert yard.conmon.adopt(session.dir) == session
    stream = await Conmon(yard.runtime).take_up(session)
    assert b"last words" in (await drain(stream))[1]
    assert await ended(yard, session) == 6
    stream.close()


async def test_a_large_paste_waits_for_the_program_and_arrives_whole(yard: Yard) -> None:
    session, stream = await begin(
        yard, "sh", "-c", "stty raw -echo; echo ready; sleep 1; head -c 300000 | wc -c"
    )
    await expect(stream, b"ready")
    pasting = asyncio.ensure_future(stream.write(b"x" * 300_000))
    assert b"300000" in await expect(stream, b"300000")
    await pasting
    await drain(stream)
    assert await ended(yard, session) == 0
    stream.close()


async def test_where_the_kernel_does_not_give_it_conmon_carries_on(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int, _number: int) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(hold, "copy", refuse)
    session, stream = await begin(yard, "sh", "-c", f"stty -echo; seq {LINES}; exit 5")
    assert not stream.resize(1, 1)
    assert (await drain(stream))[1] == COUNTED
    assert await ended(yard, session) == 5
    stream.close()


@pytest.mark.parametrize("number", [signal.SIGCONT, signal.SIGKILL])
async def test_a_conmon_that_somebody_touches_ends_nothing_but_itself(
    yard: Yard, number: signal.Signals
) -> None:
    session, stream = await begin(yard, "sh")
    await stream.write(b"X=kept\n")
    os.kill(session.conmon_pid, number)
    if number == signal.SIGCONT:
        async with asyncio.timeout(PATIENCE_S):
            while state(session.conmon_pid) == "T":  # noqa: ASYNC110 - the kernel tells no event of it
                await asyncio.sleep(0.01)
        await stream.write(b"echo val-$X; exit 7\n")
        await expect(stream, b"val-kept")
    await drain(stream)
    assert await ended(yard, session) == (7 if number == signal.SIGCONT else 255)
    stream.close()
    async with asyncio.timeout(PATIENCE_S):  # without a terminal it is hung up
        while alive(session.pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_session_nobody_took_up_can_be_abandoned(yard: Yard) -> None:
    session, stream = await begin(yard, "sh")
    stream.close()
    async with asyncio.timeout(PATIENCE_S):
        await yard.conmon.abandon(session.dir)
    assert not alive(session.pid)
    assert not alive(session.conmon_pid)

"""Exec sessions: streams, terminals, users, exit codes, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.errors import Conflict, InvalidArgument, NotFound
from runtime.containers.foreseen import FORESEEN
from runtime.engine import Engine
from runtime.oci.words import CannotStart

from .engines import PATIENCE_S, Instance, output, started, until


@pytest.fixture(scope="module")
def instance() -> Any:
    instance = Instance()
    yield instance
    asyncio.run(instance.purge())


@pytest.fixture
async def engine(instance: Instance) -> AsyncIterator[Engine]:
    engine = await instance.start()
    yield engine
    for container in await engine.containers.list(all=True):
        await engine.containers.remove(container["Id"], force=True, volumes=True)
    await instance.stop()


@pytest.fixture
async def box(engine: Engine) -> str:
    return await started(engine, "sleep", "1000", Env=["OUTER=1"])


async def session(engine: Engine, box: str, *command: str, **more: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **more}
    return await engine.execs.create(box, body)


async def execute(engine: Engine, box: str, *command: str, **more: Any) -> tuple[int, bytes, bytes]:
    exec_id = await session(engine, box, *command, **more)
    stream = await engine.execs.start(exec_id, detach=False, tty=bool(more.get("Tty")))
    assert stream is not None
    said = await output(stream)
    return await exit_code(engine, exec_id), *said


async def exit_code(engine: Engine, exec_id: str) -> int:
    async def ended() -> bool:
        return not (await engine.execs.inspect(exec_id))["Running"]

    await until(ended)
    return int((await engine.execs.inspect(exec_id))["ExitCode"])


async def test_output_and_exit_code(engine: Engine, box: str) -> None:
    assert await execute(engine, box, "sh", "-c", "echo o; echo e >&2; exit 9") == (9, b"o\n", b"e\n")
    assert await execute(engine, box, "sh", "-c", "kill -9 $$") == (137, b"", b"")


async def test_environment_user_and_directory(engine: Engine, box: str) -> None:
    code, out, _ = await execute(
        engine,
        box,
        "sh",
        "-c",
        "echo $OUTER $INNER; id -u; id -g; pwd",
        User="7:8",
        WorkingDir="/tmp",
        Env=["INNER=2"],
    )
    assert (code, out.split()) == (0, [b"1", b"2", b"7", b"8", b"/tmp"])
    with pytest.raises(InvalidArgument, match="absolute path"):
        await session(engine, box, "true", WorkingDir="relative")
    with pytest.raises(InvalidArgument, match="unable to find user nobodyhere"):
        await engine.execs.start(
            await session(engine, box, "true", User="nobodyhere"), detach=True, tty=False
        )


async def test_input_ends_where_the_client_ends_it(engine: Engine, box: str) -> None:
    exec_id = await session(engine, box, "wc", "-c", AttachStdin=True)
    stream = await engine.execs.start(exec_id, detach=False, tty=False)
    assert stream is not None
    for _ in range(50):
        await stream.write(b"x" * 100_000)
    await stream.close_stdin()
    assert await output(stream) == (b"5000000\n", b"")
    assert await exit_code(engine, exec_id) == 0


async def test_a_slow_reader_makes_the_program_wait_and_loses_nothing(engine: Engine, box: str) -> None:
    exec_id = await session(engine, box, "sh", "-c", "yes 0123456789 | head -c 12000000")
    stream = await engine.execs.start(exec_id, detach=False, tty=False)
    assert stream is not None
    await asyncio.sleep(0.5)
    assert (await engine.execs.inspect(exec_id))["Running"]
    out, _ = await output(stream)
    assert len(out) == 12_000_000


async def test_a_terminal_has_its_size_and_changes_it(engine: Engine, box: str) -> None:
    exec_id = await session(
        engine, box, "sh", "-c", "while read x; do stty size; done", Tty=True, AttachStdin=True
    )
    stream = await engine.execs.start(exec_id, detach=False, tty=True, console_size=[12, 34])
    assert stream is not None

    async def ask_until(size: bytes) -> None:
        """conmon takes sizes and input on different ways, so one may overtake the other."""
        answer = b""
        while size not in answer:
            answer = b""
            await stream.write(b"\n")
            while answer.count(b"\n") < 2:  # the echo and the answer
                item = await stream.read()
                assert item is not None
                answer += item[1]

    async with asyncio.timeout(PATIENCE_S):
        await ask_until(b"12 34")
        await engine.execs.resize(exec_id, 56, 78)
        await ask_until(b"56 78")
    await stream.write(b"\x04")
    await output(stream)
    with pytest.raises(Conflict):
        await engine.execs.resize(exec_id, 1, 1)


async def test_detached_sessions_run_on_their_own(engine: Engine, box: str) -> None:
    script = "until [ -e /go ]; do sleep 0.02; done; exit 3"
    exec_id = await session(engine, box, "sh", "-c", script)
    assert await engine.execs.start(exec_id, detach=True, tty=False) is None
    described = await engine.execs.inspect(exec_id)
    assert described["Running"]
    assert described["Pid"] > 0
    assert described["ContainerID"] == box
    assert described["ProcessConfig"] == {
        "tty": False,
        "entrypoint": "sh",
        "arguments": ["-c", script],
        "privileged": False,
    }
    assert exec_id in (await engine.containers.inspect(box))["ExecIDs"]
    assert (await execute(engine, box, "touch", "/go"))[0] == 0
    assert await exit_code(engine, exec_id) == 3
    assert (await engine.containers.inspect(box))["ExecIDs"] is None


@pytest.mark.parametrize(
    ("command", "words"),
    [("nosuch", "executable file not found"), ("/etc", "permission denied")],
)
async def test_a_program_that_cannot_start(engine: Engine, box: str, command: str, words: str) -> None:
    exec_id = await session(engine, box, command)
    with pytest.raises(CannotStart, match=words):
        await engine.execs.start(exec_id, detach=False, tty=False)
    described = await engine.execs.inspect(exec_id)
    assert (described["Running"], described["ExitCode"]) == (False, 126)


async def test_a_session_is_started_once_and_needs_a_running_container(engine: Engine, box: str) -> None:
    exec_id = await session(engine, box, "sleep", "100")
    await engine.execs.start(exec_id, detach=True, tty=False)
    with pytest.raises(Conflict, match="already running"):
        await engine.execs.start(exec_id, detach=True, tty=False)
    later = await session(engine, box, "true")
    await engine.containers.kill(box)
    assert await exit_code(engine, exec_id) == 137
    with pytest.raises(Conflict, match="is not running"):
        await engine.execs.start(later, detach=True, tty=False)
    with pytest.raises(Conflict, match=f"Container {box} is not running"):
        await session(engine, box, "true")
    await engine.containers.start(box)
    with pytest.raises(InvalidArgument, match="No exec command specified"):
        await engine.execs.create(box, {"Cmd": []})
    with pytest.raises(NotFound, match="No such exec instance: nope"):
        await engine.execs.inspect("nope")
    await engine.containers.remove(box, force=True)
    with pytest.raises(NotFound):
        await engine.execs.inspect(exec_id)


async def test_sessions_can_be_signalled(engine: Engine, box: str) -> None:
    script = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.02; done"
    exec_id = await session(engine, box, "sh", "-c", script)
    stream = await engine.execs.start(exec_id, detach=False, tty=False)
    assert stream is not None
    async with asyncio.timeout(PATIENCE_S):
        assert await stream.read() == (1, b"ready\n")
    await engine.execs.kill(exec_id, "HUP")
    assert await exit_code(engine, exec_id) == 5
    stream.close()
    with pytest.raises(Conflict):
        await engine.execs.kill(exec_id, "HUP")


async def test_the_end_of_a_session_leaves_none_of_its_processes_and_hurts_nothing_else(
    engine: Engine, box: str
) -> None:
    other = await session(engine, box, "sleep", "1001")
    await engine.execs.start(other, detach=True, tty=False)
    exec_id = await session(engine, box, "sh", Tty=True, AttachStdin=True)
    stream = await engine.execs.start(exec_id, detach=False, tty=True)
    assert stream is not None
    await stream.write(b"nohup sleep 2001 & sleep 2002 & setsid sleep 2003 &\n")
    await stream.write(b"setsid sleep 2005 <&- >&- 2>&- & echo be''gun; sleep 2004\n")
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        while b"begun" not in said and (item := await stream.read()) is not None:
            said += item[1]
    await until(lambda: _runs(engine, box, "sleep 2004"))
    await engine.execs.end(exec_id)
    left = [row[-1] for row in (await engine.containers.top(box, "-eo pid,args"))["Processes"]]
    assert left == ["sleep 1000", "sleep 1001", "sleep 2005"]
    assert (await engine.execs.inspect(exec_id))["Running"] is False
    stream.close()
    with pytest.raises(Conflict):
        await engine.execs.end(exec_id)


async def _runs(engine: Engine, box: str, command: str) -> bool:
    return command in str((await engine.containers.top(box, "-eo pid,args"))["Processes"])


async def test_a_viewer_that_leaves_does_not_end_the_session(engine: Engine, box: str) -> None:
    exec_id = await session(engine, box, "sh", Tty=True, AttachStdin=True)
    first = await engine.execs.start(exec_id, detach=False, tty=True)
    assert first is not None
    first.close()
    again = await engine.execs.attach(exec_id)
    await again.write(b"echo still $((40+2)); exit 6\n")
    assert b"still 42" in (await output(again))[0]
    assert await exit_code(engine, exec_id) == 6


async def test_many_sessions_leave_nothing_behind(engine: Engine, box: str, instance: Instance) -> None:
    results = await asyncio.gather(*(execute(engine, box, "echo", str(n)) for n in range(40)))
    assert [result[1] for result in results] == [b"%d\n" % n for n in range(40)]
    await until(lambda: _conmons(instance, 1))  # the container's own
    await engine.containers.remove(box, force=True)
    await until(lambda: _no_sessions(instance))


async def test_a_session_that_is_not_started_lets_its_conmon_go_and_can_be_started_later(
    engine: Engine, box: str, instance: Instance
) -> None:
    exec_id = await session(engine, box, "sh", "-c", "echo late; exit 7")
    await asyncio.sleep(0)
    assert exec_id in engine.execs._foreseen._births
    await until(lambda: _dismissed(engine, exec_id))
    await until(lambda: _conmons(instance, 1))
    assert (await engine.execs.inspect(exec_id))["Pid"] == 0
    stream = await engine.execs.start(exec_id, detach=False, tty=False)
    assert stream is not None
    assert await output(stream) == (b"late\n", b"")
    assert await exit_code(engine, exec_id) == 7


async def test_few_conmons_wait_however_many_sessions_are_made(
    engine: Engine, box: str, instance: Instance
) -> None:
    made = [await session(engine, box, "touch", f"/tmp/{n}") for n in range(40)]
    await asyncio.sleep(0)
    # With conmon's first and the runtime's process; those let go may take a moment to end.
    await until(lambda: len(instance.processes()) <= 1 + 3 * FORESEEN)
    await engine.containers.remove(box, force=True)
    await until(lambda: _conmons(instance, 0))
    await until(lambda: _no_sessions(instance))
    with pytest.raises(NotFound):
        await engine.execs.inspect(made[0])


async def test_a_dismissed_conmon_runs_nothing(engine: Engine, box: str, instance: Instance) -> None:
    for _ in range(5):
        exec_id = await session(engine, box, "touch", "/tmp/mark")
        await asyncio.sleep(0)
        engine.execs._foreseen.dismiss(exec_id)
        stream = await engine.execs.start(await session(engine, box, "ls", "/tmp"), detach=False, tty=False)
        assert stream is not None
        assert b"mark" not in (await output(stream))[0]
        await engine.execs.start(exec_id, detach=True, tty=False)  # right after it: they do not meet
        assert await exit_code(engine, exec_id) == 0
        assert (await execute(engine, box, "rm", "/tmp/mark"))[0] == 0
    await until(lambda: _conmons(instance, 1))


async def _conmons(instance: Instance, count: int) -> bool:
    return len(instance.processes()) == count


async def _dismissed(engine: Engine, exec_id: str) -> bool:
    return exec_id not in engine.execs._foreseen._births


async def _no_sessions(instance: Instance) -> bool:
    return list((instance.config.run / "exec").iterdir()) == []

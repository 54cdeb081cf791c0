"""Promises about exec: create, start attached and detached, streams, terminals, exit codes."""

from __future__ import annotations

import asyncio

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from tests.conformance.api import WAIT_S, Api, frames
from tests.conformance.conftest import MakeContainer, UnderTest, read_all, read_until

FOREVER = ("sleep", "1000")
BOTH = {"AttachStdout": True, "AttachStderr": True}
ALL = {**BOTH, "AttachStdin": True}


@pytest.fixture
async def running(make_container: MakeContainer) -> str:
    return await make_container(*FOREVER, start=True)


async def exited(client: EngineClient, session: str) -> int:
    async with asyncio.timeout(WAIT_S):
        while True:
            inspect = await client.exec_inspect(session)
            if not inspect["Running"] and inspect["ExitCode"] is not None:
                return int(inspect["ExitCode"])
            await asyncio.sleep(0.02)


async def test_output_and_exit_code_come_back(client: EngineClient, running: str) -> None:
    session = await client.exec_create(
        running, {"Cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"], **BOTH}
    )
    stream = await client.exec_start(session)
    assert await read_all(stream) == {1: b"out\n", 2: b"err\n"}
    assert await exited(client, session) == 3


async def test_create_answers_201_with_a_full_id(api: Api, running: str) -> None:
    answer = await api("POST", f"/containers/{running}/exec", json={"Cmd": ["true"]})
    assert answer.status == 201
    assert len(answer.json()["Id"]) == 64


async def test_inspect_tells_what_was_asked(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", "true"], "Tty": True, **ALL})
    inspect = await client.exec_inspect(session)
    assert inspect["ID"] == session
    assert inspect["ContainerID"] == running
    assert (inspect["Running"], inspect["ExitCode"]) == (False, None)
    assert (inspect["OpenStdin"], inspect["OpenStdout"], inspect["OpenStderr"]) == (True, True, True)
    process = inspect["ProcessConfig"]
    assert (process["tty"], process["entrypoint"], process["arguments"]) == (True, "sh", ["-c", "true"])


async def test_the_container_lists_its_running_sessions(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": list(FOREVER)})
    await client.exec_start_detached(session)
    assert session in (await client.container_inspect(running))["ExecIDs"]


async def test_detached_returns_at_once(api: Api, client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", "sleep 0.2; exit 9"]})
    answer = await api("POST", f"/exec/{session}/start", json={"Detach": True})
    assert (answer.status, answer.body) == (200, b"")
    assert await exited(client, session) == 9


async def test_stdin_goes_in_and_its_end_is_seen(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", "cat; echo end"], **ALL})
    stream = await client.exec_start(session)
    await stream.write(b"hello\n")
    assert await read_until(stream, b"hello\n") == b"hello\n"
    await stream.close_stdin()
    assert await read_all(stream) == {1: b"end\n", 2: b""}


async def test_without_stdin_the_process_reads_nothing(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["cat"], **BOTH})
    assert await read_all(await client.exec_start(session)) == {1: b"", 2: b""}


async def test_only_the_streams_asked_for_come(client: EngineClient, running: str) -> None:
    session = await client.exec_create(
        running, {"Cmd": ["sh", "-c", "echo out; echo err >&2"], "AttachStderr": True}
    )
    assert await read_all(await client.exec_start(session)) == {1: b"", 2: b"err\n"}


async def test_a_large_output_arrives_whole(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["head", "-c", "20000000", "/dev/zero"], **BOTH})
    stream = await client.exec_start(session)
    size = 0
    async with asyncio.timeout(60):
        while (item := await stream.read()) is not None:
            size += len(item[1])
    assert size == 20_000_000


async def test_a_large_input_arrives_whole(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", "wc -c"], **ALL})
    stream = await client.exec_start(session)
    piece = b"x" * 100_000
    async with asyncio.timeout(60):
        for _ in range(50):
            await stream.write(piece)
        await stream.close_stdin()
    assert (await read_all(stream))[1].strip() == b"5000000"


async def test_a_slow_reader_gets_everything(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["head", "-c", "3000000", "/dev/zero"], **BOTH})
    stream = await client.exec_start(session)
    size = 0
    async with asyncio.timeout(60):
        while (item := await stream.read()) is not None:
            size += len(item[1])
            await asyncio.sleep(0.002)
    assert size == 3_000_000


async def test_a_terminal_is_raw_and_has_a_size(client: EngineClient, running: str) -> None:
    # A runtime may set the size beside the program it has started; one that looks at once sees none.
    script = 'tty >/dev/null && while [ "$(stty size)" = "0 0" ]; do sleep 0.01; done; stty size'
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", script], "Tty": True, **ALL})
    stream = await client.exec_start(session, tty=True, console_size=(33, 101))
    out = await read_until(stream, b"\n")
    newest = await client.api_version()
    if newest >= (1, 42):
        assert out == b"33 101\r\n"
    stream.close()


async def test_resize_reaches_the_terminal(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh"], "Tty": True, **ALL})
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    await client.exec_resize(session, height=41, width=123)
    # A runtime may take sizes and input on different ways, so one may overtake the other.
    await stream.write(b"until stty size | grep '41 123'; do sleep 0.02; done\n")
    await read_until(stream, b"41 123\r\n")
    await stream.write(b"exit 5\n")
    await read_all(stream)
    assert await exited(client, session) == 5


async def test_control_c_interrupts_a_terminal(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh"], "Tty": True, **ALL})
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    await stream.write(b"echo go''ing; sleep 1000\n")
    await read_until(stream, b"going")
    await asyncio.sleep(0.1)  # so that it is the sleep, mostly, that is interrupted
    await stream.write(b"\x03")
    await stream.write(b"echo ba''ck\n")
    await read_until(stream, b"back")
    stream.close()


async def test_detach_keys_leave_the_process_running(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh"], "Tty": True, **ALL})
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    await stream.write(b"\x10\x11")
    await read_all(stream)
    # Docker 20.10 closes the terminal, and the shell ends.
    assert (await client.exec_inspect(session))["Running"] is True or not engine.ours


async def test_other_detach_keys_can_be_chosen(client: EngineClient, running: str, engine: UnderTest) -> None:
    body = {"Cmd": ["sh"], "Tty": True, "DetachKeys": "ctrl-a,b", **ALL}
    session = await client.exec_create(running, body)
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    await stream.write(b"\x01b")
    await read_all(stream)
    # Docker 20.10 closes the terminal, and the shell ends.
    assert (await client.exec_inspect(session))["Running"] is True or not engine.ours


async def test_environment_and_directory_are_set(client: EngineClient, running: str) -> None:
    body = {"Cmd": ["sh", "-c", 'echo "$COLOUR $PWD"'], "Env": ["COLOUR=blue"], "WorkingDir": "/tmp", **BOTH}
    assert (await read_all(await client.exec_start(await client.exec_create(running, body))))[
        1
    ] == b"blue /tmp\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["nosuchprogram"], b"executable file not found in"),
        (["/no/such/program"], b"no such file or directory"),
        (["/etc/passwd"], b"permission denied"),
    ],
)
async def test_a_program_that_cannot_run_says_so_in_the_stream(
    client: EngineClient, running: str, command: list[str], words: bytes
) -> None:
    session = await client.exec_create(running, {"Cmd": command, "Tty": True, **BOTH})
    stream = await client.exec_start(session, tty=True)
    assert words in (await read_all(stream))[1]
    assert await exited(client, session) == 126


async def test_a_vanished_client_does_not_end_the_process(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": ["sh", "-c", "sleep 0.5; exit 6"], **ALL})
    stream = await client.exec_start(session)
    stream.close()
    assert await exited(client, session) == 6


async def test_exec_in_nothing_is_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound, match="No such container: nosuchcontainer"):
        await client.exec_create("nosuchcontainer", {"Cmd": ["true"]})


async def test_exec_in_a_stopped_container_is_a_conflict(
    client: EngineClient, make_container: MakeContainer
) -> None:
    with pytest.raises(Conflict, match="is not running"):
        await client.exec_create(await make_container("true"), {"Cmd": ["true"]})


async def test_exec_in_a_paused_container_is_a_conflict(client: EngineClient, running: str) -> None:
    await client.container_pause(running)
    with pytest.raises(Conflict, match="is paused"):
        await client.exec_create(running, {"Cmd": ["true"]})
    await client.container_unpause(running)


@pytest.mark.parametrize("cmd", [None, []])
async def test_exec_without_a_command_is_refused(
    client: EngineClient, running: str, cmd: list[str] | None
) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)no exec command specified"):
        await client.exec_create(running, {"Cmd": cmd})


async def test_an_unknown_session_is_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound, match=r"(?i)no such exec instance"):
        await client.exec_inspect("0" * 64)
    with pytest.raises(NotFound, match=r"(?i)no such exec instance"):
        await client.exec_start("0" * 64)


async def test_a_session_starts_only_once(client: EngineClient, running: str, engine: UnderTest) -> None:
    session = await client.exec_create(running, {"Cmd": ["true"], **BOTH})
    await read_all(await client.exec_start(session))
    await exited(client, session)
    if engine.ours:
        with pytest.raises(Conflict, match="has already run"):
            await client.exec_start(session)
    else:  # Docker has upgraded by then, and says it in the stream or drops the session
        with pytest.raises((EngineError, AssertionError)):
            assert await read_all(await client.exec_start(session, tty=True)) == {1: b"", 2: b""}


async def test_the_end_of_the_container_ends_its_sessions(client: EngineClient, running: str) -> None:
    session = await client.exec_create(running, {"Cmd": list(FOREVER), **BOTH})
    stream = await client.exec_start(session)
    await client.container_kill(running)
    await read_all(stream)


async def test_the_upgrade_answers_101_with_its_content_type(
    api: Api, client: EngineClient, running: str
) -> None:
    newest = await client.api_version()
    for tty, version, kind in (
        (False, (1, 41), "raw-stream"),
        (True, (1, 41), "raw-stream"),
        (False, (1, 42), "multiplexed-stream"),
        (True, (1, 42), "raw-stream"),
    ):
        if version > newest:
            continue
        session = await client.exec_create(running, {"Cmd": ["echo", "hi"], "Tty": tty, **BOTH})
        path = f"/v{version[0]}.{version[1]}/exec/{session}/start"
        async with await api.hijack(path, {"Detach": False, "Tty": tty}) as wire:
            assert wire.head.startswith("HTTP/1.1 101 UPGRADED\r\n")
            assert f"Content-Type: application/vnd.docker.{kind}\r\n" in wire.head
            assert "Connection: Upgrade\r\n" in wire.head
            assert "Upgrade: tcp\r\n" in wire.head
            out = await wire.rest()
        assert out == b"hi\r\n" if tty else frames(out)[1] == b"hi\n"


async def test_without_an_upgrade_header_the_answer_is_200(
    api: Api, client: EngineClient, running: str
) -> None:
    session = await client.exec_create(running, {"Cmd": ["echo", "hi"], **BOTH})
    async with await api.hijack(f"/exec/{session}/start", {"Detach": False}, headers={}) as wire:
        assert wire.head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: application/vnd.docker.raw-stream\r\n" in wire.head
        assert "Content-Length" not in wire.head
        assert "chunked" not in wire.head
        assert frames(await wire.rest())[1] == b"hi\n"

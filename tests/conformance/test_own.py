"""Promises of this engine alone: coming back to an exec session, and ending one."""

from __future__ import annotations

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, NotFound
from tests.conformance.api import Api, frames
from tests.conformance.conftest import MakeContainer, UnderTest, read_all, read_until, until

SHELL = {"Cmd": ["sh"], "Tty": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}


@pytest.fixture
async def running(make_container: MakeContainer, engine: UnderTest) -> str:
    return await make_container("sleep", "1000", start=True)


async def test_one_can_come_back_to_an_exec_session(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    session = await client.exec_create(running, SHELL)
    first = await client.exec_start(session, tty=True)
    await first.write(b"COLOUR=red; echo re''ady\n")
    await read_until(first, b"ready")
    first.close()
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.exec_attach(session, tty=True)
        return
    second = await client.exec_attach(session, tty=True)
    await second.write(b"echo it is $COLOUR\n")
    await read_until(second, b"it is red")
    second.close()


async def test_an_exec_session_can_be_ended(client: EngineClient, running: str, engine: UnderTest) -> None:
    session = await client.exec_create(running, SHELL)
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.exec_kill(session)
        stream.close()
        return
    await client.exec_kill(session, signal="HUP")
    await read_all(stream)
    await until(lambda: client.exec_inspect(session), lambda seen: not seen["Running"])
    with pytest.raises(Conflict):
        await client.exec_attach(session, tty=True)


async def test_what_is_not_planned_says_why(api: Api, engine: UnderTest) -> None:
    if not engine.ours:
        return
    for method, path in (
        ("POST", "/build"),
        ("POST", "/swarm/init"),
        ("POST", "/plugins/pull"),
        ("POST", "/session"),
    ):
        answer = await api(method, path)
        assert answer.status == 501
        assert "is not supported by this engine: " in answer.message


async def test_bytes_sent_right_behind_the_request_are_input(
    api: Api, client: EngineClient, running: str, engine: UnderTest
) -> None:
    if not engine.ours:  # Docker loses them
        return
    for upgrade in ("", "Connection: Upgrade\r\nUpgrade: tcp\r\n"):
        session = await client.exec_create(
            running, {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
        )
        body = b'{"Detach":false}'
        head = f"POST /exec/{session}/start HTTP/1.1\r\nHost: e\r\n{upgrade}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await api.raw(head.encode() + body + b"early bird\n", half_close=True)
        assert frames(answer.partition(b"\r\n\r\n")[2])[1] == b"early bird\n"

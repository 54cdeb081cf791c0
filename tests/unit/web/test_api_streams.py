"""Attach and exec over the web port: the connection of a call with a token becomes the stream."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from typing import Any

from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Web, make_container
from tests.unit.web.test_web import browser
from webdock.people.api_rules import find, needed

WAIT_S = 30


async def token_of(web: Web) -> str:
    async with browser() as session:
        data = {"csrfmiddlewaretoken": await web.log_in(session), "name": "laptop", "days": "1"}
        answer = await session.post(f"{web.url}/account/tokens/make/", data=data, headers={"Origin": web.url})
        found = re.search(r"wdk_[\w-]{30,}", await answer.text())
        assert found
        return found[0]


async def ask(
    web: Web, token: str, path: str, body: Any = None, *, early: bytes = b"", upgrade: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """Open a connection, send a POST, read the head of the answer."""
    host, _colon, port = web.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = b"" if body is None else json.dumps(body).encode()
    upgrades = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else "Connection: close\r\n"
    head = (
        f"POST /api/v1.41/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{upgrades}"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data + early)
    async with asyncio.timeout(WAIT_S):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    return reader, writer, answer


async def until(reader: asyncio.StreamReader, words: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(WAIT_S):
        while words not in seen:
            piece = await reader.read(65536)
            assert piece, seen
            seen += piece
    return seen


def test_whoever_attaches_to_type_needs_control() -> None:
    rule = (find("POST", "containers/a/attach") or (None, ""))[0]
    assert rule is not None
    assert "control" in needed(rule, {"stdin": "1"})
    assert "control" not in needed(rule, {"stdout": "1", "stdin": "0"})


async def test_exec_and_attach_over_the_web_port(web: Web, fake: FakeEngine, api: EngineClient) -> None:
    """What is typed arrives, also what was sent before the answer; a removed token ends the stream."""
    token = await token_of(web)
    id = await make_container(api, "one")
    reader, writer, answer = await ask(web, "wdk_wrong", f"containers/{id}/attach?stream=1&stdout=1")
    assert " 401 " in answer.splitlines()[0]
    writer.close()
    reader, writer, answer = await ask(web, token, "containers/nobody/attach?stream=1&stdout=1")
    assert " 404 " in answer.splitlines()[0], answer
    assert "No such container" in (await reader.read()).decode()
    writer.close()
    reader, writer, answer = await ask(web, token, f"containers/{id}/start")
    assert " 501 " in answer.splitlines()[0], answer
    writer.close()

    exec_id = await api.exec_create(
        id, {"Cmd": ["sh"], "Tty": True, "AttachStdin": True, "AttachStdout": True}
    )
    start = {"Detach": False, "Tty": True}
    reader, writer, answer = await ask(web, token, f"exec/{exec_id}/start", start, early=b"echo ea''rly\n")
    assert " 101 " in answer.splitlines()[0], answer
    assert "upgrade: tcp" in answer.lower()
    await until(reader, b"early")
    writer.write(b"echo la''ter\n")
    await until(reader, b"later")

    body = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
    plain_id = await api.exec_create(id, body)
    plain, half, answer = await ask(web, token, f"exec/{plain_id}/start", {"Detach": False})
    assert " 101 " in answer.splitlines()[0], answer
    half.write(b"the last words")
    half.write_eof()
    assert (await until(plain, b"the last words"))[:1] == b"\x01", "frames pass as they are"
    async with asyncio.timeout(WAIT_S):
        assert await plain.read() == b""
    half.close()

    path = f"containers/{id}/attach?stream=1&stdout=1&stdin=1"
    second, other, answer = await ask(web, token, path)
    assert " 101 " in answer.splitlines()[0], answer
    with closing(sqlite3.connect(web.home / "web" / "webdock.sqlite3", timeout=WAIT_S)) as database:
        rows = database.execute("SELECT action, username FROM engines_auditentry").fetchall()
        assert ("container.exec.start", "admin") in rows
        assert ("container.attach", "admin") in rows
        with database:
            database.execute("DELETE FROM people_apitoken")
    async with asyncio.timeout(WAIT_S):
        await reader.read()
        await second.read()
    writer.close()
    other.close()
    status, err = await web.stop()
    assert status == 0, err
    assert "Traceback" not in err, err

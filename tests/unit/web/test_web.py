"""The web process itself: it listens, serves pages and sockets, ends politely, and says why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Web, make_container
from webdock.web import MESSAGE_MAX_BYTES, supervised


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def files(session: aiohttp.ClientSession, web: Web) -> None:
    """The second answer comes from memory, and is the same."""
    url = f"{web.url}/static/css/tokens.css"
    first, again = await session.get(url), await session.get(url)
    assert first.status == again.status == 200
    assert await first.read() == await again.read() != b""
    for name in ("Content-Type", "ETag", "Cache-Control", "X-Content-Type-Options", "Server"):
        assert first.headers[name] == again.headers[name], name
    known = await session.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert known.status == 304
    part = await session.get(url, headers={"Range": "bytes=0-9"})
    assert (part.status, len(await part.read())) == (206, 10)


async def test_the_process_serves_pages_files_and_sockets_and_ends_them_politely(
    web: Web, fake: FakeEngine, api: EngineClient
) -> None:
    async with browser() as session:
        health = await (await session.get(f"{web.url}/healthz")).json()
        assert health["status"] == "ok"
        await files(session, web)
        token = await web.log_in(session)
        headers = {"Origin": web.url}
        rows = await session.ws_connect(f"{web.url}/ws/rows/containers/", headers=headers)
        await rows.send_json({"type": "follow", "query": "", "cursor": 0})
        id = await make_container(api, "web")
        async with asyncio.timeout(60):
            while True:
                message = await rows.receive_json()
                if message["type"] == "rows" and id in message["order"]:
                    break
        answer = await session.post(
            f"{web.url}/containers/{id}/terminal/open/",
            headers={"X-CSRFToken": token, "Accept": "application/json", **headers},
        )
        opened = await answer.json()
        assert opened["ok"], opened
        terminal = await session.ws_connect(web.url + opened["websocket"], headers=headers)
        await terminal.send_bytes("echo gr''üße\n".encode())
        seen = b""
        async with asyncio.timeout(60):
            while "grüße".encode() not in seen:
                message = await terminal.receive()
                seen += message.data if isinstance(message.data, bytes) else b""
        web.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            async for _message in rows:
                pass
            async for _message in terminal:
                pass
        assert (rows.close_code, terminal.close_code) == (1012, 1012)
    status, err = await web.stop()
    assert status == 0, err
    assert "Traceback" not in err, err


async def test_refusals_of_sockets_carry_code_and_reason_and_large_messages_end_them(web: Web) -> None:
    async with browser() as session:
        for origin, code in ((web.url, 4401), ("http://evil.example", 4403), (None, 4403)):
            headers = {"Origin": origin} if origin else {}
            refused = await session.ws_connect(f"{web.url}/ws/pulls/", headers=headers)
            message = await refused.receive(timeout=60)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)
        await web.log_in(session)
        headers = {"Origin": web.url}
        for length, text in ((MESSAGE_MAX_BYTES + 1, False), (MESSAGE_MAX_BYTES + 1, True), (8 << 20, False)):
            large = await session.ws_connect(f"{web.url}/ws/rows/containers/", headers=headers)
            with contextlib.suppress(ConnectionError):
                await (large.send_str("x" * length) if text else large.send_bytes(b"x" * length))
            async with asyncio.timeout(20):
                async for _message in large:
                    pass
            assert large.closed


async def test_the_database_is_in_wal_mode_and_its_directory_holds_the_key(web: Web) -> None:
    with sqlite3.connect(web.home / "web" / "webdock.sqlite3") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    assert (web.home / "web" / "secret_key").stat().st_mode & 0o777 == 0o600


async def test_a_taken_port_ends_the_process_with_a_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "web").mkdir()
        one = Web(tmp_path, f"unix://{tmp_path}/nobody.sock")
        one.environ["WEBDOCK_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        await one.command("migrate", "--verbosity=0")
        await one.start()
        status, err = await one.stop()
    assert one.url == ""
    assert status == 1
    assert "cannot listen" in err


async def test_supervised_work_is_begun_again(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr("webdock.web.BACKOFF_FIRST_S", 0.01)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("no luck")
        await asyncio.Event().wait()

    task = asyncio.create_task(supervised(work, "work"))
    async with asyncio.timeout(60):
        while runs < 3:  # noqa: ASYNC110 - the supervisor tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert caplog.text.count('ValueError("no luck")') == 2

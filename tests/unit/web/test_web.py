"""The web process itself: it listens, serves pages and sockets, ends politely, and says why it cannot."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import make_container
from webdock.web import supervised

START_TIMEOUT_S = 60
PROGRAM = (
    "import sys; from webdock.web import run; sys.exit(run(on_ready=lambda url: print(url, flush=True)))"
)
USER = """
from django.contrib.auth.models import User
User.objects.create_superuser("admin", password="correct horse battery")
"""


class Web:
    """One web process with a home of its own."""

    def __init__(self, home: Path, engine: str) -> None:
        self.home = home
        self.environ = {
            **os.environ,
            "WEBDOCK_HOME": str(home),
            "WEBDOCK_RUN": str(home),
            "WEBDOCK_LISTEN": "127.0.0.1:0",
            "WEBDOCK_ENGINES": f"local={engine}",
            "DJANGO_SETTINGS_MODULE": "webdock.settings",
        }
        self.process: asyncio.subprocess.Process
        self.url = ""

    async def command(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "django", *arguments, env=self.environ, stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0, arguments

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_TIMEOUT_S)
        self.url = line.decode().strip()

    async def stop(self) -> tuple[int, str]:
        if self.process.returncode is None:
            self.process.terminate()
        _out, err = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()

    async def log_in(self, session: aiohttp.ClientSession) -> str:
        page = await (await session.get(f"{self.url}/login/")).text()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        data = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": "correct horse battery"}
        answer = await session.post(f"{self.url}/login/", data=data, headers={"Origin": self.url})
        assert answer.status == 200
        found = re.search(r'name="csrf-token" content="([^"]+)"', await answer.text())
        assert found
        return found[1]


@pytest_asyncio.fixture
async def web(tmp_path: Path, fake: FakeEngine) -> AsyncIterator[Web]:
    (tmp_path / "web").mkdir()
    one = Web(tmp_path, fake.url)
    await one.command("migrate", "--verbosity=0")
    await one.command("shell", "--verbosity=0", "--command", USER)
    await one.start()
    yield one
    if one.process.returncode is None:
        await one.stop()


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def test_the_process_serves_pages_and_sockets_and_ends_them_politely(
    web: Web, fake: FakeEngine, api: EngineClient
) -> None:
    async with browser() as session:
        health = await (await session.get(f"{web.url}/healthz")).json()
        assert health["status"] == "ok"
        token = await web.log_in(session)
        headers = {"Origin": web.url}
        rows = await session.ws_connect(f"{web.url}/ws/rows/containers/", headers=headers)
        await rows.send_json({"type": "follow", "query": "", "cursor": 0})
        id = await make_container(api, "web")
        async with asyncio.timeout(10):
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
        async with asyncio.timeout(10):
            while "grüße".encode() not in seen:
                message = await terminal.receive()
                seen += message.data if isinstance(message.data, bytes) else b""
        web.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            async for _message in rows:
                pass
            async for _message in terminal:
                pass
        assert (rows.close_code, terminal.close_code) == (1012, 1012)
    status, err = await web.stop()
    assert status == 0, err
    assert "Traceback" not in err, err


async def test_refusals_of_sockets_carry_code_and_reason(web: Web) -> None:
    async with browser() as session:
        for origin, code in ((web.url, 4401), ("http://evil.example", 4403), (None, 4403)):
            headers = {"Origin": origin} if origin else {}
            refused = await session.ws_connect(f"{web.url}/ws/pulls/", headers=headers)
            message = await refused.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)


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
    async with asyncio.timeout(5):
        while runs < 3:  # noqa: ASYNC110 - the supervisor tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert caplog.text.count('ValueError("no luck")') == 2

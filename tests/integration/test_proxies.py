"""Behind nginx and Caddy: a sub-path, TLS, forms, and sockets that stay open while nothing is said."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import select
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.integration.installation import Installation, free_port
from tests.integration.proxies import HOST, IDLE_S, Proxy

NAME, PASSWORD = "ada", "correct horse battery"
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def public_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def behind(public_port: int) -> Iterator[Installation]:
    """An installation that people reach as https://localhost:<port>/dock."""
    installation = Installation("proxied")
    installation.environ |= {
        "WEBDOCK_PUBLIC_URL": f"https://{HOST}:{public_port}/dock",
        "WEBDOCK_BEHIND_PROXY": "yes",
        "WEBDOCK_PING_S": "1",
    }
    installation.up()
    yield installation
    installation.purge()


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, behind: Installation, public_port: int) -> Iterator[Proxy]:
    server = Proxy(request.param, public_port, behind.listen)
    yield server
    server.stop()


def _inputs(page: str) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken"[^>]*value="([^"]+)"', page)
    assert found, page[:500]
    return {"csrfmiddlewaretoken": found[1], "username": NAME}


def _shown(page: str) -> dict[str, str]:
    """What the self-test's page says arrived at the server."""
    return dict(re.findall(r'data-(scheme|host|path|address|post)="([^"]*)"', page))


async def _log_in(browser: aiohttp.ClientSession, base: str, link: str) -> str:
    """The page after the log-in; the first one to come sets the password with the link."""
    origin = {"Origin": base.removesuffix("/dock"), "Referer": f"{base}/login/"}
    async with browser.get(link) as answer:
        where, page = str(answer.url), await answer.text()
        first = answer.status == 200 and "password1" in page
    if not first:
        where = f"{base}/login/"
        async with browser.get(where) as answer:
            page = await answer.text()
    secrets = ("password1", "password2") if first else ("password",)
    fields = _inputs(page) | dict.fromkeys(secrets, PASSWORD)
    async with browser.post(where, data=fields, headers=origin) as answer:
        assert answer.status == 200
        assert str(answer.url).startswith(f"{base}/")
        return await answer.text()


class Docker:
    """A `docker` with an API token that runs something on a terminal and looks on at events."""

    def __init__(self, base: str, certificate: str, token: str, home: Path) -> None:
        config = {"HttpHeaders": {"Authorization": f"Bearer {token}"}}
        (home / "config.json").write_text(json.dumps(config))
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home), "TERM": "xterm"}
        host = f"tcp://{base.removeprefix('https://')}/api"
        argv = ["docker", "--tlsverify", "--tlscacert", certificate, "-H", host]
        self._events = subprocess.Popen([*argv, "events"], env=environ, stdout=subprocess.DEVNULL)
        self._terminal, other = os.openpty()
        run = [*argv, "run", "-it", "--rm", "webdock/busybox", "sh"]
        self._run = subprocess.Popen(run, env=environ, stdin=other, stdout=other, stderr=other)
        os.close(other)
        self._seen = b""

    def says(self, text: bytes) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not said in {self._seen!r}"
            if select.select([self._terminal], [], [], left)[0]:
                self._seen += os.read(self._terminal, 4096)
        self._seen = self._seen.partition(text)[2]

    def goes_on(self) -> None:
        """Also after a silence longer than the proxy's pages are given."""
        os.write(self._terminal, b"echo $((6*7))\n")
        self.says(b"42")
        assert self._events.poll() is None
        os.write(self._terminal, b"exit 5\n")
        assert self._run.wait(TIMEOUT_S) == 5

    def close(self) -> None:
        for process in (self._events, self._run):
            if process.poll() is None:
                process.kill()
            process.wait()
        os.close(self._terminal)


@contextmanager
def _docker(base: str, certificate: str, token: str, home: Path) -> Iterator[Docker]:
    docker = Docker(base, certificate, token, home)
    try:
        docker.says(b"# ")
        yield docker
    finally:
        docker.close()


async def _visit(base: str, link: str, certificate: str, home: Path) -> None:
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    async with aiohttp.ClientSession(connector=trust) as browser, asyncio.timeout(TIMEOUT_S):
        async with browser.get(f"{base}/containers/") as answer:
            assert str(answer.url).startswith(f"{base}/login/")
        page = await _log_in(browser, base, link)
        style = re.search(r'href="(/dock/static/css/together[^"]*)"', page)
        assert style, page[:800]
        async with browser.get(base.removesuffix("/dock") + style[1]) as answer:
            assert answer.status == 200
        forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
        async with browser.get(f"{base}/selftest/", headers=forged) as answer:
            page = await answer.text()
        seen = _shown(page)
        assert seen["scheme"] == "https"
        assert seen["host"] == base.removeprefix("https://").removesuffix("/dock")
        assert seen["path"] == "/dock/selftest/"
        assert seen["address"] == "127.0.0.1"  # what the browser claims is not believed
        token = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert token
        origin = base.removesuffix("/dock")
        headers = {"X-CSRFToken": token[1], "Origin": origin, "Referer": f"{base}/selftest/"}
        async with browser.post(f"{base}/selftest/post/", headers=headers) as answer:
            assert await answer.json() == {"ok": True}
        form = {"name": "laptop", "days": "1", "csrfmiddlewaretoken": token[1]}
        async with browser.post(f"{base}/account/tokens/make/", data=form, headers=headers) as answer:
            key = re.search(r"wdk_[\w-]+(?=</code>)", await answer.text())
        assert key
        archive = f"{base}/api/containers/none/archive?path=/"
        bearer = {"Authorization": f"Bearer {key[0]}", "Content-Type": "application/x-tar"}
        async with browser.put(archive, data=io.BytesIO(bytes(3 << 20)), headers=bearer) as answer:
            assert answer.status == 404, "it came as far as the engine, whatever its length"
        for stranger in ("https://elsewhere.example", "http://localhost"):
            async with browser.ws_connect(f"{base}/ws/selftest/", headers={"Origin": stranger}) as line:
                assert (await line.receive()).type is aiohttp.WSMsgType.CLOSE
                assert line.close_code == 4403
        with _docker(base, certificate, key[0], home) as docker:
            await _silence(browser, base)
            docker.goes_on()


async def _silence(browser: aiohttp.ClientSession, base: str) -> None:
    """Longer than the proxy waits for a silent server: the pings, which no page sees, keep a socket open."""
    origin = base.removesuffix("/dock")
    async with browser.ws_connect(f"{base}/ws/selftest/", headers={"Origin": origin}) as line:
        assert await line.receive_json() == {"type": "hello"}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.receive(), 1.5 * IDLE_S)


async def test_pages_forms_silent_sockets_and_docker_work_behind_a_proxy(
    behind: Installation, proxy: Proxy, tmp_path: Path
) -> None:
    assert behind.link.startswith(f"https://{HOST}:{proxy.port}/dock/welcome/")
    await _visit(f"https://{HOST}:{proxy.port}/dock", behind.link, str(proxy.certificate), tmp_path)

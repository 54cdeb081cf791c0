"""Fixtures of the web ring: a database in a file, a fake engine on a socket, and three people."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import AsyncClient, TransactionTestCase
from django.utils import translation

from containers_app import recreate, rendering
from containers_app.models import Recreation
from containers_app.terminal_hub import close_hubs
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from webdock.engines import clients
from webdock.engines.middleware import StaticMiddleware
from webdock.engines.models import Engine
from webdock.engines.sync import EngineSync
from webdock.jobs import running
from webdock.people.guarded import GuardedClient
from webdock.people.standing import OPERATORS

ORIGIN = "http://testserver"
PASSWORD = "a long enough password"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file, as in production: an in-memory database shares its locks between threads."""
    from django.db import connections

    path = tmp_path_factory.mktemp("database") / "test.sqlite3"
    connections["default"].settings_dict["TEST"]["NAME"] = str(path)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """After each test the tables are emptied; what a migration's end writes into them is put back as it was,
    not worked out again for every model."""
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    with django_db_blocker.unblock():
        written = [(model, list(model.objects.all())) for model in (ContentType, Permission)]

    def empty(_test: TransactionTestCase) -> None:
        call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True)
        for model, rows in written:
            model.objects.bulk_create(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files_found_once() -> Iterator[None]:
    """The first request of a test looks at every static file; these stay what they are."""
    found: dict[str, dict[str, Any]] = {}
    look = StaticMiddleware.add_files_from_finders

    def look_once(self: StaticMiddleware) -> None:
        if self.static_prefix not in found:
            look(self)
            found[self.static_prefix] = dict(self.files)
        self.files.update(found[self.static_prefix])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticMiddleware, "add_files_from_finders", look_once)
        yield


@pytest.fixture(autouse=True)
def web_settings(settings: Any, tmp_path: Path) -> Any:
    """Quick hashes, no engine anywhere, hosts of the test client."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ENGINES = {"local": f"unix://{tmp_path}/nobody.sock"}
    settings.ALLOWED_HOSTS = ["testserver", "localhost"]
    settings.REGISTRIES_KEY_FILE = tmp_path / "registries.key"
    return settings


@pytest.fixture(autouse=True)
def language_of_the_settings() -> Iterator[None]:
    """A page asked for in another language leaves that language to whoever asks next in this thread."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def recreations_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recreated program has started once it runs."""
    monkeypatch.setattr(recreate, "UP_S", 0.2)


@pytest_asyncio.fixture(autouse=True)
async def fresh_process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """No jobs, clients and channel layer left over from another test."""
    running._board = running.Board()
    channel_layers.backends = {}
    rendering.forget()
    # What a synchronous client asks runs in a loop of its own, which ends before its engine's client is
    # closed: held here, so that it can be.
    held: dict[asyncio.AbstractEventLoop, dict[str, GuardedClient]] = {}
    monkeypatch.setattr(clients, "_clients", held)
    yield
    await close_hubs()
    await running.board().close()
    for of_loop in held.values():
        for client in of_loop.values():
            await client.close()
    held.clear()
    channel_layers.backends = {}


@pytest_asyncio.fixture
async def fake(web_settings: Any) -> AsyncIterator[FakeEngine]:
    """A fake engine with one image, known to the settings as "local"."""
    async with FakeEngine() as engine:
        engine.add_image("busybox:latest", Cmd=["sleep", "1000"])
        web_settings.ENGINES = {"local": engine.url}
        yield engine
        await close_hubs()
        await running.board().close()
        await clients.close_clients()


@pytest_asyncio.fixture
async def api(fake: FakeEngine) -> AsyncIterator[EngineClient]:
    """A client of the fake engine beside the product's own."""
    async with EngineClient(fake.url) as client:
        yield client


@pytest_asyncio.fixture
async def synced(transactional_db: None, fake: FakeEngine) -> AsyncIterator[EngineSync]:
    """The sync, running and caught up."""
    sync = EngineSync("local")
    task = asyncio.create_task(sync.run())
    async with asyncio.timeout(60):
        await sync.synced.wait()
    yield sync
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _user(name: str, **more: Any) -> User:
    return User.objects.create_user(name, password=PASSWORD, **more)


@pytest.fixture
def admin(transactional_db: None) -> User:
    return _user("admin", is_staff=True, is_superuser=True)


@pytest.fixture
def operator(transactional_db: None) -> User:
    user = _user("operator")
    user.groups.add(Group.objects.get_or_create(name=OPERATORS)[0])
    return user


@pytest.fixture
def viewer(transactional_db: None) -> User:
    return _user("viewer")


async def browser_of(user: User | None, **more: Any) -> AsyncClient:
    """A browser in which this person is logged in."""
    browser = AsyncClient(**more)
    if user is not None:
        await browser.aforce_login(user)
    return browser


@pytest_asyncio.fixture
async def as_admin(admin: User) -> AsyncClient:
    return await browser_of(admin)


@pytest_asyncio.fixture
async def as_operator(operator: User) -> AsyncClient:
    return await browser_of(operator)


@pytest_asyncio.fixture
async def as_viewer(viewer: User) -> AsyncClient:
    return await browser_of(viewer)


@pytest_asyncio.fixture
async def as_stranger(transactional_db: None) -> AsyncClient:
    return await browser_of(None)


Connect = Callable[..., Awaitable[WebsocketCommunicator]]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open a websocket as the person of a browser: ``await connect(browser, "/ws/pulls/")``."""
    from webdock.asgi import websocket_application

    opened: list[WebsocketCommunicator] = []

    async def open_socket(browser: AsyncClient, path: str, *, origin: str | None = ORIGIN) -> Any:
        headers = [(b"host", b"testserver")]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        morsel = browser.cookies.get(django_settings.SESSION_COOKIE_NAME)
        if morsel is not None:
            headers.append((b"cookie", f"{django_settings.SESSION_COOKIE_NAME}={morsel.value}".encode()))
        socket = WebsocketCommunicator(websocket_application, path, headers=headers)
        accepted, _protocol = await socket.connect(timeout=60)
        assert accepted, "every socket is accepted first, so that a refusal has its code"
        opened.append(socket)
        return socket

    yield open_socket
    for socket in opened:
        if not socket.future.done():
            await socket.send_input({"type": "websocket.disconnect", "code": 1001})
            await asyncio.wait([socket.future], timeout=20)


async def closing(socket: WebsocketCommunicator, timeout_s: float = 60) -> tuple[int, str]:
    """Read until the socket closes; its code and reason."""
    async with asyncio.timeout(timeout_s):
        while True:
            message = await socket.receive_output(timeout=timeout_s)
            if message["type"] == "websocket.close":
                return message["code"], message.get("reason", "")


async def make_container(
    api: EngineClient, name: str | None = None, *command: str, start: bool = True, **body: Any
) -> str:
    """A container of the fake engine, running ``sleep 1000`` unless told otherwise; its id."""
    asked: dict[str, Any] = {"Image": "busybox:latest", **body}
    if command:
        asked["Cmd"] = list(command)
    made = await api.container_create(asked, name=name)
    if start:
        await api.container_start(made["Id"])
    return str(made["Id"])


async def eventually(ask: Callable[[], Awaitable[Any]], timeout_s: float = 60) -> Any:
    """The first true answer; fails after the time."""
    async with asyncio.timeout(timeout_s):
        while not (answer := await ask()):  # noqa: ASYNC110 - processes and databases have no event
            await asyncio.sleep(0.01)
    return answer


async def recreated(id: Any) -> Recreation:
    """The recreation, once its job is over and done with."""

    async def over() -> bool:
        ended = await Recreation.objects.filter(pk=id).exclude(finished_at=None).aexists()
        return ended and not running.board().running("recreate")

    await eventually(over)
    return await Recreation.objects.aget(pk=id)


@sync_to_async
def local_engine() -> Engine:
    return Engine.objects.get_or_create(alias="local")[0]


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
            # Race: it may be ending by itself, and `terminate` would then take its exit code from the loop.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)
        _out, err = await asyncio.wait_for(self.process.communicate(), 60)
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

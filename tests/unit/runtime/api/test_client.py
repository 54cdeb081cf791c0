"""EngineClient: addresses, errors, streams that break, engines that come and go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from runtime.api import client as module
from runtime.api.client import EngineClient, path_stat
from runtime.api.errors import (
    Conflict,
    EngineUnreachable,
    Internal,
    InvalidArgument,
    NotFound,
    PeerProtocolError,
    Unavailable,
)
from runtime.api.frames import encode_frame
from tests.fakes.engine import FakeEngine

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[[Serve], Awaitable[str]]
Say = Callable[[bytes], Awaitable[str]]
PONG = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK"


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tmp_path) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeEngine) -> AsyncIterator[EngineClient]:
    async with EngineClient(fake.url) as client:
        yield client


@pytest.fixture
async def listen(tmp_path: Path) -> AsyncIterator[Listen]:
    """``await listen(serve)`` -> url of a server whose connections are ``serve(reader, writer)``."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(serve: Serve) -> str:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()
                tasks.discard(task)

        path = tmp_path / "server.sock"
        servers.append(await asyncio.start_unix_server(run, path))
        return f"unix://{path}"

    yield start
    for server in servers:
        server.close()
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    await asyncio.sleep(0)


@pytest.fixture
def parrot(listen: Listen) -> Say:
    """``await parrot(answer)`` -> url of an engine that pongs, and answers everything else like that."""

    async def start(answer: bytes) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while b"/_ping" in await reader.readuntil(b"\r\n\r\n"):
                writer.write(PONG)
            writer.write(answer)
            await writer.drain()

        return await listen(serve)

    return start


@pytest.mark.parametrize(
    "url",
    ["", "/run/x.sock", "unix://", "unix://relative", "ftp://x", "tcp://", "http:///x", "npipe:////./x"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an engine is"):
        EngineClient(url)


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    async with EngineClient(f"unix://{tmp_path}/none.sock") as client:
        with pytest.raises(EngineUnreachable, match=r"cannot reach the engine at unix://.*No such file"):
            await client.info()
        with pytest.raises(EngineUnreachable, match="cannot reach"):
            await client.exec_start("x")
        with pytest.raises(EngineUnreachable, match="cannot reach"):
            await client.events().open()


async def test_a_refused_tcp_connection_is_unreachable() -> None:
    async with EngineClient("tcp://127.0.0.1:1") as client:
        with pytest.raises(EngineUnreachable, match=r"(?i)refused|connect"):
            await client.info()


async def test_silence_is_unreachable(listen: Listen) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with EngineClient(await listen(silent), timeout_s=0.1) as client:
        with pytest.raises(EngineUnreachable, match=r"no answer from .* in 0.1 s"):
            await client.info()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"garbage\r\n\r\n", PeerProtocolError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz", PeerProtocolError, "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", PeerProtocolError, "expected an object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", EngineUnreachable, "cannot reach"),
        (b"", EngineUnreachable, "cannot reach"),
        (b'HTTP/1.1 409 X\r\nContent-Length: 17\r\n\r\n{"message":"why"}', Conflict, "^why$"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\ngone", NotFound, "^gone$"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", Unavailable, "answered 503 without a word"),
        (b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n", InvalidArgument, "answered 418"),
        (b"HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n", Internal, "answered 599"),
        (b"HTTP/1.1 301 X\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", Internal, "answered 301"),
    ],
)
async def test_answers_become_errors(parrot: Say, answer: bytes, kind: type[Exception], words: str) -> None:
    async with EngineClient(await parrot(answer)) as client:
        with pytest.raises(kind, match=words):
            await client.info()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"garbage\r\n\r\n", PeerProtocolError, "not an HTTP answer"),
        (b"HTTP/1.1 101 UP", EngineUnreachable, "cannot reach"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 17\r\n\r\n" + b'{"message":"why"}', NotFound, "^why$"),
        (
            b'HTTP/1.1 409 X\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{"message":"why"}\r\n0\r\n\r\n',
            Conflict,
            "^why$",
        ),
        (b"HTTP/1.1 500 X\r\n\r\nplain words\r\n", Internal, "^plain words$"),
    ],
)
async def test_a_refused_upgrade_becomes_an_error(
    parrot: Say, answer: bytes, kind: type[Exception], words: str
) -> None:
    async with EngineClient(await parrot(answer)) as client:
        with pytest.raises(kind, match=words):
            await client.exec_start("x")


async def test_an_upgraded_stream_is_taken_apart(parrot: Say) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
    url = await parrot(head + encode_frame(1, b"out") + encode_frame(2, b"err"))
    async with EngineClient(url) as client:
        stream = await client.exec_start("x")
        assert [await stream.read() for _ in range(3)] == [(1, b"out"), (2, b"err"), None]


async def test_a_stream_cut_inside_a_frame_is_an_error(parrot: Say) -> None:
    url = await parrot(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + encode_frame(1, b"out")[:-1])
    async with EngineClient(url) as client:
        stream = await client.exec_start("x")
        assert await stream.read() == (1, b"ou")
        with pytest.raises(PeerProtocolError):
            await stream.read()


async def test_json_cut_in_the_middle_is_unreachable(parrot: Say) -> None:
    url = await parrot(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"a":1}\n\r\n5\r\n{"b')
    async with EngineClient(url) as client:
        events = client.events()
        assert await anext(events) == {"a": 1}
        with pytest.raises(EngineUnreachable, match="in the middle of an answer"):
            await anext(events)


async def test_the_version_is_the_older_of_both(client: EngineClient, parrot: Say) -> None:
    assert await client.api_version() == module.API_VERSION
    async with EngineClient(await parrot(b"")) as old:
        assert await old.api_version() == (1, 41)


async def test_a_version_that_is_none_is_refused(listen: Listen) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PONG.replace(b"1.41", b"x.yz"))

    async with EngineClient(await listen(serve)) as client:
        with pytest.raises(PeerProtocolError, match=r"api version 'x.yz'"):
            await client.info()


async def test_names_cannot_leave_their_place_in_the_path(client: EngineClient) -> None:
    for ref in ("../../info", "..", ".", "", "a/b", "a?all=1", "a#b", "%2e%2e"):
        with pytest.raises(NotFound):
            await client.container_inspect(ref)


async def test_streams_notice_that_the_engine_went_away(fake: FakeEngine, client: EngineClient) -> None:
    events = await client.events().open()
    await fake.go_away()
    async with asyncio.timeout(60):
        with pytest.raises((EngineUnreachable, StopAsyncIteration)):
            await anext(events)
    with pytest.raises(EngineUnreachable):
        await client.info()
    await fake.come_back()
    assert await client.info()


async def test_closing_a_stream_is_noticed_by_the_engine(fake: FakeEngine, client: EngineClient) -> None:
    events = await client.events().open()
    assert fake.rooms.events.followers == 1
    events.close()
    async with asyncio.timeout(60):
        while fake.rooms.events.followers:  # noqa: ASYNC110 - the socket says when
            await asyncio.sleep(0.01)


async def test_short_calls_share_connections(fake: FakeEngine, client: EngineClient) -> None:
    await client.info()
    await asyncio.gather(*(client.info() for _ in range(20)))
    for _ in range(50):
        await client.info()
    assert fake._server is not None
    assert len(fake._server._servers[0].connections) <= 21


async def test_pull_shows_progress_and_closing_cancels(fake: FakeEngine, client: EngineClient) -> None:
    fake.offer("a/b:latest", step_s=0.01)
    lines = [line async for line in client.image_pull("a/b")]
    assert lines[0]["status"] == "Pulling from a/b"
    assert any(line.get("progressDetail", {}).get("total") for line in lines)
    fake.offer("c/d:latest", step_s=0.2)
    async with client.image_pull("c/d") as pull:
        await anext(pull)
    await asyncio.sleep(0.1)
    with pytest.raises(NotFound):
        await client.image_inspect("c/d")


async def test_credentials_travel_in_their_header(fake: FakeEngine, client: EngineClient) -> None:
    fake.offer("a/b:latest", password="secret")
    lines = [line async for line in client.image_pull("a/b", auth={"username": "u", "password": "secret"})]
    assert "Downloaded" in lines[-1]["status"]
    with pytest.raises(module.EngineError, match="unauthorized"):
        await client.image_pull("a/b").open()


@pytest.mark.parametrize(
    "headers", [{}, {"x-docker-container-path-stat": "!"}, {"x-docker-container-path-stat": "NQ=="}]
)
def test_a_path_stat_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(PeerProtocolError):
        path_stat(headers)


@pytest.fixture
async def tcp(fake: FakeEngine) -> AsyncIterator[Callable[[ssl.SSLContext | None], Awaitable[int]]]:
    """``await tcp(context)`` -> port that leads to the fake, with TLS when there is a context."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(context: ssl.SSLContext | None) -> int:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            inner_reader, inner_writer = await asyncio.open_unix_connection(str(fake.socket))

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        target.write(data)
                        await target.drain()
                    if target.can_write_eof():
                        target.write_eof()
                    else:
                        target.close()
                except ConnectionError:
                    target.close()

            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
            for end in (writer, inner_writer):
                end.close()
            tasks.discard(task)

        server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_an_engine_can_be_reached_over_tcp(
    tcp: Callable[[ssl.SSLContext | None], Awaitable[int]], scheme: str
) -> None:
    async with EngineClient(f"{scheme}://127.0.0.1:{await tcp(None)}") as client:
        body = {"Image": "webdock/busybox", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True}
        container = (await client.container_create(body))["Id"]
        stream = await client.container_attach(container)
        await client.container_start(container)
        await stream.write(b"hello")
        await stream.close_stdin()
        assert await stream.read() == (1, b"hello")
        assert await stream.read() is None
        stream.close()


async def test_an_engine_can_be_reached_over_tls_with_certificates_both_ways(
    tcp: Callable[[ssl.SSLContext | None], Awaitable[int]], tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    made = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(certificate, key)
    theirs = ssl.create_default_context(cafile=str(certificate))
    theirs.load_cert_chain(certificate, key)
    port = await tcp(ours)
    async with EngineClient(f"tcp://localhost:{port}", tls=theirs) as client:
        assert (await client.info())["OSType"] == "linux"
        container = (await client.container_create({"Image": "webdock/busybox", "Cmd": ["echo", "hi"]}))["Id"]
        stream = await client.container_attach(container, stdin=False, tty=False)
        await client.container_start(container)
        assert await stream.read() == (1, b"hi\n")
        stream.close()
    async with EngineClient(f"https://localhost:{port}") as stranger:
        with pytest.raises(EngineUnreachable, match=r"(?i)certificate"):
            await stranger.info()

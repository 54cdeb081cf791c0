"""The server on its sockets: who may connect, stale files, refusals, clients that vanish, slow peers."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Forbidden, InvalidArgument, Unavailable
from runtime.main import _lock
from runtime.server import app, connection
from runtime.server.connection import Connection, Peer
from tests.conformance.api import Api, Wire
from tests.fakes.engine import FakeEngine

WAIT_S = 60.0
BUSY = {"Image": "webdock/busybox", "Cmd": ["sleep", "1000"]}


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tmp_path) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeEngine) -> AsyncIterator[EngineClient]:
    async with EngineClient(fake.url) as client:
        yield client


@pytest.fixture
async def web(fake: FakeEngine) -> AsyncIterator[EngineClient]:
    async with EngineClient(fake.web_url) as client:
        yield client


@pytest.fixture
async def running(client: EngineClient) -> str:
    container = (await client.container_create(BUSY))["Id"]
    await client.container_start(container)
    return str(container)


def connections(fake: FakeEngine) -> list[Connection]:
    assert fake._server is not None
    return [one for server in fake._server._servers for one in server.connections]  # type: ignore[misc]


# The sockets


async def test_sockets_are_open_to_their_groups_only(fake: FakeEngine) -> None:
    for path in (fake.socket, Path(fake.web_url.removeprefix("unix://"))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_uid == os.geteuid()


async def test_a_socket_left_by_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "engine.sock"))
    left.close()
    async with FakeEngine(tmp_path) as fake, EngineClient(fake.url) as client:
        assert await client.info()


async def test_a_socket_somebody_listens_on_is_not_taken(fake: FakeEngine) -> None:
    with pytest.raises(Unavailable, match="another engine listens on"):
        app.open_socket(fake.socket, 0)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="too long for a unix socket"):
        app.open_socket(tmp_path / ("x" * 100), 0)


async def test_the_socket_files_go_with_the_server(fake: FakeEngine) -> None:
    await fake.go_away()
    assert not fake.socket.exists()


def test_a_directory_has_one_engine(tmp_path: Path) -> None:
    lock = _lock(tmp_path / "home", 0o700)
    with pytest.raises(Unavailable, match=rf"another engine \(process {os.getpid()}\) works in"):
        _lock(tmp_path / "home", 0o700)
    os.close(lock)
    os.close(_lock(tmp_path / "home", 0o700))
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


async def test_peers_are_known_by_the_kernel() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = Peer.of(here)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert {os.getegid(), *os.getgroups()} <= peer.groups


async def test_a_stranger_is_refused_whatever_he_asks(
    fake: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Peer, "of", classmethod(lambda cls, _: Peer(1, 12345, frozenset({54321}))))
    for ask in (client.info, lambda: client.container_create(BUSY), lambda: client.exec_start("x")):
        with pytest.raises(Forbidden, match="this process may not use this socket"):
            await ask()


async def test_a_peer_the_kernel_does_not_know_is_refused(
    fake: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: socket.socket) -> Peer:
        raise OSError("no credentials")

    monkeypatch.setattr(Peer, "of", unknown)
    with pytest.raises(Forbidden):
        await client.info()


async def test_members_of_the_group_are_admitted(
    fake: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_group_id", lambda name: {"webdock-admin": 700}.get(name, 701))
    monkeypatch.setattr(app, "_user_id", lambda name: 702)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    await fake.go_away()
    await fake.come_back()
    full, confined = fake.url, fake.web_url
    for uid, groups, url, admitted in (
        (0, {0}, full, True),
        (9, {700}, full, True),
        (9, {1, 700}, full, True),
        (9, {701}, full, False),
        (702, {701}, full, False),
        (0, {0}, confined, True),
        (9, {700}, confined, True),
        (9, {701}, confined, True),
        (702, {5}, confined, True),
        (9, {5}, confined, False),
    ):
        peer = Peer(1, uid, frozenset(groups))
        monkeypatch.setattr(Peer, "of", classmethod(lambda cls, _, peer=peer: peer))
        async with EngineClient(url) as one:
            if admitted:
                assert await one.info()
            else:
                with pytest.raises(Forbidden):
                    await one.info()


async def test_too_many_connections_are_cut(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 3)
    wires = [await Wire.open(str(fake.socket)) for _ in range(5)]
    for wire in wires[3:]:
        with pytest.raises((ConnectionError, AssertionError)):
            assert await wire.rest()
    assert len(connections(fake)) == 3
    for wire in wires:
        wire.close()


# The confined socket, end to end


async def test_the_confined_socket_runs_ordinary_containers(web: EngineClient) -> None:
    created = await web.container_create({**BUSY, "HostConfig": {"Memory": 1 << 26}})
    await web.container_start(created["Id"])
    session = await web.exec_create(created["Id"], {"Cmd": ["echo", "hi"], "AttachStdout": True})
    stream = await web.exec_start(session)
    assert await stream.read() == (1, b"hi\n")
    stream.close()
    await web.container_remove(created["Id"], force=True)


async def test_the_confined_socket_refuses_the_host(web: EngineClient) -> None:
    for host in ({"Privileged": True}, {"privileged": True}, {"BINDS": ["/:/host"]}):
        with pytest.raises(Forbidden, match="not allowed on this socket"):
            await web.container_create({**BUSY, "HostConfig": host})


async def test_the_confined_socket_refuses_what_it_does_not_know(fake: FakeEngine) -> None:
    async with Api(fake.web_url.removeprefix("unix://")) as api:
        for method, path in (
            ("POST", "/swarm/init"),
            ("GET", "/nothing"),
            ("PUT", "/info"),
            ("POST", "/build"),
        ):
            answer = await api(method, path)
            assert answer.status == 403
            assert "no such operation" in answer.message
        answer = await api("POST", "/containers/create", json={**BUSY, "Magic": 1})
        assert (answer.status, answer.message) == (400, "unknown field Magic")
        answer = await api("GET", "/containers/json?magic=1")
        assert answer.status == 403


async def test_a_privileged_container_is_out_of_reach(client: EngineClient, web: EngineClient) -> None:
    made = await client.container_create({**BUSY, "HostConfig": {"Privileged": True}}, name="root")
    await client.container_start("root")
    theirs = await client.exec_create("root", {"Cmd": ["sh"], "Tty": True, "AttachStdin": True})
    for attempt in (
        lambda: web.exec_create("root", {"Cmd": ["sh"]}),
        lambda: web.exec_create(made["Id"][:12], {"Cmd": ["sh"]}),
        lambda: web.exec_start(theirs),
        lambda: web.exec_attach(theirs),
        lambda: web.container_attach("root"),
        lambda: web.container_archive("root", "/etc").open(),
        lambda: web.container_archive_put("root", "/", b""),
        lambda: web.container_commit("root", repo="stolen"),
        lambda: web.container_create({**BUSY, "HostConfig": {"PidMode": "container:root"}}),
        lambda: web.container_create({**BUSY, "HostConfig": {"VolumesFrom": ["root"]}}),
    ):
        with pytest.raises(Forbidden, match="a privileged container"):
            await attempt()
    (await web.container_attach("root", stdin=False)).close()
    await web.container_stop("root", timeout_s=0)
    await web.container_remove("root")


async def test_what_was_judged_is_what_is_used(
    fake: FakeEngine, client: EngineClient, web: EngineClient
) -> None:
    shared = (await client.container_create(BUSY, name="front"))["Id"]
    made = await web.container_create({**BUSY, "HostConfig": {"NetworkMode": "container:front"}})
    inspect = await client.container_inspect(made["Id"])
    assert inspect["HostConfig"]["NetworkMode"] == f"container:{shared}"


async def test_nothing_is_an_answer_of_its_own_on_the_confined_socket(web: EngineClient) -> None:
    for attempt in (
        lambda: web.exec_create("nothing", {"Cmd": ["sh"]}),
        lambda: web.container_create({**BUSY, "HostConfig": {"PidMode": "container:nothing"}}),
    ):
        with pytest.raises(Exception, match="No such container: nothing"):
            await attempt()


# Requests


async def test_a_body_too_large_is_refused_by_its_length_and_by_its_bytes(
    client: EngineClient, fake: FakeEngine
) -> None:
    huge = {**BUSY, "Labels": {"x": "y" * (5 << 20)}}
    with pytest.raises(InvalidArgument, match="request body too large"):
        await client.container_create(huge)

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"Image": "'
        for _ in range(6):
            yield b"x" * (1 << 20)

    async with Api(str(fake.socket)) as api:
        headers = {"Content-Type": "application/json"}
        answer = await api("POST", "/containers/create", data=chunks(), headers=headers)
        assert answer.status == 400


async def test_a_client_that_asks_first_is_told_to_go_on(fake: FakeEngine) -> None:
    body = b'{"Image": "no/such"}'
    head = (
        f"POST /containers/create HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    async with await Wire.open(str(fake.socket)) as wire:
        wire.writer.write(head.encode())
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.writer.write(body)
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")


async def test_an_engine_that_fails_says_so_and_lives(
    fake: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fake.rooms, "info", broken)
    with pytest.raises(Exception, match=r"the engine failed at GET /v1.47/info: see its log"):
        await client.info()
    assert await client.version()


async def test_a_stopping_server_ends_what_only_follows(
    fake: FakeEngine, client: EngineClient, running: str
) -> None:
    events = await client.events().open()
    log = await client.container_logs(running, follow=True).open()
    waiting = asyncio.ensure_future(client.container_wait(running))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(WAIT_S):
        await fake.go_away()
    for stream in (events, log):
        stream.close()
    with pytest.raises(Exception):  # noqa: B017 - cut off, in one way or another
        await waiting


async def test_a_stopping_server_does_not_wait_for_clients_that_ask_nothing(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "STOP_S", 1000.0)
    streams = [await asyncio.open_unix_connection(fake.socket) for _ in range(2)]
    reader, writer = streams[0]
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: engine\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(WAIT_S):
        await fake.go_away()
        for reader, _ in streams:
            await reader.read()
    for _, writer in streams:
        writer.close()


# Clients that vanish, and slow ones


async def until_none(fake: FakeEngine) -> None:
    async with asyncio.timeout(WAIT_S):
        while connections(fake):  # noqa: ASYNC110 - the sockets say when
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "path",
    [
        "GET /events",
        "GET /containers/{}/logs?stdout=1&follow=1",
        "GET /containers/{}/stats",
        "POST /containers/{}/wait",
        "POST /containers/{}/attach?stream=1&stdin=1&stdout=1",
    ],
)
async def test_a_vanished_client_is_noticed_and_forgotten(
    fake: FakeEngine, client: EngineClient, running: str, path: str
) -> None:
    await client.close()
    wire = await Wire.open(str(fake.socket))
    wire.writer.write(f"{path.format(running)} HTTP/1.1\r\nHost: e\r\n\r\n".encode())
    await wire.until(b"\r\n\r\n")
    process = fake.rooms.containers.get(running).process
    assert process is not None
    wire.close()
    await until_none(fake)
    assert not process.sessions
    assert fake.rooms.events.followers == 0


async def test_a_vanished_client_is_noticed_while_its_input_waits(
    fake: FakeEngine, client: EngineClient
) -> None:
    body = {"Image": "webdock/busybox", "Cmd": ["sleep", "1000"], "OpenStdin": True}
    container = (await client.container_create(body))["Id"]
    await client.container_start(container)
    await client.close()
    wire = await Wire.open(str(fake.socket))
    head = f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: e\r\n\r\n"
    wire.writer.write(head.encode())
    await wire.until(b"\r\n\r\n")
    wire.writer.write(b"x" * (4 << 20))  # nobody reads it: the engine stops reading, too
    await asyncio.sleep(0.2)
    wire.writer.transport.abort()
    await until_none(fake)


async def test_an_action_goes_on_when_its_client_vanishes(
    fake: FakeEngine, client: EngineClient, running: str
) -> None:
    wire = await Wire.open(str(fake.socket))
    wire.writer.write(f"POST /containers/{running}/stop HTTP/1.1\r\nHost: e\r\n\r\n".encode())
    await wire.writer.drain()
    wire.close()
    async with asyncio.timeout(WAIT_S):
        assert (await client.container_wait(running))["StatusCode"] == 143


async def test_a_reader_that_never_reads_costs_little(fake: FakeEngine, client: EngineClient) -> None:
    container = (await client.container_create({"Image": "webdock/busybox", "Cmd": ["yes"]}))["Id"]
    wire = await Wire.open(str(fake.socket))
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    head = f"POST /containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: e\r\n\r\n"
    wire.writer.write(head.encode())
    await asyncio.sleep(0.1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await client.container_start(container)
    await asyncio.sleep(0.7)
    process = fake.rooms.containers.get(container).process
    assert process is not None
    process.log.clear()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10
    assert process.exited.done() is False
    wire.close()
    await client.container_remove(container, force=True)


async def test_output_is_sent_whole_before_the_connection_ends(
    fake: FakeEngine, client: EngineClient
) -> None:
    command = ["head", "-c", "2000000", "/dev/zero"]
    container = (await client.container_create({"Image": "webdock/busybox", "Cmd": command}))["Id"]
    stream = await client.container_attach(container, stdin=False, tty=False)
    await client.container_start(container)
    size = 0
    async with asyncio.timeout(WAIT_S):
        while (item := await stream.read()) is not None:
            size += len(item[1])
            await asyncio.sleep(0.002)
    assert size == 2_000_000


async def test_input_nobody_reads_does_not_spoil_the_end(fake: FakeEngine, client: EngineClient) -> None:
    body = {"Image": "webdock/busybox", "Cmd": ["echo", "done"], "OpenStdin": True, "StdinOnce": True}
    for _ in range(10):
        container = (await client.container_create(body))["Id"]
        stream = await client.container_attach(container, tty=False)
        await client.container_start(container)
        await stream.write(b"x" * 100_000)
        out = b""
        async with asyncio.timeout(WAIT_S):
            while (item := await stream.read()) is not None:
                out += item[1]
        assert out == b"done\n"


async def test_input_on_its_way_when_the_process_ends_does_not_spoil_the_end(
    fake: FakeEngine, client: EngineClient
) -> None:
    body = {"Image": "webdock/busybox", "Cmd": ["sh", "-c", "sleep 0.3; echo done"], "OpenStdin": True}
    container = (await client.container_create({**body, "StdinOnce": True}))["Id"]
    await client.container_start(container)
    wire = await Wire.open(str(fake.socket))
    head = f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: e\r\n\r\n"
    wire.writer.write(head.encode())
    await wire.until(b"\r\n\r\n")
    wire.writer.write(b"x" * (4 << 20))  # more than anybody takes
    assert (await wire.rest()).endswith(b"done\n")
    wire.close()


async def test_detach_keys_close_the_connection_at_once(fake: FakeEngine, client: EngineClient) -> None:
    container = (await client.container_create({**BUSY, "Cmd": ["cat"], "Tty": True, "OpenStdin": True}))[
        "Id"
    ]
    await client.container_start(container)
    wire = await Wire.open(str(fake.socket))
    head = f"POST /containers/{container}/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: e\r\n\r\n"
    wire.writer.write(head.encode())
    await wire.until(b"\r\n\r\n")
    wire.writer.write(b"\x10\x11")
    assert await wire.rest() == b""
    raw = wire.writer.get_extra_info("socket").dup()
    with raw, pytest.raises(BrokenPipeError):
        raw.send(b"is anybody there")
    wire.close()


async def test_a_slow_follower_of_events_is_cut_off(fake: FakeEngine, client: EngineClient) -> None:
    wire = await Wire.open(str(fake.socket))
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire.writer.write(b"GET /events HTTP/1.1\r\nHost: e\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        while not fake.rooms.events.followers:  # noqa: ASYNC110 - the engine says when
            await asyncio.sleep(0.01)
    for _ in range(200):
        for _ in range(100):
            fake.publish("container", "x" * 100, "a" * 64, {"k": "v" * 200})
        await asyncio.sleep(0)
    wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
    with pytest.raises((ConnectionError, AssertionError)):
        # The chunked answer has no end, so a client knows that something is missing.
        assert (await wire.rest()).endswith(b"0\r\n\r\n")
    assert fake.rooms.events.followers == 0
    wire.close()

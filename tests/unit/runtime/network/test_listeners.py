"""Host ports: taken, refused, served by the relay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.network import relay as relay_module
from runtime.network.listeners import Listeners, PortTaken
from runtime.network.ports import parse_bindings
from runtime.network.relay import DatagramRelay, StreamRelay

LOCAL = "127.0.0.1"


@pytest.fixture
def listeners() -> Listeners:
    return Listeners(LOCAL)


def wishes(port: str, host_port: str = "", address: str = "") -> list[object]:
    return list(parse_bindings({port: [{"HostIp": address, "HostPort": host_port}]}))


def test_published_tcp_ports_of_loopback_are_told_from_those_of_the_machine(listeners: Listeners) -> None:
    reservation = listeners.reserve([*wishes("80/tcp"), *wishes("53/udp")])  # type: ignore[list-item]
    tcp, udp = (entry.host_port for entry in reservation.published)
    everywhere = listeners.reserve(wishes("80/tcp", "", "0.0.0.0"))  # type: ignore[arg-type]
    (wide,) = everywhere.published
    told = {
        (address, port): listeners.leads_inside(address, port)
        for address in (LOCAL, "127.0.0.2", "::1", "169.254.169.254", "10.0.0.1")
        for port in (tcp, udp, wide.host_port)
    }
    assert [asked for asked, inside in told.items() if inside] == [
        (LOCAL, tcp),
        (LOCAL, wide.host_port),
        ("127.0.0.2", wide.host_port),
    ]
    listeners.release(reservation)
    listeners.release(everywhere)
    assert not listeners.leads_inside(LOCAL, tcp)


def test_random_port_is_held_until_released(listeners: Listeners) -> None:
    reservation = listeners.reserve(wishes("80/tcp"))  # type: ignore[arg-type]
    (published,) = reservation.published
    assert (str(published.host_ip), published.host_port > 0) == (LOCAL, True)
    again = wishes("80/tcp", str(published.host_port))
    with pytest.raises(
        PortTaken, match=f"Bind for {LOCAL}:{published.host_port} failed: port is already allocated$"
    ):
        listeners.reserve(again)  # type: ignore[arg-type]
    listeners.release(reservation)
    listeners.release(listeners.reserve(again))  # type: ignore[arg-type]


def test_all_or_none(listeners: Listeners) -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        number = taken.getsockname()[1]
        free = socket.create_server((LOCAL, 0))
        other = free.getsockname()[1]
        free.close()
        many = [*wishes("80/tcp", str(other)), *wishes("81/tcp", str(number))]
        with pytest.raises(PortTaken, match="another process of this host"):
            listeners.reserve(many)  # type: ignore[arg-type]
        socket.create_server((LOCAL, other)).close()


def test_default_address_of_a_network_is_used(listeners: Listeners) -> None:
    reservation = listeners.reserve(wishes("80/udp"), "127.0.0.2")  # type: ignore[arg-type]
    assert [str(entry.host_ip) for entry in reservation.published] == ["127.0.0.2"]
    listeners.release(reservation)


def test_every_address_means_the_same_port_of_both_families() -> None:
    everywhere = Listeners("0.0.0.0")
    reservation = everywhere.reserve(wishes("80/tcp"))  # type: ignore[arg-type]
    assert [str(entry.host_ip) for entry in reservation.published] == ["0.0.0.0", "::"]
    assert len({entry.host_port for entry in reservation.published}) == 1
    everywhere.release(reservation)


def test_sctp_ports_are_written_down(listeners: Listeners) -> None:
    reservation = listeners.reserve(wishes("5/sctp", "7005"))  # type: ignore[arg-type]
    with pytest.raises(PortTaken, match="port is already allocated"):
        listeners.reserve(wishes("5/sctp", "7005"))  # type: ignore[arg-type]
    with pytest.raises(PortTaken):
        listeners.reserve(wishes("5/sctp"))  # type: ignore[arg-type]
    listeners.release(reservation)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that sends everything back and closes after its client did."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        idle.clear()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        open_connections.discard(writer)
        if not open_connections:
            idle.set()

    open_connections: set[asyncio.StreamWriter] = set()
    idle = asyncio.Event()
    idle.set()
    server = await asyncio.start_server(serve, LOCAL, 0)
    yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60):
        await idle.wait()
    server.close()
    await server.wait_closed()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOCAL, 0)) as made:
        made.setblocking(False)
        yield made


async def test_stream_relay_carries_both_ways_and_half_closes(echo: int, listener: socket.socket) -> None:
    relay = StreamRelay(listener, (LOCAL, echo))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    payload = bytes(range(256)) * 8192
    sending = asyncio.create_task(_send(writer, payload))
    assert await reader.readexactly(len(payload)) == payload
    await sending
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    relay.close()
    await asyncio.sleep(0)


async def _send(writer: asyncio.StreamWriter, payload: bytes) -> None:
    writer.write(payload)
    await writer.drain()
    writer.write_eof()


async def test_connection_to_nobody_is_reset(listener: socket.socket) -> None:
    with socket.create_server((LOCAL, 0)) as gone:
        target = gone.getsockname()
    relay = StreamRelay(listener, target)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    relay.close()


async def test_slow_reader_makes_the_sender_wait(listener: socket.socket) -> None:
    """Neither side's bytes pile up here when the other does not read."""
    with socket.create_server((LOCAL, 0)) as silent:
        relay = StreamRelay(listener, silent.getsockname())
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        sent = 0
        quiet = 0
        while quiet < 20:
            try:
                sent += client.send(b"x" * 65536)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                await asyncio.sleep(0.01)
        assert sent < 64 << 20
        client.close()
        relay.close()
        await asyncio.sleep(0)


async def test_connections_are_bounded(
    echo: int, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "CONNECTIONS_MAX", 2)
    relay = StreamRelay(listener, (LOCAL, echo))
    opened = [await asyncio.open_connection(*listener.getsockname()) for _ in range(3)]
    for reader, writer in opened[:2]:
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
    opened[2][1].write(b"x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await opened[2][0].readexactly(1)
    opened[0][1].close()
    assert await opened[2][0].readexactly(1) == b"x"
    for _, writer in opened:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    relay.close()
    await asyncio.sleep(0)


async def test_datagrams_come_back_to_who_sent_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "CLIENTS_MAX", 4)
    loop = asyncio.get_running_loop()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, front:
        for one in (server, front):
            one.bind((LOCAL, 0))
            one.setblocking(False)
        relay = DatagramRelay(front, server.getsockname())
        for number in range(8):  # more than are remembered
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(front.getsockname())
                client.send(b"%d" % number)
                async with asyncio.timeout(60):
                    data, peer = await loop.sock_recvfrom(server, 16)
                    await loop.sock_sendto(server, data + b"!", peer)
                    assert await loop.sock_recv(client, 16) == b"%d!" % number
        assert len(relay._clients) <= 4
        relay.close()

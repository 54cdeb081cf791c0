"""Listening sockets whose connections cannot be taken, or whose relay is another now."""

# ruff: noqa: ASYNC110 - the kernel tells no event of it

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from runtime.network import relay, resolver
from runtime.network.relay import StreamRelay
from runtime.network.resolver import Resolver, Upstream

TARGET = ("127.0.0.1", 9)


class Starved(socket.socket):
    """A listener of a process that has no file descriptor left."""

    tries = 0

    def accept(self) -> Any:
        self.tries += 1
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def starved() -> Iterator[Starved]:
    with Starved(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_port_whose_connection_cannot_be_taken_is_left_alone_for_a_while(
    starved: Starved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RETRY_S", 3600.0)
    one = StreamRelay(starved, TARGET)
    with socket.create_connection(starved.getsockname()):
        async with asyncio.timeout(60):
            while not starved.tries:
                await asyncio.sleep(0)
        await turns(50)
        assert starved.tries == 1
        one._listen_again()
        await turns(50)
        assert starved.tries == 2
    one.close()


async def test_so_is_a_resolver(starved: Starved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "RETRY_S", 3600.0)
    names: Any = None
    server = Resolver(names)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    server.open("c", udp, starved, Upstream(list))
    with socket.create_connection(starved.getsockname()):
        async with asyncio.timeout(60):
            while not starved.tries:
                await asyncio.sleep(0)
        await turns(50)
        assert starved.tries == 1
        server._accept_again(server._clients["c"])
        await turns(50)
        assert starved.tries == 2
    server.close("c")


async def test_a_relay_that_was_closed_does_not_take_its_successors_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def carry(self: StreamRelay, client: socket.socket) -> None:
        client.close()

    monkeypatch.setattr(StreamRelay, "_carry", carry)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    with closing(listener):
        first = StreamRelay(listener, TARGET)
        first._listen(False)
        with socket.create_connection(listener.getsockname()):
            first._accept()
            await asyncio.sleep(0)  # the connection has ended, and nobody was told yet
            first.close()
            second = StreamRelay(listener, TARGET)
            await turns(3)
        assert not first._listening
        assert second._listening
        second.close()

"""The name server containers on user networks find at 127.0.0.11.

Each such container has two sockets of ours in its namespace, on ports of their own; a rule there leads port
53 to them, so port 53 stays free for the container. Names of containers are answered in the callback that
reads the question; everything else goes to the host's resolvers, or from within the container's namespace
to those it was given by ``--dns``. It knows names only through ``Names`` and keeps no copy.

Spec: RFC 1035, 4.2; RFC 7766.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runtime.network import dns
from runtime.network.ipam import Address

TTL_S = 5  # an address may change when its container restarts
UPSTREAM_TIMEOUT_S = 2.0  # of one server; the C library gives up after five
UPSTREAMS_MAX = 3  # as many as the C library asks
QUERIES_MAX = 512  # of one container on their way to upstream servers
CONNECTIONS_MAX = 64  # TCP, of one container
IDLE_S = 10.0  # TCP, without a question
RETRY_S = 1.0  # after which a connection is tried to be taken again that could not be
MESSAGE_BYTES = 1 << 16
BURST = 64  # questions read before others get their turn

log = logging.getLogger(__name__)


class Names(Protocol):
    """What a container may know about others."""

    def lookup(self, container_id: str, name: str) -> list[Address] | None:
        """Addresses of a name; None when no container has it."""

    def reverse(self, container_id: str, address: Address) -> str | None:
        """The name of an address."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Whom a container's other questions go to."""

    servers: Callable[[], Sequence[str]]  # asked anew each time: the host may move to another network
    open_socket: Callable[[int, int], Awaitable[socket.socket]] | None = None  # in the container's namespace
    allowed: bool = True  # False: on internal networks only, nothing leaves


@dataclass(slots=True, eq=False)
class _Client:
    container_id: str
    udp: socket.socket
    tcp: socket.socket
    upstream: Upstream
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    connections: int = 0
    queries: int = 0


class Resolver:
    """All containers' name servers; lives in the event loop that opened them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._clients: dict[str, _Client] = {}

    def open(self, container_id: str, udp: socket.socket, tcp: socket.socket, upstream: Upstream) -> None:
        """Answer at these bound, non-blocking sockets, which are ours from now on."""
        self.close(container_id)
        client = self._clients[container_id] = _Client(container_id, udp, tcp, upstream)
        loop = asyncio.get_running_loop()
        loop.add_reader(udp, self._datagrams, client)
        loop.add_reader(tcp, self._accept, client)

    def is_open(self, container_id: str) -> bool:
        return container_id in self._clients

    def change(self, container_id: str, upstream: Upstream) -> None:
        if container_id in self._clients:
            self._clients[container_id].upstream = upstream

    def close(self, container_id: str) -> None:
        client = self._clients.pop(container_id, None)
        if client is None:
            return
        loop = asyncio.get_running_loop()
        for task in client.tasks:
            task.cancel()
        for one in (client.udp, client.tcp):
            loop.remove_reader(one)
            one.close()

    def close_all(self) -> None:
        for container_id in list(self._clients):
            self.close(container_id)

    # -- UDP

    def _datagrams(self, client: _Client) -> None:
        for _ in range(BURST):
            try:
                message, peer = client.udp.recvfrom(MESSAGE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an earlier answer was refused: that client is gone
            reply, question = self._answer(client, message, udp=True)
            if question is not None:
                self._spawn(client, self._forward_datagram(client, message, question, peer))
            elif reply is not None:
                _send(client.udp, reply, peer)

    async def _forward_datagram(
        self, client: _Client, message: bytes, question: dns.Question, peer: object
    ) -> None:
        reply = await self._forward(client, message, question, socket.SOCK_DGRAM)
        if client.udp.fileno() >= 0:
            _send(client.udp, reply, peer)

    # -- TCP

    def _accept(self, client: _Client) -> None:
        for _ in range(BURST):
            try:
                connection, _ = client.tcp.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors: the kernel keeps the connection waiting
                log.warning("a question to the resolver cannot be taken: %s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(client.tcp)
                loop.call_later(RETRY_S, self._accept_again, client)
                return
            connection.setblocking(False)
            if client.connections >= CONNECTIONS_MAX:
                connection.close()
                continue
            self._spawn(client, self._serve(client, connection))

    def _accept_again(self, client: _Client) -> None:
        if self._clients.get(client.container_id) is client:
            asyncio.get_running_loop().add_reader(client.tcp, self._accept, client)

    async def _serve(self, client: _Client, connection: socket.socket) -> None:
        client.connections += 1
        loop = asyncio.get_running_loop()
        try:
            with connection, contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(IDLE_S):
                        (length,) = struct.unpack("!H", await _read(loop, connection, 2))
                        message = await _read(loop, connection, length)
                    reply, question = self._answer(client, message, udp=False)
                    if question is not None:
                        reply = await self._forward(client, message, question, socket.SOCK_STREAM)
                    if reply is None:
                        return
                    async with asyncio.timeout(IDLE_S):
                        await loop.sock_sendall(connection, struct.pack("!H", len(reply)) + reply)
        finally:
            client.connections -= 1

    # -- answers

    def _answer(
        self, client: _Client, message: bytes, *, udp: bool
    ) -> tuple[bytes | None, dns.Question | None]:
        """(reply, None) when it is ours to answer, (None, question) when others have to be asked."""
        try:
            question = dns.parse(message)
        except dns.Malformed as error:
            return error.reply, None
        if question.cls == dns.IN:
            if question.type == dns.PTR:
                address = dns.reverse_address(question.name)
                name = self._names.reverse(client.container_id, address) if address else None
                encoded = dns.encode_name(name) if name else None
                if encoded is not None:
                    return question.reply(dns.NOERROR, [(dns.PTR, encoded)], ttl_s=TTL_S, udp=udp), None
            else:
                found = self._names.lookup(client.container_id, question.name)
                if found is not None:
                    records = _records(question.type, found)
                    return question.reply(dns.NOERROR, records, ttl_s=TTL_S, udp=udp), None
        if not client.upstream.allowed or client.queries >= QUERIES_MAX:
            return question.reply(dns.SERVFAIL), None
        return None, question

    async def _forward(self, client: _Client, message: bytes, question: dns.Question, kind: int) -> bytes:
        """The first good answer of the upstream servers, or that they failed."""
        client.queries += 1
        last: bytes | None = None
        try:
            for server in client.upstream.servers()[:UPSTREAMS_MAX]:
                try:
                    async with asyncio.timeout(UPSTREAM_TIMEOUT_S):
                        last = await self._ask(client.upstream, server, message, kind)
                except OSError:
                    continue
                if dns.rcode(last) not in (dns.SERVFAIL, dns.REFUSED):
                    return last
        finally:
            client.queries -= 1
        return last or question.reply(dns.SERVFAIL)

    async def _ask(self, upstream: Upstream, server: str, message: bytes, kind: int) -> bytes:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        if upstream.open_socket is not None:
            onward = await upstream.open_socket(family, kind)
        else:
            onward = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with onward:
            await loop.sock_connect(onward, (server, 53))
            if kind == socket.SOCK_DGRAM:
                await loop.sock_sendall(onward, message)
                while True:
                    reply = await loop.sock_recv(onward, MESSAGE_BYTES)
                    if dns.answers(message, reply):
                        return reply
            await loop.sock_sendall(onward, struct.pack("!H", len(message)) + message)
            try:
                (length,) = struct.unpack("!H", await _read(loop, onward, 2))
                reply = await _read(loop, onward, length)
            except asyncio.IncompleteReadError:
                raise ConnectionResetError(f"{server} hung up") from None
            if not dns.answers(message, reply):
                raise ConnectionAbortedError(f"{server} answered something else")
            return reply

    def _spawn(self, client: _Client, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        client.tasks.add(task)
        task.add_done_callback(client.tasks.discard)
        task.add_done_callback(_report)


def _report(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a name could not be looked up", exc_info=task.exception())


def _records(kind: int, found: Sequence[Address]) -> list[tuple[int, bytes]]:
    """Address records of the kind asked for, in random order so that equal names share the load."""
    wanted = {dns.A: (4,), dns.AAAA: (6,), dns.ANY: (4, 6)}.get(kind, ())
    records = [
        (dns.A if address.version == 4 else dns.AAAA, address.packed)
        for address in found
        if address.version in wanted
    ]
    random.shuffle(records)
    return records


def _send(udp: socket.socket, reply: bytes, peer: object) -> None:
    with contextlib.suppress(OSError):  # the client is gone or its buffer is full: it will ask again
        udp.sendto(reply, peer)  # type: ignore[call-overload]


async def _read(loop: asyncio.AbstractEventLoop, connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        chunk = await loop.sock_recv(connection, length - len(data))
        if not chunk:
            raise asyncio.IncompleteReadError(data, length)
        data += chunk
    return data

"""Carries bytes and datagrams from a bound host port to a container, when no rule of the kernel does.

Owns the connections it carries; the listening socket belongs to the caller. A side that does not read makes
the other wait (TCP) or loses datagrams (UDP), as on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import OrderedDict

CONNECTIONS_MAX = 1024  # of one host port; further ones wait in the kernel's queue
CONNECT_TIMEOUT_S = 10
RETRY_S = 1.0  # after which a connection is tried to be taken again that could not be
CHUNK_BYTES = 1 << 16
CLIENTS_MAX = 1024  # UDP: peers remembered per host port, the longest silent one is forgotten
IDLE_S = 90  # UDP: a peer is forgotten after this silence
DATAGRAM_BYTES = 1 << 16
BURST = 64  # datagrams or connections taken before others get their turn

Target = tuple[str, int]

log = logging.getLogger(__name__)


class StreamRelay:
    """Every connection to ``listener`` goes on to ``target``."""

    def __init__(self, listener: socket.socket, target: Target) -> None:
        self._listener = listener
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = False
        self._closed = False
        self._listen(True)

    def close(self) -> None:
        self._closed = True
        self._listen(False)
        for task in self._tasks:
            task.cancel()

    def _listen(self, on: bool) -> None:
        if on and not self._listening:
            self._loop.add_reader(self._listener, self._accept)
        elif not on and self._listening:
            self._loop.remove_reader(self._listener)
        self._listening = on

    def _accept(self) -> None:
        for _ in range(BURST):
            if len(self._tasks) >= CONNECTIONS_MAX:
                self._listen(False)
                return
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors: the kernel keeps the connection waiting
                log.warning("a connection to a published port cannot be taken: %s", error)
                self._listen(False)
                self._loop.call_later(RETRY_S, self._listen_again)
                return
            client.setblocking(False)
            task = self._loop.create_task(self._carry(client))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("relay of a published port failed", exc_info=task.exception())
        self._listen_again()

    def _listen_again(self) -> None:
        # Race: the socket may be another relay's by now, whose reader this one's would take the place of.
        if not self._closed and self._listener.fileno() >= 0 and len(self._tasks) < CONNECTIONS_MAX:
            self._listen(True)

    async def _carry(self, client: socket.socket) -> None:
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        with client, socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._loop.sock_connect(server, self._target)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(client, server))
                    group.create_task(self._pump(server, client))
            except (OSError, ExceptionGroup):
                # Nobody listens inside, or one side hung up: the other sees a reset, not a quiet end.
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, CHUNK_BYTES):
            await self._loop.sock_sendall(sink, data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class DatagramRelay:
    """Every datagram to ``listener`` goes on to ``target``, and its answers back to who sent it."""

    def __init__(self, listener: socket.socket, target: Target) -> None:
        self._listener = listener
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._clients: OrderedDict[tuple[object, bytes], _Client] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._ipv6 = listener.family == socket.AF_INET6
        # Answers must leave from the address the question came to.
        if self._ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._loop.add_reader(listener, self._from_outside)

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
        while self._clients:
            self._forget(next(iter(self._clients)))

    def _from_outside(self) -> None:
        for _ in range(BURST):
            try:
                data, ancillary, _, peer = self._listener.recvmsg(DATAGRAM_BYTES, 128)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an earlier answer could not be delivered
            local = self._local(ancillary)
            client = self._clients.get((peer, local)) or self._remember(peer, local)
            if client is None:
                return
            client.seen = time.monotonic()
            self._clients.move_to_end((peer, local))
            with contextlib.suppress(OSError):
                client.socket.send(data)

    def _remember(self, peer: object, local: bytes) -> _Client | None:
        if len(self._clients) >= CLIENTS_MAX:
            self._forget(next(iter(self._clients)))
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        onward = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            onward.connect(self._target)
        except OSError:
            onward.close()
            return None
        client = self._clients[peer, local] = _Client(onward, peer, local)
        self._loop.add_reader(onward, self._from_inside, client)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_S, self._sweep)
        return client

    def _from_inside(self, client: _Client) -> None:
        for _ in range(BURST):
            try:
                data = client.socket.recv(DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return  # nobody listens inside; the next datagram may find somebody
            client.seen = time.monotonic()
            level, kind = (
                (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) if self._ipv6 else (socket.IPPROTO_IP, _IP_PKTINFO)
            )
            with contextlib.suppress(OSError):
                self._listener.sendmsg([data], [(level, kind, client.local)], 0, client.peer)  # type: ignore[arg-type]

    def _local(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        """The packet information that makes an answer leave from where the question arrived."""
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                return value
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return bytes(4) + value[8:12] + bytes(4)  # interface: any; source: the address it came to
        return bytes(20) if self._ipv6 else bytes(12)

    def _sweep(self) -> None:
        self._timer = None
        limit = time.monotonic() - IDLE_S
        for key, client in list(self._clients.items()):
            if client.seen <= limit:
                self._forget(key)
        if self._clients:
            self._timer = self._loop.call_later(IDLE_S / 3, self._sweep)

    def _forget(self, key: tuple[object, bytes]) -> None:
        client = self._clients.pop(key)
        self._loop.remove_reader(client.socket)
        client.socket.close()


_IP_PKTINFO = 8


class _Client:
    __slots__ = ("local", "peer", "seen", "socket")

    def __init__(self, onward: socket.socket, peer: object, local: bytes) -> None:
        self.socket = onward
        self.peer = peer
        self.local = local
        self.seen = time.monotonic()

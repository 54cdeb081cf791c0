"""One client connection on a unix socket: who it is, and whether it is still there.

Owns what aiohttp's connection class does not do: peer credentials, a client that closes only its sending
side, a client that vanishes while nothing is read or written, errors in the API's own form. Never looks at a
request.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pwd
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from runtime.server.answer import error_answer
from runtime.server.early import StreamRequest, may_begin_stream

log = logging.getLogger("webdock.api")

CONNECTIONS = 4096  # at once on one socket
LINE_BYTES = 64 << 10  # request line: filters may be long
HEADER_BYTES = 64 << 10  # one header: registry tokens may be long
READ_BYTES = 256 << 10  # of a request body, read ahead
KEEP_ALIVE_S = 3600.0  # clients pool their connections longer than they should
_GROUPS_BYTES = 1024  # of one getsockopt; more groups are looked up by name
_SO_PEERGROUPS = 59
_UCRED = struct.Struct("3i")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ClientGone(Exception):
    """The client vanished; nobody is left to answer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as the kernel knows it."""

    pid: int
    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, connected: socket.socket) -> Peer:
        """Raises: OSError when the kernel does not say."""
        pid, uid, gid = _UCRED.unpack(
            connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        try:
            raw = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
            groups = list(struct.unpack(f"{len(raw) // 4}I", raw))
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
            groups = _groups_of(uid, gid)
        return cls(pid, uid, frozenset((gid, *groups)))


def _groups_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []


class HangUps:
    """Notices clients that have closed both ways, also while their connection is not being read.

    Kernel: epoll always reports EPOLLHUP, whatever was asked for; a half-closed unix socket has none.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._report)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks[fd] = callback
        self._epoll.register(fd, 0)

    def forget(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed already, and so forgotten by the kernel

    def _report(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            self.forget(fd)
            if callback is not None:
                callback()

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class SocketServer(web.Server):
    """Makes connections for one listening socket."""

    def __init__(
        self,
        handler: Handler,
        *,
        name: str,
        admits: Callable[[Peer], bool],
        hang_ups: HangUps,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(
            cast(Any, handler),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            tcp_keepalive=False,
            max_line_size=LINE_BYTES,
            max_field_size=HEADER_BYTES,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )
        self.name = name
        self.admits = admits
        self.hang_ups = hang_ups
        self.headers = headers  # that every answer carries

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """aiohttp's connection, with the things above."""

    def __init__(self, server: SocketServer, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._server = server
        self._fd = -1
        self.peer: Peer | None = None  # None: not admitted
        self.gone = asyncio.Event()
        self._stream: StreamRequest | None = None  # the request that asks for one
        self._early = bytearray()  # what followed it
        self.half_closed = False  # the client sends no more
        self.taken_over = False  # no HTTP any more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connected = transport.get_extra_info("socket")
        try:
            peer = Peer.of(connected)
        except OSError as error:
            log.warning("%s: the kernel does not say who connected: %s", self._server.name, error)
        else:
            if self._server.admits(peer):
                self.peer = peer
            else:
                log.warning("%s: refused process %d of user %d", self._server.name, peer.pid, peer.uid)
        self._fd = connected.fileno()
        self._server.hang_ups.watch(self._fd, self.gone.set)
        super().connection_made(transport)
        if len(self._server.connections) > CONNECTIONS:
            log.error("%s: more than %d connections", self._server.name, CONNECTIONS)
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.hang_ups.forget(self._fd)
        self.gone.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; it may still read the answer to what it sent."""
        if self._waiter is not None and not self._waiter.done():
            return False  # between two requests
        self.half_closed = True
        if self._current_request is not None:
            self.check_body(self._current_request)
        self.close()  # after the answer
        return True

    def check_body(self, request: web.BaseRequest) -> None:
        """End the body of a request that will never be whole.

        Race: the client's end of file may come before or after the handler begins, so both sides ask.
        """
        if self.half_closed and not request.content.is_eof():
            request.content.set_exception(ConnectionResetError("the client closed its side"))

    def data_received(self, data: bytes) -> None:
        if self._stream is None:
            idle = self._waiter is not None and not self._waiter.done()
            if not (idle and may_begin_stream(data)):
                super().data_received(data)
                return
            self._stream = StreamRequest()
        request, early = self._stream.feed(data)
        self._early += early
        if len(self._early) > READ_BYTES and self.transport is not None:
            self.transport.pause_reading()
        if request:
            super().data_received(request)

    @property
    def left(self) -> bool:
        """Whether nobody is there any more to answer."""
        return self.gone.is_set() or self.transport is None or self.transport.is_closing()

    def take_early_bytes(self) -> bytes:
        """What the client sent behind a request; from now on the connection is no HTTP any more."""
        self.taken_over = True
        self._force_close = True  # aiohttp leaves the transport alone then
        early, self._early = bytes(self._early), bytearray()
        return early

    def refuse_stream(self, response: web.StreamResponse) -> None:
        """No stream came of the request: what follows it is nobody's, so the connection ends."""
        if self._stream is not None:
            response.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp itself refuses: requests that are not HTTP."""
        log.debug("%s: %s", self._server.name, message or exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer had begun")
        response = error_answer(status, f"malformed request: {message or exc}".strip())
        response.headers.update(self._server.headers)
        response.force_close()
        return response

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Cancels what runs inside when the client vanishes.

        Raises: ClientGone then.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("needed() outside a task")
        if self.gone.is_set():
            raise ClientGone
        watch = asyncio.ensure_future(self.gone.wait())
        fired = False

        def cancel(_: asyncio.Future[Any]) -> None:
            nonlocal fired
            if not watch.cancelled():
                fired = True
                task.cancel()

        watch.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if fired and task.uncancel() <= 0:
                raise ClientGone from None
            raise
        finally:
            watch.remove_done_callback(cancel)
            watch.cancel()

"""The Engine API server: two unix sockets, one table of routes.

Owns the sockets, who may use them, API versions, and the way from a request to its handler and from an error
to its status. Never touches a container: handlers do, through the engine's rooms.

Spec: Docker API 1.47, "Versioning" and "Errors".
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from runtime import VERSION
from runtime.api.errors import EngineError, Forbidden, InvalidArgument, NotFound, NotSupported, Unavailable
from runtime.api.instances import ADMIN_GROUP
from runtime.server import guard
from runtime.server.answer import error_answer, refusal
from runtime.server.audit import AuditLog, Entry
from runtime.server.call import Call, read_json
from runtime.server.connection import ClientGone, Connection, HangUps, Peer, SocketServer
from runtime.server.decode import Query, shape
from runtime.server.hijack import Hijacked
from runtime.server.policy import Policy
from runtime.server.routes import NO_SWARM, UNPLANNED, find

if TYPE_CHECKING:
    from runtime.engine import Engine

log = logging.getLogger("webdock.api")

API_VERSION = (1, 47)
API_VERSION_MIN = (1, 24)
PATH_BYTES = 107  # Kernel: sun_path
BACKLOG = 1024  # connections waiting to be accepted
QUERY_FIELDS = 1000  # of one request
STOP_S = 5.0  # for requests under way when the server stops

_VERSION = re.compile(r"^/v([0-9]+)\.([0-9]+)(/.*)$")
_SLASHES = re.compile(r"/{2,}")


class ApiServer:
    """Serves one engine on ``engine.sock`` (everything) and ``web.sock`` (what the policy lets pass)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._policy = Policy(engine.config.policy)
        self._turns = guard.Turns(self._policy)
        self._audit = AuditLog(engine.config.home / "audit")
        self._headers = _common_headers(engine)
        self._hang_ups: HangUps | None = None
        self._servers: list[SocketServer] = []
        self._listeners: list[asyncio.Server] = []
        self._paths: list[Path] = []
        self._stopping = False

    async def start(self) -> None:
        """Open both sockets; the engine must be ready.

        Raises: Unavailable when another engine answers on one of them.
        """
        config = self._engine.config
        admin_gid = _group_id(ADMIN_GROUP)
        web_gid = _group_id(config.instance)  # its web side's own: another instance's gets in nowhere here
        web_uid = _user_id(config.instance)
        admins = frozenset({admin_gid} - {0})
        web_groups = frozenset({admin_gid, web_gid} - {0})
        owners = frozenset({0, os.geteuid()})
        self._audit.open()
        self._hang_ups = HangUps()
        await self._listen(
            config.engine_socket,
            admin_gid,
            False,
            lambda peer: peer.uid in owners or bool(peer.groups & admins),
        )
        await self._listen(
            config.web_socket,
            web_gid,
            True,
            lambda peer: peer.uid in owners | {web_uid} or bool(peer.groups & web_groups),
        )

    async def _listen(self, path: Path, gid: int, confined: bool, admits: Callable[[Peer], bool]) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(request, confined)

        assert self._hang_ups is not None
        server = SocketServer(
            handle, name=path.name, admits=admits, hang_ups=self._hang_ups, headers=self._headers
        )
        listening = open_socket(path, gid)
        self._paths.append(path)
        self._servers.append(server)
        self._listeners.append(
            await asyncio.get_running_loop().create_unix_server(server, sock=listening, backlog=BACKLOG)
        )

    async def close(self) -> None:
        """Stop listening, let short requests end, cut the rest."""
        self._stopping = True
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        for server in self._servers:
            for connection in server.connections:
                if isinstance(connection, Connection):
                    connection.gone.set()  # ends everything that only follows
                    connection.close()  # at once when it waits between two requests
        for server in self._servers:
            await server.shutdown(STOP_S)
        if self._hang_ups is not None:
            self._hang_ups.close()
        self._audit.close()

    async def _answer(self, request: web.BaseRequest, confined: bool) -> web.StreamResponse:
        """Every request ends here, whatever happens to it."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.check_body(request)
        entry = Entry(self._audit, request, connection.peer, confined)
        try:
            response = await self._dispatch(request, connection, confined, entry)
        except EngineError as error:
            response = refusal(error)
        except ClientGone:
            response = Hijacked()
        except Exception as error:
            if isinstance(error, ConnectionError) and connection.left:
                response = Hijacked()  # nobody is left to answer
            else:
                log.exception("%s %s failed", request.method, request.path)
                what = f"{request.method} {request.path}"
                response = error_answer(500, f"the engine failed at {what}: see its log")
        entry.end(response.status)
        if log.isEnabledFor(logging.DEBUG):
            socket_name = "web.sock" if confined else "engine.sock"
            log.debug("%s: %s %s %d", socket_name, request.method, request.path_qs, response.status)
        if connection.taken_over or isinstance(response, Hijacked):
            return response if isinstance(response, Hijacked) else Hijacked()
        if not response.prepared:
            if request.writer.output_size > 0:
                # A half answer must not look like a whole one.
                if request.transport is not None:
                    request.transport.abort()
                return Hijacked()
            response.headers.update(self._headers)
        connection.refuse_stream(response)
        return response

    async def _dispatch(
        self, request: web.BaseRequest, connection: Connection, confined: bool, entry: Entry
    ) -> web.StreamResponse:
        if connection.peer is None:
            raise Forbidden("this process may not use this socket")
        if self._stopping:
            raise Unavailable("the engine is stopping")
        path, _, query = request.raw_path.partition("?")
        version, path = split_version(clean_path(path))
        found = find(request.method, path)
        if found is None:
            raise self._no_route(request.method, path, confined)
        route, params = found
        entry.operation = route.operation
        call = Call(
            engine=self._engine,
            request=request,
            connection=connection,
            operation=route.operation,
            params=params,
            query=parse_query(query),
            version=version,
            confined=confined,
            headers=self._headers,
        )
        if route.body is not None:
            call.body = shape(await read_json(request), route.body, strict=confined)
        if confined:
            async with self._turns.of(call.operation):
                try:
                    await guard.check(call, self._policy)
                finally:
                    entry.container = call.about
                entry.begin()
                return await route.handler(call)
        entry.begin()
        return await route.handler(call)

    def _no_route(self, method: str, path: str, confined: bool) -> EngineError:
        if confined:
            return Forbidden(f"{method} {path[:100]} is not allowed on this socket: no such operation")
        asked = f"{method} {path}"
        for prefix, why in UNPLANNED:
            if re.match(prefix, asked):
                return NotSupported(f"{method} {path[:100]} is not supported by this engine: {why}")
        for prefix, words in NO_SWARM:
            if re.match(prefix, asked):
                return Unavailable(words)
        return NotFound("page not found")


def open_socket(path: Path, gid: int) -> socket.socket:
    """A listening socket at ``path``, 0660 root:gid; a file left by a dead engine is replaced.

    Race: it is made without rights for anybody but root, gets its owner, and listens last.
    Raises: Unavailable when somebody listens there.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise Unavailable(f"{path}: too long for a unix socket (at most {PATH_BYTES} bytes)")
    if path.exists() or path.is_symlink():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                pass  # nobody there
            else:
                raise Unavailable(f"another engine listens on {path}")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            os.chown(path, 0, gid)
        os.chmod(path, 0o660)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def clean_path(raw: str) -> str:
    """The decoded path with single slashes; path steps are never resolved, so "." and ".." match no route."""
    return _SLASHES.sub("/", unquote(raw, errors="replace"))


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """((1, 41), "/info") of "/v1.41/info".

    Raises: InvalidArgument for a version this engine does not speak.
    """
    found = _VERSION.match(path)
    if found is None:
        return API_VERSION, path
    if len(found[1]) > 9 or len(found[2]) > 9:
        raise InvalidArgument("invalid API version")
    version = (int(found[1]), int(found[2]))
    text = f"{found[1]}.{found[2]}"
    if version > API_VERSION:
        newest = "{}.{}".format(*API_VERSION)
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {newest}")
    if version < API_VERSION_MIN:
        oldest = "{}.{}".format(*API_VERSION_MIN)
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version"
        )
    return version, found[3]


def parse_query(query: str) -> Query:
    """Raises: InvalidArgument."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS, errors="replace")
    except ValueError as error:
        raise InvalidArgument(f"the query cannot be read: {error}") from None
    return Query(pairs)


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        log.warning("no group %s on this machine: its socket belongs to root alone", name)
        return 0


def _user_id(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return 0


def _common_headers(engine: Engine) -> dict[str, str]:
    return {
        "Api-Version": "{}.{}".format(*API_VERSION),
        "Docker-Experimental": "false",
        "Ostype": "linux",
        "Server": f"webdock/{VERSION} (linux)",
    }

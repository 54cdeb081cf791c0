"""A small synchronous HTTP client for the Engine API, made for commands that live for milliseconds.

It owns how an engine is found and what is said when it is not there. One connection per call: a unix socket
costs a tenth of a millisecond, and nothing has to be kept alive. It never retries and knows no endpoint.
Paths carry no API version, so engines of other generations answer as well.

Spec: Docker API 1.47; the upgraded stream of attach and exec start (``Upgrade: tcp``, answered 101).
"""

from __future__ import annotations

import codecs
import http.client
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Self
from urllib.parse import quote, urlencode, urlsplit

from webdock.cli.errors import Failure

CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 64 * 1024
JSON_LINE_BYTES = 16 * 1024**2  # longest single message of a JSON stream
DEFAULT_TCP_PORT = 2375
HOST_HELP = "write unix:///path or tcp://address:port (--host, WEBDOCK_HOST)"
#: How engines, ours and Docker's, say that they have no such endpoint at all.
NO_ENDPOINT = ("page not found", "404 page not found")

Query = Mapping[str, object]


class Refused(Failure):
    """The engine answered, and its answer was no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Failure):
    """Nobody answers at the place that was asked; the text says what to do about it."""


def find_host(environ: Mapping[str, str]) -> str:
    """Which engine the variables name: WEBDOCK_HOST, then DOCKER_HOST, then this machine's own."""
    run = environ.get("WEBDOCK_RUN") or "/run/webdock"
    return environ.get("WEBDOCK_HOST") or environ.get("DOCKER_HOST") or f"unix://{run}/engine.sock"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_TIMEOUT_S)
        self.sock.connect(self._path)
        self.sock.settimeout(None)


class TcpConnection(http.client.HTTPConnection):
    """HTTP over TCP: a timeout for connecting, none for waiting."""

    def connect(self) -> None:
        self.timeout = CONNECT_TIMEOUT_S
        super().connect()
        self.sock.settimeout(None)


class Answer:
    """A response whose body is read by the caller, with its connection; closing it closes both."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status, self.reason, self.headers = response.status, response.reason, response.headers

    def read(self, count: int | None = None) -> bytes:
        """``count`` bytes, fewer only at the end; everything without a count."""
        with self._told():
            return self._response.read(count)

    def read1(self, count: int) -> bytes:
        """What is there, b"" at the end."""
        with self._told():
            return self._response.read1(count)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """An answer that breaks off is told as what it is. Raises: Unreachable."""
        try:
            yield
        except (http.client.HTTPException, ConnectionResetError):
            raise Unreachable("the engine went away before its answer was whole") from None

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Duplex:
    """An upgraded connection: bytes both ways, each direction closed by itself."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response  # keeps the read buffer, which may hold the first output already
        self._socket: socket.socket = connection.sock
        self.content_type = response.headers.get("Content-Type", "")

    def read(self) -> bytes:
        """The next bytes, b"" at the end."""
        try:
            return self._response.fp.read1(CHUNK_BYTES)
        except (ConnectionResetError, ValueError, AttributeError):
            return b""

    def read_exactly(self, count: int) -> bytes:
        """``count`` bytes, fewer only at the end."""
        try:
            return self._response.fp.read(count)
        except (ConnectionResetError, ValueError, AttributeError):
            return b""

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close_write(self) -> None:
        """Tell the other side that no more input comes."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side was quicker

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a reader in another thread
        except OSError:
            pass
        self._response.close()
        self._connection.close()


class Client:
    """One engine, addressed by ``unix:///path``, ``tcp://host:port``, ``http://…`` or ``https://…``."""

    def __init__(self, host: str, environ: Mapping[str, str] | None = None) -> None:
        self.host = host
        self._environ = os.environ if environ is None else environ
        parts = urlsplit(host)
        if parts.scheme == "unix" and parts.path.startswith("/"):
            self._path: str | None = parts.path
        elif parts.scheme in ("tcp", "http", "https") and parts.hostname:
            self._path = None
            self._address = (parts.hostname, parts.port or DEFAULT_TCP_PORT)
            self._tls = parts.scheme == "https" or bool(self._environ.get("DOCKER_TLS_VERIFY"))
        else:
            raise Failure(f"{host!r} is no engine: {HOST_HELP}")

    # -- calls ---------------------------------------------------------------------------------------------

    def get(self, path: str, query: Query | None = None) -> Any:
        """GET and decode JSON."""
        return self.call("GET", path, query)

    def post(self, path: str, query: Query | None = None, body: object = None) -> Any:
        """POST and decode JSON; None when the answer has no body."""
        return self.call("POST", path, query, body)

    def delete(self, path: str, query: Query | None = None) -> Any:
        return self.call("DELETE", path, query)

    def call(self, method: str, path: str, query: Query | None = None, body: object = None) -> Any:
        with self.open(method, path, query, body) as response:
            content = response.read()
        if not content:
            return None
        try:
            return json.loads(content)
        except ValueError:
            return content.decode(errors="replace").strip()

    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The messages of a JSON stream as they arrive."""
        with self.open(method, path, query, body, headers) as response:
            decoder = json.JSONDecoder()
            characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
            pending = ""
            while chunk := response.read1(CHUNK_BYTES):
                pending += characters.decode(chunk)
                while pending := pending.lstrip():
                    try:
                        message, end = decoder.raw_decode(pending)
                    except ValueError:
                        if len(pending) > JSON_LINE_BYTES:
                            raise Failure(
                                f"the engine at {self.host} sent a message that is no JSON"
                            ) from None
                        break
                    pending = pending[end:]
                    yield message

    def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return the answer with its body unread.

        ``body`` is a JSON value, or bytes or an iterator of bytes that goes out as it is.

        Raises:
            Refused: for any status from 400 on, and 304.
            Failure: when it is a web server that answers.
            Unreachable: when nobody answers.
        """
        connection, response = self._exchange(method, path, query, body, headers)
        answer = Answer(connection, response)
        if answer.status >= 300:
            self._refuse(answer, f"{method} {path}")
        if answer.headers.get_content_type() == "text/html":
            answer.close()
            raise Failure(f"{self.host} is no engine: a web page came back; {HOST_HELP}")
        return answer

    def hijack(self, path: str, query: Query | None = None, body: object = None) -> Duplex:
        """POST and take the connection over as a byte stream."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        connection, response = self._exchange("POST", path, query, body, headers)
        if response.status not in (101, 200):
            self._refuse(Answer(connection, response), f"POST {path}")
        return Duplex(connection, response)

    # -- below ---------------------------------------------------------------------------------------------

    def _connection(self) -> http.client.HTTPConnection:
        if self._path is not None:
            return UnixConnection(self._path)
        host, port = self._address
        if not self._tls:
            return TcpConnection(host, port)
        import ssl

        context = ssl.create_default_context()
        if certificates := self._environ.get("DOCKER_CERT_PATH"):
            context.load_verify_locations(f"{certificates}/ca.pem")
            if os.path.exists(f"{certificates}/cert.pem"):
                context.load_cert_chain(f"{certificates}/cert.pem", f"{certificates}/key.pem")
        return http.client.HTTPSConnection(host, port, context=context)

    def _exchange(
        self, method: str, path: str, query: Query | None, body: object, headers: Mapping[str, str] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = path + (f"?{encode_query(query)}" if query else "")
        sent = {"User-Agent": "webdock", "Connection": "close", **(headers or {})}
        payload: bytes | Iterable[bytes] | None = None
        if body is None:
            if method == "POST":
                sent["Content-Length"] = "0"
        elif isinstance(body, bytes) or hasattr(body, "__next__"):
            payload = body  # type: ignore[assignment]
            sent.setdefault("Content-Type", "application/x-tar")
        else:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(
                method, target, body=payload, headers=sent, encode_chunked=hasattr(payload, "__next__")
            )
            return connection, connection.getresponse()
        except BrokenPipeError:
            # The engine refused before it had read everything; its reason is waiting.
            try:
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException):
                connection.close()
                raise Unreachable(f"the engine at {self.host} closed the connection") from None
        except (http.client.HTTPException, ConnectionResetError) as error:
            connection.close()
            raise Unreachable(f"the engine at {self.host} went away while it was asked: {error}") from None
        except OSError as error:
            connection.close()
            raise Unreachable(self._explain(error)) from None

    def _refuse(self, response: Answer, asked: str) -> NoReturn:
        with response:
            content = response.read()
        if 300 <= response.status < 400 and response.status != 304:
            raise Failure(f"{self.host} is no engine: it sends elsewhere, as web pages do; {HOST_HELP}")
        if response.headers.get_content_type() == "text/html":
            raise Failure(f"{self.host} is no engine: a web page came back; {HOST_HELP}")
        try:
            message = json.loads(content)["message"]
        except (ValueError, KeyError, TypeError):
            message = content.decode(errors="replace").strip() or response.reason
        if response.status == 404 and str(message).lower() in NO_ENDPOINT:
            message = (
                f"the engine at {self.host} does not know {asked}: "
                "it is of another version or kind; `webdock version` shows which"
            )
        raise Refused(response.status, str(message))

    def _explain(self, error: OSError) -> str:
        if isinstance(error, PermissionError) and self._path is not None:
            group = group_of(self._path)
            return (
                f"no permission to open {self._path}: that takes root or membership of the group {group}. "
                f"Put sudo before the command, or have root run `usermod -aG {group} {user_name()}` "
                "and log in again"
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError) and self._path is not None:
            what = "there is no socket" if isinstance(error, FileNotFoundError) else "nobody listens"
            return (
                f"the engine is not running: {what} at {self._path}. Start it with `sudo webdock up --detach`"
            )
        if isinstance(error, TimeoutError):
            return f"the engine at {self.host} does not answer"
        return f"the engine at {self.host} cannot be reached: {error.strerror or error}"


def encode_query(query: Query) -> str:
    """Leave out what is None or False, write True as 1 and anything composed as JSON."""
    pairs: list[tuple[str, str]] = []
    for key, value in query.items():
        if value is None or value is False:
            continue
        if value is True:
            value = "1"
        elif isinstance(value, dict):
            value = json.dumps(value)
        if isinstance(value, list | tuple):
            pairs.extend((key, str(item)) for item in value)
        else:
            pairs.append((key, str(value)))
    return urlencode(pairs)


def segment(name: str) -> str:
    """A container's, network's or volume's name as one segment of a path."""
    if not name:
        raise Failure("an empty name was given; is a variable unset?")
    return quote(name, safe="")


def image_segment(name: str) -> str:
    """An image's name inside a path: it keeps its slashes, everything else is escaped."""
    return quote(name, safe="/:@") or segment(name)


def group_of(path: str) -> str:
    """The name of the group a socket belongs to."""
    import grp

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return "webdock-admin"


def user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())

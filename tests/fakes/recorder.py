"""An engine that writes down what it is asked and says yes to all of it: what a client really sends."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ANSWER = {"Id": "x", "Name": "x", "Warnings": []}


class Asked:
    """One request: its method, its path without the version, its query and its body."""

    def __init__(self, method: str, target: str, body: Any) -> None:
        parts = urlsplit(target)
        path = parts.path
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        self.line = f"{method} {path}"
        self.query = parse_qs(parts.query)
        self.body = body


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.asked: list[Asked] = []
        super().__init__(path, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = self._body()
        ping = self.path.endswith("/_ping")
        if not ping:
            asked = Asked(self.command, self.path, json.loads(body) if body else None)
            self.server.asked.append(asked)
        answer = b"OK" if ping else json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "text/plain" if ping else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_HEAD = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while count := int(self.rfile.readline(), 16):
            whole += self.rfile.read(count)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        return


class Recorder:
    """Where it listens, and what has been asked since the last ``take``."""

    def __init__(self, server: _Server, host: str) -> None:
        self._server = server
        self.host = host

    def take(self) -> list[Asked]:
        asked, self._server.asked = self._server.asked, []
        return asked


@contextmanager
def recorder(directory: Path) -> Iterator[Recorder]:
    """A recorder on a socket in ``directory``."""
    path = directory / "recorder.sock"
    with _Server(str(path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Recorder(server, f"unix://{path}")
        finally:
            server.shutdown()
            thread.join()

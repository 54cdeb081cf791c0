"""Terminals over websockets as a browser uses them: ours, terminado's and node-pty's behind one face.

The peers run a shell of the machine, with no container, engine or rights between: what they measure is the
least a terminal in a browser costs.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from bench._login import Session
from bench._measure import processes
from tests.integration.installation import Installation, eventually, free_port

TERMINADO = ("terminado==0.18.1", "tornado==6.5.2")
NODE = ("node-pty@1.1.0", "ws@8.18.3")
CREDIT_BYTES = 32 << 10  # as the page gives it
TERMINADO_SERVER = """
import sys, tornado.web, tornado.ioloop, terminado
manager = terminado.UniqueTermManager(shell_command=["sh"])
tornado.web.Application([(r"/ws", terminado.TermSocket, {"term_manager": manager})]).listen(
    int(sys.argv[1]), "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
"""
NODE_SERVER = """
const pty = require("node-pty");
const { WebSocketServer } = require("ws");
const where = { port: Number(process.argv[2]), host: "127.0.0.1" };
const server = new WebSocketServer({ ...where, perMessageDeflate: false });
server.on("connection", (socket) => {
  const shell = pty.spawn("sh", [], { cols: 80, rows: 24, encoding: null });
  let waiting = 0;
  shell.onData((data) => {
    waiting += data.length;
    if (waiting > 256 * 1024) shell.pause();
    socket.send(data, () => {
      waiting -= data.length;
      if (waiting < 128 * 1024) shell.resume();
    });
  });
  socket.on("message", (data) => shell.write(data));
  socket.on("close", () => shell.kill());
});
"""


class Terminal(Protocol):
    """One open terminal."""

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    async def close(self) -> None: ...


class Ours:
    """A container's terminal; credit is given back as the page does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, credit: bool = True) -> None:
        self._socket = socket
        self._credit = credit
        self._drawn = 0

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                self._drawn += len(message.data)
                if self._credit and self._drawn >= CREDIT_BYTES:
                    await self._socket.send_json({"type": "credit", "bytes": self._drawn})
                    self._drawn = 0
                return bytes(message.data)
            if message.type != aiohttp.WSMsgType.TEXT:
                raise RuntimeError(f"the terminal ended: {message.data} {message.extra}")

    async def close(self) -> None:
        await self._socket.close()


class Webdock:
    """Opens terminals of one container, as the administrator."""

    name = "webdock, in a container"

    def __init__(
        self, session: Session, container: str, http: aiohttp.ClientSession, ours: Installation
    ) -> None:
        self._session = session
        self._ours = ours
        self._container = container
        self._http = http

    def pids(self) -> dict[str, list[int]]:
        """The processes its terminals go through."""
        conmons = processes("conmon", "--exec-attach", str(self._ours.root))
        return {"engine": [self._ours.engine_pid()], "web": [self._ours.web_pid()], "conmon": conmons}

    def _open(self) -> str:
        url = f"{self._session.url}/containers/{self._container}/terminal/"
        token = next(one.value for one in self._session.cookies if "csrf" in one.name) or ""
        headers = {"Accept": "application/json", "X-CSRFToken": token, "Referer": url}
        request = urllib.request.Request(
            f"{url}open/", urllib.parse.urlencode({"kind": "shell"}).encode(), headers
        )
        with self._session.opener.open(request) as answer:
            return str(json.load(answer)["websocket"])

    async def open(self, path: str = "", *, credit: bool = True) -> Terminal:
        path = path or await asyncio.to_thread(self._open)
        headers = {"Cookie": self._session.cookie_header, "Origin": self._session.url}
        url = self._session.url.replace("http", "ws", 1) + path
        socket = await self._http.ws_connect(url, headers=headers, compress=0, max_msg_size=0)
        self.path = path
        return Ours(socket, credit=credit)


class Plain:
    """node-pty behind ws: bytes both ways."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def receive(self) -> bytes:
        return bytes((await self._socket.receive()).data)

    async def close(self) -> None:
        await self._socket.close()


class Json(Plain):
    """terminado: JSON lists of text both ways."""

    async def send(self, data: bytes) -> None:
        await self._socket.send_json(["stdin", data.decode()])

    async def receive(self) -> bytes:
        while True:
            kind, *more = json.loads((await self._socket.receive()).data)
            if kind == "stdout":
                return str(more[0]).encode()


class Peer:
    """A server of another project, installed for this run into a directory of its own."""

    def __init__(self, name: str, http: aiohttp.ClientSession, terminal: Any) -> None:
        self.name = name
        self._http = http
        self._terminal = terminal
        self._scratch = tempfile.TemporaryDirectory(prefix="webdock-bench-", dir="/var/tmp")
        self._port = free_port()
        root = Path(self._scratch.name)
        if terminal is Json:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(root), *TERMINADO]
            subprocess.run(pip, check=True)
            (root / "server.py").write_text(TERMINADO_SERVER)
            command = [sys.executable, "server.py", str(self._port)]
        else:
            subprocess.run(["npm", "init", "-y"], cwd=root, check=True, capture_output=True)
            subprocess.run(["npm", "install", *NODE], cwd=root, check=True, capture_output=True)
            subprocess.run(["npm", "rebuild", "node-pty"], cwd=root, check=True, capture_output=True)
            (root / "server.js").write_text(NODE_SERVER)
            command = ["node", "server.js", str(self._port)]
        self._process = subprocess.Popen(command, cwd=root)
        eventually(self._listens, 20, f"{name} listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    async def open(self) -> Terminal:
        url = f"ws://127.0.0.1:{self._port}/ws"
        headers = {"Origin": f"http://127.0.0.1:{self._port}"}
        socket = await self._http.ws_connect(url, headers=headers, compress=0, max_msg_size=0)
        terminal: Terminal = self._terminal(socket)
        return terminal

    def pids(self) -> dict[str, list[int]]:
        return {"server": [self._process.pid]}

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # it is busy with a flood it has not got rid of
            self._process.kill()
            self._process.wait()
        self._scratch.cleanup()

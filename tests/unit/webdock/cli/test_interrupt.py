"""A Ctrl-C while the engine makes or starts a container: nothing is left that nobody knows of."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ID = "c" * 64
WAIT_S = 60.0
AGAIN_S = 1.0  # between one Ctrl-C and the next


class InterruptingEngine:
    """Answers what ``run`` asks, and sends its client a SIGINT before it answers the chosen request."""

    def __init__(self, path: Path, at: str, *, answers: bool = True) -> None:
        self.host = f"unix://{path}"
        self.asked: list[str] = []
        self._at, self._answers = at, answers
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client was quicker to leave
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := connection.recv(65536)):
                return
            data += piece
        line = data.partition(b"\r\n")[0].decode().rpartition(" ")[0]
        self.asked.append(line)
        if line.startswith(self._at):
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            client, _, _ = struct.unpack("3i", credentials)
            os.kill(client, signal.SIGINT)
            while not self._answers:  # until it has had enough of us
                if select.select([connection], [], [], AGAIN_S)[0]:
                    if not connection.recv(65536):
                        return
                    continue  # the rest of its request
                os.kill(client, signal.SIGINT)
        connection.sendall(self._answer(line))

    def _answer(self, line: str) -> bytes:
        if "/attach" in line:
            return b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        if "/wait" in line:  # only the head: the container never ends
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        if line.endswith("/json"):
            about = {
                "Id": ID,
                "State": {"Running": False},
                "Config": {"Tty": False, "OpenStdin": False},
                "HostConfig": {"AutoRemove": False},
            }
            return self._whole("200 OK", about)
        if line.startswith("POST /containers/create"):
            return self._whole("201 Created", {"Id": ID, "Warnings": []})
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    @staticmethod
    def _whole(status: str, body: object) -> bytes:
        content = json.dumps(body).encode()
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    @property
    def removed(self) -> bool:
        return any(line.startswith(f"DELETE /containers/{ID}?force=1") for line in self.asked)


@pytest.fixture
def interrupting(tmp_path: Path) -> Iterator[Callable[..., InterruptingEngine]]:
    engines: list[InterruptingEngine] = []

    def make(at: str, *, answers: bool = True) -> InterruptingEngine:
        engines.append(InterruptingEngine(tmp_path / f"{len(engines)}.sock", at, answers=answers))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def command(engine: InterruptingEngine, *words: str) -> tuple[int, str]:
    """Exit code and everything said."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "webdock", "--host", engine.host, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("POST /containers/create", ("create", "i")),
        ("POST /containers/create", ("run", "--rm", "i")),
        (f"POST /containers/{ID}/attach", ("run", "i")),
        (f"POST /containers/{ID}/wait", ("run", "i")),
        (f"POST /containers/{ID}/start", ("run", "i")),
        (f"POST /containers/{ID}/start", ("run", "-d", "i")),
    ],
)
def test_a_container_that_was_being_made_is_removed(
    interrupting: Callable[..., InterruptingEngine], at: str, words: tuple[str, ...]
) -> None:
    engine = interrupting(at)
    assert command(engine, *words) == (130, "")
    assert engine.removed, engine.asked


def test_a_container_that_was_there_before_stays(interrupting: Callable[..., InterruptingEngine]) -> None:
    engine = interrupting(f"POST /containers/{ID}/start")
    assert command(engine, "start", "-a", "old") == (130, "")
    assert not any(line.startswith("DELETE") for line in engine.asked)


def test_a_second_interrupt_does_not_wait_for_the_engine(
    interrupting: Callable[..., InterruptingEngine],
) -> None:
    engine = interrupting("POST /containers/create", answers=False)
    assert command(engine, "run", "i") == (130, "")

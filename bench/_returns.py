"""How soon a terminal on a page is back after a loss: a real browser, from when the server is reached again.

Behind a relay that can be cut; the page cannot tell that from a lost network.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from playwright.sync_api import Page, sync_playwright

from bench._login import Session
from tests.browser.terminal_page import expect_text, screen, type_line
from tests.integration.installation import Installation, eventually, free_port

#: What is run, by which line, what it shows then, and what ends it.
PROGRAMS = (("shell", "seq 1 100", "100", ""), ("vi", "vi /etc/passwd", "/etc/passwd 1/", ":q"))
ROUNDS = 3
WAIT_S = 60.0
CUT_S = 4.0
PIECE_BYTES = 64 << 10


class Relay:
    """A port that leads to the server, until it is cut."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._to = port
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._silent: set[socket.socket] = set()  # what comes of these is dropped
        self.join()

    def join(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def fall_silent(self) -> None:
        """Connections stay and carry nothing any more, as after a laptop's sleep."""
        assert self._listener is not None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._silent.update(self._open)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                if source not in self._silent:
                    target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def measure(ours: Installation, session: Session, container: str) -> None:
    relay = Relay(ours.port)
    ways = {
        "web killed": lambda: _killed(ours.web_pid, lambda: ours.page("/healthz")[0] == 200),
        "engine killed": lambda: _killed(ours.engine_pid, lambda: ours.client.get("/_ping") == "OK"),
        "network cut": lambda: _cut(relay),
    }
    with _page(session, relay, container) as page:
        ways["machine asleep"] = lambda: _asleep(relay, page)
        print("a terminal is back with the same screen and shell, from when the server is reached again")
        for program, line, mark, leave in PROGRAMS:
            shell = _shell(page)
            type_line(page, line)
            expect_text(page, mark)
            for name, lose in ways.items():
                times = [_back(page, lose) for _ in range(ROUNDS)]
                middle, worst = statistics.median(times), max(times)
                print(f"  {program:<6} {name:<14} p50 {middle:6.2f} s  worst {worst:6.2f} s", flush=True)
            if leave:
                type_line(page, leave)
            if (now := _shell(page)) != shell:
                raise AssertionError(f"expected the shell with pid {shell}, got {now}")


@contextmanager
def _page(session: Session, relay: Relay, container: str) -> Iterator[Page]:
    url = f"http://127.0.0.1:{relay.port}"
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
        )
        context = browser.new_context(base_url=url, locale="en-US")
        for cookie in session.cookies:
            context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": url}])
        page = context.new_page()
        page.goto(f"/containers/{container}/terminal/")
        expect_text(page, r"[#$] ")
        yield page
        browser.close()


def _back(page: Page, lose: Callable[[], float]) -> float:
    """Seconds from the server's return to the same screen and a line that takes what is typed."""
    eventually(lambda: _connected(page), WAIT_S, "connected")
    time.sleep(1)
    before = screen(page)
    returned = lose()
    try:
        eventually(lambda: _connected(page) and screen(page) == before, WAIT_S, "the same screen again")
    except AssertionError:
        print(
            f"before:\n{before}\nnow:\n{screen(page)}\n{page.locator('[data-line-state]').all_inner_texts()}"
        )
        raise
    return max(0.0, time.monotonic() - returned)


def _shell(page: Page) -> str:
    """The process id of the shell that has the prompt."""
    type_line(page, "clear; echo shell $$ the''re")
    expect_text(page, r"shell \d+ there")
    return re.findall(r"shell (\d+) there", screen(page))[-1]


def _connected(page: Page) -> bool:
    return page.locator("[data-line-state]").first.inner_text() == "connected"


def _killed(find: Callable[[], int], answers: Callable[[], bool]) -> float:
    before = find()
    os.kill(before, signal.SIGKILL)

    def again() -> bool:
        with suppress(Exception):
            return find() != before and answers()
        return False

    eventually(again, WAIT_S, "another process")
    return time.monotonic()


def _cut(relay: Relay) -> float:
    relay.cut()
    time.sleep(CUT_S)
    relay.join()
    return time.monotonic()


def _asleep(relay: Relay, page: Page) -> float:
    """Nothing goes through for a while; then the browser says that it is online."""
    relay.fall_silent()
    time.sleep(CUT_S)
    relay.join()
    page.evaluate("dispatchEvent(new Event('online'))")
    returned = time.monotonic()
    eventually(lambda: not _connected(page), WAIT_S, "noticed")
    return returned

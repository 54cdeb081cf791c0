"""The terminal on a page: bytes both ways, sizes, floods, pastes, and containers that go away."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.browser.conftest import PageFactory
from tests.browser.terminal_page import expect_text, screen, type_line
from tests.integration.installation import Installation, eventually


@pytest.fixture
def shell(installation: Installation, open_page: PageFactory) -> Page:
    """A page with a shell in a fresh busybox container called ``box``."""
    installation.webdock("run", "-d", "--name", "box", "webdock/busybox", "sleep", "10000")
    identifier = installation.client.get("/containers/box/json")["Id"]
    page = open_page(f"/containers/{identifier}/terminal/")
    expect_text(page, r"[#$] ")
    return page


def test_what_is_typed_runs_and_its_output_appears(shell: Page) -> None:
    type_line(shell, "echo $((6*7)) && tty")
    expect_text(shell, "42")
    expect_text(shell, "/dev/pts/")


def test_the_size_inside_follows_the_window(shell: Page) -> None:
    type_line(shell, "stty size")
    expect_text(shell, r"\d+ \d+")
    before = re.findall(r"(\d+) (\d+)", screen(shell))[-1]
    shell.set_viewport_size({"width": 800, "height": 500})

    def smaller() -> bool:
        type_line(shell, "stty size")
        sizes = re.findall(r"^(\d+) (\d+)$", screen(shell), re.MULTILINE)
        return bool(sizes) and int(sizes[-1][1]) < int(before[1])

    eventually(smaller, what="fewer columns")


def test_multi_byte_characters_are_whole(shell: Page) -> None:
    type_line(shell, r"printf 'gr\303\274\303\237e \346\274\242\345\255\227\n'")
    expect_text(shell, "grüße 漢字")


def test_ctrl_c_ends_a_flood(shell: Page) -> None:
    type_line(shell, "yes flooding-the-terminal")
    expect_text(shell, "flooding-the-terminal")
    time.sleep(2)  # let every buffer on the way fill
    shell.keyboard.press("Control+c")
    shell.keyboard.type("echo a''fter")
    shell.keyboard.press("Enter")
    expect_text(shell, "after")


def test_a_paste_of_100_kilobytes_arrives_whole(shell: Page) -> None:
    # A raw terminal takes the paste as one stream; the last byte ends the count.
    type_line(shell, "stty raw -echo; echo re''ady; head -c 100000 | wc -c; stty sane")
    expect_text(shell, "ready")
    shell.evaluate(
        """text => {
          const data = new DataTransfer();
          data.setData("text/plain", text);
          const paste = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
          document.querySelector(".xterm-helper-textarea").dispatchEvent(paste);
        }""",
        "x" * 100_000,
    )
    expect_text(shell, r"\b100000\b")


def test_ending_the_session_ends_the_shell(installation: Installation, shell: Page) -> None:
    assert "sh" in str(installation.client.get("/containers/box/top")["Processes"])
    shell.get_by_role("button", name="End", exact=True).click()
    shell.get_by_role("dialog").get_by_role("button", name="End session").click()
    eventually(
        lambda: len(installation.client.get("/containers/box/top")["Processes"]) == 1, what="the shell's end"
    )


def test_a_container_removed_under_an_open_terminal_is_said(installation: Installation, shell: Page) -> None:
    installation.webdock("rm", "-f", "box")
    expect(shell.locator("[data-note]").first).to_be_visible()


def test_a_session_is_taken_up_again_after_a_reload(shell: Page) -> None:
    sizes: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sizes.append(frame) if "resize" in str(frame) else None)

    type_line(shell, "KEPT=here; echo ke''pt")
    expect_text(shell, "kept")
    shell.on("websocket", listen)
    shell.reload()
    expect_text(shell, "kept")
    type_line(shell, "echo still-$KEPT")
    expect_text(shell, "still-here")
    assert 0 < len(sizes) < 5  # told once, and again only when it changes


def test_an_image_without_a_shell_is_explained(installation: Installation, open_page: PageFactory) -> None:
    container = installation.webdock("create", "webdock/hello").stdout.strip()
    page = open_page(f"/containers/{container}/terminal/", refusals=True)
    expect(page.locator("main")).to_contain_text(re.compile("not running|start", re.IGNORECASE))

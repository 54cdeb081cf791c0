"""Terminals made pleasant: two sides, text, colours, clipboard, finding, links, files, keys of a phone.

Few sessions, many features: one page on a desk and one on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.browser.axe import violations
from tests.browser.conftest import PHONE, PageFactory
from tests.browser.terminal_page import DROP, PASTE, expect_text, screen, type_line
from tests.integration.installation import Installation, eventually

COVERED = """() => {
  const box = document.querySelector(".screen").getBoundingClientRect();
  const points = [0.1, 0.5, 0.9].flatMap((x) => [0.1, 0.5, 0.97].map((y) => [x, y]));
  const at = ([x, y]) => document.elementFromPoint(box.left + box.width * x, box.top + box.height * y);
  return points.filter((point) => !at(point).closest(".screen")).length;
}"""


@pytest.fixture
def container(installation: Installation) -> str:
    return installation.webdock("run", "-d", "webdock/busybox", "sleep", "100000").stdout.strip()


class Line:
    """The page's line to its terminals, which can be cut."""

    def __init__(self, page: Page) -> None:
        self.down = False
        self._routes: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/ws/terminal/"), self._route)

    def _route(self, route: WebSocketRoute) -> None:
        if self.down:
            route.close(code=4503)
            return
        route.connect_to_server()
        self._routes.append(route)

    def cut(self) -> None:
        self.down = True
        for route in self._routes:
            route.close(code=4503)


def choose(page: Page, item: str) -> Locator:
    """Click an item of the first terminal's menu."""
    page.locator('[data-do="settings"]').first.click()
    found = page.locator(f".pane .menu {item}").first
    found.click()
    return found


def at(page: Page, words: str) -> tuple[float, float, float]:
    """Where words stand on the screen: left, right and the middle of their line."""
    row = page.locator(".xterm-rows > div", has_text=words).last
    box = row.bounding_box()
    assert box is not None
    cell = box["width"] / int(page.locator("[data-grid]").first.inner_text().partition("×")[0])
    start = row.inner_text().replace("\xa0", " ").index(words)
    left = box["x"] + start * cell
    return left, left + len(words) * cell, box["y"] + box["height"] / 2


def test_a_terminal_on_a_desk(container: str, open_page: PageFactory) -> None:
    page = open_page("/terminals/")
    line = Line(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/containers/{container}/terminal/")
    expect_text(page, r"[#$] ")

    # Text as large as it was chosen, and colours, also after a reload.
    grid = page.locator("[data-grid]").first
    before = grid.inner_text()
    page.locator(".xterm-screen").click()
    page.keyboard.press("Control+Shift++")
    expect(grid).not_to_have_text(before)
    bigger = grid.inner_text()
    choose(page, '[data-theme="light"]')
    page.reload()
    expect(grid).to_have_text(bigger)
    expect(page.locator(".screen")).to_have_css("background-color", "rgb(255, 255, 255)")

    # Colours of single cells, which the page's policy must let through.
    type_line(page, r"printf '\033[38;2;1;2;3mtr\165e\033[0m\n'")
    expect(page.locator(".xterm-rows span", has_text="true").last).to_have_css("color", "rgb(1, 2, 3)")

    # Copy on select: what the mouse marked, and not what was found.
    choose(page, '[data-do="copy-on-select"]')
    type_line(page, "echo mark''ed https://example.org/a")
    expect_text(page, "marked https")
    page.evaluate("navigator.clipboard.writeText('before')")
    page.keyboard.press("Control+Shift+F")
    page.keyboard.type("marked")
    expect(page.locator("[data-found]")).to_have_text("1 of 1")
    page.keyboard.press("Escape")
    assert page.evaluate("navigator.clipboard.readText()") == "before"
    left, right, middle = at(page, "marked")
    page.mouse.move(left + 1, middle)
    page.mouse.down()
    page.mouse.move(right, middle, steps=3)
    page.mouse.up()
    eventually(lambda: page.evaluate("navigator.clipboard.readText()") == "marked", what="the selection")

    # Links: an address as it stands opens at once, one that may lead elsewhere is shown first.
    page.evaluate("window.open = (url) => { window.opened = url; }")
    left, _right, middle = at(page, "https://example.org/a")
    page.mouse.move(left + 20, middle)
    expect(page.locator(".xterm-cursor-pointer")).to_be_visible()
    page.mouse.click(left + 20, middle)
    eventually(lambda: page.evaluate("window.opened") == "https://example.org/a", what="the link")
    type_line(page, r"printf '\033]8;;https://elsewhere.example/\007https://safe.exam\160le\033]8;;\007\n'")
    expect_text(page, "https://safe.example")
    left, _right, middle = at(page, "https://safe.example")
    page.mouse.move(left + 20, middle)
    expect(page.locator(".xterm-cursor-pointer")).to_be_visible()
    page.mouse.click(left + 20, middle)
    expect(page.get_by_role("dialog")).to_contain_text("https://elsewhere.example/")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert page.evaluate("window.opened") == "https://example.org/a"

    # A paste of many lines is asked about, one line is not.
    page.evaluate(PASTE, "echo one''line")
    page.keyboard.press("Enter")
    expect_text(page, "oneline")
    page.evaluate(PASTE, "echo fi''rst\necho sec''ond\n")
    expect(page.get_by_role("dialog")).to_contain_text("Paste 2 lines?")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.evaluate(PASTE, "echo thi''rd\necho for''th\n")
    page.get_by_role("dialog").get_by_role("button", name="Paste").click()
    expect_text(page, "forth")
    assert "first" not in screen(page)
    assert "second" not in screen(page)

    # A file that is dropped comes to where the shell is.
    type_line(page, "cd /tmp; echo mo''ved")
    expect_text(page, "moved")
    page.evaluate(DROP, "brought.txt")
    expect(page.get_by_role("dialog").get_by_label("Into the directory")).to_have_value("/tmp")
    page.get_by_role("dialog").get_by_role("button", name="Bring in").click()
    expect(page.locator("#toasts")).to_contain_text("/tmp/brought.txt")
    page.locator("#toasts button").click()
    type_line(page, "cat brought.txt")
    expect_text(page, "brought along")

    # For a screen reader there is a tree of lines.
    assert not page.locator(".xterm-accessibility-tree").count()
    choose(page, '[data-do="reader"]')
    expect(page.locator(".xterm-accessibility-tree")).to_contain_text("brought along")
    choose(page, '[data-do="reader"]')

    # The whole screen, and back.
    page.keyboard.press("Control+Shift+Enter")
    page.wait_for_function("document.fullscreenElement?.matches('.pane')")
    page.keyboard.press("Control+Shift+Enter")
    page.wait_for_function("!document.fullscreenElement")

    # A line that is cut is said beside the text; what is typed meanwhile comes once, when it is back.
    line.cut()
    state = page.locator("[data-line-state]").first
    expect(state).to_contain_text(re.compile("reconnecting|connecting"))
    page.keyboard.type("echo $((40+2))ahead")
    page.keyboard.press("Enter")
    assert page.evaluate(COVERED) == 0
    line.down = False
    expect(state).to_have_text("connected", timeout=30_000)
    expect_text(page, "42ahead")
    assert screen(page).count("42ahead") == 1

    # Two sessions side by side, each with its own shell.
    page.locator('[data-do="split"]').first.click()
    panes = page.locator(".pane")
    expect(panes).to_have_count(2)
    expect(panes.nth(1).locator(".xterm-rows")).to_contain_text("#")
    page.keyboard.type("echo ot''her")
    page.keyboard.press("Enter")
    expect(panes.nth(1).locator(".xterm-rows")).to_contain_text("other")
    assert "other" not in panes.nth(0).locator(".xterm-rows").inner_text()


def test_what_opens_over_a_terminal_is_for_everybody_and_gives_the_focus_back(
    container: str, open_page: PageFactory
) -> None:
    page = open_page(f"/containers/{container}/terminal/")
    expect_text(page, r"[#$] ")
    type_line(page, r"printf '\033]8;;https://example.org/a\342\200\256b\007l\151nk\033]8;;\007\n'")
    expect_text(page, "link")

    def follow_link() -> None:
        left, _right, middle = at(page, "link")
        page.mouse.move(left + 5, middle)
        expect(page.locator(".xterm-cursor-pointer")).to_be_visible()
        page.mouse.click(left + 5, middle)

    openers: dict[str, Callable[[], object]] = {
        "Terminal settings": lambda: page.locator('[data-do="settings"]').click(),
        "Address of this terminal": lambda: choose(page, '[data-do="share"]'),
        "End this session?": lambda: page.locator('.panel-head > [data-do="end"]').click(),
        "Paste 2 lines?": lambda: page.evaluate(PASTE, "one\ntwo\n"),
        "Into the directory": lambda: page.evaluate(DROP, "brought.txt"),
        "Open this address?": follow_link,
        "Find in the terminal": lambda: page.keyboard.press("Control+Shift+F"),
    }
    found = []
    for name, opens in openers.items():
        page.locator(".xterm-screen").click(position={"x": 300, "y": 300})
        opens()
        what = page.get_by_role("searchbox") if "Find" in name else page.get_by_role("dialog")
        what = page.get_by_role("menu", name=name) if "settings" in name else what.filter(visible=True).last
        expect(what).to_be_visible()
        if what.get_attribute("id") == "confirm":
            expect(what).to_contain_text(name)
        if name.startswith("Open"):
            expect(what).not_to_contain_text("\u202e")  # a mark that turns what follows round
        found += [f"{name}: {problem}" for problem in violations(page)]
        page.keyboard.press("Escape")
        expect(what).to_be_hidden()
        if "settings" not in name:  # a menu gives it back to its button
            page.wait_for_function("document.activeElement.matches('.xterm-helper-textarea')")
    assert not found, "\n".join(found)


def test_a_terminal_on_a_phone(container: str, open_page: PageFactory) -> None:
    page = open_page(f"/containers/{container}/terminal/", size=PHONE, touch=True)
    expect_text(page, r"[#$] ")
    page.locator(".xterm-screen").tap()
    keys = page.get_by_role("toolbar", name="Keys a phone lacks")

    def press(name: str) -> None:
        keys.get_by_role("button", name=name, exact=True).tap()

    page.keyboard.type("cat -v")
    page.keyboard.press("Enter")
    for name in ("Esc", "Tab", "Up", "Left"):
        press(name)
    page.keyboard.press("Enter")
    expect_text(page, re.escape("^[") + r"\s+" + re.escape("^[[A^[[D"))
    press("Ctrl")
    expect(keys.get_by_role("button", name="Ctrl")).to_have_attribute("aria-pressed", "true")
    page.keyboard.type("c")
    expect(keys.get_by_role("button", name="Ctrl")).to_have_attribute("aria-pressed", "false")
    press("Up")
    page.keyboard.press("Home")
    page.keyboard.type("echo ag''ain; ")
    page.keyboard.press("Enter")
    expect_text(page, r"again")
    assert page.evaluate("document.activeElement.matches('.xterm-helper-textarea')"), "the keyboard stays"
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "nothing is wider than the phone"

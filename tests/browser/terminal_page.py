"""Typing into and reading from a terminal on a page."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const paste = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  document.querySelector(".xterm-helper-textarea").dispatchEvent(paste);
}"""
DROP = """name => {
  const data = new DataTransfer();
  data.items.add(new File(["brought along"], name));
  const drop = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
  document.querySelector(".screen").dispatchEvent(drop);
}"""


def screen(page: Page) -> str:
    """The text on the terminal's screen, a line a row."""
    rows = page.locator(".xterm-rows > div").all_inner_texts()
    return "\n".join(row.replace("\xa0", " ").rstrip() for row in rows)


def settled(page: Page) -> str:
    """The text of the screen once it has stopped changing."""
    seen = ""
    while (now := screen(page)) != seen or not now:
        seen = now
        page.wait_for_timeout(500)
    return seen


def expect_text(page: Page, pattern: str, timeout_ms: float = 60_000) -> None:
    """Wait until the screen shows a match."""
    rows = page.locator(".xterm-rows")
    expect(rows).to_contain_text(re.compile(pattern), timeout=timeout_ms)


def type_line(page: Page, text: str) -> None:
    """Type and press Enter, into the terminal that has the focus after a click."""
    page.locator(".xterm-screen").first.click()
    page.keyboard.type(text)
    page.keyboard.press("Enter")

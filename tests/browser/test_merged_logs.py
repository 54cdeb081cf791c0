"""Logs of several containers as one, from ticked rows; by level and by time."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import PageFactory
from tests.integration.installation import Installation


def test_ticked_rows_show_their_logs_as_one(installation: Installation, open_page: PageFactory) -> None:
    for name, words in (("one", "ERROR it broke"), ("two", "all is well")):
        installation.webdock(
            "run", "-d", "--name", name, "webdock/busybox", "sh", "-c", f"echo {words}; sleep 1000"
        )
    page = open_page("/containers/")
    for name in ("one", "two"):
        page.locator(f"tr[data-name={name}] input[name=ids]").check()
    page.locator(".bulk").get_by_role("button", name="Logs").click()
    lines = page.locator(".log-line")
    expect(lines).to_have_count(2)
    expect(lines.filter(has_text="it broke").locator("b")).to_have_text("one")
    expect(lines.filter(has_text="all is well").locator("b")).to_have_text("two")
    page.get_by_label("Level").select_option("error")
    expect(lines.filter(has_text="all is well")).to_be_hidden()
    expect(lines.filter(has_text="it broke")).to_be_visible()
    page.get_by_label("Level").select_option("")
    page.get_by_role("button", name="Between two moments").click()
    page.get_by_role("button", name="10 minutes").click()
    expect(page.locator("[data-range-words]")).to_contain_text("from")
    expect(lines).to_have_count(2)

"""The pages without a pointer, and in a browser whose clock is wrong."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from tests.browser.conftest import PageFactory
from tests.integration.installation import Installation


def test_rows_help_and_palette_by_the_keyboard_alone(
    installation: Installation, open_page: PageFactory
) -> None:
    for name in ("first", "second"):
        installation.webdock("create", "--name", name, "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/?sort=name")
    keys = page.keyboard
    expect(page.locator("tr[data-id]")).to_have_count(2)
    first, second = (page.locator(f"tr[data-name={name}] a[data-open]") for name in ("first", "second"))

    keys.press("j")
    expect(first).to_be_focused()
    keys.press("j")
    expect(second).to_be_focused()
    keys.press("x")
    expect(page.get_by_label("Select second")).to_be_checked()
    keys.press("Escape")
    expect(page.get_by_label("Select second")).not_to_be_checked()
    second.focus()
    keys.press("k")
    expect(first).to_be_focused()

    keys.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(page.locator("#help")).to_be_hidden()

    first.focus()
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("first")
    page.wait_for_load_state()  # the keys are listened to from then on

    keys.press("/")
    palette = page.get_by_role("combobox", name="Search everything")
    expect(palette).to_be_focused()
    keys.type("second")
    option = page.get_by_role("option", name="second").first
    expect(option).to_be_visible()
    keys.press("Escape")
    expect(option).to_be_hidden()
    keys.press("Control+k")
    keys.type("second")
    expect(option).to_be_visible()
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("second")
    page.wait_for_load_state()

    keys.press("g")
    keys.press("i")
    expect(page).to_have_url(re.compile(r"/images/$"))


def test_ages_are_right_in_a_browser_whose_clock_is_wrong(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "timed", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    page.clock.set_system_time("2031-01-01T00:00:00Z")
    page.reload()
    status = page.locator("tr[data-name=timed] td.status")
    expect(status).to_have_text(re.compile(r"^Up .*(second|minute)s?$"))
    page.clock.run_for(2_000)
    expect(status).to_have_text(re.compile(r"^Up .*(second|minute)s?$"))
    id = page.locator("tr[data-name=timed]").get_attribute("data-id")
    page.goto(f"/containers/{id}/logs/")
    page.locator("[data-range-last]").first.evaluate("button => button.click()")  # "the last … minutes"
    since = page.evaluate("new Date(document.querySelector('[name=since]').value).getTime() / 1000")
    assert abs(since - time.time()) < 86_400, "the last minutes by the server's clock"

"""Rows change by themselves, whoever caused it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import PageFactory
from tests.integration.installation import Installation


def test_a_container_started_on_the_command_line_appears_and_changes(
    installation: Installation, open_page: PageFactory
) -> None:
    page = open_page("/containers/")
    installation.webdock("run", "-d", "--name", "outside", "webdock/busybox", "sleep", "1000")
    row = page.locator("tr[data-name=outside]")
    expect(row).to_have_attribute("data-state", "running")
    installation.webdock("pause", "outside")
    expect(row).to_have_attribute("data-state", "paused")
    installation.webdock("unpause", "outside")
    expect(row).to_have_attribute("data-state", "running")
    installation.webdock("kill", "outside")
    expect(row).to_have_attribute("data-state", "exited")
    expect(row).to_contain_text("137")
    installation.webdock("rename", "outside", "renamed")
    expect(page.locator("tr[data-name=renamed]")).to_be_visible()
    installation.webdock("rm", "renamed")
    expect(page.locator("tr[data-id]")).to_have_count(0)


def test_stop_and_start_by_the_buttons_of_a_row(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock("run", "-d", "--name", "clicked", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    row = page.locator("tr[data-name=clicked]")
    page.get_by_role("button", name="Stop clicked").click()
    expect(row).to_have_attribute("data-state", "exited")
    page.get_by_role("button", name="Start clicked").click()
    expect(row).to_have_attribute("data-state", "running")


def test_an_engine_that_is_gone_is_said_on_the_open_page_and_comes_back(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "survivor", "webdock/busybox", "sleep", "1000")
    page: Page = open_page("/containers/", refusals=True)
    row = page.locator("tr[data-name=survivor]")
    state = page.locator("[data-engine-state]").first
    expect(row).to_have_attribute("data-state", "running")
    expect(state).to_have_attribute("data-connected", "true")
    supervisor = json.loads((installation.home / "up.lock").read_text())["pid"]
    os.kill(supervisor, signal.SIGSTOP)  # so that it starts no other
    try:
        os.kill(installation.engine_pid(), signal.SIGKILL)
        expect(state).to_have_attribute("data-connected", "false")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    expect(state).to_have_attribute("data-connected", "true")
    expect(row).to_have_attribute("data-state", "running")
    installation.webdock("kill", "survivor")
    expect(row).to_have_attribute("data-state", "exited")


def test_a_verb_for_many_says_in_each_row_what_came_of_it(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "going", "webdock/busybox", "sleep", "1000")
    installation.webdock("create", "--name", "resting", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    for name in ("going", "resting"):
        page.get_by_label(f"Select {name}").check()
    page.get_by_label("Actions for the selected rows").get_by_role("button", name="Pause").click()
    going, resting = page.locator("tr[data-name=going]"), page.locator("tr[data-name=resting]")
    expect(going).to_have_attribute("data-state", "paused")
    expect(resting.locator(".outcome")).to_contain_text("not running")
    expect(page.locator("#toasts")).to_contain_text("Pause: 1 of 2 done")
    expect(page.get_by_label("Select resting")).to_be_checked()  # what was refused stays ticked
    expect(page.get_by_label("Select going")).not_to_be_checked()
    installation.webdock("start", "resting")  # news of the row leave what was said in it
    expect(resting).to_have_attribute("data-state", "running")
    resting.get_by_role("button", name="Dismiss").click()
    expect(resting.locator(".outcome")).to_have_count(0)


def test_a_connection_that_went_silent_is_noticed_said_and_made_anew(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "cut", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    tries: Counter[str] = Counter()

    def through(line: WebSocketRoute) -> None:
        tries[line.url] += 1
        if tries[line.url] > 4 and "gauges" not in line.url:
            line.connect_to_server()
        elif tries[line.url] > 1:
            line.close(code=1012)  # the first one stays open, and nobody is behind it

    page.route_web_socket(re.compile("/ws/"), through)
    page.reload()
    banner = page.locator("#connection")
    expect(banner).to_contain_text("Connection lost")
    installation.webdock("kill", "cut")
    expect(page.locator("tr[data-name=cut]")).to_have_attribute("data-state", "exited")
    expect(banner).to_contain_text("Connected again")
    page.evaluate("dispatchEvent(new Event('online'))")  # another socket, which has no say here, tries again
    expect(banner).to_be_hidden()


def test_a_row_that_changes_stays_the_row_it_was(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    row = page.locator("tr[data-name=stays]")
    expect(row.locator("[data-gauge=memory] .gauge")).to_contain_text("iB")
    expect(row.locator("[data-gauge=cpu] path")).to_have_attribute("d", re.compile("^M"))
    page.get_by_label("Select stays").check()
    page.evaluate("window.before = document.querySelector('tr[data-name=stays]')")
    installation.webdock("pause", "stays")
    expect(row).to_have_attribute("data-state", "paused")
    expect(row.locator(".pill")).to_have_text("paused")
    expect(row.locator("[data-gauge=cpu] path")).to_have_count(0)
    installation.webdock("unpause", "stays")
    expect(row.locator("[data-gauge=cpu] path")).to_have_count(1)
    assert page.evaluate("window.before.isConnected")
    expect(page.get_by_label("Select stays")).to_be_checked()

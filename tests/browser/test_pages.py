"""Every page opens without an error, can be used by everybody, and says plainly what went wrong."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import clean, violations
from tests.browser.conftest import PHONE, WIDE, PageFactory
from tests.integration.installation import Installation

PAGES = (
    "/",
    "/containers/",
    "/containers/run/",
    "/images/",
    "/registries/",
    "/jobs/",
    "/networks/",
    "/networks/bridge/",
    "/volumes/",
    "/volumes/kept/",
    "/volumes/kept/files/view/?path=/note.txt",
    "/owners/?volume=kept",
    "/terminals/",
    "/recordings/",
    "/events/",
    "/engines/",
    "/selftest/",
    "/people/",
    "/teams/",
    "/audit/",
    "/account/",
    "/account/factor/",
)
TABS = (
    "",
    "logs/",
    "terminal/",
    "stats/",
    "files/",
    "files/?path=/etc",
    "files/edit/?path=/etc/passwd",
    "files/compare/?path=/etc/passwd",
    "files/remove/?path=/etc/passwd",
    "events/",
    "inspect/",
    "edit/",
    "duplicate/",
)


@pytest.fixture
def places(installation: Installation) -> dict[str, list[str]]:
    """Addresses of all kinds of pages, each with something to show."""
    installation.webdock("volume", "create", "kept", check=False)  # the volume of another test does as well
    work = "echo shown; echo note >/data/note.txt; echo me:x:1:1::/:/bin/sh >>/etc/passwd; sleep 1000"
    done = installation.webdock(
        *("run", "-d", "--name", "shown", "-p", "127.0.0.1::80", "-v", "kept:/data", "-l", "team=shop"),
        *("webdock/busybox", "sh", "-c", work),
    )
    container = done.stdout.strip()
    image = installation.client.get("/images/webdock/busybox/json")["Id"].removeprefix("sha256:")
    return {
        "pages": [*PAGES, f"/images/{image}/", f"/logs/?container={container}"],
        "container": [f"/containers/{container}/{tab}" for tab in TABS],
    }


def admin_places(page: Page) -> list[str]:
    """The administration's index, its lists, one thing of each list, and two forms for new ones."""
    page.goto("/admin/")
    links = page.locator("#content-main th a[href]")
    lists = links.evaluate_all("links => links.map(link => link.pathname)")
    found = ["/admin/", "/admin/auth/", "/admin/password_change/", "/admin/auth/group/add/"]
    found += ["/admin/people/role/add/", *lists]
    for path in lists:
        page.goto(path)
        first = page.locator("#result_list tbody th a").first
        if first.count():
            found.append(first.get_attribute("href") or "")
    return found


@pytest.mark.parametrize("part", ["pages", "container", "admin"])
def test_every_page_is_for_everybody_and_logs_no_error(
    open_page: PageFactory, places: dict[str, list[str]], part: str
) -> None:
    page = open_page("/")
    wide, found = [], []
    for path in places.get(part) or admin_places(page):
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        page.set_viewport_size(PHONE)
        if page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(path)
        page.set_viewport_size(WIDE)
        found += violations(page)
    assert not found, "\n".join(found)
    assert not wide, f"these scroll sideways on a phone: {wide}"


def test_a_page_that_is_not_there_says_so(open_page: PageFactory) -> None:
    page = open_page("/volumes/never-made/", refusals=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not here")
    clean(page)


def test_the_run_form_says_what_the_engine_says(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock("run", "-d", "--name", "taken", "webdock/busybox", "sleep", "1000")
    cases = (
        ("webdock/busybox", "taken", "", re.compile("in use", re.IGNORECASE)),
        ("webdock/busybox", "", "no-such-command", re.compile("not found|no such", re.IGNORECASE)),
        ("no/such-image", "", "", re.compile("no such image|not here|pull", re.IGNORECASE)),
    )
    page = open_page("/containers/run/", refusals=True)
    for image, name, command, message in cases:
        page.goto("/containers/run/")
        page.get_by_label("Image", exact=True).fill(image)
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Command", exact=True).fill(command)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("main")).to_contain_text(message)
    assert [container["Names"] for container in installation.client.get("/containers/json")] == [["/taken"]]


def test_a_pull_that_fails_says_why(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/images/", refusals=True)
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Image", exact=True).fill("127.0.0.1:1/nothing:here")
    dialog.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator("body")).to_contain_text(
        re.compile("refused|unreachable|cannot be reached|connect", re.IGNORECASE)
    )


def test_what_a_container_says_never_becomes_markup(
    installation: Installation, open_page: PageFactory
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    installation.webdock(
        "run", "--name", "evil", "-l", f"a={evil}", "-e", f"X={evil}", "webdock/busybox", "echo", evil
    )
    identifier = installation.client.get("/containers/evil/json")["Id"]
    page = open_page("/containers/")
    for tab in ("", "logs/", "inspect/"):
        page.goto(f"/containers/{identifier}/{tab}")
        expect(page.get_by_text("onerror=alert(1)").first).to_be_attached()
        assert page.locator("img[src=x]").count() == 0


def test_the_inspect_document_is_searchable_in_the_admin(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "inspected", "webdock/busybox", "sleep", "1000")
    page = open_page("/admin/containers_app/container/")
    page.get_by_role("link", name="inspected").first.click()
    expect(page.locator("body")).to_contain_text("webdock/busybox")
    assert page.locator("input[name=state]:not([type=hidden]), select[name=state]").count() == 0

"""Every page opens without an error, can be used by everybody, and says plainly what went wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, PageFactory
from tests.integration.installation import Installation

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PAGES = (
    "/",
    "/containers/",
    "/containers/run/",
    "/logs/",
    "/images/",
    "/registries/",
    "/jobs/",
    "/networks/",
    "/volumes/",
    "/terminals/",
    "/recordings/",
    "/events/",
    "/engines/",
    "/audit/",
    "/account/",
)
TABS = ("", "logs/", "terminal/", "stats/", "files/", "events/", "inspect/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_accessibility_violations(
    installation: Installation, open_page: PageFactory, scheme: str
) -> None:
    installation.webdock(
        "run", "-d", "--name", "shown", "-p", "127.0.0.1::80", "webdock/busybox", "sleep", "1000"
    )
    identifier = installation.client.get("/containers/shown/json")["Id"]
    page = open_page("/", scheme=scheme, watch=False)
    found = []
    for path in [*PAGES, *(f"/containers/{identifier}/{tab}" for tab in TABS)]:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.evaluate(AXE.read_text())
        result = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})")
        for violation in result["violations"]:
            nodes = [node["html"][:120] for node in violation["nodes"]][:3]
            found.append(f"{path}: {violation['id']}: {violation['help']}: {nodes}")
    assert not found, "\n".join(found)


def test_pages_fit_a_phone(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock(
        "run", "-d", "--name", "a-rather-long-name-of-a-container", "webdock/busybox", "sleep", "1000"
    )
    identifier = installation.client.get("/containers/json")[0]["Id"]
    page = open_page("/", size=PHONE, touch=True)
    for path in [*PAGES, *(f"/containers/{identifier}/{tab}" for tab in TABS)]:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_the_run_form_says_what_the_engine_says(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock("run", "-d", "--name", "taken", "webdock/busybox", "sleep", "1000")
    cases = (
        ("webdock/busybox", "taken", "", re.compile("in use", re.IGNORECASE)),
        ("webdock/busybox", "", "no-such-command", re.compile("not found|no such", re.IGNORECASE)),
        ("no/such-image", "", "", re.compile("no such image|not here|pull", re.IGNORECASE)),
    )
    page = open_page("/containers/run/", watch=False)
    for image, name, command, message in cases:
        page.goto("/containers/run/")
        page.get_by_label("Image").fill(image)
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Command", exact=True).fill(command)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("main")).to_contain_text(message)
    assert [container["Names"] for container in installation.client.get("/containers/json")] == [["/taken"]]


def test_a_pull_that_fails_says_why(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/images/", watch=False)
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Image").fill("127.0.0.1:1/nothing:here")
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

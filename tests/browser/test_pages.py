"""Every page opens without an error, can be used by everybody, and says plainly what went wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, PageFactory
from tests.integration.installation import Installation

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21aa")
STILL = """() => {
  const rules = new CSSStyleSheet();
  rules.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important; }");
  document.adoptedStyleSheets.push(rules);
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
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
    "/terminals/",
    "/recordings/",
    "/events/",
    "/engines/",
    "/selftest/",
    "/audit/",
    "/account/",
)
TABS = (
    "",
    "logs/",
    "terminal/",
    "stats/",
    "files/",
    "files/edit/?path=/etc/passwd",
    "events/",
    "inspect/",
    "edit/",
    "duplicate/",
)
ADMIN = (
    "/admin/",
    "/admin/auth/",
    "/admin/auth/user/",
    "/admin/auth/user/1/change/",
    "/admin/auth/group/add/",
    "/admin/people/role/add/",
    "/admin/engines/auditentry/",
    "/admin/containers_app/container/",
    "/admin/password_change/",
)


@pytest.fixture
def places(installation: Installation) -> dict[str, list[str]]:
    """Addresses of all kinds of pages, each with something to show."""
    installation.webdock("volume", "create", "kept", check=False)  # the volume of another test does as well
    done = installation.webdock(
        *("run", "-d", "--name", "shown", "-p", "127.0.0.1::80", "-v", "kept:/data", "-l", "team=shop"),
        *("webdock/busybox", "sh", "-c", "echo shown; sleep 1000"),
    )
    container = done.stdout.strip()
    image = installation.client.get("/images/webdock/busybox/json")["Id"].removeprefix("sha256:")
    return {
        "pages": [*PAGES, f"/images/{image}/", f"/logs/?container={container}"],
        "container": [f"/containers/{container}/{tab}" for tab in TABS],
        "admin": list(ADMIN),
    }


def _violations(page: Page, only: tuple[str, ...], kind: str = "tag") -> list[str]:
    answer = page.evaluate(
        "([kind, values]) => axe.run(document, {runOnly: {type: kind, values}})", [kind, list(only)]
    )
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes']][:3]}"
        for one in answer["violations"]
    ]


@pytest.mark.parametrize("part", ["pages", "container", "admin"])
def test_pages_have_no_accessibility_violations(
    open_page: PageFactory, places: dict[str, list[str]], part: str
) -> None:
    page = open_page("/healthz", watch=False)  # axe itself measures with inline styles
    script = AXE.read_text()
    found = []
    for path in places[part]:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        page.evaluate(script)
        page.evaluate(STILL)  # a colour that fades is measured halfway otherwise
        page.evaluate(DRAWN)
        found += [f"{path}: {problem}" for problem in _violations(page, RULES)]
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        page.evaluate(DRAWN)
        dark = _violations(page, ("color-contrast", "link-in-text-block"), "rule")
        found += [f"{path}, dark: {problem}" for problem in dark]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("part", ["pages", "container", "admin"])
def test_pages_fit_a_phone_and_log_no_error(
    open_page: PageFactory, places: dict[str, list[str]], part: str
) -> None:
    page = open_page("/", size=PHONE, touch=True)
    wide = []
    for path in places[part]:
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        if page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(path)
    assert not wide


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

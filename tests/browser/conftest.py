"""Fixtures of the browser ring: an installation with a registry, an administrator, and pages in real
Chromium.

A page fails its test when it logs an error, throws, or asks another host for anything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.browser.axe import clean, measuring
from tests.integration.conftest import installation, installed, registry
from tests.integration.installation import Installation

__all__ = ["installation", "installed", "registry"]  # fixtures of the integration ring serve here as well

PASSWORD = "correct horse battery"
ADMIN = "ada"
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "img"

ASKED: set[str] = set()  # paths of the forms and fetches that pages of this run have posted

WAIT_MS = 60_000  # of a page on a busy machine
expect.set_options(timeout=WAIT_MS)


def pytest_sessionstart() -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("the browser ring needs root; run it with: sudo scripts/test browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the look at the whole ring where only a part of it was asked for."""
    asked_for = {item.path for item in items}
    ring = set(Path(__file__).parent.glob("test_*.py"))
    if ring <= asked_for and not config.getoption("keyword"):
        return
    whole = [item for item in items if item.path == Path(__file__).with_name("test_whole.py")]
    config.hook.pytest_deselected(items=whole)
    items[:] = [item for item in items if item not in whole]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The distribution's Chromium; text is drawn as text, so that a test can read a terminal."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-3d-apis",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@dataclass(frozen=True)
class Welcomed:
    """How the first administrator got in."""

    link: str  # the one-time link, used up
    state: object  # cookies of the login


@pytest.fixture(scope="session")
def welcomed(installed: Installation, chromium: Browser) -> Welcomed:
    """Follow the one-time link as the first administrator does, and set a password."""
    assert installed.link, "up printed no one-time link"
    context = chromium.new_context(locale="en-US", viewport=WIDE)
    context.on("request", note_action)
    page = context.new_page()
    page.goto(installed.link)
    clean(page)
    page.get_by_label("Username").fill(ADMIN)
    page.locator("input[name=password1]").fill(PASSWORD)
    page.locator("input[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_url(f"{installed.url}/**")
    state = context.storage_state()
    context.close()
    return Welcomed(installed.link, state)


def note_action(request: Request) -> None:
    """Remember what a page asks to be done."""
    if request.method == "POST":
        ASKED.add(urlsplit(request.url).path)


class Watch:
    """Collects what a page must not do. With ``refusals`` the browser may complain of answers and of
    connections: the test asks for what is refused."""

    def __init__(self, context: BrowserContext, own: str, refusals: bool) -> None:
        self.problems: list[str] = []
        self._own = urlsplit(own).netloc
        self._refusals = refusals
        context.on("weberror", lambda error: self.problems.append(f"exception: {error.error}"))
        context.on("console", self._console)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # The browser drops what it was loading when an interface of its own machine comes or goes; here each
        # container's does. That is no fault of a page.
        if message.page in measuring or message.type != "error" or "ERR_NETWORK_CHANGED" in message.text:
            return
        if not self._refusals or "Content Security Policy" in message.text:
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._own:
            self.problems.append(f"asked another host: {request.url}")


PageFactory = Callable[..., Page]


@pytest.fixture
def open_page(installation: Installation, chromium: Browser, welcomed: Welcomed) -> Iterator[PageFactory]:
    """A factory of pages: logged in as the administrator unless ``anonymous``."""
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def factory(
        path: str = "/",
        *,
        anonymous: bool = False,
        scheme: str = "light",
        size: dict[str, int] = WIDE,
        touch: bool = False,
        refusals: bool = False,
    ) -> Page:
        context = chromium.new_context(
            base_url=installation.url,
            storage_state=None if anonymous else welcomed.state,  # type: ignore[arg-type]
            locale="en-US",
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport=size,  # type: ignore[arg-type]
            has_touch=touch,
            is_mobile=touch,
            device_scale_factor=2 if touch else 1,
        )
        contexts.append(context)
        context.on("request", note_action)
        watches.append(Watch(context, installation.url, refusals))
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(path)
        return page

    yield factory
    problems = [problem for watch in watches for problem in watch.problems]
    for context in contexts:
        context.close()
    assert not problems, "the pages did what they must not:\n" + "\n".join(problems)


@pytest.fixture
def page(open_page: PageFactory) -> Page:
    """The overview, as the administrator."""
    return open_page("/")


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Take a picture for the documentation; only when WEBDOCK_PICTURES is set: tests leave no trace."""

    def take(page: Page, name: str) -> None:
        if os.environ.get("WEBDOCK_PICTURES"):
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    return take

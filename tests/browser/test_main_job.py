"""The main job, as a new user does it: pull redis, run it, type into it, stop and remove it, by clicks."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import redis_image
from tests.browser.conftest import PHONE, PageFactory
from tests.browser.terminal_page import expect_text, type_line
from tests.integration.installation import Installation
from tests.integration.registry import RealRegistry

Picture = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def redis(registry: RealRegistry) -> Iterator[str]:
    """The reference of a redis image in the registry, made on the spot."""
    scratch = Path(tempfile.mkdtemp(prefix="webdock-redis-", dir="/var/tmp"))
    try:
        registry.put("shop/redis", "7", redis_image.build(scratch))
        yield f"{registry.host}/shop/redis:7"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def test_redis_is_pulled_run_used_stopped_and_removed(
    installation: Installation, page: Page, redis: str, picture: Picture
) -> None:
    # Pull, with progress for each layer.
    page.get_by_role("link", name="Images").first.click()
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Image", exact=True).fill(redis)
    dialog.get_by_role("button", name="Pull", exact=True).click()
    card = page.locator(".pulls .job").filter(has_text=redis)
    expect(card.locator(".layer")).to_have_count(2)
    picture(page, "pull")
    row = page.locator("tr[data-id]").filter(has_text=redis)
    expect(row).to_be_visible(timeout=120_000)

    # Run it in the background from the form.
    page.get_by_role("link", name="Containers").first.click()
    page.get_by_role("link", name="Run container").click()
    page.get_by_label("Image", exact=True).fill(redis)
    page.get_by_label("Name", exact=True).fill("cache")
    picture(page, "run")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/containers/[0-9a-f]{64}/"))
    expect(page.locator("#container-header .pill").first).to_have_attribute("data-state", "running")
    assert installation.client.get("/containers/cache/json")["State"]["Running"]

    # Its log, then a shell in it.
    page.get_by_role("link", name="Logs", exact=True).first.click()
    expect(page.get_by_text("Ready to accept connections")).to_be_visible()
    picture(page, "logs")
    page.get_by_role("link", name="Terminal", exact=True).first.click()
    expect_text(page, r"[#$] ")
    type_line(page, "redis-cli ping")
    expect_text(page, "PONG")
    picture(page, "terminal")

    # Stop and remove.
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#container-header .pill").first).to_have_attribute("data-state", "exited")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Remove")).click()
    page.wait_for_url(re.compile(r"/containers/$"))
    expect(page.locator("tr[data-name=cache]")).to_have_count(0)
    assert installation.client.get("/containers/json", {"all": True}) == []


def test_pages_look_as_the_documentation_shows_them(
    installation: Installation, open_page: PageFactory, redis: str, picture: Picture
) -> None:
    installation.webdock("pull", "-q", redis)
    installation.webdock("run", "-d", "--name", "shop-cache", "-p", "127.0.0.1::6379", redis)
    installation.webdock("run", "-d", "--name", "shop-web", "webdock/busybox", "sleep", "10000")
    installation.webdock(
        "run", "-d", "--name", "shop-worker", "-m", "64m", "webdock/busybox", "sleep", "10000"
    )
    installation.webdock("run", "--name", "greeting", "webdock/hello")
    installation.webdock("run", "--name", "migrate", "webdock/busybox", "sh", "-c", "exit 3", check=False)
    installation.webdock("pause", "shop-worker")
    cache = installation.client.get("/containers/shop-cache/json")["Id"]
    for scheme in ("light", "dark"):
        wide = open_page("/containers/", scheme=scheme)
        expect(wide.locator("tr[data-id]")).to_have_count(5)
        expect(wide.locator("td.cpu").filter(has_text="%")).not_to_have_count(0)
        picture(wide, f"containers-{scheme}")
        wide.goto("/")
        expect(wide.get_by_role("heading", level=1)).to_be_visible()
        picture(wide, f"overview-{scheme}")
        wide.goto(f"/containers/{cache}/")
        expect(wide.locator("#container-header .pill").first).to_have_attribute("data-state", "running")
        picture(wide, f"container-{scheme}")
        wide.goto("/images/")
        expect(wide.locator("tr[data-id]")).to_have_count(3)
        picture(wide, f"images-{scheme}")
    phone = open_page("/containers/", size=PHONE, touch=True)
    expect(phone.locator("tr[data-id]")).to_have_count(5)
    fits = phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert fits, "the phone's page scrolls sideways"
    picture(phone, "containers-phone")
    phone.goto(f"/containers/{cache}/terminal/")
    expect_text(phone, r"[#$] ")
    picture(phone, "terminal-phone")

"""Images and long jobs: load by upload, push to a real registry, and jobs that every browser sees."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.axe import clean
from tests.browser.conftest import PHONE, PageFactory
from tests.integration.installation import Installation
from tests.integration.registry import RealRegistry

HOLD = """(path) => new Promise((resolve, reject) => {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  window.held = new WebSocket(url);
  window.held.onmessage = ({ data }) => resolve(JSON.parse(data).job);
  window.held.onclose = () => reject("closed");
})"""


def image_url(installation: Installation, name: str) -> str:
    id = installation.client.get(f"/images/{name}/json")["Id"]
    return f"/images/{id.removeprefix('sha256:')}/"


def open_jobs(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    expect(page.locator("#jobs-panel")).to_be_visible()


def test_an_image_is_pushed_and_everybody_sees_it(
    installation: Installation, open_page: PageFactory, registry: RealRegistry
) -> None:
    name = f"{registry.host}/team/pushed:1"
    installation.webdock("tag", "webdock/busybox", name)
    other = open_page("/containers/", size=PHONE, touch=True)
    page = open_page(image_url(installation, "webdock/busybox"))
    page.get_by_role("button", name="Push…").click()
    page.get_by_label("Under which name").select_option(name)
    page.get_by_role("dialog").get_by_role("button", name="Push", exact=True).click()
    open_jobs(other)
    for seen in (page, other):
        card = seen.locator("#jobs-panel .job").filter(has_text=name)
        expect(card.locator("[data-pill]")).to_have_text("done", timeout=120_000)
    assert other.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    with urllib.request.urlopen(f"{registry.url}/v2/team/pushed/tags/list") as answer:
        assert json.load(answer)["tags"] == ["1"]
    page.reload()
    open_jobs(page)
    expect(page.locator("#jobs-panel .job").filter(has_text=name)).to_contain_text("its digest is sha256:")

    # What a layer adds is a tree, and nothing of it is out of reach of a screen reader.
    page.keyboard.press("Escape")
    page.locator("[data-layer] summary").first.click()
    page.get_by_role("button", name="bin/", exact=True).click()
    expect(page.locator(".changes .changes li").filter(has_text="busybox").first).to_be_visible()
    open_jobs(page)
    clean(page)

    # Gone from here, it is pulled by the form that wants to run it.
    installation.webdock("rmi", name)
    form = open_page("/containers/run/", refusals=True)  # the first answer is a 400
    form.get_by_label("Image", exact=True).fill(name)
    form.get_by_label("Name", exact=True).fill("late")
    form.get_by_label("Command", exact=True).fill("sleep 1000")
    form.get_by_role("button", name="Run", exact=True).click()
    form.get_by_role("button", name="Pull it and run").click()
    expect(form.get_by_role("heading", level=1)).to_have_text("late", timeout=60_000)
    assert installation.client.get("/containers/late/json")["State"]["Running"]


def test_a_running_job_is_counted_and_cancelled_in_another_browser(
    installation: Installation, open_page: PageFactory
) -> None:
    page = open_page("/images/", refusals=True)  # the held socket is closed under it
    other = open_page("/volumes/")
    page.evaluate(HOLD, "/ws/images/load/?name=held.tar&size=1000")
    expect(other.get_by_role("button", name="Jobs, 1 running")).to_be_visible()
    other.reload()
    open_jobs(other)
    card = other.locator("#jobs-panel .job").filter(has_text="held.tar")
    expect(card.locator("[data-pill]")).to_have_text("running")
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator("[data-pill]")).to_have_text("cancelled")
    expect(page.locator(".pulls .job").filter(has_text="held.tar").locator("[data-pill]")).to_have_text(
        "cancelled"
    )
    other.goto("/jobs/")
    expect(other.locator("tr").filter(has_text="held.tar").first).to_contain_text("cancelled")


def test_an_archive_is_loaded_and_saved(
    installation: Installation, open_page: PageFactory, tmp_path: Path
) -> None:
    archive = tmp_path / "loaded.tar"
    installation.webdock("tag", "webdock/hello", "shop/loaded:2")
    installation.webdock("save", "-o", str(archive), "shop/loaded:2")
    installation.webdock("rmi", "shop/loaded:2")
    page = open_page("/images/")
    page.get_by_role("button", name="Load…").click()
    page.get_by_label("Archive").set_input_files(archive)
    page.get_by_role("dialog").get_by_role("button", name="Load", exact=True).click()
    row = page.locator("tr[data-id]").filter(has_text="shop/loaded:2")
    expect(row).to_be_visible(timeout=120_000)
    row.locator("a[data-open]").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save").click()
    saved = tmp_path / "saved.tar"
    download.value.save_as(saved)
    assert b"manifest.json" in saved.read_bytes()
    installation.webdock("rmi", "shop/loaded:2")

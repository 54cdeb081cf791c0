"""A container is run from a pasted line, edited, and comes back as asked; axe on the way."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.axe import clean
from tests.browser.conftest import PageFactory
from tests.integration.installation import Installation

DONE_MS = 120_000


def test_a_pasted_line_is_run_then_edited_and_nothing_is_lost(
    installation: Installation, open_page: PageFactory
) -> None:
    page = open_page("/containers/run/")
    page.get_by_text("Paste a docker run line").click()
    page.get_by_label("docker run line").fill(
        "docker run -d --name edited --gpus all -e A=1 -e TOKEN=topsecret -v kept:/kept "
        "--label team=shop webdock/busybox sleep 1000"
    )
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.locator("[data-notes]")).to_contain_text("--gpus all")
    expect(page.get_by_label("Volumes", exact=True)).to_have_value("kept:/kept")
    expect(page.locator("[data-run-line]")).to_contain_text("--name edited")
    page.get_by_label("Ports", exact=True).fill("80:x")
    expect(page.locator(".field", has=page.locator("[name=ports]")).locator(".error")).to_contain_text(
        "not a port"
    )
    page.get_by_label("Ports", exact=True).fill("")
    clean(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("edited")
    first = installation.client.get("/containers/edited/json")

    page.get_by_role("link", name="Edit", exact=True).click()
    environment = page.get_by_label("Environment", exact=True)
    expect(environment).to_have_value(re.compile("TOKEN=•+"))
    environment.fill(environment.input_value().replace("A=1", "A=2"))
    clean(page)
    page.get_by_role("button", name="Show the differences").click()
    expect(page.locator("del")).to_have_text(["A=1"])
    expect(page.locator("ins")).to_have_text(["A=2"])
    clean(page)
    page.get_by_role("button", name="Recreate").click()
    expect(page.get_by_text("The new container has taken over")).to_be_visible(timeout=DONE_MS)
    clean(page)
    second = installation.client.get("/containers/edited/json")
    assert second["Id"] != first["Id"]
    assert sorted(second["Config"]["Env"]) == sorted(
        "A=2" if entry == "A=1" else entry for entry in first["Config"]["Env"]
    )
    assert second["HostConfig"] == first["HostConfig"]
    assert second["State"]["Running"]
    assert len(installation.client.get("/containers/json?all=1")) == 1

"""A container is run from a pasted line, edited, and comes back as asked; axe on the way."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

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


def test_the_form_says_what_is_wrong_where_it_is_wrong(
    installation: Installation, open_page: PageFactory
) -> None:
    page = open_page("/containers/run/", refusals=True)
    for panel in page.locator("form[data-run-form] details").all():
        panel.locator("summary").click()
    clean(page)

    def field(name: str) -> Locator:
        return page.locator(".field", has=page.locator(f"[name={name}]"))

    env = page.get_by_label("Environment", exact=True)
    env.fill('# made by hand\nexport A=1\nB="two\nlines"\nA=2\nBARE\n')
    expect(field("env").locator(".remark")).to_contain_text("the last one counts: A.")
    expect(field("env").locator(".remark")).to_contain_text("taken away: BARE.")
    expect(page.locator("[data-run-line]")).to_contain_text("-e 'B=two\nlines'")
    env.fill("A B=1")
    page.get_by_label("Bytes read a second").fill("/dev/sda:fast")
    page.get_by_label("Links").fill("a b")
    for name, words in (("env", "KEY=VALUE"), ("device_read_bps", "a size"), ("links", "name:alias")):
        expect(field(name).locator(".error")).to_contain_text(words)
        described = page.locator(f"[name={name}]").get_attribute("aria-describedby") or ""
        assert f"id_{name}_error" in described
    clean(page)
    typing = {
        name: field(name).locator(".error").inner_text() for name in ("env", "device_read_bps", "links")
    }
    page.get_by_label("Image", exact=True).fill("webdock/busybox")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_load_state()
    expect(field("env").locator(".error")).to_have_count(1)
    assert {name: field(name).locator(".error").inner_text() for name in typing} == typing

    page.get_by_label("Environment", exact=True).evaluate(
        "input => { input.value = 'A=' + 'x'.repeat(1 << 20);"
        " input.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    expect(field("env").locator(".error")).to_contain_text("too long")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_label("Environment", exact=True)).to_be_focused()  # and nothing was sent
    assert installation.client.get("/containers/json?all=1") == []


def test_a_container_is_run_by_keyboard_alone(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/containers/run/")
    expect(page.get_by_label("Image", exact=True)).to_be_focused()
    for text in ("webdock/busybox", "by-hand", "sleep 1000"):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    limits = page.locator("summary", has_text="Limits")
    for _step in range(20):
        if limits.evaluate("summary => summary === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("64m")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("by-hand")
    assert installation.client.get("/containers/by-hand/json")["HostConfig"]["Memory"] == 64 << 20


def test_an_image_that_cannot_be_had_says_so_and_keeps_the_form(open_page: PageFactory) -> None:
    page = open_page("/containers/run/", refusals=True)
    page.get_by_label("Image", exact=True).fill("registry.invalid/no/such:1")
    page.get_by_label("Name", exact=True).fill("kept")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Pull it and run").click()
    expect(page.locator("[data-pull-state]")).to_contain_text("registry.invalid", timeout=DONE_MS)
    expect(page.get_by_role("button", name="Pull it and run")).to_be_enabled()
    expect(page.locator("[data-pull-cancel]")).to_be_hidden()
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept")
    clean(page)

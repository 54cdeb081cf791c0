"""Actions that no other journey of this ring takes: each is clicked, and its outcome seen."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, PageFactory
from tests.browser.terminal_page import expect_text
from tests.integration.conftest import DEAD_REGISTRY
from tests.integration.installation import Installation

POLITE = ("sh", "-c", "trap exit TERM; sleep 1000 & wait")  # stops at once


def choose(page: Page, words: str) -> None:
    """An entry of the menu of a container's page."""
    page.get_by_role("button", name="More actions").click()
    page.locator("#container-menu").get_by_role("button", name=words, exact=True).click()


def confirm(page: Page, button: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def undo(page: Page, said: str) -> None:
    page.locator("#toasts .toast").filter(has_text=said).get_by_role("button", name="Undo").click()


def test_a_containers_verbs_are_done_and_what_can_be_is_undone(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "verbs", "webdock/busybox", *POLITE)
    first = installation.client.get("/containers/verbs/json")
    page = open_page(f"/containers/{first['Id']}/")
    state, title = page.locator("#container-header .pill").first, page.get_by_role("heading", level=1)
    choose(page, "Pause")
    expect(state).to_have_attribute("data-state", "paused")
    undo(page, "verbs was paused.")
    expect(state).to_have_attribute("data-state", "running")
    choose(page, "Rename…")
    page.get_by_label("New name").fill("renamed")
    confirm(page, "Rename")
    expect(title).to_have_text("renamed")
    undo(page, "was renamed.")
    expect(title).to_have_text("verbs")
    page.get_by_role("button", name="Restart", exact=True).click()
    expect(page.locator("#container-header [aria-busy]")).to_have_count(0)
    expect(state).to_have_attribute("data-state", "running")
    again = installation.client.get("/containers/verbs/json")
    assert again["State"]["StartedAt"] != first["State"]["StartedAt"]
    choose(page, "Kill…")
    expect(page.get_by_role("dialog")).to_contain_text("without a chance to save")
    confirm(page, "Kill")
    expect(state).to_have_attribute("data-state", "exited")


def test_what_was_done_to_many_is_undone_for_those_it_was_done_to(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "going", "webdock/busybox", *POLITE)
    installation.webdock("create", "--name", "resting", "webdock/busybox", "sleep", "1000")
    page = open_page("/containers/")
    for name in ("going", "resting"):
        page.get_by_label(f"Select {name}").check()
    page.get_by_label("Actions for the selected rows").get_by_role("button", name="Stop").click()
    going = page.locator("tr[data-name=going]")
    expect(going).to_have_attribute("data-state", "exited")
    undo(page, "Stop: ")
    expect(going).to_have_attribute("data-state", "running")
    expect(page.locator("tr[data-name=resting]")).to_have_attribute("data-state", "created")


def test_a_file_is_edited_a_directory_made_and_both_removed(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "-d", "--name", "holder", "webdock/busybox", "sleep", "1000")
    id = installation.client.get("/containers/holder/json")["Id"]
    page = open_page(f"/containers/{id}/files/?path=/etc")
    page.get_by_role("link", name="Edit passwd", exact=True).click()
    page.locator("textarea[name=text]").fill("me:x:0:0::/:/bin/sh\n")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("/etc/passwd was saved.")).to_be_visible()
    assert installation.webdock("exec", "holder", "cat", "/etc/passwd").stdout == "me:x:0:0::/:/bin/sh\n"
    page.locator("summary", has_text="Directory").click()
    page.get_by_label("Name", exact=True).fill("made")
    page.get_by_role("button", name="Make", exact=True).click()
    expect(page.get_by_role("link", name="made/", exact=True)).to_be_visible()
    for name, lost in (("made", "everything in it"), ("passwd", "The file is lost")):
        page.get_by_role("link", name=f"Remove {name}", exact=True).click()
        expect(page.locator("main")).to_contain_text(lost)
        page.locator("#main form.panel").get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_text(f"/etc/{name} was removed.")).to_be_visible()
    assert installation.webdock("exec", "holder", "ls", "/etc/passwd", check=False).returncode


def test_an_image_is_tagged_untagged_and_what_is_unused_removed(
    installation: Installation, open_page: PageFactory
) -> None:
    image = installation.client.get("/images/webdock/hello/json")["Id"].removeprefix("sha256:")
    page = open_page(f"/images/{image}/")
    page.get_by_role("button", name="Tag…").click()
    page.get_by_label("New tag").fill("shop/tagged:1")
    confirm(page, "Add tag")
    page.get_by_role("button", name="Remove the tag shop/tagged:1").click()
    confirm(page, "Remove tag")
    expect(page.get_by_role("button", name="Remove the tag shop/tagged:1")).to_have_count(0)
    # Only what was committed here and has no tag is taken: the starter images stay.
    installation.webdock("run", "--name", "base", "webdock/busybox", "touch", "/made")
    made = installation.client.post("/commit", {"container": "base", "repo": "shop/loose"})["Id"]
    installation.webdock("rm", "base")
    installation.webdock("tag", "webdock/busybox", "shop/loose")  # takes the name from it
    page.goto("/images/")
    page.get_by_role("button", name="Remove unused…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Without a tag")
    confirm(page, "Remove images")
    expect(page.locator(f'tr[data-id="{made}"]')).to_have_count(0)
    installation.webdock("rmi", "shop/loose")


def test_a_container_joins_and_leaves_a_network_and_unused_ones_go(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.client.post("/networks/create", body={"Name": "joined"})
    installation.webdock("volume", "create", "spare")
    installation.webdock("run", "-d", "--name", "guest", "webdock/busybox", "sleep", "1000")
    page = open_page("/networks/joined/")
    page.get_by_role("button", name="Connect a container").click()
    page.get_by_role("dialog").get_by_label("Container").fill("guest")
    confirm(page, "Connect")
    page.get_by_role("button", name="Disconnect guest").click()
    expect(page.get_by_role("dialog")).to_contain_text("It loses its address")
    confirm(page, "Disconnect")
    expect(page.get_by_text("Nobody. Removing the network would break nothing.")).to_be_visible()
    for path, name, button in (
        ("/networks/", "joined", "Remove networks"),
        ("/volumes/", "spare", "Remove volumes"),
    ):
        page.goto(path)
        page.get_by_role("button", name="Remove unused…").click()
        expect(page.get_by_role("dialog")).to_contain_text(name)
        for box in page.get_by_role("dialog").get_by_role("checkbox").all():
            box.check()
        confirm(page, button)
        expect(page.locator(f"tr[data-name={name}]")).to_have_count(0)


def test_a_registry_is_tried_kept_and_forgotten(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/registries/", refusals=True)  # nobody listens there
    page.get_by_role("button", name="Run a local registry").click()
    expect(page.locator("#toasts")).to_contain_text("registry")
    page.get_by_role("button", name="Add registry").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Registry").fill("127.0.0.1:2")
    dialog.get_by_label("User").fill("me")
    dialog.get_by_label("Password or token").fill("secret")
    dialog.get_by_role("button", name="Test", exact=True).click()
    expect(dialog.locator("[data-tried] .pill")).to_have_text("fails")
    dialog.get_by_label("Save although the test failed").check()
    dialog.get_by_role("button", name="Test and save").click()
    page.get_by_role("button", name="Forget 127.0.0.1:2").click()
    confirm(page, "Forget registry")
    expect(page.get_by_role("button", name="Forget 127.0.0.1:2")).to_have_count(0)
    assert page.get_by_role("cell", name=DEAD_REGISTRY).count()  # fixed in the configuration: it stays


def test_ones_own_tokens_sessions_and_language(installation: Installation, open_page: PageFactory) -> None:
    other = open_page("/login/", anonymous=True)
    other.get_by_label("Username").fill("ada")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    other.wait_for_url(f"{installation.url}/")
    other.goto("/account/")
    other.get_by_role("textbox", name="Name").fill("script")
    other.get_by_role("button", name="Make a token").click()
    expect(other.get_by_text("It is shown only now.")).to_be_visible()
    other.get_by_role("button", name="Remove script").click()
    expect(other.get_by_role("button", name="Remove script")).to_have_count(0)
    other.get_by_role("button", name="account of ada").click()
    other.get_by_role("button", name="简体中文").click()
    expect(other.locator("html")).to_have_attribute("lang", "zh-hans")
    expect(other.locator("time").first).to_be_attached()
    page = open_page("/account/")
    page.get_by_role("button", name="End all others").click()
    expect(page.get_by_role("button", name="End all others")).to_have_count(0)
    other.goto("/account/")
    assert "/login/" in other.url


def test_a_terminal_is_renamed_and_ended_in_the_list(
    installation: Installation, open_page: PageFactory
) -> None:
    container = installation.webdock("run", "-d", "--name", "shelly", "webdock/busybox", "sleep", "1000")
    page = open_page(f"/containers/{container.stdout.strip()}/terminal/")
    expect_text(page, r"[#$] ")
    page.goto("/terminals/")
    row = page.locator("tr[data-id]").filter(has_text="shelly")
    row.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("New name").fill("migration")
    confirm(page, "Rename")
    page.get_by_role("button", name="End migration").click()
    confirm(page, "End session")
    expect(page.get_by_role("button", name="End migration")).to_have_count(0)

"""Networks, volumes, files, processes and what is not used any more, through the pages."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory
from tests.integration.installation import Installation


def confirm(page: Page, button: str) -> None:
    """Press the dialog's own button."""
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def test_a_network_is_created_used_and_removed(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/networks/", refusals=True)  # the refused subnet is a 400 in the console
    page.get_by_role("button", name="Create network").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("browsed")
    dialog.get_by_label("Subnet").fill("nonsense")
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog).to_contain_text("subnet: expected something like")
    dialog.get_by_label("Subnet").fill("10.211.77.0/24")
    dialog.get_by_label("Internal").check()
    dialog.get_by_role("button", name="Create", exact=True).click()

    row = page.locator("tr", has=page.get_by_text("browsed", exact=True))
    expect(row).to_contain_text("10.211.77.0/24")
    made = installation.client.get("/networks/browsed")
    assert made["Internal"] is True
    assert made["IPAM"]["Config"][0]["Subnet"] == "10.211.77.0/24"

    installation.webdock(
        "run", "-d", "--name", "member", "--network", "browsed", "webdock/busybox", "sleep", "1000"
    )
    page.reload()
    expect(row.get_by_role("link", name=re.compile(r"member\s*10\.211\.77\.\d+"))).to_be_visible()
    remove = row.get_by_role("button", name="Remove browsed")
    expect(remove).to_be_disabled()

    installation.webdock("rm", "-f", "member")
    page.reload()
    expect(row).to_contain_text("nobody")
    remove.click()
    expect(page.get_by_role("dialog")).to_contain_text("the addresses given out on it")
    confirm(page, "Remove network")
    expect(row).to_have_count(0)
    assert "browsed" not in [one["Name"] for one in installation.client.get("/networks")]


def test_a_volume_is_created_used_and_removed(installation: Installation, open_page: PageFactory) -> None:
    page = open_page("/volumes/")
    page.get_by_role("button", name="Create volume").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("browsed-data")
    dialog.get_by_role("button", name="Create", exact=True).click()
    row = page.locator("tr", has=page.get_by_text("browsed-data", exact=True))
    expect(row).to_contain_text("nobody")
    assert "browsed-data" in [one["Name"] for one in installation.client.get("/volumes")["Volumes"]]

    installation.webdock(
        "run", "-d", "--name", "keeper", "-v", "browsed-data:/data", "webdock/busybox", "sleep", "1000"
    )
    page.reload()
    expect(row.get_by_role("link", name="keeper")).to_be_visible()
    expect(row.get_by_role("button", name="Remove browsed-data")).to_be_disabled()

    installation.webdock("rm", "-f", "keeper")
    page.reload()
    row.get_by_role("button", name="Remove browsed-data").click()
    expect(page.get_by_role("dialog")).to_contain_text("Every file in it is deleted")
    confirm(page, "Remove volume")
    expect(row).to_have_count(0)
    volumes = installation.client.get("/volumes")["Volumes"] or []
    assert "browsed-data" not in [one["Name"] for one in volumes]


def test_a_volumes_files_are_kept_brought_back_and_named_before_they_are_lost(
    installation: Installation, open_page: PageFactory, tmp_path: Path
) -> None:
    script = "mkdir /d/config; echo 'listen = <80>' >/d/config/app.conf; echo note >/d/notes.txt"
    installation.webdock("volume", "create", "shop-data")
    installation.webdock("run", "--rm", "-v", "shop-data:/d", "webdock/busybox", "sh", "-c", script)
    page = open_page("/volumes/")
    expect(page.locator('[data-size-of="shop-data"]')).to_contain_text("kB")
    page.get_by_role("link", name="shop-data").click()
    page.get_by_role("link", name="config/", exact=True).click()
    page.get_by_role("link", name="app.conf", exact=True).click()
    expect(page.locator("pre")).to_have_text("listen = <80>\n")
    page.get_by_role("link", name="shop-data").click()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    assert kept.name == "shop-data.tar"
    brought = tmp_path / "more.txt"
    brought.write_text("more")
    page.get_by_label("File to bring in").set_input_files(brought)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("link", name="more.txt", exact=True)).to_be_visible()

    page.get_by_role("button", name="Clone").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("shop-copy")
    dialog.get_by_role("button", name="Clone", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("shop-copy")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(dialog).to_contain_text("config")
    expect(dialog).to_contain_text("notes.txt")
    expect(dialog).to_contain_text("kB of files are deleted")
    confirm(page, "Remove volume")
    expect(page.get_by_role("link", name="shop-copy")).to_be_visible()
    expect(page.get_by_role("link", name="shop-data")).to_have_count(0)

    installation.webdock("volume", "create", "restored")
    page.goto(page.url.replace("/volumes/", "/volumes/restored/"))
    page.get_by_role("button", name="Restore").click()
    dialog.get_by_label("Archive").set_input_files(kept)
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect(page.get_by_role("link", name="notes.txt", exact=True)).to_be_visible()
    said = installation.webdock("run", "--rm", "-v", "restored:/d", "webdock/busybox", "cat", "/d/notes.txt")
    assert said.stdout == "note\n"
    installation.webdock("volume", "rm", "restored", "shop-copy")


def test_every_published_port_opens_the_browsers_own_host(
    installation: Installation, open_page: PageFactory
) -> None:
    ports = [word for n in range(4) for word in ("-p", f"80{n}")]
    installation.webdock("run", "-d", "--name", "ported", *ports, "webdock/busybox", "sleep", "1000")
    bound = installation.client.get("/containers/ported/json")["NetworkSettings"]["Ports"]
    page = open_page("/containers/")
    row = page.locator("tr", has=page.get_by_text("ported", exact=True))
    row.get_by_role("button", name="2 more ports of ported").click()
    shown = row.locator(".ports-menu a")
    expect(shown).to_have_count(4)
    host = re.match(r"http://([^:/]+)", page.url)
    assert host is not None
    wanted = [f"http://{host[1]}:{bound[f'80{n}/tcp'][0]['HostPort']}/" for n in range(4)]
    for n in range(4):
        expect(shown.nth(n)).to_be_visible()
        expect(shown.nth(n)).to_have_attribute("href", wanted[n])
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 760, "height": 700})  # a tablet upright
    expect(row.locator(".ports > a").first).to_be_in_viewport(ratio=1)


def test_files_are_browsed_brought_in_and_taken_out(
    installation: Installation, open_page: PageFactory, tmp_path: Path
) -> None:
    installation.webdock("run", "-d", "--name", "holder", "webdock/busybox", "sleep", "1000")
    identifier = installation.client.get("/containers/holder/json")["Id"]
    note = tmp_path / "a note.txt"
    note.write_text("brought in by the page\n")

    page = open_page(f"/containers/{identifier}/files/")
    page.get_by_role("link", name="tmp/", exact=True).click()
    page.get_by_label("File to bring in").set_input_files(note)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("/tmp/a note.txt was brought in.")).to_be_visible()
    assert installation.webdock("exec", "holder", "cat", "/tmp/a note.txt").stdout == note.read_text()

    with page.expect_download() as waiting:
        page.get_by_role("link", name="a note.txt", exact=True).click()
    assert waiting.value.suggested_filename == "a note.txt"
    assert Path(waiting.value.path()).read_text() == note.read_text()


def test_the_stats_tab_lists_the_processes(installation: Installation, open_page: PageFactory) -> None:
    installation.webdock("run", "-d", "--name", "busy", "webdock/busybox", "sleep", "1234")
    identifier = installation.client.get("/containers/busy/json")["Id"]
    page = open_page(f"/containers/{identifier}/stats/")
    table = page.get_by_role("region", name="What runs inside").last
    expect(table).to_contain_text("sleep 1234")
    installation.webdock("exec", "-d", "busy", "sleep", "4321")
    expect(table).to_contain_text("sleep 4321")


def test_the_overview_names_stopped_containers_before_it_removes_them(
    installation: Installation, open_page: PageFactory
) -> None:
    installation.webdock("run", "--name", "greeted", "webdock/hello")
    installation.webdock("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    page = open_page("/")
    expect(page.locator("[data-chart=cpu] canvas")).to_be_visible()
    page.get_by_role("button", name="Remove stopped containers").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_have_text(["greeted"])
    confirm(page, "Remove containers")
    # On the list of jobs, and in the word at the edge that comes and goes.
    expect(page.get_by_text("1 container was removed.").first).to_be_visible()
    assert [one["Names"] for one in installation.client.get("/containers/json?all=1")] == [["/stays"]]

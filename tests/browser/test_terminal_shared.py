"""Terminals across windows: the same screen in each, nothing hostile gets out of one, recordings play."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.axe import clean
from tests.browser.conftest import PASSWORD, PageFactory
from tests.browser.terminal_page import DROP, PASTE, expect_text, screen, settled, type_line
from tests.integration.installation import Installation, eventually

BAD_LINKS = ("javascript:window.hit=2", "data:text/html,x", "file:///etc/passwd", "ssh://host")


@pytest.fixture
def container(installation: Installation) -> str:
    return installation.webdock("run", "-d", "webdock/busybox", "sleep", "100000").stdout.strip()


@pytest.fixture
def shell(container: str, open_page: PageFactory) -> Page:
    page = open_page(f"/containers/{container}/terminal/")
    expect_text(page, r"[#$] ")
    return page


def test_a_full_screen_program_is_the_same_after_a_reload_and_without_its_engine(
    installation: Installation, container: str, open_page: PageFactory
) -> None:
    shell = open_page(
        f"/containers/{container}/terminal/", refusals=True
    )  # it complains of what is not there
    expect_text(shell, r"[#$] ")
    type_line(shell, "seq 1 200; vi /etc/passwd")
    expect_text(shell, "/etc/passwd 1/")
    eventually(lambda: screen(shell).count("~") > 3)
    before = settled(shell)
    shell.reload()
    expect_text(shell, "/etc/passwd 1/")
    eventually(lambda: screen(shell) == before, what="the same screen")
    line = shell.locator("[data-line-state]").first
    os.kill(installation.engine_pid(), signal.SIGKILL)
    expect(line).not_to_have_text("connected")
    expect(line).to_have_text("connected", timeout=60_000)
    eventually(lambda: screen(shell) == before, what="the same screen")
    type_line(shell, ":q!")
    expect_text(shell, r"200\s*\S*\s*[#$] ")


def test_two_windows_share_one_shell(shell: Page, container: str, open_page: PageFactory) -> None:
    type_line(shell, "echo fi''rst")
    expect_text(shell, "first")
    other = open_page("/terminals/")
    other.locator(f'a[href*="{container}"]').first.click()
    expect_text(other, "first")
    type_line(other, "echo sec''ond")
    expect_text(shell, "second")
    expect(shell.locator("[data-people]")).to_contain_text("typed last")
    type_line(other, r"printf '\033[c'; sleep 1; echo answ''ered; cat > /dev/null")
    expect_text(other, "answered")
    eventually(lambda: screen(other).count("^[[?1;2c") == 1, what="the answer of one of the two windows")


def newcomer(installation: Installation, open_page: PageFactory, name: str) -> Page:
    """A page of somebody else, who may operate containers."""
    chief = open_page("/people/", refusals=True)
    chief.get_by_label("Name").fill(name)
    chief.get_by_label("Role").select_option("operator")
    chief.get_by_role("button", name="Make a link").click()
    page = open_page(chief.get_by_role("status").locator("code").inner_text(), anonymous=True)
    chief.close()
    page.locator("input[name=new_password1]").fill(PASSWORD)
    page.locator("input[name=new_password2]").fill(PASSWORD)
    page.get_by_role("button", name="Save password").click()
    page.wait_for_url(f"{installation.url}/")
    return page


def share(page: Page, name: str, *, types: bool = False) -> None:
    page.locator('[data-do="settings"]').first.click()
    page.locator('[data-do="share"]').click()
    page.get_by_label("User name").fill(name)
    page.get_by_label("May type as well").set_checked(types)
    page.get_by_role("dialog").get_by_role("button", name="Share").click()
    expect(page.locator("#toasts")).to_contain_text(f"{name} may {'type' if types else 'look on'}")


def test_somebody_else_looks_on_types_and_is_out_at_once(
    installation: Installation, shell: Page, container: str, open_page: PageFactory
) -> None:
    grace = newcomer(installation, open_page, "grace")
    share(shell, "grace")
    shell.wait_for_function("document.activeElement.matches('.xterm-helper-textarea')")

    # Whoever looks on sees it in the size of those who type, and sends no byte whatever the program asks for.
    grace.set_viewport_size({"width": 1500, "height": 1000})
    sent: list[str | bytes] = []
    grace.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(data)))
    grace.goto("/terminals/")
    grace.locator(f'a[href*="{container}"]').first.click()
    expect(grace.locator("[data-line-state]")).to_have_text("watching")
    grid = shell.locator("[data-grid]").inner_text()
    expect(grace.locator("[data-grid]")).to_have_text(grid)
    expect(grace.locator(".pane")).to_have_attribute("data-smaller", "")
    type_line(shell, r"printf '\033[?1003h\033[?1006h\033[?1004h\033[?2004h\033[c\033[6n'; echo as''ked; cat")
    expect_text(grace, "asked")
    sent.clear()
    grace.locator(".xterm-screen").click()
    grace.mouse.wheel(0, 200)
    grace.keyboard.type("intruder")
    grace.evaluate(PASTE, "more\nthan one line\n")
    grace.evaluate(DROP, "brought.txt")
    expect(grace.locator("#toasts")).to_contain_text("looks on")
    assert [data for data in sent if isinstance(data, bytes) or "credit" not in data] == []
    assert not grace.get_by_role("dialog").filter(visible=True).count()
    shell.keyboard.press("Control+c")
    shell.keyboard.type("printf '\\033c'; echo cle''ared\n")
    expect_text(grace, "cleared")

    # Then they may type, until they may not: in the middle of it.
    share(shell, "grace", types=True)
    expect(grace.locator("[data-line-state]")).to_have_text("connected")
    type_line(grace, "echo toge''ther")
    expect_text(shell, "together")
    people = shell.locator("[data-people]")
    expect(people).to_contain_text("grace typed last")
    grace.keyboard.type("before")
    expect_text(shell, "before")
    people.get_by_role("button", name="Take the invitation of").click()
    grace.keyboard.type("after", delay=20)
    expect(grace.locator("[data-line-state]")).to_have_text("ended")
    expect(grace.locator("[data-note]")).to_contain_text("not shared with you any more")
    grace.keyboard.type("never")
    expect(people).to_be_hidden()
    type_line(shell, "; echo la''st")
    expect_text(shell, "last")
    assert "intruder" not in screen(shell)
    assert "never" not in screen(shell)


def test_a_killed_web_process_loses_and_doubles_nothing(
    installation: Installation, container: str, open_page: PageFactory
) -> None:
    """In the middle of typing and of output: the same shell goes on, and each byte of both is there once."""
    shell = open_page(
        f"/containers/{container}/terminal/", refusals=True
    )  # it complains of what is not there
    expect_text(shell, r"[#$] ")
    type_line(shell, "echo pid=$$; stty -echo")
    expect_text(shell, r"pid=\d+")
    pid = re.findall(r"pid=\d+", screen(shell))[0]
    count = "i=0; while [ $i -lt 150 ]; do echo -n $i,; i=$((i+1)); sleep 0.02; done"
    type_line(shell, f"clear; {{ {count}; }} & cat > /typed")
    expect_text(shell, "20,21,")
    shell.keyboard.type("0123456789" * 5)
    os.kill(installation.web_pid(), signal.SIGKILL)
    shell.keyboard.type("abcdefghij" * 5)
    expect(shell.locator("[data-line-state]")).not_to_have_text("connected", timeout=30_000)
    shell.keyboard.type("ABCDEFGHIJ" * 5)
    expect(shell.locator("[data-line-state]")).to_have_text("connected", timeout=60_000)
    shell.keyboard.type("!\n")
    expect_text(shell, "148,149,")
    assert re.findall(r"\d+", screen(shell).replace("\n", ""))[:150] == [str(n) for n in range(150)]
    typed = "0123456789" * 5 + "abcdefghij" * 5 + "ABCDEFGHIJ" * 5 + "!\n"
    found = ("exec", container, "cat", "/typed")
    eventually(lambda: installation.webdock(*found).stdout == typed, 20, "each key once")
    expect(shell.locator("[data-note]")).to_be_hidden()
    shell.keyboard.press("Control+c")
    type_line(shell, "clear; echo pid=$$")
    expect_text(shell, pid)


def test_hostile_output_stays_text(shell: Page) -> None:
    """Titles become no markup, the clipboard is not written, and no question is answered by a replay."""
    shell.evaluate("() => { navigator.clipboard.writeText = async () => { window.stolen = true; }; }")
    hostile = r"\033]0;<img src=x onerror=window.hit=1>\007\033]52;c;c3RvbGVu\007"
    type_line(shell, f"printf '{hostile}'; echo do''ne")
    expect_text(shell, "done")
    expect(shell.locator("[data-title]").first).to_contain_text("<img src=x")
    links = "".join(rf"\033]8;;{url}\007l\151nk \033]8;;\007" for url in BAD_LINKS)
    type_line(shell, f"printf '{links}\\n'")
    expect_text(shell, r"link\s+link")
    row = shell.locator(".xterm-rows > div", has_text=re.compile(r"^link\s+link")).last.bounding_box()
    assert row is not None
    for place in range(len(BAD_LINKS)):
        shell.mouse.click(row["x"] + place * 39 + 15, row["y"] + 8)
    assert not shell.get_by_role("dialog").filter(visible=True).count()
    assert len(shell.context.pages) == 1
    questions = r"\005\033P+q544e\033\\\033[c\033[>c\033[21t\033[>q\033P$qm\033\\\033]10;?\007\033[6n\033[5n"
    type_line(shell, f"printf '{questions}'; echo ask''ed; cat > /dev/null")
    expect_text(shell, r"\^\[\[0n")  # what xterm answers, as the terminal echoes it; this is the last
    before = settled(shell)
    shell.reload()
    eventually(lambda: screen(shell) == before, what="the same screen, with no other answer")


def test_a_recording_is_made_said_found_and_played(shell: Page, open_page: PageFactory) -> None:
    shell.locator('[data-do="settings"]').first.click()
    shell.locator('[data-do="record"]').click()
    expect(shell.locator(".recording")).to_be_visible()
    type_line(shell, "echo nee''dle")
    expect_text(shell, "needle")
    shell.locator('[data-do="settings"]').first.click()
    shell.locator('[data-do="record"]').click()
    expect(shell.locator(".recording")).to_be_hidden()
    page = open_page("/recordings/?q=needle")
    page.locator("td.key a").first.click()
    expect(page.locator(".ap-overlay-start")).to_be_visible()
    clean(page)
    page.locator(".ap-overlay-start").click()
    expect(page.locator(".ap-player")).to_contain_text("needle")
    page.goto("/recordings/?q=needle")
    page.get_by_role("button", name=re.compile("^Remove the recording")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No recording shows this")).to_be_visible()


def test_what_was_typed_into_a_connection_that_died_without_a_word_arrives_once(
    container: str, open_page: PageFactory
) -> None:
    """The page finds out by itself, and makes another one."""
    page = open_page("/containers/")
    made: list[WebSocketRoute] = []
    dead: list[WebSocketRoute] = []

    def relay(near: WebSocketRoute) -> None:
        far = near.connect_to_server()
        made.append(near)
        near.on_message(lambda message: None if near in dead else far.send(message))
        far.on_message(lambda message: None if near in dead else near.send(message))

    page.route_web_socket(re.compile("/ws/terminal/"), relay)
    page.goto(f"/containers/{container}/terminal/")
    expect_text(page, r"[#$] ")
    dead += made
    page.keyboard.type("echo on''ce")
    page.evaluate("dispatchEvent(new Event('online'))")
    # Routes are served while the page is asked something.
    eventually(lambda: page.evaluate("1") and len(made) > len(dead), what="another connection")
    expect(page.locator("[data-line-state]").first).to_have_text("connected")
    page.keyboard.press("Enter")
    expect_text(page, r"echo on''ce\s*once")

"""Getting in, and staying out."""

from __future__ import annotations

import time

import pyotp
from playwright.sync_api import Page, expect

from tests.browser.axe import clean
from tests.browser.conftest import PASSWORD, PageFactory, Welcomed
from tests.integration.installation import Installation


def test_the_first_administrators_link_works_once(open_page: PageFactory, welcomed: Welcomed) -> None:
    page = open_page("/login/", anonymous=True, refusals=True)
    page.goto(welcomed.link)
    expect(page.get_by_role("button", name="Create administrator")).to_have_count(0)


def test_no_page_is_seen_without_a_login(open_page: PageFactory) -> None:
    page = open_page("/login/", anonymous=True)
    for path in ("/", "/containers/", "/images/", "/events/", "/audit/", "/engines/", "/admin/"):
        page.goto(path)
        assert "/login/" in page.url, path


def test_up_prints_no_link_once_there_is_an_administrator(
    installation: Installation, welcomed: Welcomed
) -> None:
    done = installation.webdock("up", "--detach")
    assert "running already" in done.stdout
    assert "welcome" not in done.stdout


def enter(page: Page, name: str) -> None:
    """The first step of a login."""
    page.goto("/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def set_up_factor(page: Page) -> tuple[pyotp.TOTP, list[str]]:
    """On its page: the phone that knows it, and three recovery codes."""
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Set it up").click()
    phone = pyotp.TOTP(page.locator("code.mono").inner_text())
    page.locator("input[name=code]").fill(phone.now())
    page.get_by_role("button", name="Turn it on").click()
    return phone, page.locator("pre").inner_text().split()[:3]


def test_somebody_is_invited_gets_a_second_factor_and_what_a_team_has(
    open_page: PageFactory, installation: Installation
) -> None:
    name, team, volume = "bob", "shop", "shop-data"
    chief = open_page("/people/", refusals=True)  # news reach it on the address of a form
    chief.get_by_label("Name").fill(name)
    chief.get_by_label("Role").select_option("operator")
    chief.get_by_role("button", name="Make a link").click()
    link = chief.get_by_role("status").locator("code").inner_text()

    bob = open_page(link, anonymous=True, refusals=True)
    assert link.rpartition("/invited/")[2] not in bob.url, "the token stays in no address"
    clean(bob)
    bob.locator("input[name=new_password1]").fill(PASSWORD)
    bob.locator("input[name=new_password2]").fill(PASSWORD)
    bob.get_by_role("button", name="Save password").click()
    bob.wait_for_url(f"{installation.url}/")
    assert chief.request.get(link).status == 404, "it works once"

    bob.goto("/account/factor/")
    phone, (recovery, second, third) = set_up_factor(bob)

    # Each code is taken once; half a minute early is in time, so nobody has to wait for the next.
    for code, taken in ((phone.at(time.time() + phone.interval), True), (recovery, True), (recovery, False)):
        bob.context.clear_cookies()
        enter(bob, name)
        bob.wait_for_url("**/login/code/")
        bob.locator("input[name=code]").fill(code)
        with bob.expect_navigation():
            bob.get_by_role("button", name="Log in").click()
        assert ("/login/code/" not in bob.url) == taken, code
    clean(bob)
    bob.locator("input[name=code]").fill(second)
    bob.get_by_role("button", name="Log in").click()
    bob.wait_for_url(f"{installation.url}/")

    # Its codes are made anew and it is turned off: by its owner, and for one who lost it.
    bob.goto("/account/factor/")
    bob.locator("form[action$='/codes/'] input[name=code]").fill(third)
    bob.get_by_role("button", name="New recovery codes").click()
    fourth = bob.locator("pre").inner_text().split()[0]
    chief.goto("/people/")
    chief.get_by_role("button", name=f"Password link for {name}").click()
    chief.get_by_role("button", name=f"Take back the link for {name}").click()
    expect(chief.get_by_role("button", name=f"Take back the link for {name}")).to_have_count(0)
    bob.locator("form[action$='/off/'] input[name=password]").fill(PASSWORD)
    bob.locator("form[action$='/off/'] input[name=code]").fill(fourth)
    bob.get_by_role("button", name="Turn it off").click()
    set_up_factor(bob)
    bob.get_by_role("button", name=f"account of {name}").click()
    bob.get_by_role("button", name="Log out").click()
    bob.wait_for_url("**/login/**")
    clean(bob)
    chief.reload()
    chief.get_by_role("button", name=f"Reset second factor of {name}").click()
    expect(chief.get_by_role("button", name=f"Reset second factor of {name}")).to_have_count(0)

    chief.goto("/teams/")
    chief.get_by_label("Name").fill(team)
    chief.get_by_role("button", name="Make a team").click()
    chief.get_by_role("link", name=team, exact=True).click()
    chief.wait_for_url("**/teams/*/")
    number = chief.url.rstrip("/").rpartition("/")[2]
    chief.locator("input[name=username]").fill(name)
    chief.get_by_role("button", name="Give the role").click()
    expect(chief.get_by_role("cell", name=name, exact=True)).to_be_visible()
    installation.webdock("volume", "create", volume)
    try:
        chief.goto("/volumes/")
        expect(chief.get_by_role("link", name=volume)).to_be_visible()
        chief.goto(f"/owners/?volume={volume}")
        chief.locator("select[name=owner]").select_option(label=name)
        chief.locator("select[name=team]").select_option(label=team)
        with chief.expect_navigation():
            chief.get_by_role("button", name="Hand over").click()
        chief.goto(f"/owners/?volume={volume}")
        for whose in (name, team):
            expect(chief.get_by_role("cell", name=whose, exact=True)).to_be_visible()
        chief.goto(f"/teams/{number}/")
        clean(chief)
        chief.get_by_role("spinbutton", name="Containers").fill("7")
        chief.get_by_role("button", name="Set", exact=True).click()
        expect(chief.get_by_role("spinbutton", name="Containers")).to_have_value("7")
        chief.get_by_role("button", name=f"Take {name} out of the team").click()
        expect(chief.get_by_role("button", name=f"Take {name} out of the team")).to_have_count(0)
    finally:
        installation.webdock("volume", "rm", volume)
        chief.goto(f"/admin/people/team/{number}/delete/")
        chief.locator("input[type=submit]").click()
        chief.wait_for_url("**/admin/people/team/")

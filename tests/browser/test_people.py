"""Getting in, and staying out."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import ADMIN, PASSWORD, PageFactory, Welcomed
from tests.integration.installation import Installation


def test_the_first_administrators_link_works_once(open_page: PageFactory, welcomed: Welcomed) -> None:
    page = open_page("/login/", anonymous=True, watch=False)
    page.goto(welcomed.link)
    expect(page.get_by_role("button", name="Create administrator")).to_have_count(0)


def test_no_page_is_seen_without_a_login(open_page: PageFactory) -> None:
    page = open_page("/login/", anonymous=True)
    for path in ("/", "/containers/", "/images/", "/events/", "/audit/", "/engines/", "/admin/"):
        page.goto(path)
        assert "/login/" in page.url, path


def test_login_and_logout(open_page: PageFactory) -> None:
    page = open_page("/containers/", anonymous=True)
    page.get_by_label("Username").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/containers/")


def test_up_prints_no_link_once_there_is_an_administrator(
    installation: Installation, welcomed: Welcomed
) -> None:
    done = installation.webdock("up", "--detach")
    assert "running already" in done.stdout
    assert "welcome" not in done.stdout

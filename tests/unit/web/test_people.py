"""Log in, throttle, first administrator, and the wall in front of every view and socket."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from tests.unit.web.conftest import PASSWORD
from webdock.asgi import websocket_urlpatterns
from webdock.engines.models import AuditEntry
from webdock.people import throttle
from webdock.people.models import FailedLogin, SetupLink, token_digest
from webdock.people.rights import PUBLIC, allowed, requires, rights_of
from webdock.people.roles import NAMES, OPERATOR, VIEWER

PUBLIC_NAMES = {
    "login",
    "login-code",  # knows nobody before the password was right
    "logout",
    "oidc-start",  # these two are 404 without a provider
    "oidc-back",
    "invited",  # asks for a link
    "invited-link",
    "welcome",
    "welcome-link",
    "healthz",
    "set_language",
    "javascript-catalogue",
    "metrics",  # asks for its own token, or an administrator
}


def patterns(resolver: Any, prefix: str = "", namespace: str = "") -> list[tuple[str, str, URLPattern]]:
    """(path, namespace, pattern) of every view of the project."""
    found = []
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            found += patterns(entry, prefix + str(entry.pattern), entry.namespace or namespace)
        else:
            found.append((prefix + str(entry.pattern), namespace, entry))
    return found


def test_every_view_declares_its_right() -> None:
    every = patterns(get_resolver())
    assert len(every) > 40
    for path, namespace, pattern in every:
        if namespace == "admin":
            continue  # all of it needs "admin"; another test asks
        rights = getattr(pattern.callback, "required_rights", None)
        assert rights, f"{path} declares no right"
        assert (rights == (PUBLIC,)) == (pattern.name in PUBLIC_NAMES), f"{path} is public"
        assert rights == (PUBLIC,) or set(rights) <= NAMES, f"{path} needs an unknown right"


def test_every_websocket_declares_its_right() -> None:
    assert len(websocket_urlpatterns) >= 6
    for route in websocket_urlpatterns:
        assert route.callback.consumer_class.right in NAMES, route.pattern


def test_requires_refuses_a_right_that_does_not_exist() -> None:
    with pytest.raises(RuntimeError, match="unknown right"):
        requires("everything")


async def test_a_view_without_a_declaration_stays_closed(as_admin: AsyncClient, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.unit.web.undeclared_urls"
    answer = await as_admin.get("/forgotten/")
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/containers/", "/images/", "/networks/", "/volumes/", "/events/", "/engines/", "/audit/"]
)
async def test_a_stranger_is_sent_to_the_login(as_stranger: AsyncClient, path: str) -> None:
    answer = await as_stranger.get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/?next=")


async def test_a_script_of_a_stranger_gets_401(as_stranger: AsyncClient) -> None:
    answer = await as_stranger.post("/containers/bulk/", headers={"accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["ok"] is False


async def test_the_admin_site_is_closed_for_viewers_and_operators(
    as_viewer: AsyncClient, as_operator: AsyncClient
) -> None:
    for browser in (as_viewer, as_operator):
        for path in ("/admin/", "/admin/containers_app/container/", "/admin/auth/user/"):
            assert (await browser.get(path)).status_code == 403, path


async def test_the_admin_login_is_our_login(as_stranger: AsyncClient) -> None:
    answer = await as_stranger.get("/admin/login/?next=/admin/")
    assert answer.status_code == 302
    assert answer["Location"] == "/login/?next=/admin/"


def test_rights_of_roles(admin: User, operator: User, viewer: User) -> None:
    assert rights_of(admin) == NAMES
    assert rights_of(operator) == OPERATOR | {"terminal"}
    assert rights_of(viewer) == VIEWER
    viewer.is_active = False
    assert rights_of(viewer) == frozenset()
    with pytest.raises(RuntimeError):
        allowed(admin, "nonsense")


def test_login_works_and_is_audited(admin: User, client: Client) -> None:
    answer = client.post("/login/?next=/images/", {"username": "admin", "password": PASSWORD})
    assert answer.status_code == 302
    assert answer["Location"] == "/images/"
    entry = AuditEntry.objects.get(action="login")
    assert (entry.username, entry.result, entry.address) == ("admin", "ok", "127.0.0.1")


def test_login_never_redirects_to_another_site(admin: User, client: Client) -> None:
    answer = client.post("/login/?next=https://evil.example/", {"username": "admin", "password": PASSWORD})
    assert answer["Location"] == "/"


def test_login_refuses_a_wrong_password_and_forgets_it(admin: User, client: Client) -> None:
    answer = client.post("/login/", {"username": "admin", "password": "wrong-password-typed"})
    assert answer.status_code == 400
    entry = AuditEntry.objects.get(action="login")
    assert entry.result == "refused"
    assert "wrong-password-typed" not in str(vars(entry))


def test_login_is_throttled_by_account_and_address(admin: User, client: Client) -> None:
    for _n in range(throttle.PAIR_MAX):
        assert client.post("/login/", {"username": "Admin", "password": "x"}).status_code == 400
    answer = client.post("/login/", {"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429
    assert b"Too many attempts" in answer.content
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.post("/login/", {"username": "admin", "password": PASSWORD}).status_code == 302


def test_throttle_forgets_after_its_window(admin: User) -> None:
    for _n in range(throttle.PAIR_MAX):
        throttle.failed("admin", "192.0.2.1")
    assert throttle.throttled("ADMIN", "192.0.2.1")
    FailedLogin.objects.update(at=timezone.now() - throttle.WINDOW - timedelta(seconds=1))
    assert not throttle.throttled("admin", "192.0.2.1")
    throttle.failed("admin", "192.0.2.1")
    throttle.succeeded("admin", "192.0.2.1")
    assert not FailedLogin.objects.filter(address="192.0.2.1").exists()


def test_throttle_counts_one_address_over_all_accounts(transactional_db: None) -> None:
    for number in range(throttle.ADDRESS_MAX):
        throttle.failed(f"user{number}", "192.0.2.1")
    assert throttle.throttled("somebody new", "192.0.2.1")
    assert not throttle.throttled("somebody new", "192.0.2.2")


def test_logout_works_by_post_only(admin: User, client: Client) -> None:
    client.force_login(admin)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").status_code == 302
    assert client.get("/").status_code == 302
    assert AuditEntry.objects.filter(action="logout", username="admin").exists()


def setup_path(*arguments: str) -> str:
    out = StringIO()
    call_command("setuplink", *arguments, stdout=out)
    return out.getvalue().strip()


def test_setup_link_makes_one_administrator_once(transactional_db: None, client: Client) -> None:
    path = setup_path()
    token = path.removeprefix("/welcome/").rstrip("/")
    link = SetupLink.objects.get()
    assert token not in str(vars(link))
    assert link.digest == token_digest(token)
    answer = client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, "/welcome/")
    assert client.get("/welcome/").status_code == 200
    form = {"username": "first", "password1": "12345678", "password2": "12345678"}
    assert client.post("/welcome/", form).status_code == 400
    form["password1"] = form["password2"] = "correct horse battery"
    answer = client.post("/welcome/", form)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    user = User.objects.get()
    assert user.is_superuser
    assert user.is_staff
    assert client.get("/").status_code == 200
    assert Client().get(path).status_code == 404
    other = Client()
    assert other.post("/welcome/", {**form, "username": "second"}).status_code == 404
    assert User.objects.count() == 1


def test_setup_link_followed_in_two_windows_makes_one_administrator(transactional_db: None) -> None:
    path, form = setup_path(), {"password1": "correct horse battery", "password2": "correct horse battery"}
    one, two = Client(), Client()
    one.get(path)
    two.get(path)
    assert one.post("/welcome/", {**form, "username": "one"}).status_code == 302
    assert two.post("/welcome/", {**form, "username": "two"}).status_code == 404
    assert [user.username for user in User.objects.all()] == ["one"]


def test_setup_link_expires_and_a_new_one_ends_the_old(transactional_db: None, client: Client) -> None:
    old, new = setup_path(), setup_path()
    assert client.get(old).status_code == 404
    SetupLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(new).status_code == 404
    assert client.get("/welcome/nonsense/").status_code == 404


def test_the_login_page_says_where_an_account_comes_from(transactional_db: None, client: Client) -> None:
    assert b"scripts/up" in client.get("/login/").content
    User.objects.create_user("ada", is_staff=True, is_superuser=True)
    page = client.get("/login/").content
    assert b"scripts/up" not in page
    assert b"Ask an administrator" in page


def test_setuplink_refuses_when_there_is_an_administrator(admin: User) -> None:
    with pytest.raises(CommandError, match="administrator already"):
        setup_path()
    assert setup_path("--force").startswith("/welcome/")


async def test_pages_carry_a_policy_with_a_nonce_of_their_own(as_viewer: AsyncClient) -> None:
    first, second = await as_viewer.get("/containers/"), await as_viewer.get("/containers/")
    policy = first["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'nonce="{nonce}"' in first.content.decode()
    assert nonce not in second["Content-Security-Policy"]
    assert first["X-Frame-Options"] == "DENY"
    assert first["Cache-Control"] == "no-store"


async def test_healthz_needs_no_login(as_stranger: AsyncClient) -> None:
    answer = await as_stranger.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert (await as_stranger.post("/healthz")).status_code == 405


async def test_an_unknown_page_is_404_without_secrets(as_viewer: AsyncClient) -> None:
    answer = await as_viewer.get("/no/such/page/")
    assert answer.status_code == 404
    assert b"Traceback" not in answer.content


async def test_static_files_are_served_without_login(as_stranger: AsyncClient) -> None:
    answer = await as_stranger.get("/static/css/tokens.css")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/css")


def test_names_no_database_can_hold_are_refused_like_others(transactional_db: None, client: Client) -> None:
    assert client.post("/login/", {"username": "a\0b", "password": "x"}).status_code == 400
    entry = AuditEntry.objects.get(action="login")
    assert entry.username == "a\ufffdb"

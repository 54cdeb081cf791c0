"""Logging in at an identity provider: the way there and back, what is not believed, whose account it is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from tests.fakes.provider import CLIENT_ID, CLIENT_SECRET, OTHER_KEY, FakeProvider
from tests.unit.web.conftest import PASSWORD
from webdock.engines.models import AuditEntry
from webdock.environ import BadVariable
from webdock.oidc import VARIABLE, Provider, provider
from webdock.people import oidc
from webdock.people.models import Identity, Role, SecondFactor, Team
from webdock.people.standing import standing


@pytest_asyncio.fixture
async def there(transactional_db: None, settings: Any) -> AsyncIterator[FakeProvider]:
    """A provider whose people get an account as viewers."""
    oidc._known.clear()
    async with FakeProvider() as fake:
        settings.OIDC = Provider(fake.issuer, CLIENT_ID, CLIENT_SECRET, "Example ID", unknown="create")
        yield fake


async def sent(browser: AsyncClient, **data: str) -> str:
    """Where the button leads."""
    answer = await browser.post("/login/provider/", data)
    assert answer.status_code == 200, answer.content.decode()
    assert "form-action 'self'" in answer["Content-Security-Policy"]
    return str(answer["Refresh"].removeprefix("0;url="))


async def come(there: FakeProvider, browser: AsyncClient | None = None, **data: str) -> Any:
    """There and back; the last answer."""
    browser = browser or AsyncClient()
    return await browser.get(there.login(await sent(browser, **data)))


async def is_in(browser: AsyncClient) -> bool:
    return (await browser.get("/account/")).status_code == 200


async def last_detail() -> str:
    return (await AuditEntry.objects.filter(action="login").order_by("pk").alast()).detail


async def test_who_comes_for_the_first_time_gets_an_account_without_a_password(there: FakeProvider) -> None:
    browser = AsyncClient()
    assert b"Log in with Example ID" in (await browser.get("/login/")).content
    answer = await come(there, browser, next="/images/")
    assert (answer.status_code, answer["Location"]) == (302, "/images/")
    assert await is_in(browser)
    anna = await User.objects.aget()
    assert anna.username == "anna"
    assert not anna.has_usable_password()
    assert not anna.is_staff
    assert (await come(there, AsyncClient())).status_code == 302, "and later the same account"
    assert await User.objects.acount() == 1
    rows = [(row.action, row.username, row.detail) async for row in AuditEntry.objects.order_by("pk")]
    entered = ("login", "anna", "Example ID")
    assert rows == [("user.create", "anna", "Example ID: made; viewer"), entered, entered]


async def test_the_button_leads_to_no_other_site(there: FakeProvider) -> None:
    answer = await come(there, next="https://evil.example/")
    assert answer["Location"] == "/"


async def test_an_answer_is_taken_once_and_only_in_its_own_browser(there: FakeProvider) -> None:
    browser = AsyncClient()
    path = there.login(await sent(browser))
    assert (await AsyncClient().get(path)).status_code == 400, "another browser"
    other = AsyncClient()
    await sent(other)
    assert (await other.get(path)).status_code == 400, "another login's state"
    assert "state" in await last_detail()
    assert (await browser.get(path)).status_code == 302
    await browser.post("/logout/")
    assert (await browser.get(path)).status_code == 400
    assert await last_detail() == "provider: not asked for"


async def test_a_code_of_another_login_is_useless(there: FakeProvider) -> None:
    mine, theirs = AsyncClient(), AsyncClient()
    my_path, their_path = there.login(await sent(mine)), there.login(await sent(theirs))
    code = their_path.partition("code=")[2].partition("&")[0]
    my_code = my_path.partition("code=")[2].partition("&")[0]
    assert (await mine.get(my_path.replace(my_code, code))).status_code == 400, "PKCE"
    assert not await is_in(mine)


LIES: list[tuple[dict[str, Any], str]] = [
    ({"iss": "https://evil.example"}, "iss"),
    ({"aud": "somebody else"}, "aud"),
    ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "azp"),
    ({"nonce": "another"}, "nonce"),
    ({"nonce": None}, "nonce"),
    ({"exp": 1_000_000_000}, "expired"),
    ({"iat": int(time.time()) + 360_000}, "in the future"),
    ({"sub": None}, "sub"),
    ({"sub": ""}, "sub"),
]


async def test_a_token_that_says_something_wrong_is_not_believed(there: FakeProvider) -> None:
    browser = AsyncClient()
    for lies, words in LIES:
        there.lies = lies
        assert (await come(there, browser)).status_code == 400, lies
        assert words in await last_detail(), lies
    assert not await is_in(browser)
    assert not await User.objects.aexists()


async def test_a_token_that_the_provider_did_not_sign_is_not_believed(there: FakeProvider) -> None:
    for sign in ("none", "HS256"):
        there.sign = sign
        assert (await come(there)).status_code == 400, sign
        assert "id token" in await last_detail()
    there.sign, there.key = "RS256", OTHER_KEY
    assert (await come(there)).status_code == 400
    assert "id token" in await last_detail()
    assert not await User.objects.aexists()


async def test_a_document_that_is_not_the_provider_s_is_not_believed(there: FakeProvider) -> None:
    for document in (
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://elsewhere.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ):
        oidc._known.clear()
        there.document = document
        answer = await AsyncClient().post("/login/provider/")
        assert answer.status_code == 502, document
        assert not answer.has_header("Refresh")


async def test_an_answer_of_another_issuer_or_with_an_error_is_refused(there: FakeProvider) -> None:
    browser = AsyncClient()
    path = there.login(await sent(browser))
    assert (await browser.get(path.partition("&iss=")[0] + "&iss=https://evil.example")).status_code == 400
    path = there.login(await sent(browser))
    assert (await browser.get(path + "&error=access_denied")).status_code == 400
    assert "access_denied" in await last_detail()


async def test_unknown_people_are_refused_unless_accounts_are_made(
    there: FakeProvider, settings: Any
) -> None:
    settings.OIDC = replace(settings.OIDC, unknown="refuse")
    assert (await come(there)).status_code == 403
    assert not await User.objects.aexists()


async def test_a_name_that_is_taken_opens_nothing(there: FakeProvider, admin: User) -> None:
    there.person["preferred_username"] = "Admin"
    browser = AsyncClient()
    assert (await come(there, browser)).status_code == 403
    assert not await is_in(browser)
    assert not await Identity.objects.aexists()


async def test_groups_give_roles_and_take_them_away(there: FakeProvider, settings: Any) -> None:
    roles = {"chiefs": ("admin", ""), "shop": ("operator", "shop"), "staff": ("operator", "")}
    settings.OIDC = replace(settings.OIDC, roles=roles)

    async def as_member(*groups: str) -> tuple[Any, User]:
        there.person["groups"] = list(groups)
        answer = await come(there)
        return answer, await User.objects.filter(username="anna").afirst()

    answer, anna = await as_member("guests")
    assert (answer.status_code, anna) == (403, None)
    answer, anna = await as_member("shop", "guests")
    assert answer.status_code == 302
    who = await sync_to_async(standing)(anna)
    team = await Team.objects.aget(name="shop")
    assert "operate" in who.teams[team.pk]
    assert "operate" not in who.site
    _answer, anna = await as_member("chiefs")
    assert anna.is_superuser
    _answer, anna = await as_member("staff")
    assert not anna.is_superuser
    assert not anna.is_staff
    assert not await Role.objects.aexists()
    assert "operate" in (await sync_to_async(standing)(anna)).site
    assert (await as_member("guests"))[0].status_code == 403
    changed = [row.detail async for row in AuditEntry.objects.filter(action="user.roles").order_by("pk")]
    assert changed == ["Example ID: roles: admin", "Example ID: roles: operator"]


async def test_groups_may_be_in_the_user_information_alone(there: FakeProvider, settings: Any) -> None:
    settings.OIDC = replace(settings.OIDC, roles={"chiefs": ("admin", "")})
    there.userinfo = {"groups": ["chiefs"]}
    assert (await come(there)).status_code == 302
    there.userinfo = {"groups": ["chiefs"], "sub": "somebody else"}
    assert (await come(there)).status_code == 400


async def test_an_account_is_connected_by_its_own_person_and_keeps_its_roles(
    there: FakeProvider, settings: Any, admin: User
) -> None:
    settings.OIDC = replace(settings.OIDC, unknown="refuse", roles={"staff": ("viewer", "")})
    browser = AsyncClient()
    await browser.aforce_login(admin)
    assert (await browser.post("/account/provider/", {"password": "wrong"})).status_code == 302
    answer = await browser.post("/account/provider/", {"password": PASSWORD})
    assert (await browser.get(there.login(answer["Refresh"].removeprefix("0;url="))))[
        "Location"
    ] == "/account/"
    assert (await Identity.objects.aget()).user_id == admin.pk
    later = AsyncClient()
    assert (await come(there, later)).status_code == 302
    await admin.arefresh_from_db()
    assert admin.is_superuser
    await browser.post("/account/provider/remove/")
    assert not await is_in(later)
    assert (await come(there)).status_code == 403


async def test_a_disabled_account_stays_out(there: FakeProvider) -> None:
    await come(there)
    await User.objects.aupdate(is_active=False)
    assert (await come(there)).status_code == 403


async def test_a_second_factor_is_asked_for_here_as_well(there: FakeProvider) -> None:
    await come(there)
    anna = await User.objects.aget()
    await SecondFactor.objects.acreate(user=anna, sealed=b"", confirmed_at=anna.date_joined)
    browser = AsyncClient()
    assert (await come(there, browser))["Location"] == "/login/code/"
    assert not await is_in(browser)


async def test_administrators_of_the_provider_owe_no_second_factor_here(
    there: FakeProvider, settings: Any
) -> None:
    settings.OIDC = replace(settings.OIDC, roles={"chiefs": ("admin", "")})
    settings.ADMIN_SECOND_FACTOR = True
    there.person["groups"] = "chiefs"
    browser = AsyncClient()
    await come(there, browser)
    assert await is_in(browser)
    assert not await SecondFactor.objects.aexists()


async def test_without_a_provider_there_is_no_such_page(as_viewer: AsyncClient) -> None:
    for path in ("/login/provider/", "/account/provider/"):
        assert (await as_viewer.post(path)).status_code == 404
    assert (await as_viewer.get("/login/provider/back/")).status_code == 404
    assert b"Log in with" not in (await AsyncClient().get("/login/")).content


def test_the_web_process_starts_without_the_libraries() -> None:
    program = (
        "import sys, webdock.asgi, webdock.urls;"
        "print([name for name in ('authlib', 'joserfc', 'pyotp', 'segno') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def written(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "oidc.toml"
    file.write_text(text)
    return {VARIABLE: str(file)}


BOTH = 'issuer = "https://id.example.org"\nclient_id = "webdock"\n'


def test_the_file_is_read(tmp_path: Path) -> None:
    assert provider({}) is None
    (tmp_path / "secret").write_text("s3cret\n")
    found = provider(
        written(
            tmp_path,
            f'{BOTH}client_secret_file = "{tmp_path}/secret"\nscopes = ["groups"]\n'
            '[roles]\nchiefs = "admin"\nshop = "operator of shop floor"\n',
        )
    )
    assert found is not None
    assert (found.client_secret, found.name, found.unknown) == ("s3cret", "id.example.org", "refuse")
    assert found.scopes == ("openid", "groups")
    assert found.roles == {"chiefs": ("admin", ""), "shop": ("operator", "shop floor")}
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("client_id = 'a'", "issuer: is missing"),
        ("issuer = 'http://id.example.org'\nclient_id = 'a'", "issuer: expected https"),
        (f"{BOTH}isuer = 'x'", "isuer: no such key"),
        (f"{BOTH}unknown = 'maybe'", "unknown: expected one of"),
        (f"{BOTH}name = 3", "name: expected a text"),
        (f"{BOTH}scopes = 'openid'", "scopes: expected a list"),
        (f"{BOTH}[roles]\na = 'root'", "roles.a: expected viewer"),
        (f"{BOTH}[roles]\na = 'admin of shop'", "roles.a: expected viewer"),
        (f"{BOTH}client_secret_file = '/no/such'", "cannot be read"),
        ("issuer", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadVariable, match=words):
        provider(written(tmp_path, text))

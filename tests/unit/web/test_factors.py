"""Second factors: set up, asked for, used up, taken away; and what that does to what is open."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyotp
import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from tests.unit.web.conftest import PASSWORD, closing
from tests.unit.web.test_api_tokens import call, token_of
from webdock.engines.models import AuditEntry
from webdock.people import factors, throttle
from webdock.people.models import FailedLogin, RecoveryCode, SecondFactor
from webdock.sealing import unseal

JSON = {"accept": "application/json"}


class Phone:
    """Shows codes of a secret, on a clock that tests turn."""

    def __init__(self, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.totp, self.now = pyotp.TOTP(secret), float(int(time.time()) // 30 * 30)
        monkeypatch.setattr(factors.time, "time", lambda: self.now)

    def code(self, steps: int = 0) -> str:
        return self.totp.generate_otp(int(self.now) // factors.STEP_S + steps)

    def next_code(self) -> str:
        self.now += factors.STEP_S
        return self.code()


def logged_in(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def set_up(user: User, monkeypatch: pytest.MonkeyPatch) -> tuple[Phone, list[str]]:
    """As a person does it: password, picture, first code; the phone and the recovery codes."""
    browser = logged_in(user)
    assert browser.post("/account/factor/start/", {"password": PASSWORD}).status_code == 302
    page = browser.get("/account/factor/")
    assert page.context["picture"].startswith("data:image/svg+xml")
    phone = Phone(page.context["secret"], monkeypatch)
    answer = browser.post("/account/factor/", {"code": phone.code()})
    assert answer.status_code == 200
    browser.post("/logout/")
    return phone, answer.context["codes"]


@pytest.fixture
def phone(viewer: User, monkeypatch: pytest.MonkeyPatch) -> Phone:
    return set_up(viewer, monkeypatch)[0]


def first_step(name: str = "viewer", to: str = "") -> Client:
    browser = Client()
    answer = browser.post(f"/login/?next={to}", {"username": name, "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/login/code/")
    return browser


def is_in(browser: Client) -> bool:
    return browser.get("/account/").status_code == 200


def test_it_counts_after_a_first_code_only(viewer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = logged_in(viewer)
    assert browser.post("/account/factor/start/", {"password": "wrong"}).status_code == 302
    assert not SecondFactor.objects.exists()
    browser.post("/account/factor/start/", {"password": PASSWORD})
    secret = browser.get("/account/factor/").context["secret"]
    stored = bytes(SecondFactor.objects.get().sealed)
    assert secret.encode() not in stored
    assert unseal(stored) == secret
    phone = Phone(secret, monkeypatch)
    wrong = f"{(int(phone.code()) + 1) % 10**6:06}"
    browser.post("/account/factor/", {"code": wrong})
    answer = Client().post("/login/", {"username": "viewer", "password": PASSWORD})
    assert answer["Location"] == "/"
    other = logged_in(viewer)
    answer = browser.post("/account/factor/", {"code": phone.code()})
    codes = answer.context["codes"]
    assert len(codes) == len(set(codes)) == factors.RECOVERY_CODES
    assert not is_in(other), "what was begun without it ends"
    assert is_in(browser)
    assert b"secret below" not in browser.get("/account/factor/").content
    rows = {(row.action, row.result) for row in AuditEntry.objects.filter(action__startswith="factor")}
    refused = {("factor.start", "refused"), ("factor.on", "refused")}
    assert rows == {("factor.start", "ok"), ("factor.on", "ok"), *refused}
    assert secret not in str([vars(row) for row in AuditEntry.objects.all()])


def test_a_login_takes_password_and_code(phone: Phone) -> None:
    browser = first_step(to="/images/")
    assert not is_in(browser)
    assert browser.get("/login/code/").status_code == 200
    answer = browser.post("/login/code/", {"code": phone.next_code()})
    assert (answer.status_code, answer["Location"]) == (302, "/images/")
    assert is_in(browser)
    assert AuditEntry.objects.get(action="login", result="ok").detail == "with a code"


def test_a_code_works_once_and_its_neighbours_do(phone: Phone) -> None:
    code = phone.next_code()
    assert first_step().post("/login/code/", {"code": code}).status_code == 302
    assert first_step().post("/login/code/", {"code": code}).status_code == 400
    assert first_step().post("/login/code/", {"code": phone.code(-1)}).status_code == 400, "older than that"
    assert first_step().post("/login/code/", {"code": phone.code(1)}).status_code == 302
    phone.now += 10 * factors.STEP_S
    assert first_step().post("/login/code/", {"code": phone.code(-2)}).status_code == 400
    assert first_step().post("/login/code/", {"code": phone.code(2)}).status_code == 400
    assert first_step().post("/login/code/", {"code": phone.code(-1)}).status_code == 302


def test_codes_are_throttled_like_passwords_and_a_right_password_forgives_nothing(phone: Phone) -> None:
    browser = first_step()
    wrong = f"{(int(phone.code(5)) + 1) % 10**6:06}"
    for number in range(throttle.PAIR_MAX):
        if number == 3:
            browser = first_step()
        assert browser.post("/login/code/", {"code": wrong}).status_code == 400
    answer = browser.post("/login/code/", {"code": phone.next_code()})
    assert answer.status_code == 429
    assert answer["Retry-After"]
    assert not is_in(browser)
    refused = Client().post("/login/", {"username": "viewer", "password": PASSWORD})
    assert refused.status_code == 429
    FailedLogin.objects.all().delete()
    assert browser.post("/login/code/", {"code": phone.code()}).status_code == 302


def test_a_half_login_ends_with_time_and_with_the_password(phone: Phone, viewer: User) -> None:
    late = first_step()
    phone.now += 301
    assert late.post("/login/code/", {"code": phone.code()})["Location"] == "/login/"
    browser = first_step()
    viewer.set_password("another long password")
    viewer.save()
    assert browser.post("/login/code/", {"code": phone.next_code()})["Location"] == "/login/"
    assert not is_in(browser)
    assert Client().get("/login/code/")["Location"] == "/login/"


def test_recovery_codes_work_once_and_are_kept_as_digests(
    viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, codes = set_up(viewer, monkeypatch)
    assert not RecoveryCode.objects.filter(digest__in=codes).exists()
    assert first_step().post("/login/code/", {"code": codes[0].upper().replace("-", " ")}).status_code == 302
    assert first_step().post("/login/code/", {"code": codes[0]}).status_code == 400
    assert factors.codes_left(viewer.pk) == factors.RECOVERY_CODES - 1
    browser = first_step()
    browser.post("/login/code/", {"code": codes[1]})
    assert browser.post("/account/factor/codes/", {"code": "000"}).status_code == 302
    fresh = browser.post("/account/factor/codes/", {"code": phone.next_code()}).context["codes"]
    assert first_step().post("/login/code/", {"code": codes[2]}).status_code == 400
    assert first_step().post("/login/code/", {"code": fresh[2]}).status_code == 302
    other = User.objects.create_user("other")
    assert factors.take(other.pk, fresh[3]) == ""


def test_turning_it_off_takes_password_and_code(phone: Phone, viewer: User) -> None:
    browser = first_step()
    browser.post("/login/code/", {"code": phone.next_code()})
    other = logged_in(viewer)
    code = phone.next_code()
    browser.post("/account/factor/off/", {"password": "wrong", "code": code})
    browser.post("/account/factor/off/", {"password": PASSWORD, "code": "000000"})
    assert factors.confirmed(viewer.pk)
    browser.post("/account/factor/off/", {"password": PASSWORD, "code": code})
    assert not factors.confirmed(viewer.pk)
    assert is_in(browser)
    assert not is_in(other)
    assert Client().post("/login/", {"username": "viewer", "password": PASSWORD})["Location"] == "/"


def test_an_administrator_takes_a_lost_one_away(phone: Phone, viewer: User, admin: User) -> None:
    theirs, mine = logged_in(viewer), logged_in(admin)
    assert b"Reset second factor" in mine.get("/people/").content
    assert mine.post(f"/people/{viewer.pk}/factor/").status_code == 302
    assert not factors.confirmed(viewer.pk)
    assert not is_in(theirs)
    assert is_in(mine)
    row = AuditEntry.objects.get(action="factor.reset")
    assert (row.username, row.object_name, row.result) == ("admin", "viewer", "ok")
    assert mine.post("/people/99999/factor/").status_code == 404


def test_others_take_nothing_away(phone: Phone, viewer: User, operator: User) -> None:
    assert logged_in(operator).get("/people/").status_code == 403
    assert logged_in(operator).post(f"/people/{viewer.pk}/factor/").status_code == 403
    assert factors.confirmed(viewer.pk)


async def test_sockets_close_when_it_is_reset(
    viewer: User, as_viewer: AsyncClient, as_admin: AsyncClient, synced: Any, connect: Any
) -> None:
    await SecondFactor.objects.acreate(user=viewer, sealed=b"", confirmed_at=viewer.date_joined)
    socket = await connect(as_viewer, "/ws/events/")
    await as_admin.post(f"/people/{viewer.pk}/factor/")
    assert (await closing(socket))[0] == 4401


async def test_administrators_can_be_made_to_have_one(
    as_admin: AsyncClient, as_viewer: AsyncClient, synced: Any, connect: Any, settings: Any, admin: User
) -> None:
    token = await token_of(admin)
    settings.ADMIN_SECOND_FACTOR = True
    for path in ("/containers/", "/admin/", "/account/"):
        answer = await as_admin.get(path)
        assert (answer.status_code, answer["Location"]) == (302, "/account/factor/"), path
    assert (await as_admin.post("/containers/bulk/", headers=JSON)).status_code == 403
    assert (await closing(await connect(as_admin, "/ws/events/")))[0] == 4403
    assert (await as_admin.get("/account/factor/")).status_code == 200
    assert (await as_viewer.get("/containers/")).status_code == 200
    assert (await call(token, "GET", "version")).status_code == 200
    await SecondFactor.objects.acreate(user=admin, sealed=b"", confirmed_at=admin.date_joined)
    assert (await as_admin.get("/containers/")).status_code == 200


def test_without_the_key_recovery_codes_still_work_and_the_pages_say_what_helps(
    viewer: User, admin: User, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    phone, codes = set_up(viewer, monkeypatch)
    settings.REGISTRIES_KEY_FILE = tmp_path / "another.key"
    browser = first_step()
    assert b"Use a recovery code" in browser.get("/login/code/").content
    answer = browser.post("/login/code/", {"code": phone.next_code()})
    assert answer.status_code == 400
    assert b"Use a recovery code" in answer.content
    assert browser.post("/login/code/", {"code": codes[0]}).status_code == 302
    assert b"set it up again" in browser.get("/account/factor/").content
    assert b"cannot be read" in logged_in(admin).get("/people/").content
    browser.post("/account/factor/off/", {"password": PASSWORD, "code": codes[1]})
    assert browser.post("/account/factor/start/", {"password": PASSWORD}).status_code == 302
    page = browser.get("/account/factor/")
    assert Phone(page.context["secret"], monkeypatch).code()
    assert b"set it up again" not in page.content


def test_the_console_takes_one_away(phone: Phone, viewer: User) -> None:
    from django.core.management import CommandError, call_command

    browser = logged_in(viewer)
    call_command("account", "unfactor", "--name=viewer")
    assert not factors.confirmed(viewer.pk)
    assert not is_in(browser)
    with pytest.raises(CommandError, match="no second factor"):
        call_command("account", "unfactor", "--name=viewer")

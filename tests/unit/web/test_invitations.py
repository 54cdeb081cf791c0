"""One-time links of administrators: for a new account, and for a new password of an old one."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.unit.web.conftest import PASSWORD
from webdock.engines.models import AuditEntry
from webdock.people.models import Invitation, Role, Team, token_digest
from webdock.people.rights import rights_of
from webdock.people.standing import standing

GOOD = "correct horse battery"
FORM = {"new_password1": GOOD, "new_password2": GOOD}


@pytest.fixture
def mine(admin: User) -> Client:
    browser = Client()
    browser.force_login(admin)
    return browser


def invited(mine: Client, name: str = "anna", role: str = "operator", team: str = "") -> str:
    """The path of a new link."""
    answer = mine.post("/people/invite/", {"name": name, "role": role, "team": team})
    assert answer.status_code == 200, answer
    assert answer["Cache-Control"].find("no-store") >= 0
    return urlsplit(answer.context["link"]).path


def followed(path: str) -> Client:
    browser = Client()
    answer = browser.get(path)
    assert (answer.status_code, answer["Location"]) == (302, "/invited/")
    return browser


def test_the_invited_choose_their_password_and_have_their_role(mine: Client) -> None:
    path = invited(mine)
    token = path.removeprefix("/invited/").rstrip("/")
    link = Invitation.objects.get()
    assert token not in str(vars(link))
    assert link.digest == token_digest(token)
    page = mine.get("/people/").content.decode()
    assert "anna" in page
    assert token not in page, "it is shown only once"
    browser = followed(path)
    assert b"anna" in browser.get("/invited/").content
    weak = {"new_password1": "anna", "new_password2": "anna"}
    assert browser.post("/invited/", weak).status_code == 400
    assert not User.objects.filter(username="anna").exists()
    answer = browser.post("/invited/", {**FORM, "username": "mallory"})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    anna = User.objects.get(username="anna")
    assert "operate" in rights_of(anna)
    assert "admin" not in rights_of(anna)
    assert browser.get("/account/").status_code == 200
    assert Client().login(username="anna", password=GOOD)
    assert Client().get(path).status_code == 404
    assert b"Open links" not in mine.get("/people/").content
    details = {row.action: row.detail for row in AuditEntry.objects.all()}
    assert details["user.invite"] == "operator"
    assert details["user.create"] == "link of admin; operator"
    assert token not in str([vars(row) for row in AuditEntry.objects.all()])


def test_the_role_may_be_one_of_a_team(mine: Client) -> None:
    team = Team.objects.create(name="shop")
    followed(invited(mine, "bert", "operator", str(team.pk))).post("/invited/", FORM)
    bert = User.objects.get(username="bert")
    assert Role.objects.get(user=bert).team == team
    assert "operate" in standing(bert).teams[team.pk]
    assert "operate" not in standing(bert).site
    followed(invited(mine, "chief", "admin")).post("/invited/", FORM)
    assert User.objects.get(username="chief").is_superuser


@pytest.mark.parametrize(
    ("name", "role", "team"),
    [("admin", "viewer", ""), ("ADMIN", "viewer", ""), ("", "viewer", ""), ("a b", "viewer", ""),
     ("anna", "root", ""), ("anna", "admin", "team")],
)  # fmt: skip
def test_what_makes_no_account_makes_no_link(mine: Client, name: str, role: str, team: str) -> None:
    number = str(Team.objects.create(name="shop").pk) if team else ""
    assert mine.post("/people/invite/", {"name": name, "role": role, "team": number}).status_code == 302
    assert not Invitation.objects.exists()


def test_a_link_in_two_windows_makes_one_account(mine: Client) -> None:
    path = invited(mine)
    one, two = followed(path), followed(path)
    assert one.post("/invited/", FORM).status_code == 302
    assert two.post("/invited/", FORM).status_code == 404
    assert User.objects.filter(username="anna").count() == 1


def test_a_name_taken_meanwhile_changes_nothing(mine: Client) -> None:
    browser = followed(invited(mine, role="admin"))
    User.objects.create_user("anna", password=PASSWORD)
    assert browser.post("/invited/", FORM).status_code == 404
    anna = User.objects.get(username="anna")
    assert anna.check_password(PASSWORD)
    assert not anna.is_superuser


def test_links_end_by_time_revocation_a_newer_one_and_with_who_made_them(mine: Client, admin: User) -> None:
    old, new = invited(mine), invited(mine)
    assert Client().get(old).status_code == 404
    browser = followed(new)
    assert mine.post(f"/people/invitations/{Invitation.objects.get().pk}/revoke/").status_code == 302
    assert browser.post("/invited/", FORM).status_code == 404
    assert AuditEntry.objects.get(action="invitation.revoke").object_name == "anna"
    late = invited(mine)
    browser = followed(late)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert browser.post("/invited/", FORM).status_code == 404
    of_another = followed(invited(mine))
    User.objects.filter(pk=admin.pk).update(is_staff=False, is_superuser=False)
    assert of_another.post("/invited/", FORM).status_code == 404
    assert not User.objects.filter(username="anna").exists()


def test_a_password_link_sets_a_new_one_and_ends_sessions(mine: Client, viewer: User) -> None:
    theirs = Client()
    theirs.force_login(viewer)
    answer = mine.post(f"/people/{viewer.pk}/link/")
    browser = followed(urlsplit(answer.context["link"]).path)
    assert theirs.get("/account/").status_code == 200, "the link alone changes nothing"
    answer = browser.post("/invited/", FORM)
    assert answer["Location"] == "/login/"
    assert theirs.get("/account/").status_code == 302
    assert Client().login(username="viewer", password=GOOD)
    assert not Client().login(username="viewer", password=PASSWORD)
    row = AuditEntry.objects.get(action="password.set")
    assert (row.username, row.detail) == ("viewer", "link of admin")
    assert browser.post("/invited/", FORM).status_code == 404


def test_a_disabled_account_gets_no_password_by_link(mine: Client, viewer: User) -> None:
    answer = mine.post(f"/people/{viewer.pk}/link/")
    path = urlsplit(answer.context["link"]).path
    User.objects.filter(pk=viewer.pk).update(is_active=False)
    assert Client().get(path).status_code == 404
    assert mine.post(f"/people/{viewer.pk}/link/").status_code == 302


def test_only_administrators_invite(operator: User, viewer: User) -> None:
    browser = Client()
    browser.force_login(operator)
    assert browser.post("/people/invite/", {"name": "anna", "role": "admin"}).status_code == 403
    assert browser.post(f"/people/{viewer.pk}/link/").status_code == 403
    assert not Invitation.objects.exists()
    assert Client().get("/invited/nonsense/").status_code == 404
    assert Client().get("/invited/").status_code == 404


def test_following_a_link_logs_out_who_was_logged_in_there(mine: Client) -> None:
    path = invited(mine)
    assert mine.get(path).status_code == 302
    assert mine.get("/people/").status_code == 302

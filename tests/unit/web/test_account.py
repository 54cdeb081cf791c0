"""`webdock user`, from the web side's end: what is made, what is refused, and the rows it leaves."""

from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from webdock.engines.models import AuditEntry
from webdock.people.rights import rights_of

GOOD = "correct horse battery"


@pytest.fixture
def account(db: None, monkeypatch: pytest.MonkeyPatch) -> object:
    def run(verb: str, name: str = "", *arguments: str, password: str = GOOD) -> str:
        out = StringIO()
        monkeypatch.setattr("sys.stdin", StringIO(f"{password}\n"))
        call_command("account", verb, f"--name={name}", *arguments, stdout=out)
        return out.getvalue()

    return run


def test_an_added_account_has_its_role_and_logs_in(account, client: Client) -> None:
    for role in ("viewer", "operator", "admin"):
        account("add", f"a-{role}", "--role", role)
    rights = {user.username: rights_of(user) for user in User.objects.all()}
    assert "operate" not in rights["a-viewer"]
    assert "operate" in rights["a-operator"]
    assert "admin" not in rights["a-operator"]
    assert "admin" in rights["a-admin"]
    assert client.login(username="a-operator", password=GOOD)
    rows = [line.split("\t")[:3] for line in account("list").splitlines()]
    assert rows == [[f"a-{role}", role, "active"] for role in ("admin", "operator", "viewer")]
    written = AuditEntry.objects.filter(action="user.add", username="root", address="console")
    assert written.count() == 3


def test_what_the_pages_would_refuse_is_refused(account) -> None:
    with pytest.raises(CommandError, match="too short"):
        account("add", "a", password="short")
    with pytest.raises(CommandError, match="cannot be added"):
        account("add", "a b")
    account("add", "a")
    with pytest.raises(CommandError, match="cannot be added"):
        account("add", "a")
    with pytest.raises(CommandError, match="no account 'b'"):
        account("password", "b")
    with pytest.raises(CommandError, match="needs the name"):
        account("disable")
    assert User.objects.count() == 1
    assert AuditEntry.objects.count() == 1


def test_a_new_password_ends_sessions(account, client: Client) -> None:
    account("add", "a")
    assert client.login(username="a", password=GOOD)
    assert client.get("/containers/").status_code == 200
    account("password", "a", password="another horse battery")
    assert client.get("/containers/").status_code == 302
    assert not client.login(username="a", password=GOOD)
    assert client.login(username="a", password="another horse battery")


def test_a_disabled_account_is_out_until_enabled(account, client: Client) -> None:
    account("add", "a")
    assert client.login(username="a", password=GOOD)
    account("disable", "a")
    assert client.get("/containers/").status_code == 302
    assert "disabled" in account("list")
    account("enable", "a")
    assert client.login(username="a", password=GOOD)


def test_the_last_administrator_stays(account) -> None:
    account("add", "one", "--role", "admin")
    with pytest.raises(CommandError, match="last administrator"):
        account("disable", "one")
    account("add", "two", "--role", "admin")
    account("disable", "one")
    assert not User.objects.get(username="one").is_active

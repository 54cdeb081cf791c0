"""Sharing a terminal: who may look on, who may type, and that it ends at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.models import TerminalSession
from runtime.api.client import EngineClient
from tests.unit.web.conftest import Connect, browser_of, closing, make_container
from tests.unit.web.test_terminal import Screen, prepare, shell
from webdock.engines.models import AuditEntry

__all__ = ["shell"]
pytestmark = pytest.mark.django_db(transaction=True)
JSON = {"accept": "application/json"}


@pytest.fixture
async def guest(operator: User) -> User:
    user = await User.objects.acreate_user("guest", password="x")
    await user.groups.aadd(await operator.groups.aget())
    return user


async def share(browser: AsyncClient, session: TerminalSession, verb: str = "share", **fields: str) -> Any:
    return await browser.post(f"/terminals/{session.pk}/{verb}/", fields, headers=JSON)


async def test_a_guest_who_looks_on_sees_everything_and_never_sends_a_byte(
    shell: Any, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    path = f"/ws/terminal/{session.pk}/"
    assert (await closing(await connect(await browser_of(guest), path)))[0] == 4404
    assert (await share(as_operator, session, user="guest")).json()["ok"]
    watcher = Screen(await connect(await browser_of(guest), path))
    ready = await watcher.control("ready")
    assert (ready["types"], ready["own"], ready["owner"]) == (False, False, "operator")
    size = await watcher.control("size")  # of whoever types, though they changed nothing since
    assert (size["cols"], size["rows"]) == (100, 30)
    await watcher.socket.send_json_to({"type": "resize", "cols": 20, "rows": 5})
    await watcher.socket.send_json_to({"type": "control"})
    await watcher.socket.send_json_to({"type": "end"})
    await watcher.type("echo in''truder\n")
    await screen.type("echo al''one; stty size\n")
    await watcher.until(b"alone")
    await screen.until(b"30 100")
    assert b"intruder" not in screen.bytes
    assert (await AuditEntry.objects.aget(action="terminal.share")).detail == "guest, looks on"


async def test_a_guest_may_be_let_type_and_no_more(
    shell: Any, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest", types="on")
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{session.pk}/"))
    await other.control("ready")
    await other.type("echo to''gether\n")
    await screen.until(b"together")
    while screen.controls[-1].get("typed") != "guest":
        await screen.step()
    await share(as_operator, session, user="guest")
    assert (await other.control("may"))["types"] is False
    await other.type("echo ne''ver\n")
    await screen.type("echo la''st\n")
    await screen.until(b"last")
    assert b"never" not in screen.bytes


async def test_taking_it_back_throws_the_guest_out_at_once(
    shell: Any, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    await shell()
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest", types="on")
    path = f"/ws/terminal/{session.pk}/"
    other = Screen(await connect(await browser_of(guest), path), credit=False)
    await other.control("ready")
    assert (await share(as_operator, session, "unshare", user="guest")).json()["ok"]
    assert (await other.until_closed())[0] == 4403
    assert (await closing(await connect(await browser_of(guest), path)))[0] == 4404
    assert await AuditEntry.objects.filter(action="terminal.unshare").acount() == 1


async def test_an_invitation_taken_back_elsewhere_ends_it_too(
    shell: Any, as_operator: AsyncClient, guest: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webdock.people.holding.RECHECK_S", 0.05)
    await shell()
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest")
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{session.pk}/"))
    await other.control("ready")
    await session.guests.all().adelete()
    assert (await other.until_closed())[0] == 4403


async def test_only_the_owner_shares_and_only_with_who_may(
    api: EngineClient,
    operator: User,
    as_operator: AsyncClient,
    as_admin: AsyncClient,
    viewer: User,
    guest: User,
) -> None:
    session = await prepare(api, operator, await make_container(api), "sh")
    assert (await share(as_admin, session, user="guest")).status_code == 404
    assert (await share(await browser_of(guest), session, user="guest")).status_code == 404
    for name in ("viewer", "operator", "nobody", ""):
        assert (await share(as_operator, session, user=name)).status_code == 400
    assert (await share(as_operator, session, "unshare", user="guest")).status_code == 404
    assert (await as_operator.get(f"/terminals/{session.pk}/share/")).status_code == 405


async def test_a_shared_terminal_is_in_the_guests_list_and_tab(
    api: EngineClient, operator: User, as_operator: AsyncClient, guest: User
) -> None:
    session = await prepare(api, operator, await make_container(api), "sh")
    browser = await browser_of(guest)
    assert f"terminal-{session.pk}" not in (await browser.get("/terminals/")).content.decode()
    await share(as_operator, session, user="guest")
    page = (await browser.get("/terminals/")).content.decode()
    assert f"terminal-{session.pk}" in page
    assert f"/terminals/{session.pk}/end/" not in page
    tab = await browser.get(f"/containers/{session.container_id}/terminal/?session={session.pk}")
    assert f'data-session="{session.pk}"' in tab.content.decode()
    assert (await browser.post(f"/terminals/{session.pk}/end/")).status_code == 404

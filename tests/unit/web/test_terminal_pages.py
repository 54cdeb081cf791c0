"""The list of terminals: who sees which, and what can be done with one from there."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app import terminals
from containers_app.models import Container, TerminalSession
from containers_app.shells import NoShell
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Connect, browser_of, eventually, make_container
from tests.unit.web.test_terminal import Screen, prepare
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

pytestmark = pytest.mark.django_db(transaction=True)
JSON = {"accept": "application/json"}


@pytest.fixture
async def session(fake: FakeEngine, api: EngineClient, operator: User) -> TerminalSession:
    return await prepare(api, operator, await make_container(api), "sh")


async def listed(browser: AsyncClient) -> str:
    response = await browser.get("/terminals/")
    assert response.status_code == 200
    return response.content.decode()


async def test_people_see_their_own_and_administrators_everybodys(
    session: TerminalSession, as_operator: AsyncClient, as_admin: AsyncClient, as_viewer: AsyncClient
) -> None:
    other = await User.objects.acreate_user("other", password="x")
    await other.groups.aadd(await session.user.groups.aget())
    assert f"terminal-{session.pk}" in await listed(as_operator)
    seen = await listed(as_admin)
    assert f"/terminals/{session.pk}/end/" in seen
    assert f"/terminals/{session.pk}/rename/" not in seen
    assert f"terminal-{session.pk}" not in await listed(await browser_of(other))
    assert (await as_viewer.get("/terminals/")).status_code == 403
    for verb in ("rename", "end"):
        answer = await (await browser_of(other)).post(f"/terminals/{session.pk}/{verb}/", {"name": "mine"})
        assert answer.status_code == 404


async def test_rename_gives_a_name(session: TerminalSession, as_operator: AsyncClient) -> None:
    path = f"/terminals/{session.pk}/rename/"
    assert (await as_operator.post(path, {"name": " "}, headers=JSON)).status_code == 400
    assert (await as_operator.post(path, {"name": " deploy  <b> "}, headers=JSON)).status_code == 200
    assert (await TerminalSession.objects.aget()).title == "deploy <b>"
    assert "deploy &lt;b&gt;" in await listed(as_operator)
    assert (await AuditEntry.objects.aget(action="terminal.rename")).object_id == session.container_id
    assert (await as_operator.get(path)).status_code == 405


@pytest.mark.parametrize("left", [False, True])
async def test_end_ends_the_shell_shown_or_left(
    session: TerminalSession,
    left: bool,
    api: EngineClient,
    operator: User,
    as_admin: AsyncClient,
    connect: Connect,
) -> None:
    screen = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/"))
    await screen.type("echo re''ady\n")
    await screen.until(b"ready")
    if left:
        await screen.socket.disconnect()
    answer = await as_admin.post(f"/terminals/{session.pk}/end/", headers=JSON)
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    assert (await api.exec_inspect(session.exec_id))["Running"] is False
    assert (await TerminalSession.objects.aget()).ended_at is not None
    assert (await as_admin.post(f"/terminals/{session.pk}/end/", headers=JSON)).status_code == 404
    assert (await AuditEntry.objects.aget(action="terminal.end")).result == "ok"


async def test_the_tab_takes_up_the_session_of_the_address(
    session: TerminalSession, as_operator: AsyncClient, as_admin: AsyncClient
) -> None:
    path = f"/containers/{session.container_id}/terminal/?session="
    assert (
        f'data-session="{session.pk}" data-kind="shell"'
        in (await as_operator.get(f"{path}{session.pk}")).content.decode()
    )
    for browser, asked in ((as_admin, session.pk), (as_operator, uuid.uuid4()), (as_operator, "x")):
        assert (
            f'data-session="{asked}" data-kind' not in (await browser.get(f"{path}{asked}")).content.decode()
        )


async def test_a_debug_shell_is_offered_and_opened_where_no_shell_is(
    api: EngineClient,
    operator: User,
    as_operator: AsyncClient,
    synced: EngineSync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def none(*args: Any) -> list[list[str]]:
        raise NoShell("no shell in there", ("/app",))

    monkeypatch.setattr(terminals, "find_shells", none)
    id = await make_container(api, "bare")
    await eventually(Container.objects.filter(container_id=id, state="running").aexists)
    path = f"/containers/{id}/terminal/open/"
    refused = await as_operator.post(path, {"kind": "shell"}, headers=JSON)
    assert (refused.status_code, refused.json()["debug"]) == (409, True)
    answer = await as_operator.post(path, {"kind": "shell", "debug": "on"}, headers=JSON)
    assert answer.json()["ok"]
    session = await TerminalSession.objects.aget()
    assert session.title == "debug shell"
    assert (await api.exec_inspect(session.exec_id))["ProcessConfig"]["entrypoint"] == "busybox"
    entry = await AuditEntry.objects.filter(action="container.shell", result="ok").aget()
    assert entry.detail == "debug shell"

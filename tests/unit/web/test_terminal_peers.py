"""Windows of one terminal at different web processes: people, size and invitations are one thing for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app import terminal_peers
from containers_app.models import TerminalGuest, TerminalSession
from containers_app.terminal_hub import Hub, hubs
from tests.unit.web.conftest import Connect, browser_of, eventually
from tests.unit.web.test_terminal import Screen, shell
from tests.unit.web.test_terminal_sharing import guest, share

__all__ = ["guest", "shell"]
pytestmark = pytest.mark.django_db(transaction=True)


class Processes:
    """Hubs that do not know each other, as those of several processes do not."""

    def __init__(self, session: TerminalSession) -> None:
        self.session = session
        self.hubs: list[Hub] = []

    def leave(self) -> Hub:
        """What is opened from now on is at another process."""
        self.hubs.append(hubs.pop(self.session.pk))
        return self.hubs[-1]


@pytest.fixture
async def processes(settings: Any, shell: Any, guest: User) -> AsyncIterator[tuple[Processes, Screen]]:
    settings.REDIS_URL = "redis://somewhere"  # the layer of the tests stands in for it
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    await TerminalGuest.objects.acreate(session=session, user=guest, types=True)
    made = Processes(session)
    made.leave()
    yield made, screen
    for hub in made.hubs:
        await hub.close()


async def until_people(screen: Screen, *names: str, typed: str | None = None) -> dict[str, Any]:
    while True:
        said = [one for one in screen.controls if one["type"] == "people"]
        here = sorted(one["name"] for one in said[-1]["people"]) if said else []
        if here == sorted(names) and typed in (None, said[-1]["typed"]):
            return said[-1]
        await screen.step()


async def until_size(screen: Screen, rows: int, columns: int) -> None:
    while [one for one in screen.controls if one["type"] == "size"][-1:] != [
        {"type": "size", "rows": rows, "cols": columns}
    ]:
        await screen.step()


async def test_people_and_the_smallest_window_are_those_of_all(
    processes: tuple[Processes, Screen], guest: User, connect: Connect
) -> None:
    made, screen = processes
    await screen.socket.send_json_to({"type": "resize", "cols": 90, "rows": 40})
    await until_size(screen, 40, 90)
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{made.session.pk}/"))
    await other.control("ready")
    made.leave()
    told = [await until_people(one, "operator", "guest") for one in (screen, other)]
    assert sorted(one["answers"] for one in told) == [False, True], "one window answers a program's questions"
    await other.socket.send_json_to({"type": "resize", "cols": 120, "rows": 20})
    for one in (screen, other):
        await until_size(one, 20, 90)
    await screen.type("stty size\n")
    await screen.until(b"20 90")
    await other.type("x")
    for one in (screen, other):
        await until_people(one, "operator", "guest", typed="guest")
    await other.socket.disconnect()
    await until_people(screen, "operator")
    await until_size(screen, 40, 90)


async def test_an_invitation_taken_back_at_another_process_ends_at_once(
    processes: tuple[Processes, Screen], as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    made, screen = processes
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{made.session.pk}/"))
    await other.control("ready")
    made.leave()
    await until_people(screen, "operator", "guest")
    assert (await share(as_operator, made.session, user="guest")).json()["ok"]
    assert (await other.control("may"))["types"] is False
    assert (await share(as_operator, made.session, "unshare", user="guest")).json()["ok"]
    assert (await other.until_closed())[0] == 4403


async def test_people_of_a_process_that_is_not_heard_of_are_gone(
    processes: tuple[Processes, Screen], guest: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_peers, "BEAT_S", 0.05)
    made, screen = processes
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{made.session.pk}/"))
    await other.control("ready")
    killed = made.leave()
    await until_people(screen, "operator", "guest")
    monkeypatch.setattr(terminal_peers, "GONE_S", 0.5)
    for task in killed._tasks:
        task.cancel()
    await until_people(screen, "operator")
    assert other.closed is None


async def test_a_layer_that_is_down_costs_the_terminal_nothing(
    processes: tuple[Processes, Screen], guest: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again; meanwhile the window works."""

    class Down:
        tries = 0

        async def new_channel(self) -> str:
            self.tries += 1
            raise ConnectionRefusedError("no Redis there")

    down = Down()
    monkeypatch.setattr(terminal_peers, "get_channel_layer", lambda: down)
    monkeypatch.setattr(terminal_peers, "RETRY_S", 0.01)
    made, _screen = processes
    other = Screen(await connect(await browser_of(guest), f"/ws/terminal/{made.session.pk}/"))
    await other.control("ready")
    made.leave()
    await other.type("echo al''one\n")
    await other.until(b"alone")

    async def tried() -> bool:
        return down.tries > 1

    await eventually(tried)

"""The terminal's socket against real processes on real PTYs: bytes both ways, credit, ends of every kind."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from containers_app import reaper, terminal_input, terminal_stream, terminal_viewer
from containers_app.models import TerminalSession
from runtime.api.client import EngineClient
from runtime.api.errors import NotFound
from runtime.containers import hangup
from runtime.oci.process import alive
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Connect, browser_of, closing, eventually, local_engine, make_container
from webdock.engines.models import AuditEntry, Engine
from webdock.engines.threads import in_thread
from webdock.people.models import Belonging, Role, Team

pytestmark = pytest.mark.django_db(transaction=True)
WINDOW_MAX = terminal_viewer.WINDOW_BYTES + (128 << 10)  # one read may go past the window


class Screen:
    """The browser's end: gathers bytes, gives credit unless told not to, keeps control messages."""

    def __init__(self, socket: WebsocketCommunicator, *, credit: bool = True) -> None:
        self.socket = socket
        self.credit = credit
        self.bytes = b""
        self.controls: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    async def step(self, timeout_s: float = 60) -> None:
        # Not receive_output: on a timeout that ends the application.
        message = await asyncio.wait_for(self.socket.output_queue.get(), timeout_s)
        if message["type"] == "websocket.close":
            self.closed = (message["code"], message.get("reason", ""))
        elif "bytes" in message:
            self.bytes += message["bytes"]
            if self.credit:
                await self.socket.send_json_to({"type": "credit", "bytes": len(message["bytes"])})
        else:
            self.controls.append(json.loads(message["text"]))

    async def until_quiet(self, quiet_s: float = 0.4) -> None:
        """Until nothing comes any more for a while."""
        try:
            while True:
                await self.step(timeout_s=quiet_s)
        except TimeoutError:
            pass

    async def until(self, pattern: bytes) -> bytes:
        looked = 0  # a flood is not searched from its beginning each time
        while not (found := re.search(pattern, self.bytes[looked:])):
            looked = max(0, len(self.bytes) - 1000)
            assert self.closed is None, (self.closed, self.bytes[-500:])
            await self.step()
        return found[0]

    async def control(self, kind: str) -> dict[str, Any]:
        while True:
            for message in self.controls:
                if message["type"] == kind:
                    return message
            assert self.closed is None, (self.closed, self.controls)
            await self.step()

    async def until_closed(self) -> tuple[int, str]:
        while self.closed is None:
            await self.step()
        return self.closed

    async def type(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        await self.socket.send_to(bytes_data=data)


@pytest.fixture
def shell(fake: FakeEngine, api: EngineClient, operator: User, connect: Connect) -> Any:
    """Open a terminal in a fresh container: ``screen, id = await shell("sh")``."""

    async def open_shell(*command: str, credit: bool = True) -> tuple[Screen, str]:
        id = await make_container(api)
        session = await prepare(api, operator, id, *(command or ("sh",)))
        browser = await browser_of(operator)
        screen = Screen(await connect(browser, f"/ws/terminal/{session.pk}/"), credit=credit)
        await screen.control("ready")
        return screen, id

    return open_shell


async def prepare(
    api: EngineClient, user: User, id: str, *command: str, kind: str = "shell"
) -> TerminalSession:
    exec_id = ""
    if kind == "shell":
        body = {
            "Cmd": list(command),
            "Tty": True,
            "AttachStdin": True,
            "AttachStdout": True,
            "Env": ["PS1=> "],
            "KeepOutput": True,
        }
        exec_id = await api.exec_create(id, body)
    engine = await local_engine()
    return await TerminalSession.objects.acreate(
        engine=engine,
        container_id=id,
        user=user,
        kind=kind,
        title="sh",
        exec_id=exec_id,
        columns=100,
        rows=30,
    )


async def test_keys_go_in_and_output_comes_back(shell: Any) -> None:
    screen, _id = await shell()
    await screen.type("echo gr''üße; stty size\n")
    await screen.until("grüße".encode())
    await screen.until(rb"30 100")


async def test_bytes_are_never_decoded(shell: Any) -> None:
    screen, _id = await shell("sh", "-c", "stty raw -echo; printf ready; cat -v")
    await screen.until(b"ready")
    await screen.type(b"\xc3")
    await screen.type(b"\xbc\xff")
    await screen.until(re.escape(b"M-CM-<M-^?"))


async def test_resize_reaches_the_shell(shell: Any) -> None:
    screen, _id = await shell()
    await screen.socket.send_json_to({"type": "resize", "cols": 132, "rows": 43})
    for _n in range(50):
        await screen.type("stty size\n")
        await screen.step()
        if b"43 132" in screen.bytes:
            break
    await screen.until(b"43 132")


@pytest.mark.parametrize(
    "message", [{"type": "resize"}, {"type": "resize", "cols": -1, "rows": "x"}, {"type": "?"}, {}]
)
async def test_control_messages_that_say_nothing_change_nothing(shell: Any, message: dict[str, Any]) -> None:
    screen, _id = await shell()
    await screen.socket.send_json_to(message)
    await screen.socket.send_to(text_data="{not json")
    await screen.socket.send_to(text_data="[]")
    await screen.type("echo al''ive\n")
    await screen.until(b"alive")


async def test_the_page_is_told_where_the_shell_is(shell: Any) -> None:
    screen, _id = await shell()
    await screen.type("cd /tmp; echo the''re\n")
    await screen.until(b"there")
    for _twice in range(2):
        await screen.socket.send_json_to({"type": "where"})
    assert (await screen.control("where"))["path"] == "/tmp"


async def test_output_stops_at_the_window_until_credit_comes(shell: Any) -> None:
    screen, _id = await shell(
        "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; printf '#done'", credit=False
    )
    await screen.until_quiet()
    assert terminal_viewer.WINDOW_BYTES <= len(screen.bytes) <= WINDOW_MAX


async def test_credit_lets_everything_through(shell: Any) -> None:
    screen, _id = await shell("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; printf '#done'")
    await screen.until(b"#done")
    assert screen.bytes.count(b"x") == 3000000


async def test_ctrl_c_during_a_flood_bites_at_once(shell: Any) -> None:
    screen, _id = await shell()
    await screen.type("yes\n")
    while len(screen.bytes) < 200_000:
        await screen.step()
    seen = len(screen.bytes)
    await screen.type(b"\x03")
    await screen.type("echo st''opped\n")
    await screen.until(b"stopped")
    assert len(screen.bytes) - seen < 4 << 20


async def test_a_paste_of_100_kb_arrives_whole(shell: Any) -> None:
    screen, _id = await shell("sh", "-c", "stty raw -echo; printf ready; head -c 100000 | cksum")
    await screen.until(b"ready")
    await screen.type(b"0123456789" * 10_000)
    await screen.until(rb"1637199519 100000|\d+ 100000")


async def test_exit_of_the_shell_tells_its_code(shell: Any) -> None:
    screen, _id = await shell()
    await screen.type("exit 7\n")
    assert (await screen.control("exit"))["code"] == 7
    assert (await screen.until_closed())[0] == 1000
    session = await TerminalSession.objects.aget()
    assert session.exit_code == 7
    assert session.ended_at is not None


async def test_end_hangs_the_shell_up(shell: Any, api: EngineClient) -> None:
    screen, _id = await shell()
    await screen.type("echo re''ady\n")
    await screen.until(b"ready")
    session = await TerminalSession.objects.aget()
    await screen.socket.send_json_to({"type": "end"})
    assert (await screen.until_closed())[0] == 1000
    assert (await api.exec_inspect(session.exec_id))["Running"] is False
    assert (await TerminalSession.objects.aget()).ended_at is not None


async def test_end_kills_a_shell_that_ignores_the_hang_up(
    shell: Any, api: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hangup, "GRACE_S", 0.1)
    screen, _id = await shell("sh", "-c", "trap '' HUP; sleep 1000 & echo job=$!. ; wait; wait")
    job = int((await screen.until(rb"job=\d+\."))[4:-1])
    session = await TerminalSession.objects.aget()
    await screen.socket.send_json_to({"type": "end"})
    await screen.until_closed()
    assert (await api.exec_inspect(session.exec_id))["Running"] is False
    assert not alive(job)


async def test_how_long_a_terminal_is_kept_goes_by_the_role_over_its_container(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"viewer": timedelta(hours=1), "operator": timedelta(hours=2), "admin": timedelta(hours=3)}
    monkeypatch.setattr(reaper, "IDLE", limits)

    @in_thread
    def limit(container_id: str) -> timedelta:
        session = TerminalSession(user=User.objects.get(pk=operator.pk), container_id=container_id)
        return reaper.idle_limit(session)

    team = await Team.objects.acreate(name="shop")
    await Belonging.objects.acreate(kind="container", object_id="shops", team=team)
    role = await Role.objects.acreate(user=operator, team=team, role="custom", rights=["view", "shell"])
    assert (await limit("nobodys"), await limit("shops")) == (limits["operator"], limits["viewer"])
    role.role = "operator"
    await role.asave()
    assert await limit("shops") == limits["operator"]
    await User.objects.filter(pk=operator.pk).aupdate(is_staff=True)
    assert await limit("shops") == limits["admin"]


async def test_a_lost_browser_leaves_the_shell_to_be_taken_up_again(
    shell: Any, api: EngineClient, operator: User, connect: Connect
) -> None:
    screen, _id = await shell()
    await screen.type("KEPT=yes; echo re''ady\n")
    await screen.until(b"ready")
    await screen.socket.disconnect()
    session = await TerminalSession.objects.aget()
    assert session.ended_at is None
    again = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/"))
    await again.control("ready")
    await again.type("echo kept=$KEPT.\n")
    await again.until(b"kept=yes\\.")


async def test_a_container_removed_meanwhile_closes_with_4404(shell: Any, api: EngineClient) -> None:
    screen, id = await shell()
    await api.container_remove(id, force=True)
    assert "removed" in (await screen.control("error"))["message"]
    assert await screen.until_closed() == (4404, "The container was removed.")


async def test_a_container_stopped_meanwhile_closes_with_4409(shell: Any, api: EngineClient) -> None:
    screen, id = await shell()
    await api.container_kill(id)
    await screen.control("exit")
    assert await screen.until_closed() == (4409, "The container stopped.")


async def test_an_engine_that_goes_closes_with_4503_and_the_session_stays(
    shell: Any, fake: FakeEngine
) -> None:
    screen, _id = await shell()
    await fake.go_away()
    code, reason = await screen.until_closed()
    assert code == 4503
    assert "engine" in reason
    assert (await TerminalSession.objects.aget()).ended_at is None


async def test_a_session_that_ended_cannot_be_opened_again(
    shell: Any, operator: User, connect: Connect
) -> None:
    screen, _id = await shell()
    await screen.type("exit\n")
    await screen.until_closed()
    session = await TerminalSession.objects.aget()
    again = await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/")
    assert (await closing(again))[0] == 4404


async def test_a_session_of_somebody_else_does_not_exist(shell: Any, admin: User, connect: Connect) -> None:
    await shell()
    session = await TerminalSession.objects.aget()
    assert (await closing(await connect(await browser_of(admin), f"/ws/terminal/{session.pk}/")))[0] == 4404
    assert (await closing(await connect(await browser_of(admin), f"/ws/terminal/{uuid.uuid4()}/")))[0] == 4404


async def test_input_nobody_reads_is_bounded(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_input, "WAITING_MAX_BYTES", 1 << 20)
    screen, _id = await shell("sh", "-c", "stty raw -echo; printf ready; sleep 1000")
    await screen.until(b"ready")
    for _n in range(40):
        await screen.type(b"x" * 65536)
    assert (await screen.until_closed())[0] == 4429


async def test_attach_joins_the_main_process_and_leaves_it_alone(
    fake: FakeEngine, api: EngineClient, operator: User, connect: Connect
) -> None:
    id = await make_container(
        api, None, "sh", "-c", "while read line; do echo got $line; done", Tty=True, OpenStdin=True
    )
    session = await prepare(api, operator, id, kind="attach")
    screen = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/"))
    assert (await screen.control("ready"))["tty"] is True
    await screen.socket.send_json_to({"type": "resize", "cols": 132, "rows": 43})
    await screen.type("looked on\n")
    await screen.socket.send_json_to({"type": "control"})
    await screen.control("control")
    await screen.type("hello\n")
    await screen.until(b"got hello")
    assert b"looked on" not in screen.bytes, "nothing is typed before control was taken"
    entry = await AuditEntry.objects.aget(action="container.control")
    assert (entry.object_id, entry.result) == (id, "ok")
    assert fake.rooms.containers.get(id).process.size == (24, 80), "the main process is never resized"
    await screen.socket.send_json_to({"type": "end"})
    await screen.until_closed()
    assert (await api.container_inspect(id))["State"]["Running"] is True


@pytest.mark.parametrize("kind", [Engine.Kind.NATIVE, Engine.Kind.DOCKER])
async def test_who_looks_on_sees_what_the_main_process_wrote_before(
    api: EngineClient, operator: User, connect: Connect, kind: str
) -> None:
    """Once, as a past whose questions are not answered; what comes then follows it."""
    program = "printf 'be''fore \\033[6n'; while read line; do echo got $line; done"
    id = await make_container(api, None, "sh", "-c", program, Tty=True, OpenStdin=True)
    async with await api.container_attach(id) as stream:
        await stream.write(b"first\n")
        while b"got first" not in (await stream.read() or (0, b""))[1]:
            pass
    await Engine.objects.aupdate(kind=kind)
    session = await prepare(api, operator, id, kind="attach")
    screen = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/"))
    replay = await screen.control("replay")
    await screen.until(b"got first")
    assert replay["bytes"] >= len(b"before got first")
    await screen.socket.send_json_to({"type": "control"})
    await screen.control("control")
    await screen.type("then\n")
    await screen.until(b"got then")
    assert screen.bytes.count(b"before") == screen.bytes.count(b"got first") == 1


async def test_other_engines_shells_are_told_to_go(
    fake: FakeEngine, api: EngineClient, operator: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker cannot signal an exec or take it up again: the shell must not live on with nobody to end it."""

    async def unknown(*args: Any, **kwargs: Any) -> Any:
        raise NotFound("page not found")

    monkeypatch.setattr(EngineClient, "exec_end", unknown)
    monkeypatch.setattr(EngineClient, "exec_attach", unknown)
    monkeypatch.setattr(terminal_stream, "FOREIGN_LINGER_S", 0.05)
    id = await make_container(api)

    async def gone(session: TerminalSession) -> bool:
        return not (await api.exec_inspect(session.exec_id))["Running"]

    for leave in ("end", "disconnect"):
        session = await prepare(api, operator, id, "sh")
        await Engine.objects.filter(alias="local").aupdate(kind="docker")
        screen = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/"))
        await screen.control("ready")
        await screen.type("echo re''ady\n")
        await screen.until(b"ready")
        if leave == "end":
            await screen.socket.send_json_to({"type": "end"})
            await screen.until_closed()
        else:
            await screen.socket.disconnect()
        await eventually(lambda session=session: gone(session))  # type: ignore[misc]


async def test_memory_of_a_flooded_terminal_stays_small(shell: Any) -> None:
    import tracemalloc

    screen, _id = await shell("sh", "-c", "yes", credit=False)
    tracemalloc.start()
    await screen.until_quiet()
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


async def test_viewers_and_strangers_get_no_terminal(
    shell: Any, viewer: User, as_stranger: AsyncClient, connect: Connect
) -> None:
    await shell()
    session = await TerminalSession.objects.aget()
    path = f"/ws/terminal/{session.pk}/"
    assert (await closing(await connect(await browser_of(viewer), path)))[0] == 4403
    assert (await closing(await connect(as_stranger, path)))[0] == 4401


async def test_terminals_nobody_comes_back_to_are_hung_up(
    shell: Any, api: EngineClient, operator: User, connect: Connect
) -> None:
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    long_ago = timezone.now() - reaper.IDLE["operator"] - timedelta(minutes=1)
    await TerminalSession.objects.aupdate(seen_at=long_ago)
    await reaper.reap_once()
    assert (await TerminalSession.objects.aget()).ended_at is None, "a browser is there"
    await screen.socket.disconnect()
    await reaper.reap_once()
    assert (await TerminalSession.objects.aget()).ended_at is None, "it was there a moment ago"
    await TerminalSession.objects.aupdate(seen_at=long_ago)
    await reaper.reap_once()
    assert (await TerminalSession.objects.aget()).ended_at is not None
    assert (await api.exec_inspect(session.exec_id))["Running"] is False
    entry = await AuditEntry.objects.aget(action="terminal.end")
    assert (entry.username, entry.detail) == ("webdock", "no browser showed it for 12 h")
    await TerminalSession.objects.aupdate(ended_at=timezone.now() - reaper.KEPT - timedelta(days=1))
    await reaper.reap_once()
    assert not await TerminalSession.objects.aexists()

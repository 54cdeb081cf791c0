"""Several browsers at one session: each at its own pace, and what is typed neither lost nor doubled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User

from containers_app import terminal_input, terminal_stream
from containers_app.models import TerminalSession
from containers_app.terminal_hub import Hub, hubs
from containers_app.terminal_input import Input
from containers_app.terminal_viewer import (
    FLOOD_PIECES,
    FRAME_BYTES,
    LAG_KEPT_BYTES,
    LAG_MAX_BYTES,
    WINDOW_BYTES,
    Viewer,
)
from runtime.api.client import EngineClient
from runtime.api.screens import KEPT_BYTES, SHORTEN_AT_BYTES, Output
from runtime.api.streams import Place
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import Connect, browser_of, eventually, make_container
from tests.unit.web.test_terminal import Screen, prepare, shell

__all__ = ["shell"]
db = pytest.mark.django_db(transaction=True)


async def rest(viewer: Viewer, output: Output) -> bytes:
    """What a browser that draws at once is sent until there is nothing more."""
    got = b""
    while True:
        try:
            item = await asyncio.wait_for(viewer.next(output), 0.01)
        except TimeoutError:
            return got
        if isinstance(item, bytes):
            got += item
            viewer.credit(len(item), output)
        elif item and item["type"] == "replay":
            got = b""


def test_output_is_bounded_and_positions_stay_true() -> None:
    output = Output()
    for n in range(40_000):
        output.append(b"%078d\r\n" % n)
    assert output.end - output.start <= SHORTEN_AT_BYTES
    assert output.since(output.end - 10, 100) == b"00039999\r\n"
    picture = output.picture()
    assert picture.endswith(b"%078d\r\n" % 39_999)
    assert KEPT_BYTES - 100 <= len(picture) <= SHORTEN_AT_BYTES
    assert len(output.picture(10_000)) <= 10_000
    assert picture.count(b"\n") >= 5_000


async def test_who_joins_gets_what_was_written_and_then_the_rest() -> None:
    output = Output()
    output.append(b"before ")
    viewer = Viewer(1, "a", "a", types=True)
    viewer.begin(output, None)
    assert await viewer.next(output) == {"type": "replay", "bytes": 7, "at": 7, "rows": 0, "cols": 0}
    output.append(b"after")
    assert await rest(viewer, output) == b"before after"


async def test_who_comes_back_goes_on_where_it_was() -> None:
    output = Output()
    output.append(b"seen, missed")
    viewer = Viewer(1, "a", "a", types=True)
    viewer.begin(output, 4)
    assert await viewer.next(output) == b", missed"


async def test_a_viewer_far_behind_is_shown_the_screen_as_it_is_now() -> None:
    output = Output()
    viewer = Viewer(1, "a", "a", types=True)
    viewer.begin(output, 0)
    output.append(b"old\r\n" * (LAG_MAX_BYTES // 4))
    output.append(b"new\r\n")
    got = await rest(viewer, output)
    assert got.endswith(b"new\r\n")
    assert len(got) <= LAG_KEPT_BYTES


async def test_a_window_that_is_full_waits_for_credit() -> None:
    output = Output()
    viewer = Viewer(1, "a", "a", types=True)
    viewer.begin(output, 0)
    output.append(b"x" * (WINDOW_BYTES + FRAME_BYTES))
    for _n in range(WINDOW_BYTES // FRAME_BYTES):
        assert await viewer.next(output)
    waiting = asyncio.ensure_future(viewer.next(output))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    viewer.credit(FRAME_BYTES, output)
    assert await waiting == b"x" * FRAME_BYTES


async def test_a_waiting_browser_is_sent_output_at_once_and_everything_in_order() -> None:
    output, sent = Output(), list[Any]()
    viewer = Viewer(1, "a", "a", types=True)
    viewer.begin(output, 0)
    viewer.at_once = sent.append

    async def follow() -> None:
        while (item := await viewer.next(output)) is not None:
            sent.append(item)

    def write(data: bytes) -> None:
        output.append(data)
        viewer.flow(output, data)

    write(b"before anybody waits, ")
    following = asyncio.ensure_future(follow())
    await settled()
    write(b"key")
    assert sent == [b"before anybody waits, ", b"key"]  # with no turn of the loop between
    viewer.tell({"type": "size"})
    write(b"after the notice")
    assert len(sent) == 2
    await settled()
    assert sent[2:] == [{"type": "size"}, b"after the notice"]
    write(b"x" * (WINDOW_BYTES + FRAME_BYTES))
    assert (
        WINDOW_BYTES
        <= sum(len(data) for data in sent if isinstance(data, bytes))
        < WINDOW_BYTES + FRAME_BYTES
    )
    viewer.credit(WINDOW_BYTES, output)
    assert b"".join(data for data in sent if isinstance(data, bytes)) == output.since(0, output.end)
    for _n in range(FLOOD_PIECES + 1):
        write(b"small")
    assert b"".join(data for data in sent if isinstance(data, bytes)) != output.since(0, output.end)
    viewer.expel(4403, "")
    write(b"secret")
    async with asyncio.timeout(20):
        await following
    assert b"secret" not in b"".join(data for data in sent if isinstance(data, bytes))


async def settled() -> None:
    for _n in range(20):
        await asyncio.sleep(0)


async def again(
    operator: User, connect: Connect, session: TerminalSession, query: str = "", **more: Any
) -> Any:
    screen = Screen(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/{query}"), **more)
    await screen.control("ready")
    return screen


@db
async def test_two_windows_show_and_type_into_one_shell(shell: Any, operator: User, connect: Connect) -> None:
    one, _id = await shell()
    await one.type("echo fi''rst\n")
    await one.until(b"first")
    session = await TerminalSession.objects.aget()
    two = await again(operator, connect, session)
    await two.until(b"first")
    await two.type("echo sec''ond\n")
    await one.until(b"second")
    await two.until(b"second")
    people = [message for message in two.controls if message["type"] == "people"][-1]
    assert [one["name"] for one in people["people"]] == ["operator", "operator"]
    assert people["typed"] == "operator"


@db
async def test_one_slow_window_does_not_hold_up_the_other(
    shell: Any, operator: User, connect: Connect
) -> None:
    quick, _id = await shell()
    session = await TerminalSession.objects.aget()
    slow = await again(operator, connect, session, credit=False)
    await quick.type("head -c 3000000 /dev/zero | tr '\\0' x; echo do''ne\n")
    await quick.until(b"done")
    assert quick.bytes.count(b"x") >= 3_000_000
    await slow.until_quiet()
    assert len(slow.bytes) <= WINDOW_BYTES + FRAME_BYTES
    await slow.socket.send_json_to({"type": "credit", "bytes": len(slow.bytes)})
    slow.credit = True
    assert (await slow.control("replay"))["bytes"] <= LAG_KEPT_BYTES
    await slow.until(b"done")


@db
async def test_a_page_that_comes_back_is_told_what_of_its_typing_arrived(
    shell: Any, operator: User, connect: Connect
) -> None:
    await shell()
    session = await TerminalSession.objects.aget()
    screen = await again(operator, connect, session, "?page=page-0001")
    await screen.type("echo on''ce\n")
    assert (await screen.control("ack"))["at"] == 12
    await screen.until(b"once")
    await screen.socket.disconnect()
    back = await again(operator, connect, session, "?page=page-0001")
    assert (await back.control("ready"))["taken"] == 12
    other = await again(operator, connect, session, "?page=page-0002")
    assert (await other.control("ready"))["taken"] is None


@db
async def test_the_size_is_that_of_the_smallest_who_types(
    shell: Any, operator: User, connect: Connect
) -> None:
    one, _id = await shell()
    session = await TerminalSession.objects.aget()
    two = await again(operator, connect, session)
    await one.socket.send_json_to({"type": "resize", "cols": 120, "rows": 20})
    await two.socket.send_json_to({"type": "resize", "cols": 90, "rows": 50})
    await eventually(lambda: _is(lambda: hubs[session.pk].size == (20, 90)))
    await one.socket.disconnect()
    await eventually(lambda: _is(lambda: hubs[session.pk].size == (50, 90)))


async def _is(what: Any) -> bool:
    return bool(what())


@db
async def test_an_engine_that_goes_in_a_paste_is_not_silent_about_it(
    shell: Any, fake: FakeEngine, operator: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_input, "DOUBT_S", 60.0)
    _first, _id = await shell()
    session = await TerminalSession.objects.aget()
    screen = await again(operator, connect, session, "?page=page-0001")
    hub = hubs[session.pk]
    await screen.type(b"x" * 1000)
    await screen.control("ack")
    await fake.go_away()
    await screen.until_closed()
    hub.input.resume(None)
    page = f"{operator.pk} page-0001"
    assert hub.input.lost[page] == 1000
    assert hub.input.taken[page] == 1000, "it is told as lost, not sent again"


@db
async def test_an_engine_that_counts_is_given_what_did_not_arrive_once(
    shell: Any, fake: FakeEngine, operator: User, connect: Connect
) -> None:
    _first, _id = await shell()
    session = await TerminalSession.objects.aget()
    screen = await again(operator, connect, session, "?page=page-0001")
    hub = hubs[session.pk]
    for piece in (b"abc", b"defg", b"hij"):
        await screen.type(piece)
    await screen.control("ack")
    await eventually(lambda: _is(lambda: hub.input.sent == 10))
    await fake.go_away()
    await screen.until_closed()
    hub.input._waiting.append(("page-0001", b"klm"))  # not yet written

    def waiting() -> bytes:
        return b"".join(data for _token, data in hub.input._waiting)

    hub.input.resume(5)
    assert (waiting(), hub.input.sent, hub.input.lost["page-0001"]) == (b"fghijklm", 5, 0)
    hub.input.resume(7)  # of a piece on its way when the engine went two bytes had arrived
    assert waiting() == b"hijklm"


def test_a_later_hub_knows_from_the_engine_what_a_page_typed_at_an_earlier_one() -> None:
    def recalled(arrived: int | None, acked: int, place: int, handed: int) -> int | None:
        typed = Input()
        typed.resume(arrived)
        typed.recall("page", acked, place, handed)
        return typed.taken.get("page")

    assert recalled(arrived=107, acked=30, place=100, handed=12) == 37
    assert recalled(arrived=100, acked=30, place=100, handed=0) == 30
    assert recalled(arrived=113, acked=30, place=100, handed=12) is None, "somebody else typed"
    assert recalled(arrived=99, acked=30, place=100, handed=12) is None
    assert recalled(arrived=None, acked=30, place=100, handed=12) is None, "it does not count"


@db
async def test_an_acknowledgement_says_where_in_the_input_it_is(
    shell: Any, operator: User, connect: Connect
) -> None:
    one, _id = await shell()
    session = await TerminalSession.objects.aget()
    two = await again(operator, connect, session, "?page=page-0002")
    assert (await two.control("ready"))["place"] == 0
    await one.type(b"abc")
    await one.control("ack")
    await two.type(b"de")
    assert (await two.control("ack")) == {"type": "ack", "at": 2, "place": 5}
    await hubs[session.pk].close()
    back = await again(operator, connect, session, "?page=page-0002&acked=2&place=5&handed=0")
    assert (await back.control("ready"))["taken"] is None, "this engine does not count"


def test_with_several_web_processes_the_engines_count_is_nobodys(settings: Any) -> None:
    assert terminal_stream._counted(7) == 7
    settings.REDIS_URL = "redis://127.0.0.1"
    assert terminal_stream._counted(7) is None


def test_what_was_written_while_the_hub_was_away_is_taken_once() -> None:
    hub = Hub(None, None, None, None, None)  # type: ignore[arg-type]
    hub.take(b"seen ")
    terminal_stream._catch_up(hub, b"seen missed", Place(end=11, exact=11, typed=0))
    assert (hub.output.picture(), hub.at) == (b"seen missed", 11)
    terminal_stream._catch_up(hub, b"seen missed", Place(end=11, exact=11, typed=0))
    assert (hub.output.picture(), hub.at) == (b"seen missed", 11)
    terminal_stream._catch_up(hub, b"the screen", Place(end=3000, exact=4, typed=0))
    assert (hub.output.picture(), hub.at) == (b"the screen", 3000)


@db
async def test_output_goes_on_while_no_window_is_there(shell: Any, operator: User, connect: Connect) -> None:
    screen, _id = await shell()
    await screen.type("while ! test -e $HOME/../nowhere/x; do sleep 0.05; echo ti''ck; done\n")
    await screen.until(b"tick")
    await screen.socket.disconnect()
    session = await TerminalSession.objects.aget()
    hub = hubs[session.pk]
    seen = hub.output.end
    await eventually(lambda: _is(lambda: hub.output.end > seen + 20))
    back = await again(operator, connect, session)
    await back.until(b"(?s)tick.*tick.*tick")
    await back.type(b"\x03")


@db
async def test_a_hub_without_windows_is_let_go_of(
    shell: Any, api: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_stream, "LINGER_S", 0.01)
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    await screen.socket.disconnect()
    await eventually(lambda: _is(lambda: session.pk not in hubs))
    assert (await api.exec_inspect(session.exec_id))["Running"]


@db
@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 1 << 20])
async def test_frames_of_every_size_arrive_whole(shell: Any, size: int) -> None:
    screen, _id = await shell("sh", "-c", f"stty raw -echo; printf ready; head -c {size} | cksum")
    await screen.until(b"ready")
    await screen.type(b"y" * size)
    await screen.until(rb"\d+ %d" % size)


@db
async def test_a_size_beyond_all_bounds_is_brought_inside_them(shell: Any) -> None:
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    hub = hubs[session.pk]
    for columns, rows in ((0, 0), (10_000, 10_000), (-5, 7), ("80", "x")):
        await screen.socket.send_json_to({"type": "resize", "cols": columns, "rows": rows})
    await eventually(lambda: _is(lambda: hub.size == (1000, 1000)))
    await screen.type("echo re''ady; stty size\n")
    await screen.until(rb"ready\s+1000 1000")


@db
async def test_a_page_cannot_take_another_pages_place_in_the_output(
    shell: Any, operator: User, connect: Connect
) -> None:
    screen, _id = await shell()
    await screen.type("echo be''fore\n")
    await screen.until(b"before")
    session = await TerminalSession.objects.aget()
    hub = hubs[session.pk]
    for query in (
        f"?hub={hub.id}&at=99999999999999999999",
        f"?hub={hub.id}&at=-7",
        "?hub=other&at=1",
        "?page=%00&hub=&at=x",
        "?page=" + "x" * 5000,
    ):
        again_there = await again(operator, connect, session, query)
        await again_there.until(b"before")


@db
async def test_many_sessions_opened_and_dropped_leave_nothing_here(
    api: EngineClient, operator: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_stream, "LINGER_S", 0.0)
    id = await make_container(api)
    browser = await browser_of(operator)
    for _n in range(20):
        session = await prepare(api, operator, id, "sh")
        screen = Screen(await connect(browser, f"/ws/terminal/{session.pk}/"))
        await screen.control("ready")
        await screen.socket.disconnect()
    await eventually(lambda: _is(lambda: not hubs))
    await eventually(lambda: _is(lambda: not _own_tasks()))
    assert await TerminalSession.objects.filter(ended_at=None).acount() == 20, "they go on in the engine"


def _own_tasks() -> list[Any]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("terminal ")]


@pytest.mark.parametrize("kind", [TerminalSession.Kind.SHELL, TerminalSession.Kind.ATTACH])
async def test_a_stream_whose_opener_leaves_is_closed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        past = 1
        place = None
        closed = False

        async def read_past(self) -> bytes:
            raise asyncio.CancelledError

        def close(self) -> None:
            self.closed = True

    stream = Stream()

    async def opened(*_: Any, **__: Any) -> Stream:
        return stream

    async def not_the_first(_: Any) -> bool:
        return False

    monkeypatch.setattr(terminal_stream, "_claim_start", not_the_first)
    client: Any = SimpleNamespace(container_attach=opened, exec_attach=opened)
    session: Any = SimpleNamespace(kind=kind, container_id="c", exec_id="e", tty=True)
    hub: Any = SimpleNamespace(session=session, client=client, input=Input(), sinks=[])
    with pytest.raises(asyncio.CancelledError):
        await terminal_stream._open(hub)
    assert stream.closed

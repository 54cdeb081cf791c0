"""A log and a session, joined at every place they can meet: no gap, no double, no cut sequence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.api.screens import KEPT_BYTES, SHORTEN_AT_BYTES
from runtime.containers import logs
from runtime.containers.inotify import Inotify
from runtime.containers.joined import Group, Past, joined
from runtime.containers.times import SECOND_NS, rfc3339_fixed

START_NS = 1_700_000_000 * SECOND_NS


class Container:
    """What conmon does: each read of the program goes to the log, then to whoever is attached."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "container.log"
        self.path.touch()
        self.now = START_NS
        self.sessions: list[Session] = []

    def write(self, data: bytes, stream: int = 1) -> None:
        self.log(data, stream)
        for session in self.sessions:
            session.packets.put_nowait((stream, data))

    def log(self, data: bytes, stream: int = 1) -> None:
        self.now += 1000
        head = f"{rfc3339_fixed(self.now)[:-1]}+00:00 {'stdout' if stream == 1 else 'stderr'} ".encode()
        *lines, rest = data.split(b"\n")
        with open(self.path, "ab") as file:
            file.write(b"".join([head + b"F " + line + b"\n" for line in lines]))
            if rest:
                file.write(head + b"P " + rest + b"\n")


class Session:
    at_once = None
    tty = True

    def __init__(self) -> None:
        self.packets: asyncio.Queue[Group | None] = asyncio.Queue()

    async def read(self) -> Group | None:
        """Packets of one stream that are there are joined, as those of the attach socket are."""
        item = await self.packets.get()
        if item is None:
            self.packets.put_nowait(None)
        while item is not None and not self.packets.empty():
            following = self.packets._queue[0]  # type: ignore[attr-defined]
            if following is None or following[0] != item[0]:
                break
            self.packets.get_nowait()
            item = item[0], item[1] + following[1]
        return item


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def screen_of(container: Container, since_ns: int = 0) -> bytes:
    past = Past(container.path, since_ns)
    past.close()
    return past.screen


async def told(container: Container, past: Past, session: Session, acts: list[Callable[[], None]]) -> bytes:
    """Everything that comes, when these happen one after another, and the session then ends."""
    inotify = Inotify()
    seen: list[Group] = []

    async def read() -> None:
        async for group in joined(past, session, inotify, container.path.parent):  # type: ignore[arg-type]
            seen.append(group)
        while (item := await session.read()) is not None:
            seen.append(item)

    reading = asyncio.create_task(read())
    for act in acts:
        act()
        for _ in range(10):
            await asyncio.sleep(0)
    session.packets.put_nowait(None)
    await asyncio.wait_for(reading, 60)
    inotify.close()
    return b"".join([data for _stream, data in seen])


@pytest.mark.parametrize("accepted", range(6))
@pytest.mark.parametrize("yields", [True, False])
async def test_nothing_is_missed_and_nothing_comes_twice_wherever_the_session_begins(
    container: Container, accepted: int, yields: bool
) -> None:
    """conmon takes the session up after so many reads; each is seen alone or all at once."""
    container.write(b"before\r\n$ ")
    past = Past(container.path, 0)
    session = Session()
    acts: list[Callable[[], None]] = []
    for number in range(5):
        if number == accepted:
            acts.append(lambda: container.sessions.append(session))
        acts.append(lambda number=number: container.write(b"%d\r\n\x1b[3%dm" % (number, number)))  # type: ignore[misc]
    if not yields:
        together = acts
        acts = [lambda: [act() for act in together] and None]
    seen = await told(container, past, session, acts)
    assert seen == b"before\r\n$ " + b"".join(b"%d\r\n\x1b[3%dm" % (n, n) for n in range(5))


@pytest.mark.parametrize("accepted", range(4))
async def test_the_same_line_again_and_again_is_told_as_often_as_it_was_written(
    container: Container, accepted: int
) -> None:
    past, session = Past(container.path, 0), Session()
    acts: list[Callable[[], None]] = []
    for number in range(4):
        if number == accepted:
            acts.append(lambda: container.sessions.append(session))
        acts += [lambda: container.write(b"\r\n"), lambda: container.write(b"tick")]

    def all_at_once() -> None:
        for act in acts:
            act()

    seen = await told(container, past, session, [all_at_once, lambda: container.write(b"tock")])
    assert seen == b"\r\ntick" * 4 + b"tock"


async def test_both_streams_and_a_rotation_in_between(container: Container) -> None:
    container.write(b"before\n")
    past = Past(container.path, 0)
    session = Session()

    def rotate() -> None:
        logs.rotate(container.path, 3)
        container.path.touch()

    acts = [
        lambda: container.write(b"missed\n", 2),
        rotate,
        lambda: container.sessions.append(session),
        lambda: container.write(b"out\n"),
        lambda: container.write(b"err\n", 2),
    ]
    assert await told(container, past, session, acts) == b"before\nmissed\nout\nerr\n"


async def test_a_log_that_lacks_something_stops_nothing(container: Container) -> None:
    past, session = Past(container.path, 0), Session()
    container.sessions.append(session)
    acts = [lambda: session.packets.put_nowait((1, b"not in the log\n")), lambda: container.write(b"in it\n")]
    assert await told(container, past, session, acts) == b"not in the log\nin it\n"


def test_only_this_run_is_shown(container: Container) -> None:
    container.write(b"\x1b[?1049h an earlier run, killed in its editor")
    since = container.now + 500
    container.write(b"this run\n")
    assert screen_of(container, since) == b"this run\n"


def test_a_long_past_is_cut_in_no_sequence_and_keeps_the_modes(container: Container) -> None:
    container.write(b"\x1b[?2004h\x1b]2;the title\x07")
    line = "\x1b[38;5;196mé\x1b[0m\r\n".encode() * 400
    while container.path.stat().st_size < 2 * KEPT_BYTES:
        container.write(line)
    screen = screen_of(container)
    assert len(screen) <= SHORTEN_AT_BYTES
    assert screen.startswith(b"\x1b[?2004h\x1b]2;the title\x07")
    body = screen.removeprefix(b"\x1b[?2004h\x1b]2;the title\x07")
    assert body.replace(b"\x1b[38;5;196m\xc3\xa9\x1b[0m\r\n", b"") == b""


def test_of_a_very_long_log_the_end_is_read_in_whole_lines(container: Container) -> None:
    piece = b"".join(b"line %05d of the log\n" % n for n in range(300))
    while container.path.stat().st_size < 9 * KEPT_BYTES:
        container.write(piece)
    logs.rotate(container.path, 3)
    container.path.touch()
    container.write(b"the end\n")
    screen = screen_of(container)
    assert screen.endswith(b"line 00299 of the log\nthe end\n")
    assert len(screen) > KEPT_BYTES - 5000
    assert all(len(one) == len(b"line 00000 of the log") for one in screen.split(b"\n")[:-2])

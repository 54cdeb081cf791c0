"""Promises about logs: streams, follow, tail, since, until, timestamps, terminals."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from runtime.api.client import EngineClient
from tests.conformance.api import WAIT_S, Api, frames
from tests.conformance.conftest import MakeContainer, says

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ")


@pytest.fixture
async def done(client: EngineClient, make_container: MakeContainer) -> str:
    script = "echo bad >&2; sleep 0.2; for n in 1 2 3 4 5; do echo line $n; done"
    container = await make_container("sh", "-c", script, start=True)
    await client.container_wait(container)
    return container


async def read(client: EngineClient, container: str, **how: object) -> dict[int, bytes]:
    out = {1: b"", 2: b""}
    async with asyncio.timeout(WAIT_S):
        async for source, data in client.container_logs(container, **how):  # type: ignore[arg-type]
            out[source] += data
    return out


async def let_go(client: EngineClient, container: str) -> None:
    """Give a container that waits for a line its line."""
    async with await client.container_attach(container, stdout=False, stderr=False) as stream:
        await stream.write(b"\n")


async def test_both_streams_come_apart(client: EngineClient, done: str) -> None:
    out = await read(client, done)
    assert out == {1: b"line 1\nline 2\nline 3\nline 4\nline 5\n", 2: b"bad\n"}


async def test_one_stream_can_be_left_out(client: EngineClient, done: str) -> None:
    assert (await read(client, done, stdout=False)) == {1: b"", 2: b"bad\n"}
    assert (await read(client, done, stderr=False))[2] == b""


async def test_no_stream_is_refused(api: Api, done: str) -> None:
    answer = await api("GET", f"/containers/{done}/logs")
    assert (answer.status, answer.message) == (
        400,
        "Bad parameters: you must choose at least one stream",
    )


async def test_every_line_is_a_frame_of_its_own(api: Api, done: str) -> None:
    answer = await api("GET", f"/containers/{done}/logs?stdout=1")
    assert frames(answer.body)[1].count(b"\n") == 5
    assert answer.body.count(b"\x01\x00\x00\x00") == 5


@pytest.mark.parametrize(("tail", "lines"), [(0, 0), (1, 1), (3, 3), (5, 5)])
async def test_tail_shows_the_last_lines(client: EngineClient, done: str, tail: int, lines: int) -> None:
    out = (await read(client, done, tail=tail))[1]
    assert out.splitlines() == [f"line {n}".encode() for n in range(6 - lines, 6)]


@pytest.mark.parametrize("tail", ["all", "", "-1", "x"])
async def test_any_other_tail_shows_all(api: Api, done: str, tail: str) -> None:
    answer = await api("GET", f"/containers/{done}/logs?stdout=1&tail={tail}")
    assert frames(answer.body)[1].count(b"\n") == 5


async def test_timestamps_stand_before_each_line(client: EngineClient, done: str) -> None:
    lines = (await read(client, done, timestamps=True))[1].splitlines()
    assert len(lines) == 5
    assert all(STAMP.match(line) for line in lines)


async def test_since_and_until_cut_the_log(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "echo early; read x; echo late", OpenStdin=True, start=True)
    await says(client, container, b"early")
    middle = int(time.time()) + 1  # whole seconds are what every engine understands
    while time.time() < middle:  # noqa: ASYNC110 - it is the clock that is waited for
        await asyncio.sleep(0.05)
    await let_go(client, container)
    await client.container_wait(container)
    assert (await read(client, container, since=middle))[1] == b"late\n"
    assert (await read(client, container, until=middle))[1] == b"early\n"


async def test_follow_gives_lines_as_they_come_and_ends_with_the_container(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "echo one; read x; echo two", OpenStdin=True, start=True)
    came = b""
    async with asyncio.timeout(WAIT_S):
        async for _, data in client.container_logs(container, follow=True):
            came += data
            if came == b"one\n":  # only who has heard of it lets the other one come
                await let_go(client, container)
    assert came == b"one\ntwo\n"


async def test_follow_of_a_stopped_container_ends(client: EngineClient, done: str) -> None:
    assert (await read(client, done, follow=True))[2] == b"bad\n"


async def test_follow_with_tail_zero_shows_only_what_is_new(
    client: EngineClient, make_container: MakeContainer
) -> None:
    script = "echo old; read x; while :; do echo new; sleep 0.1; done"
    container = await make_container("sh", "-c", script, OpenStdin=True, start=True)
    await says(client, container, b"old")
    await let_go(client, container)
    log = client.container_logs(container, follow=True, tail=0)
    async with asyncio.timeout(WAIT_S):
        assert (await anext(log))[1].startswith(b"new")
    log.close()


async def test_a_reader_that_leaves_is_no_trouble(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "while :; do echo x; done", start=True)
    for _ in range(3):
        log = client.container_logs(container, follow=True)
        async for _ in log:
            break
        log.close()
    await client.container_kill(container)


async def test_a_terminal_log_is_raw(api: Api, client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("echo", "hi", Tty=True, start=True)
    await client.container_wait(container)
    assert (await api("GET", f"/containers/{container}/logs?stdout=1")).body == b"hi\r\n"
    assert await read(client, container) == {1: b"hi\r\n", 2: b""}


async def test_a_line_without_its_end_is_shown(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "printf unfinished", start=True)
    await client.container_wait(container)
    assert (await read(client, container))[1].rstrip(b"\n") == b"unfinished"


async def test_a_very_long_line_stays_one(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(
        "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end", start=True
    )
    await client.container_wait(container)
    assert (await read(client, container))[1] == b"x" * 100_000 + b"\nend\n"


async def test_bytes_that_are_no_text_come_back_unchanged(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("printf", "\\377\\376\\000\\n", start=True)
    await client.container_wait(container)
    out = (await read(client, container))[1]
    # Docker's json-file keeps text only, and puts U+FFFD for the rest.
    assert out in (b"\xff\xfe\x00\n", "\ufffd\ufffd\0\n".encode())


async def test_a_container_that_never_ran_has_an_empty_log(
    client: EngineClient, make_container: MakeContainer
) -> None:
    assert await read(client, await make_container("true")) == {1: b"", 2: b""}


@pytest.mark.parametrize("query", ["since=yesterday", "until=x"])
async def test_a_time_that_is_none_is_refused(api: Api, done: str, query: str) -> None:
    answer = await api("GET", f"/containers/{done}/logs?stdout=1&{query}")
    assert answer.status in (400, 500)


async def test_details_are_the_labels_and_variables_the_log_names(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container(
        "sh",
        "-c",
        "echo one; echo two",
        start=True,
        Labels={"tier": "front end", "other": "x"},
        Env=["MODE=a&b", "REST=1"],
        HostConfig={
            "LogConfig": {"Type": "json-file", "Config": {"labels": "tier,none", "env-regex": "^MO"}}
        },
    )
    await client.container_wait(container)
    prefix = b"MODE=a%26b,tier=front+end "
    assert (await read(client, container, details=True))[1] == prefix + b"one\n" + prefix + b"two\n"
    stamped = (await read(client, container, details=True, timestamps=True, tail=1))[1]
    assert STAMP.match(stamped)
    assert stamped.endswith(b"Z " + prefix + b"two\n")


async def test_details_of_a_log_that_names_nothing_are_a_space(client: EngineClient, done: str) -> None:
    assert (await read(client, done, details=True))[1].startswith(b" line 1\n line 2\n")

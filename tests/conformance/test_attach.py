"""Promises about attach: before and after the start, logs first, half-close, detach keys, websockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, NotFound
from tests.conformance.api import WAIT_S, Api, frames
from tests.conformance.conftest import MakeContainer, UnderTest, read_all, read_until

INTERACTIVE = {
    "OpenStdin": True,
    "StdinOnce": True,
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
}
TERMINAL = {**INTERACTIVE, "Tty": True}


async def test_attach_before_the_start_sees_everything(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "echo out; echo err >&2")
    stream = await client.container_attach(container, stdin=False)
    await client.container_start(container)
    assert await read_all(stream) == {1: b"out\n", 2: b"err\n"}


async def test_input_given_before_the_start_arrives(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("cat", **INTERACTIVE)
    stream = await client.container_attach(container)
    await stream.write(b"early\n")
    await stream.close_stdin()
    await asyncio.sleep(0.1)
    await client.container_start(container)
    assert await read_all(stream) == {1: b"early\n", 2: b""}
    assert (await client.container_wait(container))["StatusCode"] == 0


async def test_closing_stdin_still_delivers_all_output(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "cat; sleep 0.2; echo end", **INTERACTIVE)
    stream = await client.container_attach(container)
    await client.container_start(container)
    await stream.write(b"some input\n")
    await stream.close_stdin()
    assert await read_all(stream) == {1: b"some input\nend\n", 2: b""}


async def test_megabytes_of_input_arrive_whole(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "wc -c", **INTERACTIVE)
    stream = await client.container_attach(container)
    await client.container_start(container)
    async with asyncio.timeout(60):
        for _ in range(50):
            await stream.write(b"y" * 100_000)
        await stream.close_stdin()
    assert (await read_all(stream))[1].strip() == b"5000000"


async def test_only_the_streams_asked_for_come(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "echo out; echo err >&2")
    stream = await client.container_attach(container, stdin=False, stdout=False)
    await client.container_start(container)
    assert await read_all(stream) == {1: b"", 2: b"err\n"}


async def test_logs_come_first_when_asked(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "echo before; sleep 1; echo after", start=True)
    log = client.container_logs(container, follow=True)
    async for _, data in log:
        assert data == b"before\n"
        break
    log.close()
    stream = await client.container_attach(container, stdin=False, logs=True)
    assert (await read_all(stream))[1] == b"before\nafter\n"


async def test_logs_alone_end_by_themselves(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "echo said", start=True)
    await client.container_wait(container)
    stream = await client.container_attach(container, stdin=False, stream=False, logs=True)
    assert (await read_all(stream))[1] == b"said\n"


async def test_two_clients_see_the_same(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "echo one; echo two")
    streams = [await client.container_attach(container, stdin=False) for _ in range(2)]
    await client.container_start(container)
    for stream in streams:
        assert (await read_all(stream))[1] == b"one\ntwo\n"


async def test_a_terminal_is_raw_and_can_be_resized(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", **TERMINAL)
    stream = await client.container_attach(container)
    assert stream.tty is True
    await client.container_start(container)
    await client.container_resize(container, height=37, width=91)
    await stream.write(b"stty size\n")
    await read_until(stream, b"37 91")
    await stream.write(b"exit 3\n")
    await read_all(stream)
    assert (await client.container_wait(container))["StatusCode"] == 3


@pytest.mark.parametrize(("keys", "typed"), [(None, b"\x10\x11"), ("ctrl-x,q", b"\x18q"), ("ctrl-@", b"\0")])
async def test_detach_keys_leave_the_container_running(
    client: EngineClient, make_container: MakeContainer, keys: str | None, typed: bytes
) -> None:
    container = await make_container("sh", **TERMINAL)
    stream = await client.container_attach(container, detach_keys=keys)
    await client.container_start(container)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    await stream.write(typed)
    await read_all(stream)
    assert (await client.container_inspect(container))["State"]["Running"] is True


async def test_bad_detach_keys_are_refused(
    api: Api, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container("sh", **TERMINAL)
    async with await api.hijack(
        f"/containers/{container}/attach?stream=1&stdin=1&detachKeys=shift-f"
    ) as wire:
        assert wire.head.split()[1] in ("400", "101", "500")
    if engine.ours:
        assert wire.head.startswith("HTTP/1.1 400 ")


async def test_leaving_does_not_stop_the_container(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sleep", "1000", start=True)
    (await client.container_attach(container, stdin=False)).close()
    await asyncio.sleep(0.1)
    assert (await client.container_inspect(container))["State"]["Running"] is True


async def test_one_can_come_back_to_a_terminal(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", **{**TERMINAL, "StdinOnce": False})
    first = await client.container_attach(container)
    await client.container_start(container)
    await first.write(b"COLOUR=red; echo re''ady\n")
    await read_until(first, b"ready")
    first.close()
    second = await client.container_attach(container)
    await second.write(b"echo it is $COLOUR\n")
    await read_until(second, b"it is red")
    second.close()


async def test_the_end_of_input_leaves_a_container_that_keeps_its_stdin(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("cat", OpenStdin=True, StdinOnce=False, start=True)
    stream = await client.container_attach(container)
    await stream.write(b"hello\n")
    await read_until(stream, b"hello\n")
    await stream.close_stdin()
    await read_all(stream)
    assert (await client.container_inspect(container))["State"]["Running"] is True


async def test_attach_to_nothing_is_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound, match="No such container: nosuchcontainer"):
        await client.container_attach("nosuchcontainer")


async def test_attach_to_a_paused_container_is_a_conflict(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sleep", "1000", start=True)
    await client.container_pause(container)
    with pytest.raises(Conflict, match=r"(?i)is paused"):
        await client.container_attach(container)
    await client.container_unpause(container)


async def test_the_upgrade_answers_101_with_its_content_type(
    api: Api, client: EngineClient, make_container: MakeContainer
) -> None:
    newest = await client.api_version()
    for tty, version, kind in (
        (False, (1, 41), "raw-stream"),
        (True, (1, 41), "raw-stream"),
        (False, (1, 42), "multiplexed-stream"),
        (True, (1, 42), "raw-stream"),
    ):
        if version > newest:
            continue
        container = await make_container("echo", "hi", Tty=tty)
        query = "stream=1&stdout=1&stderr=1"
        path = f"/v{version[0]}.{version[1]}/containers/{container}/attach?{query}"
        async with await api.hijack(path) as wire:
            assert wire.head.startswith("HTTP/1.1 101 UPGRADED\r\n")
            assert f"Content-Type: application/vnd.docker.{kind}\r\n" in wire.head
            await client.container_start(container)
            out = await wire.rest()
        assert out == b"hi\r\n" if tty else frames(out)[1] == b"hi\n"


async def test_without_an_upgrade_header_the_answer_is_200(
    api: Api, client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("echo", "hi")
    async with await api.hijack(f"/containers/{container}/attach?stream=1&stdout=1", headers={}) as wire:
        assert wire.head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: application/vnd.docker.raw-stream\r\n" in wire.head
        await client.container_start(container)
        assert frames(await wire.rest())[1] == b"hi\n"


async def test_a_websocket_carries_a_terminal(
    engine: UnderTest, client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", **TERMINAL)
    await client.container_start(container)
    url = f"http://engine/v1.41/containers/{container}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1"
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(engine.socket)) as session:
        headers = {"Origin": "http://engine"}
        async with asyncio.timeout(WAIT_S), session.ws_connect(url, headers=headers) as socket:
            await socket.send_bytes(b"echo we''b\n")
            seen = b""
            while b"web" not in seen:
                message = await socket.receive()
                assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                seen += message.data if isinstance(message.data, bytes) else message.data.encode()


async def test_attach_events_are_told(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container("sh", **TERMINAL)
    async with client.events(filters={"container": [container]}) as events:
        stream = await client.container_attach(container)
        await client.container_start(container)
        await stream.write(b"echo re''ady\n")
        await read_until(stream, b"ready")
        await stream.write(b"\x10\x11")
        await read_all(stream)
        seen: list[str] = []
        async with asyncio.timeout(WAIT_S):
            async for event in events:
                seen.append(event["Action"])
                if event["Action"] == "detach":
                    break
    assert seen == ["attach", "start", "detach"]

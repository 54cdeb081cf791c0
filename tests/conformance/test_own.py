"""Promises of this engine alone: coming back to an exec session, ending one, registries set at run time."""

from __future__ import annotations

import asyncio
import io
import re
import tarfile

import pytest

from runtime.api.client import ByteStream, EngineClient
from runtime.api.errors import Conflict, InvalidArgument, NotFound
from runtime.api.types import RegistryRow, RegistryTest
from tests.conformance.api import Api, frames
from tests.conformance.conftest import MakeContainer, UnderTest, read_all, read_until, until

SHELL = {"Cmd": ["sh"], "Tty": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}


@pytest.fixture
async def running(make_container: MakeContainer, engine: UnderTest) -> str:
    return await make_container("sleep", "1000", start=True)


async def test_one_can_come_back_to_an_exec_session(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    session = await client.exec_create(running, SHELL)
    first = await client.exec_start(session, tty=True)
    await first.write(b"COLOUR=red; echo re''ady\n")
    await read_until(first, b"ready")
    first.close()
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.exec_attach(session, tty=True)
        return
    second = await client.exec_attach(session, tty=True)
    await second.write(b"echo it is $COLOUR\n")
    await read_until(second, b"it is red")
    second.close()


async def test_a_session_ended_while_it_is_starting_does_not_stay(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    if not engine.ours:
        return
    session = await client.exec_create(running, {**SHELL, "KeepOutput": True})
    stream = await client.exec_start(session, tty=True)
    await client.exec_end(session)
    await until(lambda: client.exec_inspect(session), lambda seen: not seen["Running"])
    assert not (await client.container_inspect(running))["ExecIDs"]
    stream.close()


async def test_inspect_tells_where_the_program_of_a_terminal_is(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    """The one in the foreground: a shell inside the shell counts, not the one that waits for it."""
    if not engine.ours:
        return
    session = await client.exec_create(running, SHELL)
    stream = await client.exec_start(session, tty=True)
    for typed, where in ((b"cd /tmp\n", "/tmp"), (b"sh\ncd /proc\n", "/proc"), (b"exit\n", "/tmp")):
        await stream.write(typed)
        await until(
            lambda: client.exec_inspect(session),
            lambda seen, where=where: seen.get("CurrentDirectory") == where,
        )
    stream.close()
    other = await client.exec_create(running, {"Cmd": ["sleep", "1000"]})
    await client.exec_start_detached(other)
    assert "CurrentDirectory" not in await client.exec_inspect(other)


async def test_a_session_that_keeps_its_output_shows_it_again(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    session = await client.exec_create(running, {**SHELL, "KeepOutput": True})
    first = await client.exec_start(session, tty=True)
    await first.write(b"echo kept li''nes; sleep 1; echo wri''tten alone; echo re''ady\n")
    await read_until(first, b"kept lines")
    first.close()
    if not engine.ours:
        return  # it is none of their fields
    watcher = await client.exec_attach(session, tty=True)
    await read_until(watcher, b"ready")
    seen = b""
    second = await client.exec_attach(session, tty=True, history=True)
    while b"ready" not in seen.replace(b"re''ady", b""):
        item = await second.read()
        assert item is not None
        seen += item[1]
    assert seen.count(b"kept lines") == seen.count(b"written alone") == 1
    await second.write(b"echo on''wards\n")
    await read_until(second, b"onwards")
    await read_until(watcher, b"onwards")
    second.close()
    watcher.close()


@pytest.mark.parametrize("tty", [True, False])
async def test_the_main_process_is_joined_with_what_it_wrote_before(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest, tty: bool
) -> None:
    if not engine.ours:
        return  # they go on without it
    count = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo line $n; done; echo that is all; sleep 1000"
    id = await make_container("sh", "-c", count, start=True, Tty=tty)
    watchers = []
    for _ in range(6):  # while it writes, and after
        watchers.append(await client.container_attach(id, tty=tty, history=True))
        await asyncio.sleep(0.02)
    for watcher in watchers:
        seen = await watcher.read_past()
        if b"that is all" not in seen:
            seen += await read_until(watcher, b"is all")
        numbers = [int(one) for one in re.findall(rb"line (\d+)\r?\n", seen)]
        assert numbers == list(range(1, 20001))
        watcher.close()


async def test_the_shells_of_a_container_are_told(
    client: EngineClient, running: str, make_container: MakeContainer, engine: UnderTest
) -> None:
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.container_shells(running)
        return
    found = await client.container_shells(running)
    assert any(one.endswith("/sh") for one in found)
    stopped = await make_container("sleep", "1000")
    with pytest.raises(Conflict):
        await client.container_shells(stopped)


async def test_a_debug_shell_needs_nothing_of_the_image(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if not engine.ours:
        return  # it is none of their fields
    id = await make_container("sleep", "1000", start=True)
    shell = {**SHELL, "Cmd": [], "DebugShell": True}
    session = await client.exec_create(id, shell)
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"cat /proc/1/cmdline; echo; ls -d /proc/self; echo do''ne; exit 5\n")
    output = (await read_all(stream))[1]
    assert b"done" in output
    assert b"/proc/self" in output
    answer = await until(lambda: client.exec_inspect(session), lambda seen: not seen["Running"])
    assert answer["ExitCode"] == 5
    with pytest.raises(InvalidArgument):
        await client.exec_create(id, {**shell, "Tty": False})


async def test_a_changed_file_is_there_as_the_image_has_it(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.container_image_archive(running, "/etc/passwd").open()
        return
    for path in ("/no/such/file", "/etc/brought"):
        with pytest.raises(NotFound):
            await client.container_image_archive(running, path).open()
    before = await content(client.container_archive(running, "/etc/passwd"))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("passwd", "brought"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"else\n"))
    await client.container_archive_put(running, "/etc", out.getvalue())
    assert await content(client.container_archive(running, "/etc/passwd")) == b"else\n"
    assert await content(client.container_image_archive(running, "/etc/passwd")) == before != b""
    with pytest.raises(NotFound):
        await client.container_image_archive(running, "/etc/brought").open()
    with pytest.raises(InvalidArgument):
        await client.container_image_archive(running, "").open()


async def content(archive: ByteStream) -> bytes:
    """Of the one file in it."""
    async with archive:
        data = b"".join([piece async for piece in archive])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member is not None else None
        assert file is not None
        return file.read()


async def test_an_exec_session_can_be_ended(client: EngineClient, running: str, engine: UnderTest) -> None:
    session = await client.exec_create(running, SHELL)
    stream = await client.exec_start(session, tty=True)
    await stream.write(b"echo re''ady\n")
    await read_until(stream, b"ready")
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.exec_kill(session)
        with pytest.raises(NotFound):
            await client.exec_end(session)
        stream.close()
        return
    await client.exec_kill(session, signal="CONT")
    await client.exec_end(session)
    await read_all(stream)
    assert not (await client.exec_inspect(session))["Running"]
    for again in (client.exec_end(session), client.exec_kill(session)):
        with pytest.raises(Conflict):
            await again
    with pytest.raises(Conflict):
        await client.exec_attach(session, tty=True)


async def test_registries_are_set_tried_and_forgotten(
    api: Api, client: EngineClient, engine: UnderTest
) -> None:
    host, mirror = "registry.invalid:5000", "https://mirror.invalid/hub"
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.registry_list()
        return
    set_ = await client.registry_set(host, {"Mirrors": [f"{mirror}/"], "Insecure": True})
    try:
        assert set_["Source"] == "set"
        assert set_["Mirrors"] == [mirror]
        rows = await client.registry_list()
        assert rows[0]["Host"] == "docker.io"
        assert set_ in rows
        assert all(row.keys() == RegistryRow.__annotations__.keys() for row in rows)
        tried = await client.registry_test(host, auth={"username": "ann", "password": "wrong"})
        assert tried.keys() == RegistryTest.__annotations__.keys()
        assert [row["Mirror"] for row in tried["Tried"]] == [True, False]
        assert not tried["Ok"]
        assert tried["Tried"][-1]["Message"]
        for body in ({"Mirrors": ["ftp://x.example"]}, {"CA": "no certificate"}, {"Mirrors": "x"}):
            assert (await api("PUT", f"/registries/{host}", json=body)).status == 400
        assert (await api("PUT", "/registries/name", json={})).status == 400
        assert (await api("POST", "/registries/test", json={})).status == 400
    finally:
        await client.registry_forget(host)
    assert host not in [row["Host"] for row in await client.registry_list()]
    with pytest.raises(NotFound):
        await client.registry_forget(host)


async def test_what_is_not_planned_says_why(api: Api, engine: UnderTest) -> None:
    if not engine.ours:
        return
    for method, path in (
        ("POST", "/build"),
        ("POST", "/swarm/init"),
        ("POST", "/plugins/pull"),
        ("POST", "/session"),
    ):
        answer = await api(method, path)
        assert answer.status == 501
        assert "is not supported by this engine: " in answer.message


async def test_bytes_sent_right_behind_the_request_are_input(
    api: Api, client: EngineClient, running: str, engine: UnderTest
) -> None:
    if not engine.ours:  # Docker loses them
        return
    for upgrade in ("", "Connection: Upgrade\r\nUpgrade: tcp\r\n"):
        session = await client.exec_create(
            running, {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
        )
        body = b'{"Detach":false}'
        head = f"POST /exec/{session}/start HTTP/1.1\r\nHost: e\r\n{upgrade}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await api.raw(head.encode() + body + b"early bird\n", half_close=True)
        assert frames(answer.partition(b"\r\n\r\n")[2])[1] == b"early bird\n"


async def test_what_many_use_is_told_in_one_answer(
    client: EngineClient, running: str, engine: UnderTest
) -> None:
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.container_usage([running])
        return
    id = str((await client.container_inspect(running))["Id"])
    found = await client.container_usage([id, "f" * 64])
    assert list(found) == [id]
    at, processor, memory, limit = found[id]
    assert 0 < memory <= limit
    assert min(at, processor) >= 0
    await client.container_kill(running)
    await client.container_wait(running)
    assert await client.container_usage([id]) == {}
    assert await client.container_usage([]) == {}
    with pytest.raises(InvalidArgument):
        await client._object("GET", "/containers/usage")

"""The verbs on a real engine: states, exit codes, events, words of errors, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound, NotModified
from runtime.engine import Engine
from runtime.oci.words import CannotStart

from .engines import PATIENCE_S, Instance, body, log, output, run, started, state, until


@pytest.fixture(scope="module")
def instance() -> Instance:
    return Instance()


@pytest.fixture
async def engine(instance: Instance) -> AsyncIterator[Engine]:
    engine = await instance.start()
    yield engine
    for container in await engine.containers.list(all=True):
        await engine.containers.remove(container["Id"], force=True, volumes=True)
    await instance.stop()


@pytest.fixture(scope="module", autouse=True)
def purged(instance: Instance) -> Any:
    yield
    asyncio.run(instance.purge())


async def test_a_program_runs_and_its_output_and_exit_code_are_seen(engine: Engine) -> None:
    assert await run(engine, "sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    assert await engine.containers.list(all=True) == []


async def test_a_container_has_network_hosts_name_and_working_directory(engine: Engine) -> None:
    script = (
        "hostname; pwd; cat /etc/hostname; grep $(hostname) /etc/hosts | wc -l;"
        "ip -4 addr show eth0 | grep -c inet"
    )
    code, out, err = await run(engine, "sh", "-c", script, WorkingDir="/new/place", Hostname="box")
    assert (code, err) == (0, b"")
    assert out.split() == [b"box", b"/new/place", b"box", b"1", b"1"]


async def test_the_life_of_a_container_in_inspect_and_list(engine: Engine) -> None:
    containers = engine.containers
    id, warnings = await containers.create("life", body("sleep", "100"))
    assert warnings == []
    assert len(id) == 64
    assert (await state(engine, "life"))["Status"] == "created"
    await containers.start("life")
    running = await state(engine, id[:9])
    assert running["Running"]
    assert running["Pid"] > 0
    row = (await containers.list())[0]
    assert (row["Id"], row["Names"], row["State"]) == (id, ["/life"], "running")
    assert row["Status"].startswith("Up ")
    described = await containers.inspect("life")
    assert described["NetworkSettings"]["IPAddress"]
    with pytest.raises(NotModified):
        await containers.start("life")
    await containers.stop("life", 0)
    ended = await state(engine, "life")
    assert (ended["Status"], ended["ExitCode"], ended["Pid"]) == ("exited", 137, 0)
    with pytest.raises(NotModified):
        await containers.stop("life")
    assert await containers.list() == []
    assert (await containers.list(all=True))[0]["Status"].startswith("Exited (137)")
    assert (await containers.inspect("life"))["NetworkSettings"]["IPAddress"] == ""
    await containers.start("life")
    await containers.restart("life", 0)
    assert (await state(engine, "life"))["Running"]
    await containers.kill("life", "KILL")
    assert not (await state(engine, "life"))["Running"]
    await containers.remove("life")
    with pytest.raises(NotFound, match="No such container: life"):
        await containers.inspect("life")


async def test_stop_sends_the_stop_signal_first(engine: Engine) -> None:
    script = "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    id = await started(engine, "sh", "-c", script, StopSignal="SIGUSR1")
    await until(lambda: _said(engine, id, b"ready"))
    await engine.containers.stop(id)
    assert (await state(engine, id))["ExitCode"] == 3
    assert (await log(engine, id)) == b"ready\ngot it\n"


async def test_kill_sends_any_signal(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")
    await until(lambda: _said(engine, id, b"ready"))
    await engine.containers.kill(id, "HUP")
    await until(lambda: _said(engine, id, b"hup"))
    with pytest.raises(InvalidArgument, match="invalid signal: FOO"):
        await engine.containers.kill(id, "FOO")
    await engine.containers.kill(id, "9")
    with pytest.raises(Conflict, match="is not running"):
        await engine.containers.kill(id, "9")


async def _said(engine: Engine, id: str, words: bytes) -> bool:
    return words in await log(engine, id)


async def test_pause_freezes_and_unpause_goes_on(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "while :; do echo x; sleep 0.01; done")
    await until(lambda: _said(engine, id, b"x"))
    await engine.containers.pause(id)
    paused = await state(engine, id)
    assert (paused["Status"], paused["Paused"], paused["Running"]) == ("paused", True, True)
    size = -1

    async def silent() -> bool:  # conmon may still be writing what was said before
        nonlocal size
        before, size = size, len(await log(engine, id))
        await asyncio.sleep(0.2)
        return before == size

    await until(silent)
    for verb in (engine.containers.pause, engine.containers.start):
        with pytest.raises(Conflict):
            await verb(id)
    with pytest.raises(Conflict, match="paused"):
        await engine.execs.create(id, {"Cmd": ["true"]})
    await engine.containers.unpause(id)
    await until(lambda: _longer(engine, id, size))
    await engine.containers.pause(id)
    await engine.containers.stop(id, 0)  # a paused one can be stopped
    assert (await state(engine, id))["Status"] == "exited"


async def _longer(engine: Engine, id: str, size: int) -> bool:
    return len(await log(engine, id)) > size


async def test_rename_moves_the_name(engine: Engine) -> None:
    first = await started(engine, "sleep", "100", name="one")
    await engine.containers.create("two", body("true"))
    with pytest.raises(
        Conflict, match=rf'Conflict. The container name "/one" is already in use by container "{first}"'
    ):
        await engine.containers.rename("two", "one")
    with pytest.raises(InvalidArgument, match="same name"):
        await engine.containers.rename("one", "one")
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        await engine.containers.rename("one", "a b")
    await engine.containers.rename("one", "three")
    await engine.containers.rename("two", "one")
    assert (await engine.containers.inspect("three"))["Id"] == first


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["nosuch"], 127, "executable file not found in \\$PATH"),
        (["/no/such"], 127, "no such file or directory"),
        (["/etc"], 126, "permission denied"),
        (["/etc/passwd"], 126, "permission denied"),
    ],
)
async def test_a_program_that_cannot_start(
    engine: Engine, instance: Instance, command: list[str], code: int, words: str
) -> None:
    id, _ = await engine.containers.create(None, body(*command))
    with pytest.raises(CannotStart, match=words) as caught:
        await engine.containers.start(id)
    assert caught.value.status == 400
    found = await state(engine, id)
    assert (found["Status"], found["ExitCode"]) == ("created", code)
    assert found["Error"] == caught.value.message
    await engine.networks.settle()
    await until(lambda: not [line for line in instance.residue() if id in line])
    await engine.containers.remove(id)


async def test_an_auto_remove_container_that_cannot_start_is_removed(engine: Engine) -> None:
    id, _ = await engine.containers.create("gone", body("nosuch", host={"AutoRemove": True}))
    removed = engine.containers.wait(id, "removed")
    with pytest.raises(CannotStart):
        await engine.containers.start(id)
    async with asyncio.timeout(PATIENCE_S):
        assert (await removed)["StatusCode"] == 127
    with pytest.raises(NotFound):
        await engine.containers.inspect(id)


async def test_auto_remove_takes_anonymous_volumes_along_and_restart_does_not_remove(engine: Engine) -> None:
    id = await started(
        engine,
        "sh",
        "-c",
        "touch /data/x; while :; do sleep 0.05; done",
        Volumes={"/data": {}},
        host={"AutoRemove": True},
    )
    volume = (await engine.containers.inspect(id))["Mounts"][0]["Name"]
    await engine.containers.restart(id, 0)
    assert (await state(engine, id))["Running"]
    removed = engine.containers.wait(id, "removed")
    await engine.containers.stop(id, 0)
    async with asyncio.timeout(PATIENCE_S):
        assert (await removed)["StatusCode"] == 137
    with pytest.raises(NotFound):
        await engine.volumes.inspect(volume)


async def test_wait_knows_its_three_conditions(engine: Engine) -> None:
    containers = engine.containers
    id, _ = await containers.create(None, body("sh", "-c", "exit 5"))
    assert (await containers.wait(id))["StatusCode"] == 0  # it does not run
    next_exit, removed = containers.wait(id, "next-exit"), containers.wait(id, "removed")
    await containers.start(id)
    async with asyncio.timeout(PATIENCE_S):
        assert await next_exit == {"StatusCode": 5, "Error": None}
        assert (await containers.wait(id))["StatusCode"] == 5
        await containers.remove(id)
        assert (await removed)["StatusCode"] == 5
    with pytest.raises(NotFound):
        containers.wait(id)
    id, _ = await containers.create(None, body("true"))
    with pytest.raises(InvalidArgument, match="invalid condition"):
        containers.wait(id, "whenever")


async def test_remove_refuses_what_runs_and_force_kills_it(engine: Engine) -> None:
    id = await started(engine, "sleep", "100")
    with pytest.raises(Conflict, match=f"cannot remove a running container {id}"):
        await engine.containers.remove(id)
    await engine.containers.remove(id, force=True)
    assert await engine.containers.list(all=True) == []


async def test_references_are_ids_names_and_unique_prefixes(engine: Engine) -> None:
    ids = [(await engine.containers.create(f"ref{n}", body("true")))[0] for n in range(20)]
    for id in ids:
        assert (await engine.containers.inspect(id))["Id"] == id
        unique = next(id[:n] for n in range(1, 64) if sum(o.startswith(id[:n]) for o in ids) == 1)
        assert (await engine.containers.inspect(unique))["Id"] == id
    assert (await engine.containers.inspect("/ref3"))["Id"] == ids[3]
    crowded = next(c for c in "0123456789abcdef" if sum(o.startswith(c) for o in ids) > 1)
    with pytest.raises(InvalidArgument, match=f"prefix: {crowded}: .*ref"):
        await engine.containers.inspect(crowded)


async def test_events_tell_the_story_in_dockers_words(engine: Engine) -> None:
    events = engine.events.subscribe(filters={"type": ["container"]})
    id = await started(engine, "sleep", "100", name="story", Labels={"a": "b"})
    session = await engine.execs.create(id, {"Cmd": ["true"], "AttachStdout": True})
    stream = await engine.execs.start(session, detach=False, tty=False)
    assert stream is not None
    await output(stream)
    await until(lambda: _exec_ended(engine, session))
    await engine.containers.pause(id)
    await engine.containers.unpause(id)
    await engine.containers.rename(id, "tale")
    await engine.containers.stop(id, 0)
    await engine.containers.remove(id)
    seen = events.pending()
    assert [event["Action"] for event in seen] == [
        *(
            "create",
            "start",
            "exec_create: true ",
            "exec_start: true ",
            "exec_die",
            "pause",
            "unpause",
            "rename",
        ),
        *("kill", "kill", "die", "stop", "destroy"),
    ]
    attributes = [event["Actor"]["Attributes"] for event in seen]
    assert attributes[0] == {"a": "b", "image": "webdock/busybox", "name": "story"}
    assert attributes[4]["exitCode"] == "0"
    assert attributes[7] | {"name": "tale", "oldName": "/story"} == attributes[7]
    assert (attributes[8]["signal"], attributes[9]["signal"], attributes[10]["exitCode"]) == (
        "15",
        "9",
        "137",
    )


async def _exec_ended(engine: Engine, session: str) -> bool:
    return not (await engine.execs.inspect(session))["Running"]


async def test_attach_before_the_start_misses_nothing_and_stdin_ends(engine: Engine) -> None:
    containers = engine.containers
    id, _ = await containers.create(
        None, body("sh", "-c", "wc -c; echo done", OpenStdin=True, StdinOnce=True)
    )
    stream = await containers.attach(id, logs=False, stream=True, stdin=True, stdout=True, stderr=True)
    viewer = await containers.attach(id, logs=False, stream=True, stdin=False, stdout=True, stderr=False)
    await containers.start(id)
    for _ in range(100):
        await stream.write(b"x" * 10_000)
    viewer.close()  # a viewer's leaving ends nobody's input
    await stream.write(b"y")
    await stream.close_stdin()
    assert await output(stream) == (b"1000001\ndone\n", b"")


async def test_a_terminal_can_be_attached_twice_and_resized(engine: Engine) -> None:
    containers = engine.containers
    id = await started(engine, "sh", Tty=True, OpenStdin=True)
    first = await containers.attach(id, logs=False, stream=True, stdin=True, stdout=True, stderr=True)
    second = await containers.attach(id, logs=False, stream=True, stdin=True, stdout=True, stderr=True)
    await containers.resize(id, 33, 111)
    # conmon takes sizes and input on different ways, so one may overtake the other.
    await first.write(b"until stty size | grep -q '33 111'; do sleep 0.02; done; stty size; exit 4\n")
    one, two = await asyncio.gather(output(first), output(second))
    for said in (one, two):  # the shell may have said something before the second came
        assert b"33 111\r\n" in said[0]
    await until(lambda: _exited(engine, id))
    assert (await state(engine, id))["ExitCode"] == 4
    with pytest.raises(Conflict):
        await containers.resize(id, 1, 1)


async def _exited(engine: Engine, id: str) -> bool:
    return not (await state(engine, id))["Running"]


async def test_attach_with_logs_gives_everything_once(engine: Engine) -> None:
    containers = engine.containers
    id = await started(
        engine,
        "sh",
        "-c",
        "echo first; read line; echo got $line; printf end",
        OpenStdin=True,
        StdinOnce=True,
    )
    await until(lambda: _said(engine, id, b"first"))
    stream = await containers.attach(id, logs=True, stream=True, stdin=True, stdout=True, stderr=True)
    await stream.write(b"it\n")
    assert await output(stream) == (b"first\ngot it\nend", b"")
    stream = await containers.attach(id, logs=True, stream=False, stdin=False, stdout=True, stderr=True)
    assert await output(stream) == (b"first\ngot it\nend", b"")


async def test_a_closed_request_does_not_stop_a_started_action(engine: Engine) -> None:
    script = "trap 'echo stopping; sleep 0.5; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    id = await started(engine, "sh", "-c", script)
    await until(lambda: _said(engine, id, b"ready"))
    stopping = asyncio.ensure_future(engine.containers.stop(id))
    await until(lambda: _said(engine, id, b"stopping"))
    stopping.cancel()
    await until(lambda: _exited(engine, id))
    assert (await state(engine, id))["ExitCode"] == 0


async def test_two_clients_racing_on_one_container_get_dockers_errors(engine: Engine) -> None:
    containers = engine.containers
    for round in range(15):
        id, _ = await containers.create(f"race{round}", body("sleep", "100"))
        results = await asyncio.gather(
            containers.start(id),
            containers.remove(id),
            containers.start(id),
            containers.rename(id, f"other{round}"),
            containers.remove(id, force=True),
            return_exceptions=True,
        )
        for result in results:
            assert result is None or isinstance(result, EngineError), results
        with_id = [row for row in await containers.list(all=True) if row["Id"] == id]
        if with_id:
            await containers.remove(id, force=True)
    assert await containers.list(all=True) == []


async def test_stop_and_kill_together_end_it_once(engine: Engine) -> None:
    events = engine.events.subscribe(filters={"event": ["die"]})
    for _ in range(10):
        id = await started(engine, "sleep", "100")
        results = await asyncio.gather(
            engine.containers.stop(id, 5),
            engine.containers.kill(id),
            engine.containers.stop(id, 5),
            return_exceptions=True,
        )
        assert all(r is None or isinstance(r, Conflict | NotModified) for r in results), results
        await engine.containers.remove(id)
    assert len(events.pending()) == 10


async def test_who_hears_of_an_end_sees_no_address_any_more(engine: Engine) -> None:
    """Whoever looks at the container because of the event shall not keep what another may have by then."""
    port = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}
    id = await started(engine, "sleep", "1000", host=port)
    shown = (await engine.containers.inspect(id))["NetworkSettings"]
    assert shown["IPAddress"]
    assert shown["Ports"]["80/tcp"]
    events = engine.events.subscribe(filters={"event": ["die", "disconnect"]})
    await engine.containers.kill(id)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            await anext(events)
            shown = (await engine.containers.inspect(id))["NetworkSettings"]
            assert (shown["IPAddress"], shown["Networks"]["bridge"]["IPAddress"]) == ("", "")
            assert not shown["Ports"].get("80/tcp")


async def test_a_name_can_be_given_to_one_only(engine: Engine) -> None:
    results = await asyncio.gather(
        *(engine.containers.create("same", body("true")) for _ in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert all(isinstance(result, tuple | Conflict) for result in results)


async def test_failed_creation_leaves_nothing(engine: Engine, instance: Instance) -> None:
    before = sorted(p.name for p in (instance.config.home / "containers").iterdir())
    for wrong in (
        body("true", host={"NetworkMode": "no/such:network", "PortBindings": {"x": []}}),
        body("true", host={"Binds": ["/x:relative"]}),
        body("true", host={"Memory": 3}),
        body("true", host={"RestartPolicy": {"Name": "sometimes"}}),
        body("true", host={"LogConfig": {"Type": "syslog"}}),
        body("true", host={"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]}),
        body("true", WorkingDir="relative"),
        {"Image": "no/such:image", "Cmd": ["true"]},
    ):
        with pytest.raises(EngineError) as caught:
            await engine.containers.create("wrong", wrong)
        assert 400 <= caught.value.status < 502
    assert sorted(p.name for p in (instance.config.home / "containers").iterdir()) == before
    assert await engine.containers.list(all=True) == []
    assert (await engine.volumes.list())["Volumes"] == []


async def test_a_container_is_watched_when_the_kernel_watches_no_more_directories(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert engine._rooms is not None
    monkeypatch.setattr(engine._rooms.inotify, "watch", refuse)
    log_config = {"Type": "json-file", "Config": {"max-size": "1m"}}
    host = {"LogConfig": log_config, "Memory": 64 << 20}
    await engine.containers.create("unwatched", body("sh", "-c", "sleep 0.1; exit 4", host=host))
    await engine.containers.start("unwatched")
    async with asyncio.timeout(PATIENCE_S):
        assert (await engine.containers.wait("unwatched"))["StatusCode"] == 4
    await until(lambda: ended(engine, "unwatched"))


async def test_an_end_is_told_when_something_of_it_cannot_be_cleaned_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._rooms is not None
    rooms = engine._rooms

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    id, _ = await engine.containers.create("sticky", body("sleep", "100", host={"IpcMode": "shareable"}))
    await engine.containers.start("sticky")
    with monkeypatch.context() as patch:
        patch.setattr(rooms.snapshots, "unmount", refuse)
        patch.setattr(rooms.shm, "unmount", refuse)
        async with asyncio.timeout(PATIENCE_S):
            waiting = asyncio.ensure_future(engine.containers.wait("sticky"))
            await engine.containers.kill("sticky", "KILL")
            assert (await waiting)["StatusCode"] == 137
    assert await ended(engine, "sticky")
    rooms.snapshots.unmount(id)
    rooms.shm.unmount(id)


async def ended(engine: Engine, ref: str) -> bool:
    return bool((await state(engine, ref))["Status"] == "exited")

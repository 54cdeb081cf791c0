"""The engine killed with SIGKILL, and another one started on the same state."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, NotFound

from .engines import BUSYBOX, PATIENCE_S, EngineProcess, Instance, body, until


@pytest.fixture
async def instance() -> AsyncIterator[Instance]:
    instance = Instance()
    await instance.start()  # for the images
    await instance.stop()
    yield instance
    await instance.purge()


@pytest.fixture
async def process(instance: Instance) -> AsyncIterator[EngineProcess]:
    process = EngineProcess(instance)
    await process.start()
    yield process
    await process.stop()


async def restarted(process: EngineProcess) -> EngineClient:
    await process.kill()
    return await process.start()


async def started(client: EngineClient, name: str, *command: str, **more: Any) -> str:
    created = await client.container_create(body(*command, **more), name=name)
    await client.container_start(name)
    return str(created["Id"])


async def logged(client: EngineClient, ref: str) -> bytes:
    text = b""
    async with client.container_logs(ref, stdout=True, stderr=True) as chunks:
        async for _, data in chunks:
            text += data
    return text


async def test_running_containers_do_not_notice_and_work_on(process: EngineProcess) -> None:
    client = process.client
    script = "echo up; while read line; do echo got $line; done; exit 9"
    id = await started(client, "runs", "sh", "-c", script, OpenStdin=True, Tty=True)
    await started(client, "paused", "sleep", "1000")
    await client.container_pause("paused")
    before = await client.container_inspect("runs")
    client = await restarted(process)
    after = await client.container_inspect("runs")
    for key in ("Pid", "StartedAt", "Status"):
        assert after["State"][key] == before["State"][key]
    assert after["NetworkSettings"] == before["NetworkSettings"]
    assert (await client.container_inspect("paused"))["State"]["Paused"]
    await client.container_unpause("paused")
    stream = await client.container_attach(id, stream=True, stdin=True, stdout=True)
    await stream.write(b"again\n")
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        while b"got again" not in said and (item := await stream.read()):
            said += item[1]
        waiting = asyncio.ensure_future(client.container_wait(id))
        await stream.write(b"\x04")
        assert (await waiting)["StatusCode"] == 9
    stream.close()
    assert b"up\r\n" in await logged(client, id)
    await client.container_remove("paused", force=True)


async def test_what_ended_meanwhile_has_its_real_exit_code_and_time(process: EngineProcess) -> None:
    client = process.client
    script = "trap 'echo bye; exit 33' USR1; echo up; while :; do sleep 0.02; done"
    id = await started(client, "ends", "sh", "-c", script)
    pid = (await client.container_inspect(id))["State"]["Pid"]
    await until(lambda: _logged(client, id, b"up"))
    await process.kill()
    os.kill(pid, signal.SIGUSR1)
    await until(lambda: not os.path.exists(f"/proc/{pid}"))
    client = await process.start()
    state = (await client.container_inspect(id))["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"], state["Error"]) == ("exited", 33, 0, "")
    assert state["FinishedAt"] > state["StartedAt"]
    assert await logged(client, id) == b"up\nbye\n"
    await client.container_start(id)  # its network and root are free again
    await client.container_stop(id, timeout_s=0)


async def _exited(client: EngineClient, ref: str) -> bool:
    return bool((await client.container_inspect(ref))["State"]["Status"] == "exited")


async def _logged(client: EngineClient, ref: str, words: bytes) -> bool:
    return words in await logged(client, ref)


async def test_auto_remove_and_restart_policies_are_made_up_for(process: EngineProcess) -> None:
    client = process.client
    loop = ("sh", "-c", "trap 'exit 3' USR1; echo up; while :; do sleep 0.02; done")
    pids = {}
    for name, host in (
        ("once", {"AutoRemove": True}),
        ("always", {"RestartPolicy": {"Name": "always"}}),
        ("failing", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}}),
        ("stopped", {"RestartPolicy": {"Name": "unless-stopped"}}),
        ("plain", {}),
    ):
        await started(client, name, *loop, host=host)
        pids[name] = (await client.container_inspect(name))["State"]["Pid"]
        await until(lambda n=name: _logged(client, n, b"up"))
    await client.container_stop("stopped", timeout_s=0)
    await process.kill()
    for name, pid in pids.items():
        if name != "stopped":
            os.kill(pid, signal.SIGUSR1)
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.values()))
    client = await process.start()

    async def settled() -> bool:
        names = {row["Names"][0]: row["State"] for row in await client.container_list(all=True)}
        return names == {
            "/always": "running",
            "/failing": "running",
            "/stopped": "exited",
            "/plain": "exited",
        }

    await until(settled)


async def test_half_made_containers_are_undone(process: EngineProcess) -> None:
    """Killed in the middle of many creations and starts, at whatever step each is."""
    client = process.client
    work = []
    for n in range(12):

        async def life(n: int) -> None:
            await started(client, f"half{n}", "sleep", "1000")

        work.append(asyncio.ensure_future(life(n)))
    await asyncio.sleep(0.25)
    await process.kill()
    await asyncio.gather(*work, return_exceptions=True)
    client = await process.start()
    for row in await client.container_list(all=True):
        described = await client.container_inspect(row["Id"])
        alive = described["State"]["Running"]
        assert row["State"] == ("running" if alive else "created")
        assert alive == bool(described["NetworkSettings"]["IPAddress"])
        if not alive:
            await client.container_start(row["Id"])
        await client.container_remove(row["Id"], force=True)
    # `purge` of the instance finds everything that would be left.


async def test_exec_sessions_survive_and_can_be_taken_up_and_ended(process: EngineProcess) -> None:
    client = process.client
    await started(client, "box", "sleep", "1000")
    exec_id = await client.exec_create(
        "box", {"Cmd": ["sh"], "Tty": True, "AttachStdin": True, "AttachStdout": True}
    )
    stream = await client.exec_start(exec_id, tty=True)
    await stream.write(b"x=kept\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await stream.read()
    stream.close()
    done = await client.exec_create("box", {"Cmd": ["false"]})
    await client.exec_start_detached(done)
    await until(lambda: _ended(client, done))
    client = await restarted(process)
    described = await client.exec_inspect(exec_id)
    assert described["Running"]
    assert (await client.exec_inspect(done))["ExitCode"] == 1
    again = await client.exec_attach(exec_id, tty=True)
    await again.write(b"echo $x-after\n")
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        while b"kept-after" not in said and (item := await again.read()):
            said += item[1]
    await client.exec_kill(exec_id, signal="KILL")
    await until(lambda: _ended(client, exec_id))
    assert (await client.exec_inspect(exec_id))["ExitCode"] == 137
    again.close()


async def _ended(client: EngineClient, exec_id: str) -> bool:
    return not (await client.exec_inspect(exec_id))["Running"]


async def test_a_container_whose_conmon_was_killed_is_ended_and_says_so(process: EngineProcess) -> None:
    client = process.client
    id = await started(client, "orphan", "sleep", "1000")
    other = await started(client, "orphan2", "sleep", "1000")
    bundles = process.instance.config.home / "containers"
    os.kill(int((bundles / id / "bundle" / "conmon.pid").read_text()), signal.SIGKILL)
    await until(lambda: _stopped(client, id))
    await process.kill()
    os.kill(int((bundles / other / "bundle" / "conmon.pid").read_text()), signal.SIGKILL)
    client = await process.start()
    for ref in (id, other):
        state = (await client.container_inspect(ref))["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 255)
        assert state["Error"]


async def _stopped(client: EngineClient, ref: str) -> bool:
    return not (await client.container_inspect(ref))["State"]["Running"]


async def test_after_a_reboot_everything_is_exited_and_starts_again(process: EngineProcess) -> None:
    """What a reboot does: no process, nothing in the run directory, mounts gone."""
    client = process.client
    id = await started(client, "booted", "sleep", "1000")
    await process.kill()
    for line in process.instance.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.partition(":")[0]), signal.SIGKILL)
    await until(lambda: not process.instance.processes())
    await process.instance.forget_run()
    client = await process.start()
    state = (await client.container_inspect(id))["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    await client.container_start(id)
    assert (await client.container_inspect(id))["State"]["Running"]


async def test_after_a_reboot_policies_decide_and_networks_ports_and_names_are_as_before(
    process: EngineProcess,
) -> None:
    client = process.client
    await client.network_create({"Name": "shop", "IPAM": {"Config": [{"Subnet": "10.249.7.0/24"}]}})
    port = str(21_000 + os.getpid() % 9_000)  # below those the kernel hands out
    serving = ("sh", "-c", "while true; do echo hello | nc -l -p 80; done")
    for name, policy in (("kept", "always"), ("ended", "no"), ("stopped", "unless-stopped")):
        more: dict[str, Any] = {"RestartPolicy": {"Name": policy}, "NetworkMode": "shop"}
        if name == "kept":
            more["PortBindings"] = {"80/tcp": [{"HostPort": port}]}
        aliases = {"EndpointsConfig": {"shop": {"Aliases": [f"{name}-alias"]}}}
        await started(client, name, *serving, HostConfig=more, NetworkingConfig=aliases)
    await client.container_stop("stopped", timeout_s=0)
    before = (await client.container_inspect("kept"))["NetworkSettings"]
    pids = [(await client.container_inspect(name))["State"]["Pid"] for name in ("kept", "ended")]
    await process.kill()
    for pid in (*(int(line.partition(":")[0]) for line in process.instance.processes()), *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not process.instance.processes())
    await process.instance.forget_run()
    client = await process.start()

    async def runs() -> bool:
        return bool((await client.container_inspect("kept"))["State"]["Running"])

    await until(runs)
    after = (await client.container_inspect("kept"))["NetworkSettings"]
    assert after["Ports"] == before["Ports"]
    assert after["Ports"]["80/tcp"][0]["HostPort"] == port
    for key in ("IPAddress", "Gateway", "MacAddress", "Aliases"):
        assert after["Networks"]["shop"][key] == before["Networks"]["shop"][key]
    for name in ("ended", "stopped"):
        assert (await client.container_inspect(name))["State"]["Status"] == "exited"

    async def answers() -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            return False
        said = await reader.read(5)
        writer.close()
        return said == b"hello"

    await until(answers)
    asking = {
        "Image": BUSYBOX,
        "Cmd": ["ping", "-c1", "-W10", "kept-alias"],
        "HostConfig": {"NetworkMode": "shop"},
    }
    asker = (await client.container_create(asking))["Id"]
    await client.container_start(asker)
    assert (await client.container_wait(asker))["StatusCode"] == 0


async def test_an_unreadable_record_is_set_aside(process: EngineProcess) -> None:
    client = process.client
    id = (await client.container_create(body("true"), name="broken"))["Id"]
    await process.kill()
    directory = process.instance.config.home / "containers" / id
    (directory / "container.json").write_text(json.dumps({"version": 99}))
    client = await process.start()
    with pytest.raises(NotFound):
        await client.container_inspect(id)
    assert (directory.parent / f"{id}.unreadable").exists()
    await client.container_create(body("true"), name="broken")


async def test_a_record_that_kept_its_last_address_shows_none(
    process: EngineProcess, instance: Instance
) -> None:
    client = process.client
    id = await started(client, "ended", "true")
    await until(lambda: _exited(client, id))
    await process.kill()
    path = instance.config.home / "containers" / id / "container.json"
    record = json.loads(path.read_text())
    record["networks"]["bridge"] |= {"IPAddress": "10.9.8.7", "EndpointID": "e" * 64}
    record["ports"] = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    path.write_text(json.dumps(record))
    client = await process.start()
    network = (await client.container_inspect(id))["NetworkSettings"]
    assert network["Networks"]["bridge"]["IPAddress"] == network["IPAddress"] == ""
    assert network["Networks"]["bridge"]["EndpointID"] == ""
    assert network["Ports"] == {}
    listed = await client.container_list(all=True)
    assert (listed[0]["Ports"], listed[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]) == ([], "")


async def test_names_stay_taken(process: EngineProcess) -> None:
    await process.client.container_create(body("true"), name="taken")
    client = await restarted(process)
    with pytest.raises(Conflict, match="already in use"):
        await client.container_create(body("true"), name="taken")


async def kept_session(client: EngineClient, ref: str, *command: str) -> str:
    return await client.exec_create(
        ref,
        {
            "Cmd": list(command),
            **{"Tty": True, "AttachStdin": True, "AttachStdout": True, "KeepOutput": True},
        },
    )


async def test_what_a_terminal_writes_while_there_is_no_engine_comes_once(process: EngineProcess) -> None:
    client = process.client
    id = await started(client, "box", "sleep", "1000")
    root = f"/proc/{(await client.container_inspect(id))['State']['Pid']}/root"
    script = (
        "stty -opost; trap go=1 USR1; for n in 1 2; do go=; echo part $n; "
        "while [ -z $go ]; do sleep 0.02; done; seq 10001 12000; touch /done$n; done; sleep 1000"
    )
    exec_id = await kept_session(client, "box", "sh", "-c", script)
    numbers = b"".join(b"%d\n" % number for number in range(10_001, 12_001))
    whole, seen = b"", b""
    stream = await client.exec_start(exec_id, tty=True)
    async with asyncio.timeout(PATIENCE_S * 2):
        for n in (1, 2):
            whole += b"part %d\n" % n
            while len(seen) < len(whole) and (item := await stream.read()):
                seen += item[1]
            await process.kill()
            stream.close()
            pidfile = process.instance.config.run / "exec" / exec_id / "pidfile"
            os.kill(int(pidfile.read_text()), signal.SIGUSR1)
            while not Path(root, f"done{n}").exists():  # noqa: ASYNC110 - a file says nothing by itself
                await asyncio.sleep(0.02)
            whole += numbers
            client = await process.start()
            stream = await client.exec_attach(exec_id, tty=True, history=True)
            past = b""
            while len(past) < stream.past and (item := await stream.read()):
                past += item[1]
            assert stream.place is not None
            assert past.startswith(seen)
            missed = stream.place.end - len(seen)
            assert 0 <= missed <= stream.place.exact
            seen += past[len(past) - missed :]
        while len(seen) < len(whole) and (item := await stream.read()):
            seen += item[1]
    assert seen == whole
    stream.close()


async def typed(client: EngineClient, exec_id: str) -> int:
    async with await client.exec_attach(exec_id, tty=True) as stream:
        assert stream.place is not None
        return stream.place.typed


async def test_a_paste_that_an_engine_died_in_can_go_on_where_it_was(process: EngineProcess) -> None:
    client = process.client
    await started(client, "box", "sleep", "1000")
    paste = b"".join(b"%07d\n" % number for number in range(80_000))
    script = (
        "stty raw -echo; echo ready; while [ ! -e /go ]; do sleep 0.02; done; "
        f"head -c {len(paste)} | md5sum; sleep 1000"
    )
    exec_id = await kept_session(client, "box", "sh", "-c", script)
    stream = await client.exec_start(exec_id, tty=True)
    said = b""
    async with asyncio.timeout(PATIENCE_S * 2):
        while b"ready" not in said and (item := await stream.read()):
            said += item[1]
        writing = asyncio.ensure_future(stream.write(paste))
        while not await typed(client, exec_id):  # noqa: ASYNC110 - the engine tells no event of it
            await asyncio.sleep(0.02)
        client = await restarted(process)  # in the middle of the paste
        with contextlib.suppress(EngineError):
            await writing
        stream.close()
        stream = await client.exec_attach(exec_id, tty=True, history=True)
        assert stream.place is not None
        assert 0 < stream.place.typed < len(paste)
        go = await client.exec_create("box", {"Cmd": ["touch", "/go"]})
        (await client.exec_start(go, tty=False)).close()
        await stream.write(paste[stream.place.typed :])
        while b"-" not in said and (item := await stream.read()):
            said += item[1]
    assert hashlib.md5(paste).hexdigest().encode() in said
    stream.close()

"""What the engine does by itself: restarts, health checks, memory; and shared namespaces, limits, numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotModified
from runtime.engine import Engine

from .engines import PATIENCE_S, Instance, body, log, run, started, state, until

MILLISECOND_NS = 1_000_000


@pytest.fixture(scope="module")
def instance() -> Any:
    instance = Instance()
    yield instance
    asyncio.run(instance.purge())


@pytest.fixture
async def engine(instance: Instance) -> AsyncIterator[Engine]:
    engine = await instance.start()
    yield engine
    for container in await engine.containers.list(all=True):
        await engine.containers.remove(container["Id"], force=True, volumes=True)
    await instance.stop()


def policy(name: str, retries: int = 0) -> dict[str, Any]:
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": retries}}


async def has(engine: Engine, id: str, **wanted: Any) -> bool:
    described = await engine.containers.inspect(id)
    known = {**described["State"], "RestartCount": described["RestartCount"]}
    return all(known[key] == value for key, value in wanted.items())


async def test_on_failure_tries_so_often_and_then_gives_up(engine: Engine) -> None:
    events = engine.events.subscribe(filters={"event": ["start", "die"]})
    id, _ = await engine.containers.create(
        None, body("sh", "-c", "echo run; exit 2", host=policy("on-failure", 2))
    )
    waiting = engine.containers.wait(id, "next-exit")
    await engine.containers.start(id)
    async with asyncio.timeout(PATIENCE_S):
        assert (await waiting)["StatusCode"] == 2  # the first run's
    await until(lambda: has(engine, id, Status="exited", RestartCount=2, ExitCode=2))
    assert await log(engine, id) == b"run\n" * 3
    async with asyncio.timeout(PATIENCE_S):
        assert [(await anext(events))["Action"] for _ in range(6)] == ["start", "die"] * 3


async def test_on_failure_is_content_with_success(engine: Engine) -> None:
    id = await started(engine, "true", host=policy("on-failure"))
    await until(lambda: has(engine, id, Status="exited"))
    await asyncio.sleep(0.3)
    assert await has(engine, id, Status="exited", RestartCount=0)


async def test_always_restarts_until_somebody_stops_it(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "sleep 0.05", host=policy("always"))

    async def twice() -> bool:
        return int((await engine.containers.inspect(id))["RestartCount"]) >= 2

    await until(twice)
    try:
        await engine.containers.stop(id, 1)
    except NotModified:
        pytest.fail("a container that restarts counts as running")
    assert await has(engine, id, Status="exited")
    await asyncio.sleep(1)
    assert await has(engine, id, Status="exited")
    await engine.containers.start(id)
    assert (await engine.containers.inspect(id))["RestartCount"] == 0


async def test_kill_ends_an_always_container_and_remove_works_while_it_restarts(engine: Engine) -> None:
    id = await started(engine, "sleep", "1000", host=policy("always"))
    await engine.containers.kill(id)
    await until(lambda: has(engine, id, Status="exited", ExitCode=137))
    await asyncio.sleep(0.3)
    assert await has(engine, id, Status="exited", ExitCode=137)
    flapping = await started(engine, "false", host=policy("always"))

    async def refused_between_two_runs() -> bool:
        with pytest.raises(Conflict, match=r"cannot remove a (restarting|running) container") as caught:
            await engine.containers.remove(flapping)
        return "restarting" in caught.value.message

    await until(refused_between_two_runs)
    await engine.containers.remove(flapping, force=True)


async def test_health_goes_from_starting_to_healthy_to_unhealthy(engine: Engine) -> None:
    events = engine.events.subscribe(filters={"event": ["health_status"]})
    check = {
        "Test": ["CMD-SHELL", "echo looked; test -e /well"],
        "Interval": 50 * MILLISECOND_NS,
        "Timeout": 60_000 * MILLISECOND_NS,
        "Retries": 2,
        "StartPeriod": 600_000 * MILLISECOND_NS,  # until it is well for the first time, no failure counts
    }
    id = await started(engine, "sleep", "1000", Healthcheck=check)
    assert (await state(engine, id))["Health"]["Status"] == "starting"
    assert "(health: starting)" in (await engine.containers.list())[0]["Status"]

    async def is_(status: str) -> bool:
        return bool((await state(engine, id))["Health"]["Status"] == status)

    async def does(*command: str) -> None:
        exec_id = await engine.execs.create(id, {"Cmd": list(command)})
        await engine.execs.start(exec_id, detach=True, tty=False)

    await does("touch", "/well")
    await until(lambda: is_("healthy"))
    assert "(healthy)" in (await engine.containers.list(filters={"health": ["healthy"]}))[0]["Status"]
    await does("rm", "/well")
    await until(lambda: is_("unhealthy"))
    health = (await state(engine, id))["Health"]
    assert health["FailingStreak"] >= 2
    assert health["Log"][-1]["ExitCode"] == 1
    assert health["Log"][-1]["Output"] == "looked\n"
    assert len(health["Log"]) <= 5
    async with asyncio.timeout(PATIENCE_S):
        told = [(await anext(events))["Action"] for _ in range(2)]
    assert told == ["health_status: healthy", "health_status: unhealthy"]


async def test_a_health_check_that_hangs_is_ended(engine: Engine, instance: Instance) -> None:
    check = {
        "Test": ["CMD", "sleep", "1000"],
        "Interval": 50 * MILLISECOND_NS,
        "Timeout": 200 * MILLISECOND_NS,
        "Retries": 1,
    }
    id = await started(engine, "sleep", "1000", Healthcheck=check)

    async def unhealthy() -> bool:
        return bool((await state(engine, id))["Health"]["Status"] == "unhealthy")

    await until(unhealthy)
    assert "exceeded timeout" in (await state(engine, id))["Health"]["Log"][0]["Output"]
    await engine.containers.kill(id)
    await until(lambda: not [line for line in instance.processes() if "/exec/" in line])


async def test_running_out_of_memory_is_told(engine: Engine) -> None:
    events = engine.events.subscribe(filters={"event": ["oom", "die"]})
    code, _, _ = await run(
        engine,
        "sh",
        "-c",
        "head -c 100000000 /dev/zero | tail -c 100000000 >/dev/null",
        host={"Memory": 16 << 20},
    )
    assert code in (1, 137)
    assert "oom" in [event["Action"] for event in events.pending()]


async def test_limits_can_be_changed_while_it_runs(engine: Engine) -> None:
    id = await started(engine, "sleep", "1000", host={"Memory": 64 << 20, **policy("always")})
    answer = await engine.containers.update(
        id, {"Memory": 128 << 20, "MemorySwap": 256 << 20, "CpuShares": 512, "PidsLimit": 77}
    )
    assert answer["Warnings"] == []
    host = (await engine.containers.inspect(id))["HostConfig"]
    assert (host["Memory"], host["CpuShares"], host["PidsLimit"]) == (128 << 20, 512, 77)
    stats = [sample async for sample in engine.containers.stats(id, stream=False, one_shot=True)]
    assert stats[0]["memory_stats"]["limit"] == 128 << 20
    assert stats[0]["pids_stats"]["limit"] == 77
    await engine.containers.update(id, {"RestartPolicy": {"Name": "no"}})
    await engine.containers.kill(id)
    with pytest.raises(InvalidArgument, match="6MB"):
        await engine.containers.update(id, {"Memory": 5})
    with pytest.raises(InvalidArgument, match="unknown policy"):
        await engine.containers.update(id, {"RestartPolicy": {"Name": "maybe"}})


async def test_top_shows_the_containers_processes_only(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "sleep 1000 & sleep 2000 & wait")

    async def both() -> bool:
        return len((await engine.containers.top(id, "-ef"))["Processes"]) == 3

    await until(both)
    found = await engine.containers.top(id, "-ef")
    assert found["Titles"][1] == "PID"
    assert sorted(row[-1] for row in found["Processes"])[:2] == [
        "sh -c sleep 1000 & sleep 2000 & wait",
        "sleep 1000",
    ]
    columns = await engine.containers.top(id, "-o pid,comm")
    assert columns["Titles"] == ["PID", "COMMAND"]
    for wrong in ("-o comm", "--nosuchoption", "-o pid=x"):
        with pytest.raises(InvalidArgument):
            await engine.containers.top(id, wrong)
    await engine.containers.kill(id)
    with pytest.raises(Conflict, match="is not running"):
        await engine.containers.top(id, "-ef")


async def test_statistics_stream_and_end_with_the_container(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "while :; do :; done")
    samples = engine.containers.stats(id, stream=True, one_shot=False)
    async with asyncio.timeout(PATIENCE_S):
        first, second = await anext(samples), await anext(samples)
        assert first["preread"].startswith("0001")
        assert second["precpu_stats"] == first["cpu_stats"]
        used = (
            second["cpu_stats"]["cpu_usage"]["total_usage"] - first["cpu_stats"]["cpu_usage"]["total_usage"]
        )
        assert used > 0
        assert second["networks"]["eth0"]
        await engine.containers.kill(id)
        while (await anext(samples))["memory_stats"]:  # one may have been taken before
            pass
        await engine.containers.remove(id)
        assert [sample async for sample in samples] == []


async def test_a_network_namespace_can_be_shared(engine: Engine) -> None:
    owner = await started(engine, "sleep", "1000", name="owner")
    address = (await engine.containers.inspect(owner))["NetworkSettings"]["IPAddress"]
    code, out, _ = await run(
        engine,
        "sh",
        "-c",
        "ip -4 addr show eth0; cat /etc/hosts; hostname",
        host={"NetworkMode": "container:owner"},
    )
    assert code == 0
    assert address.encode() in out
    assert out.split()[-1].decode() == owner[:12]
    await engine.containers.kill(owner)
    id, _ = await engine.containers.create(None, body("true", host={"NetworkMode": "container:owner"}))
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        await engine.containers.start(id)
    with pytest.raises(InvalidArgument, match="conflicting options"):
        await engine.containers.create(
            None, body("true", Hostname="x", host={"NetworkMode": "container:owner"})
        )


async def test_processes_and_shared_memory_can_be_shared(engine: Engine) -> None:
    owner = await started(
        engine, "sh", "-c", "echo inside > /dev/shm/note; sleep 1234", host={"IpcMode": "shareable"}
    )
    host = {"PidMode": f"container:{owner}", "IpcMode": f"container:{owner}"}
    script = "until ps -o args | grep -q '^sleep 1234'; do sleep 0.05; done; cat /dev/shm/note; ps -o args"
    code, out, err = await run(engine, "sh", "-c", script, host=host)
    assert (code, err) == (0, b"")
    assert out.startswith(b"inside\n")
    assert b"sleep 1234" in out
    private = await started(engine, "sleep", "1000")
    id, _ = await engine.containers.create(None, body("true", host={"IpcMode": f"container:{private}"}))
    with pytest.raises(Conflict, match="non-shareable IPC"):
        await engine.containers.start(id)


async def test_host_and_none_networks(engine: Engine) -> None:
    code, out, _ = await run(engine, "sh", "-c", "ls /sys/class/net | wc -l", host={"NetworkMode": "none"})
    assert (code, out) == (0, b"1\n")
    code, out, _ = await run(
        engine, "sh", "-c", "hostname; cat /proc/net/dev | wc -l", host={"NetworkMode": "host"}
    )
    assert code == 0
    import socket

    assert out.split()[0].decode() == socket.gethostname()


async def test_privileged_and_init(engine: Engine) -> None:
    code, out, _ = await run(
        engine,
        "sh",
        "-c",
        "grep CapEff /proc/self/status; test -e /dev/loop-control && echo dev",
        host={"Privileged": True},
    )
    assert code == 0
    assert int(out.split()[1], 16) > 2**38
    code, out, _ = await run(engine, "sh", "-c", "echo $$; cat /proc/1/comm", host={"Init": True})
    assert code == 0
    assert out.split()[0] != b"1"


async def test_many_at_once_all_run_and_nothing_is_left(engine: Engine, instance: Instance) -> None:
    limit = asyncio.Semaphore(8)

    async def life(n: int) -> None:
        async with limit:
            assert await run(engine, "echo", str(n)) == (0, b"%d\n" % n, b"")

    await asyncio.gather(*(life(n) for n in range(40)))
    await engine.networks.settle()
    assert await engine.containers.list(all=True) == []
    await until(lambda: instance.processes() == [], "the end of every process")
    assert list((instance.config.home / "containers").iterdir()) == []

    def unmounted() -> bool:
        return not [line for line in instance.residue() if "/mounts/" in line and "mounts " not in line]

    await until(unmounted)


async def test_list_filters(engine: Engine) -> None:
    containers = engine.containers
    one, _ = await containers.create("one", body("true", Labels={"a": "1", "b": ""}))
    two = await started(engine, "sleep", "1000", name="two", Labels={"a": "2"}, Volumes={"/v": {}})
    three, _ = await containers.create("three", body("sh", "-c", "exit 4", ExposedPorts={"80/tcp": {}}))
    await containers.start(three)
    await containers.wait(three)

    async def ids(**filters: list[str]) -> list[str]:
        named = {name.replace("is_task", "is-task"): values for name, values in filters.items()}
        return [row["Id"] for row in await containers.list(all=True, filters=named)]

    assert await ids() == [three, two, one]
    assert await ids(status=["running"]) == [two]
    assert await ids(status=["created", "exited"]) == [three, one]
    assert await ids(exited=["4"]) == [three]
    assert await ids(name=["^/t"]) == [three, two]
    assert await ids(id=[one[:8]]) == [one]
    assert await ids(label=["a"]) == [two, one]
    assert await ids(label=["a=1", "b"]) == [one]
    assert await ids(ancestor=["webdock/busybox"]) == [three, two, one]
    assert await ids(ancestor=["nosuch"]) == []
    assert await ids(before=["two"]) == [one]
    assert await ids(since=["two"]) == [three]
    assert await ids(volume=["/v"]) == [two]
    assert await ids(network=["bridge"]) == [three, two, one]
    assert await ids(expose=["70-90"]) == [three]
    assert await ids(publish=["80"]) == []
    assert await ids(health=["none"]) == [three, two, one]
    assert await ids(is_task=["true"]) == []
    assert [row["Id"] for row in await containers.list(limit=2)] == [three, two]
    for wrong in (
        {"nosuch": ["x"]},
        {"status": ["gone"]},
        {"exited": ["x"]},
        {"health": ["x"]},
        {"before": ["nobody"]},
    ):
        with pytest.raises(EngineError) as caught:
            await containers.list(all=True, filters=wrong)
        assert caught.value.status in (400, 404)
    row = (await containers.list(size=True))[0]
    assert row["SizeRootFs"] >= row["SizeRw"] >= 0
    pruned = await containers.prune({"label": ["a"]})
    assert pruned["ContainersDeleted"] == [one]
    assert await ids() == [three, two]

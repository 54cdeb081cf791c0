"""Promises about a container's life, from create to remove, and about what list and inspect say of it."""

from __future__ import annotations

import asyncio

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, Internal, InvalidArgument, NotFound, NotModified
from tests.conformance.api import Api
from tests.conformance.conftest import BUSYBOX, HELLO, MakeContainer, UnderTest, gone, says, until

FOREVER = ("sleep", "1000")


async def state(client: EngineClient, container: str) -> str:
    return str((await client.container_inspect(container))["State"]["Status"])


async def test_create_returns_a_full_id_and_no_warnings(client: EngineClient, api: Api, name: str) -> None:
    answer = await api("POST", f"/containers/create?name={name}", json={"Image": BUSYBOX})
    assert answer.status == 201
    created = answer.json()
    assert len(created["Id"]) == 64
    assert int(created["Id"], 16)
    assert created["Warnings"] in ([], None)
    assert await state(client, created["Id"]) == "created"
    await client.container_remove(created["Id"])


async def test_a_container_without_a_name_gets_one(
    client: EngineClient, make_container: MakeContainer
) -> None:
    first = (await client.container_inspect(await make_container()))["Name"]
    second = (await client.container_inspect(await make_container()))["Name"]
    assert first.startswith("/")
    assert len(first) > 3
    assert first != second


async def test_a_taken_name_is_a_conflict_that_names_the_holder(
    make_container: MakeContainer, name: str
) -> None:
    holder = await make_container(name=name)
    with pytest.raises(Conflict, match="is already in use by container") as caught:
        await make_container(name=name)
    assert holder in caught.value.message
    assert f'"/{name}"' in caught.value.message


@pytest.mark.parametrize("bad", ["a", "-x1", "_ab", "a b", "a/b", "ä1", "x" * 10 + "\n"])
async def test_a_bad_name_is_refused(make_container: MakeContainer, bad: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        await make_container(name=bad)


async def test_a_name_may_begin_with_a_slash(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    container = await make_container(name=f"/{name}")
    assert (await client.container_inspect(container))["Name"] == f"/{name}"


async def test_an_unknown_image_is_not_found_in_docker_words(make_container: MakeContainer) -> None:
    with pytest.raises(NotFound, match=r"No such image: no/such:latest"):
        await make_container(image="no/such")


@pytest.mark.parametrize("body", [{}, {"Image": ""}])
async def test_create_without_image_and_command_is_refused(
    client: EngineClient, body: dict[str, object]
) -> None:
    with pytest.raises(InvalidArgument):
        await client.container_create(body)


async def test_the_image_says_what_to_run(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(image=HELLO)
    inspect = await client.container_inspect(container)
    assert inspect["Path"]
    assert inspect["Config"]["Image"] == HELLO
    assert inspect["Image"].startswith("sha256:")


async def test_start_runs_it_and_again_is_not_modified(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container(*FOREVER)
    await client.container_start(container)
    inspect = await client.container_inspect(container)
    assert inspect["State"]["Status"] == "running"
    assert inspect["State"]["Running"] is True
    assert inspect["State"]["Pid"] > 0
    assert not inspect["State"]["StartedAt"].startswith("0001")
    with pytest.raises(NotModified):
        await client.container_start(container)


async def test_status_codes_of_the_verbs(api: Api, make_container: MakeContainer, name: str) -> None:
    container = await make_container(*FOREVER)
    path = f"/containers/{container}"
    assert (await api("POST", f"{path}/start")).status == 204
    assert (await api("POST", f"{path}/start")).status == 304
    assert (await api("POST", f"{path}/pause")).status == 204
    assert (await api("POST", f"{path}/unpause")).status == 204
    assert (await api("POST", f"{path}/rename?name={name}")).status == 204
    assert (await api("POST", f"{path}/resize?h=10&w=20")).status == 200
    assert (await api("POST", f"{path}/restart?t=0")).status == 204
    assert (await api("POST", f"{path}/kill")).status == 204
    assert (await api("POST", f"{path}/stop?t=0")).status == 304
    assert (await api("POST", f"{path}/wait")).status == 200
    assert (await api("DELETE", path)).status == 204
    assert (await api("DELETE", path)).status == 404


async def test_an_answer_without_content_is_empty(api: Api, make_container: MakeContainer) -> None:
    container = await make_container(*FOREVER)
    started = await api("POST", f"/containers/{container}/start")
    again = await api("POST", f"/containers/{container}/start")
    assert (started.body, again.body) == (b"", b"")


async def test_exit_code_and_times_are_kept(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "exit 7", start=True)
    assert (await client.container_wait(container))["StatusCode"] == 7
    seen = (await client.container_inspect(container))["State"]
    assert (seen["Status"], seen["ExitCode"], seen["Running"], seen["Pid"]) == ("exited", 7, False, 0)
    assert seen["FinishedAt"][:19] >= seen["StartedAt"][:19]


async def test_an_exited_container_starts_again(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sh", "-c", "exit 3", start=True)
    await client.container_wait(container)
    await client.container_start(container)
    assert (await client.container_wait(container))["StatusCode"] == 3


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["/no/such/program"], 127, "no such file"),
        (["nosuchprogram"], 127, "executable file not found in"),
        (["/etc/passwd"], 126, "permission denied"),
    ],
)
async def test_a_program_that_cannot_run_gives_a_reason_and_its_code(
    client: EngineClient, make_container: MakeContainer, command: list[str], code: int, words: str
) -> None:
    container = await make_container(*command)
    with pytest.raises(InvalidArgument, match=words):
        await client.container_start(container)
    seen = (await client.container_inspect(container))["State"]
    assert (seen["Status"], seen["ExitCode"]) == ("created", code)
    assert words in seen["Error"]


async def test_stop_sends_term_and_waits(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(
        "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", start=True
    )
    await says(client, container, b"ready")
    await client.container_stop(container, timeout_s=60)
    seen = (await client.container_inspect(container))["State"]
    assert (seen["Status"], seen["ExitCode"]) == ("exited", 5)
    with pytest.raises(NotModified):
        await client.container_stop(container)


async def test_stop_kills_what_does_not_listen(client: EngineClient, make_container: MakeContainer) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    container = await make_container("sh", "-c", script, start=True)
    await says(client, container, b"ready")
    before = asyncio.get_running_loop().time()
    await client.container_stop(container, timeout_s=1)
    assert asyncio.get_running_loop().time() - before > 0.9
    assert (await client.container_inspect(container))["State"]["ExitCode"] == 137


async def test_stop_takes_the_signal_and_timeout_of_the_container(
    client: EngineClient, make_container: MakeContainer
) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    container = await make_container("sh", "-c", script, StopSignal="SIGUSR1", StopTimeout=60, start=True)
    await says(client, container, b"ready")
    await client.container_stop(container)
    assert (await client.container_inspect(container))["State"]["ExitCode"] == 9


@pytest.mark.parametrize("signal", ["SIGKILL", "KILL", "9"])
async def test_kill_takes_every_spelling(
    client: EngineClient, make_container: MakeContainer, signal: str
) -> None:
    container = await make_container(*FOREVER, start=True)
    await client.container_kill(container, signal=signal)
    assert (await client.container_wait(container))["StatusCode"] == 137


async def test_kill_sends_the_signal_asked_for(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(
        "sh", "-c", "trap 'exit 6' HUP; echo ready; while :; do sleep 0.05; done", start=True
    )
    await says(client, container, b"ready")
    await client.container_kill(container, signal="HUP")
    assert (await client.container_wait(container))["StatusCode"] == 6


async def test_kill_refuses_nonsense(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(*FOREVER, start=True)
    with pytest.raises(InvalidArgument, match=r"(?i)invalid signal"):
        await client.container_kill(container, signal="NONSENSE")


async def test_kill_of_a_stopped_container_is_a_conflict(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("true")
    with pytest.raises(Conflict, match="is not running"):
        await client.container_kill(container)


async def test_pause_freezes_and_unpause_goes_on(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container(*FOREVER, start=True)
    await client.container_pause(container)
    seen = (await client.container_inspect(container))["State"]
    assert (seen["Status"], seen["Paused"], seen["Running"]) == ("paused", True, True)
    with pytest.raises(Conflict, match="already paused"):
        await client.container_pause(container)
    await client.container_unpause(container)
    assert await state(client, container) == "running"
    with pytest.raises(Conflict if engine.ours else Internal, match="is not paused"):
        await client.container_unpause(container)


async def test_pause_of_a_stopped_container_is_a_conflict(
    client: EngineClient, make_container: MakeContainer
) -> None:
    with pytest.raises(Conflict, match="not running"):
        await client.container_pause(await make_container("true"))


async def test_restart_gives_a_new_process(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(*FOREVER, start=True)
    before = (await client.container_inspect(container))["State"]
    await client.container_restart(container, timeout_s=0)
    after = (await client.container_inspect(container))["State"]
    assert after["Status"] == "running"
    assert after["Pid"] != before["Pid"]
    assert after["StartedAt"] > before["StartedAt"]


async def test_restart_starts_a_stopped_container(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container(*FOREVER)
    await client.container_restart(container)
    assert await state(client, container) == "running"


async def test_rename_gives_another_name(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    container = await make_container(*FOREVER, start=True)
    await client.container_rename(container, name)
    assert (await client.container_inspect(name))["Id"] == container


async def test_rename_to_a_taken_name_is_a_conflict(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    await make_container(name=name)
    other = await make_container()
    with pytest.raises(Conflict, match="is already in use by container"):
        await client.container_rename(other, name)


async def test_a_running_container_is_removed_only_by_force(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container(*FOREVER, start=True)
    with pytest.raises(Conflict, match=r"(?i)cannot remove (a running )?container"):
        await client.container_remove(container)
    await client.container_remove(container, force=True)
    with pytest.raises(NotFound, match=f"No such container: {container}"):
        await client.container_inspect(container)


async def test_auto_remove_leaves_nothing(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("true", HostConfig={"AutoRemove": True})
    await client.container_start(container)
    await gone(client, container)


async def test_restart_policy_on_failure_counts(client: EngineClient, make_container: MakeContainer) -> None:
    host = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    container = await make_container("sh", "-c", "exit 3", HostConfig=host, start=True)
    inspect = await until(
        lambda: client.container_inspect(container),
        lambda seen: seen["RestartCount"] == 2 and seen["State"]["Status"] == "exited",
    )
    assert inspect["State"]["ExitCode"] == 3


@pytest.mark.parametrize(
    "host",
    [
        {"RestartPolicy": {"Name": "sometimes"}},
        {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
        {"Memory": 1024},
        {"Memory": -5},
    ],
)
async def test_a_bad_host_config_is_refused(make_container: MakeContainer, host: dict[str, object]) -> None:
    with pytest.raises((InvalidArgument, Conflict)):
        await make_container("true", HostConfig=host)


async def test_environment_directory_and_user_are_set(
    client: EngineClient, make_container: MakeContainer
) -> None:
    script = 'echo "$COLOUR $PWD"'
    container = await make_container(
        "sh", "-c", script, Env=["COLOUR=green"], WorkingDir="/tmp", AttachStdout=True, start=True
    )
    await client.container_wait(container)
    log = b"".join([data async for _, data in client.container_logs(container)])
    assert log == b"green /tmp\n"


async def test_list_shows_running_and_all(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    running = await make_container(*FOREVER, start=True, name=name, Labels={"cf": name})
    made = await make_container("true", Labels={"cf": name})
    mine = {"label": [f"cf={name}"]}
    assert [row["Id"] for row in await client.container_list(filters=mine)] == [running]
    rows = await client.container_list(all=True, filters=mine)
    assert [row["Id"] for row in rows] == [made, running]  # the newest first
    row = rows[1]
    assert row["Names"] == [f"/{name}"]
    assert row["Image"] == BUSYBOX
    assert row["State"] == "running"
    assert row["Status"].startswith("Up ")
    assert row["Command"] == "sleep 1000"
    assert rows[0]["Status"] == "Created"
    assert await client.container_list(all=True, limit=1, filters=mine) == rows[:1]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"status": ["running"]}, {"runs"}),
        ({"status": ["created"]}, {"made"}),
        ({"status": ["exited"]}, {"done"}),
        ({"exited": ["4"]}, {"done"}),
        ({"exited": ["0"]}, set()),
        ({"name": ["_runs"]}, {"runs"}),
        ({"ancestor": [BUSYBOX]}, {"runs", "made", "done"}),
        ({"ancestor": [HELLO]}, set()),
    ],
)
async def test_list_filters(
    client: EngineClient,
    make_container: MakeContainer,
    name: str,
    filters: dict[str, list[str]],
    found: set[str],
) -> None:
    for kind, command in (("runs", FOREVER), ("made", ("true",)), ("done", ("sh", "-c", "exit 4"))):
        container = await make_container(
            *command, name=f"{name}_{kind}", Labels={"cf": name}, start=kind != "made"
        )
        if kind == "done":
            await client.container_wait(container)
    rows = await client.container_list(all=True, filters={**filters, "label": [f"cf={name}"]})
    assert {row["Names"][0].rpartition("_")[2] for row in rows} == found


async def test_an_unknown_filter_is_refused(client: EngineClient) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)invalid filter"):
        await client.container_list(filters={"colour": ["green"]})


async def test_prune_removes_what_does_not_run(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    runs = await make_container(*FOREVER, Labels={"cf": name}, start=True)
    done = await make_container("true", Labels={"cf": name})
    result = await client.container_prune(filters={"label": [f"cf={name}"]})
    assert done in (result["ContainersDeleted"] or [])
    assert runs not in (result["ContainersDeleted"] or [])


async def test_update_changes_limits_and_policy(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(*FOREVER, start=True)
    body = {"Memory": 64 << 20, "MemorySwap": 128 << 20, "RestartPolicy": {"Name": "on-failure"}}
    assert (await client.container_update(container, body))["Warnings"] in ([], None)
    host = (await client.container_inspect(container))["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host["RestartPolicy"]["Name"] == "on-failure"


async def test_top_lists_processes(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container(*FOREVER, start=True)
    table = await client.container_top(container)
    assert "PID" in table["Titles"]
    assert any("sleep" in row[-1] for row in table["Processes"])


async def test_top_of_a_stopped_container_is_a_conflict(
    client: EngineClient, make_container: MakeContainer
) -> None:
    with pytest.raises(Conflict, match="is not running"):
        await client.container_top(await make_container("true"))


@pytest.mark.parametrize(
    "verb", ["start", "stop", "restart", "kill", "pause", "unpause", "wait", "resize?h=1&w=1"]
)
async def test_a_verb_on_nothing_is_not_found(api: Api, verb: str) -> None:
    answer = await api("POST", f"/containers/nosuchcontainer/{verb}")
    assert answer.status == 404
    assert answer.message.endswith("No such container: nosuchcontainer")


@pytest.mark.parametrize("look", ["json", "top", "logs?stdout=1", "stats?stream=0", "changes", "export"])
async def test_a_look_at_nothing_is_not_found(api: Api, look: str) -> None:
    answer = await api("GET", f"/containers/nosuchcontainer/{look}")
    assert answer.status == 404
    assert answer.message.endswith("No such container: nosuchcontainer")


@pytest.mark.parametrize("look", ["json", "top", "logs?stdout=1", "changes"])
async def test_names_and_prefixes_lead_to_the_container(
    api: Api, make_container: MakeContainer, name: str, look: str
) -> None:
    container = await make_container(*FOREVER, name=name, start=True)
    for ref in (container, container[:12], container[:20], name):
        assert (await api("GET", f"/containers/{ref}/{look}")).status == 200


async def test_an_ambiguous_prefix_is_refused(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    ids: dict[str, str] = {}
    while True:
        container = await make_container("true")
        other = ids.setdefault(container[0], container)
        if other != container:
            break
    with pytest.raises(InvalidArgument if engine.ours else Exception) as caught:
        await client.container_inspect(container[0])
    assert f"multiple ids found with provided prefix: {container[0]}" in str(caught.value).lower()


async def test_two_starts_at_once_start_it_once(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container(*FOREVER)
    results = await asyncio.gather(
        *(client.container_start(container) for _ in range(5)), return_exceptions=True
    )
    assert results.count(None) == 1 or not engine.ours  # Docker lets some of them slip through
    assert all(isinstance(result, NotModified) for result in results if result is not None)


async def test_two_creates_of_one_name_make_one(client: EngineClient, name: str) -> None:
    body = {"Image": BUSYBOX, "Cmd": ["true"]}
    results = await asyncio.gather(
        *(client.container_create(body, name=name) for _ in range(5)), return_exceptions=True
    )
    made = [result for result in results if isinstance(result, dict)]
    assert len(made) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 4
    await client.container_remove(name)

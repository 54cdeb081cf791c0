"""Records on disk, and as Docker's bodies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import Conflict, InvalidArgument, NotFound
from runtime.containers import inspect, listing
from runtime.containers.bodies import container_config, host_config
from runtime.containers.inspect import command_line, describe, ports, status, summarize
from runtime.containers.record import Health, MountPoint, Probe, Record
from runtime.containers.state import State
from runtime.containers.store import ContainerStore
from runtime.containers.table import Container, Table

NOW_NS = 1_700_000_000_000_000_000
MINUTE_NS = 60_000_000_000


def made(number: int = 1, **changes: Any) -> Record:
    config = container_config({"Image": "image", "Cmd": ["a", "b c"], "Labels": {"l": "1"}}, {})
    record = Record(
        id=f"{number:064x}",
        name=f"name{number}",
        created_ns=NOW_NS - 10 * MINUTE_NS + number,
        image_id="sha256:" + "1" * 64,
        chain=["sha256:" + "2" * 64],
        path="a",
        args=["b c"],
        config=config,
        host_config=host_config({}, runtime="crun", cgroup_version=1),
        endpoints={},
        mounts=[MountPoint("volume", "/v", source="/s", name="v", driver="local")],
        mapped=True,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


async def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    record = made(health=Health("healthy", 1, [Probe(1, 2, 3, "out")]), state=State.PAUSED)
    store.make(record.id)
    await store.save(record)
    assert store.load() == ([record], [])
    record.name = "other"
    await store.save(record)
    assert store.load()[0][0].name == "other"
    store.remove(record.id)
    store.remove(record.id)
    assert store.load() == ([], [])


async def test_a_crash_leaves_the_old_record_or_something_half_made(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    record = made()
    store.make(record.id)
    assert store.load() == ([], [record.id])
    await store.save(record)
    (store.directory(record.id) / "container.json.new").write_text("{ cut sho")
    assert store.load() == ([record], [])


async def test_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path)
    (tmp_path / "not an id").mkdir()
    for number, text in enumerate(("", "{}", "[1]", json.dumps({**made().to_json(), "version": 2}))):
        directory = store.make(f"{number:064x}")
        (directory / "container.json").write_text(text)
    assert store.load() == ([], [])
    assert len(list(tmp_path.glob("*.unreadable"))) == 4


async def test_a_full_disk_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    store = ContainerStore(tmp_path)
    record = made()
    store.make(record.id)
    await store.save(record)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    record.name = "lost"
    with pytest.raises(OSError, match="No space"):
        await store.save(record)
    monkeypatch.undo()
    assert store.load()[0][0].name == "name1"


def test_removal_takes_what_was_written_while_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ContainerStore(tmp_path)
    directory = store.directory(made().id)
    directory.mkdir()
    (directory / "bundle").mkdir()
    remove_directory = os.rmdir
    late = [directory / "exit", directory / "oom"]

    def rmdir(path: Any, **options: Any) -> None:
        if late and Path(path).name in (directory.name, "."):
            late.pop().touch()
        remove_directory(path, **options)

    monkeypatch.setattr("os.rmdir", rmdir)
    store.remove(made().id)
    assert late == []
    assert list(tmp_path.iterdir()) == []


def test_inspect_has_every_field_of_dockers() -> None:
    body = describe(
        made(), driver="overlay2", directories={}, etc=Path("/e"), log_path=Path("/l"), exec_ids=[]
    )
    assert set(body) == {
        *("Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath"),
        *("LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel", "ProcessLabel", "ExecIDs"),
        *("AppArmorProfile", "HostConfig", "GraphDriver", "Mounts", "Config", "NetworkSettings"),
    }
    assert body["ExecIDs"] is None
    assert body["Name"] == "/name1"
    assert body["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert "Health" not in body["State"]
    assert body["Mounts"] == [
        {
            **{"Type": "volume", "Name": "v", "Source": "/s", "Destination": "/v", "Driver": "local"},
            **{"Mode": "", "RW": True, "Propagation": ""},
        }
    ]


def test_the_default_bridges_settings_stand_at_the_top_too() -> None:
    record = made(networks={"bridge": {"IPAddress": "1.2.3.4", "IPPrefixLen": 16, "Aliases": None}})
    settings = inspect.network_settings(record)
    assert (settings["IPAddress"], settings["IPPrefixLen"]) == ("1.2.3.4", 16)
    assert settings["Networks"]["bridge"]["GwPriority"] == 0
    assert settings["Networks"]["bridge"]["Aliases"] is None
    record.networks = {"mine": {"IPAddress": "1.2.3.4"}}
    assert inspect.network_settings(record)["IPAddress"] == ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Created"),
        ({"state": State.RUNNING, "started_ns": NOW_NS - 2 * MINUTE_NS}, "Up 2 minutes"),
        ({"state": State.PAUSED, "started_ns": NOW_NS - 2 * MINUTE_NS}, "Up 2 minutes (Paused)"),
        (
            {"state": State.RUNNING, "started_ns": NOW_NS, "health": Health()},
            "Up Less than a second (health: starting)",
        ),
        (
            {"state": State.RUNNING, "started_ns": NOW_NS, "health": Health("healthy")},
            "Up Less than a second (healthy)",
        ),
        (
            {"state": State.EXITED, "finished_ns": NOW_NS - 3 * MINUTE_NS, "exit_code": 7},
            "Exited (7) 3 minutes ago",
        ),
        ({"state": State.EXITED}, "Created"),
        (
            {"state": State.RESTARTING, "finished_ns": NOW_NS, "exit_code": 1},
            "Restarting (1) Less than a second ago",
        ),
        ({"state": State.DEAD}, "Dead"),
        ({"state": State.REMOVING}, "Removal In Progress"),
    ],
)
def test_status_for_people(changes: dict[str, Any], text: str) -> None:
    assert status(made(**changes), NOW_NS) == text


def test_rows_of_the_list() -> None:
    row = summarize(made(), NOW_NS)
    assert (row["Names"], row["Command"], row["State"]) == (["/name1"], "a 'b c'", "created")
    assert command_line(made(args=[])) == "a"


def test_ports_are_shown_while_it_runs() -> None:
    record = made(
        state=State.RUNNING,
        ports={"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]},
    )
    record.config["ExposedPorts"] = {"80/tcp": {}, "53/udp": {}}
    assert ports(record) == [
        {"PrivatePort": 53, "Type": "udp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
    ]
    record.state = State.EXITED
    assert ports(record) == []


async def test_references_and_names() -> None:
    table = Table()
    for number, name in ((0xAAA, "one"), (0xAAB, "two")):
        container = Container(made(number, id=f"{number:x}".ljust(64, "0"), name=name))
        table.claim(name, container.id)
        table.add(container)
    assert table.find("one").record.name == "one"
    assert table.find("/two").record.name == "two"
    assert table.find("aab").record.name == "two"
    with pytest.raises(
        InvalidArgument, match=r"multiple IDs found with provided prefix: aa: .*\(one\).*\(two\)"
    ):
        table.find("aa")
    for missing in ("", "b", "/", "onee"):
        with pytest.raises(NotFound, match="No such container: "):
            table.find(missing)
    with pytest.raises(Conflict, match='The container name "/one" is already in use by container "aaa0'):
        table.claim("one", "x")
    table.remove(table.find("one"))
    assert table.claim("one", "x") == "one"


async def test_waiters_are_told_once_and_may_give_up() -> None:
    container = Container(made(exit_code=3))
    first, second = container.waiter(container.waiters), container.waiter(container.waiters)
    gone = container.waiter(container.removed)
    second.cancel()
    container.tell_exit()
    assert await first == {"StatusCode": 3, "Error": None}
    container.tell_removed("no")
    assert await gone == {"StatusCode": 3, "Error": {"Message": "no"}}
    assert (container.waiters, container.removed) == ([], [])


def test_prune_takes_what_does_not_run() -> None:
    table = Table()
    for number, state in enumerate(State):
        record = made(number, state=state)
        record.config["Labels"] = {"n": str(number)}
        table.add(Container(record))

    def names(**filters: list[str]) -> set[State]:
        wanted = {key.replace("_not", "!"): value for key, value in filters.items()}
        return {record.state for record in listing.prunable(table, wanted, NOW_NS)}

    assert names() == {State.CREATED, State.EXITED, State.DEAD}
    assert names(label=["n=0"]) == {State.CREATED}
    assert names(label_not=["n=0"]) == {State.EXITED, State.DEAD}
    assert names(until=["1h"]) == set()
    assert names(until=["1m"]) == names()
    with pytest.raises(InvalidArgument, match="more than one until"):
        names(until=["1h", "2h"])
    with pytest.raises(InvalidArgument, match="invalid filter 'name'"):
        names(name=["x"])

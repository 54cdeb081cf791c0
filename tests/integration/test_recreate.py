"""A container that the stock client made with every option it knows is edited, duplicated, given a newer
image in its turn. Nothing but what was asked for differs, though the engine is killed in the middle.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from containers_app.fields import texts_of
from containers_app.forms import RunForm
from containers_app.intent import intent_of
from containers_app.recreate import Recreate
from containers_app.succession import creation, kept_name, with_volumes, without_addresses
from runtime.api.client import EngineClient
from tests.conformance.test_recreate import Notes, lasting
from tests.integration.installation import Installation, eventually

FIRST, SECOND = "10.213.41", "10.213.42"
SETUP = f"""
network create --subnet {FIRST}.0/24 first
network create --subnet {SECOND}.0/24 second
run -d --name db --network first webdock/busybox sleep 1000
create --name donor -v /of-donor webdock/busybox true
"""
EVERYTHING = f"""
run -d -t -i --name every --hostname box --domainname example.org --init --read-only -P
-e A=1 -e B=two\\ words -e EMPTY= --annotation a.b/c=d
-l com.docker.compose.project=shop -l com.docker.compose.service=web -l com.docker.compose.config-hash=abc
-l "odd.key=<b> &" -p 127.0.0.1::80 -p 127.0.0.1::82/udp --expose 81/udp
-v named:/named:ro -v /anonymous -v kept:/kept:nocopy --volumes-from donor:ro --tmpfs /run:size=1m
--mount type=volume,source=mounted,target=/mounted,volume-nocopy --mount type=volume,target=/nameless
--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770
--mount type=bind,source=/usr/share,target=/share,readonly,bind-propagation=rprivate
--network name=first,alias=web,alias=www,ip={FIRST}.77,mac-address=02:42:00:00:00:77,driver-opt=k=v
--link db:database --add-host peer:192.0.2.1 --dns 10.0.0.53 --dns-search example.org --dns-option ndots:2
--restart on-failure:7 --stop-signal INT --stop-timeout 3
-m 64m --memory-reservation 32m --memory-swap 128m --cpus .5 -c 512 --cpuset-cpus 0 --pids-limit 99
--shm-size 1m --oom-score-adj 100 --ulimit nofile=1024:2048 --ulimit core=0
--cap-add NET_ADMIN --cap-drop MKNOD --device /dev/null:/dev/nil:r --device-cgroup-rule 'c 1:3 r'
--sysctl net.ipv4.ip_unprivileged_port_start=0 --group-add 99 --security-opt no-new-privileges
--ipc shareable --cgroupns private --userns host -u 0:0 -w /tmp
--health-cmd true --health-interval 1s --health-timeout 9s --health-retries 9 --health-start-period 5s
--log-driver json-file --log-opt max-size=1m --log-opt max-file=2 --entrypoint sh
webdock/busybox -c 'trap exit INT; while :; do sleep 0.1; done'
"""
STEPS = ("container_create", "network_connect", "container_stop", "container_start")
# An image's defaults, then those of a newer one with the same tag.
OLD = (
    *("ENV OLD=1", "ENV BOTH=old", "ENV MINE=image", "LABEL release=1", "LABEL team=image", "WORKDIR /tmp"),
    *("USER 1000", "EXPOSE 80", "VOLUME /data", 'CMD ["sleep", "1001"]', "STOPSIGNAL TERM"),
)
NEW = (
    *("ENV NEW=1", "ENV BOTH=new", "ENV MINE=newer", "LABEL release=2", "LABEL team=newer", "WORKDIR /usr"),
    *("USER 1001", "EXPOSE 81", "VOLUME /data", "VOLUME /more", 'CMD ["sleep", "1002"]', "STOPSIGNAL INT"),
)


@pytest.fixture
def every(installation: Installation) -> Any:
    """The container's inspect document; all that is around it goes afterwards."""
    for line in SETUP.strip().splitlines():
        installation.docker(*line.split())
    try:
        installation.docker(*shlex.split(EVERYTHING))
        installation.docker("network", "connect", "--ip", f"{SECOND}.9", "--alias", "side", "second", "every")
        yield installation.client.get("/containers/every/json")
    finally:
        installation.remove_containers()
        installation.docker("network", "rm", "first", "second")


class Interrupted:
    """The engine's client; the engine is killed as one call is on its way."""

    def __init__(self, client: EngineClient, installation: Installation, method: str) -> None:
        self._client, self._installation, self._method = client, installation, method

    def __getattr__(self, name: str) -> Any:
        real: Callable[..., Awaitable[Any]] = getattr(self._client, name)
        if name != self._method:
            return real

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._method = ""
            asked = asyncio.ensure_future(real(*args, **kwargs))
            await asyncio.sleep(0.01)
            os.kill(self._installation.engine_pid(), signal.SIGKILL)
            return await asked

        return call


async def look(client: EngineClient, id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(inspect document, intent)."""
    document = await client.container_inspect(id)
    image = await client.image_inspect(document["Image"])
    return document, intent_of(document, image, await client.info())


def typed(base: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The body after a form that was filled from this one came back with a change."""
    texts = {name: value for name, value in texts_of(base).items() if value is not False}
    change(texts)
    form = RunForm(texts, base=base)
    assert form.is_valid(), form.errors
    return form.body()


def other_variable(texts: dict[str, Any]) -> None:
    texts["env"] = texts["env"].replace("A=1", "A=2")


async def recreate(
    installation: Installation, id: str, change: Callable[[dict[str, Any]], None], killed_at: str = ""
) -> Notes:
    client = EngineClient(f"unix://{installation.run}/engine.sock")
    try:
        document, intent = await look(client, id)
        body = typed(with_volumes(intent, document), change)
        name = document["Name"].removeprefix("/")
        notes = Notes(document["Id"], name, name, kept_name(name, document["Id"]), *creation(body))
        talker: Any = Interrupted(client, installation, killed_at) if killed_at else client
        await Recreate(talker, notes, up_s=0.2).run()
        return notes
    finally:
        await client.close()


def settings_of(document: dict[str, Any]) -> dict[str, Any]:
    found = lasting(document)
    if found["HostConfig"]["MemorySwappiness"] == -1:  # docker's client says so for the machine's own
        found["HostConfig"]["MemorySwappiness"] = None
    return found


def same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Nothing differs but a variable, and that anonymous volumes have their names among the binds."""
    one, two = settings_of(before), settings_of(after)
    volumes = {mount["Destination"]: mount.get("Name") for mount in before["Mounts"]}
    assert {mount["Destination"]: mount.get("Name") for mount in after["Mounts"]} == volumes
    assert [*two["Config"].pop("Env")] == [
        "A=2" if entry == "A=1" else entry for entry in one["Config"].pop("Env")
    ]
    extra = set(two["HostConfig"].pop("Binds")) - set(one["HostConfig"].pop("Binds"))
    assert extra == {f"{volumes['/anonymous']}:/anonymous"}
    for document in (one, two):
        document["Config"].pop("Volumes", None)
        for mount in document["HostConfig"]["Mounts"]:
            if mount["Target"] == "/nameless":
                mount["Source"] = volumes["/nameless"]
    assert two == one


async def test_an_edit_changes_what_was_edited_and_nothing_else(
    installation: Installation, every: dict[str, Any]
) -> None:
    notes = await recreate(installation, "every", other_variable)
    assert (notes.outcome, notes.failure, notes.warning) == ("done", "", "")
    after = installation.client.get("/containers/every/json")
    assert after["Id"] != every["Id"]
    same(every, after)
    assert after["State"]["Running"]
    # Once more: nothing is lost by and by.
    notes = await recreate(installation, "every", lambda texts: None)
    assert notes.outcome == "done"
    again = installation.client.get("/containers/every/json")
    assert lasting(again) == lasting(after)
    assert len(installation.client.get("/containers/json?all=1")) == 3


@pytest.mark.parametrize("step", STEPS)
async def test_an_engine_that_is_killed_at_any_step_is_gone_on_with(
    installation: Installation, every: dict[str, Any], step: str
) -> None:
    notes = await recreate(installation, "every", other_variable, killed_at=step)
    eventually(lambda: installation.client.get("/_ping") == "OK", what="the engine is back")
    assert (notes.outcome, notes.failure, notes.warning) == ("done", "", "")
    same(every, installation.client.get("/containers/every/json"))
    names = {row["Names"][0] for row in installation.client.get("/containers/json?all=1")}
    assert names == {"/every", "/db", "/donor"}


async def test_one_that_fails_brings_the_old_one_back_as_it_was(
    installation: Installation, every: dict[str, Any]
) -> None:
    def breaks(field: str, text: str) -> Callable[[dict[str, Any]], None]:
        return lambda texts: texts.update({field: text})

    before = installation.client.get("/volumes")
    for change in (
        breaks("runtime", "no-such"),  # at the creation
        breaks("network", f"first alias=web\nsecond ip={FIRST}.200"),  # at the second network
        breaks("entrypoint", "/no/such/program"),  # at the start
        breaks("command", "-c 'exit 3'"),  # up and gone
        breaks("health_cmd", "false"),  # never healthy
    ):
        notes = await recreate(installation, "every", change)
        assert (notes.outcome, notes.warning) == ("undone", "")
        assert notes.failure
        after = installation.client.get("/containers/every/json")
        assert after["Id"] == every["Id"]
        assert after["State"]["Running"]
        assert lasting(after) == lasting(every)
        assert len(installation.client.get("/containers/json?all=1")) == 3
    names = [
        sorted(one["Name"] for one in found["Volumes"])
        for found in (before, installation.client.get("/volumes"))
    ]
    assert names[0] == names[1]


async def test_a_duplicate_is_the_same_but_for_what_only_one_can_have(
    installation: Installation, every: dict[str, Any]
) -> None:
    client = EngineClient(f"unix://{installation.run}/engine.sock")
    try:
        _document, intent = await look(client, "every")
        body, networks = creation(typed(without_addresses(intent), lambda texts: None))
        made = await client.container_create(body, name=f"twin-{uuid.uuid4().hex[:6]}")
        for network, settings in networks:
            await client.network_connect(network, {"Container": made["Id"], "EndpointConfig": settings})
        await client.container_start(made["Id"])
        after = await client.container_inspect(made["Id"])
    finally:
        await client.close()
    one, two = settings_of(every), settings_of(after)
    for document in (one, two):
        name = document.pop("Name")
        document["Config"].pop("MacAddress", None)
        document["HostConfig"]["Links"] = [link.replace(name, "") for link in document["HostConfig"]["Links"]]
        document["Mounts"] = [
            mount if mount["Destination"] not in ("/anonymous", "/nameless") else mount["Destination"]
            for mount in document["Mounts"]
        ]
        for settings in document["Networks"].values():
            settings["IPAMConfig"] = None
    assert two == one
    own = {
        place: {
            mount["Name"]
            for found in (every, after)
            for mount in found["Mounts"]
            if mount["Destination"] == place
        }
        for place in ("/anonymous", "/nameless", "/named")
    }
    assert {place: len(names) for place, names in own.items()} == {
        "/anonymous": 2,
        "/nameless": 2,
        "/named": 1,
    }


async def test_a_newer_image_brings_its_defaults_and_leaves_what_was_asked(
    installation: Installation,
) -> None:
    def commit(*changes: str) -> None:
        options = [word for change in changes for word in ("--change", change)]
        installation.docker("commit", *options, "maker", "moving:1")

    installation.docker("create", "--name", "maker", "webdock/busybox", "true")
    commit(*OLD)
    installation.docker(
        "run",
        "-d",
        "--name",
        "moved",
        "-e",
        "MINE=own",
        "-e",
        "OWN=1",
        "-l",
        "team=own",
        "-w",
        "/",
        "--stop-timeout",
        "1",
        "moving:1",
    )
    before = installation.client.get("/containers/moved/json")
    commit(*NEW)
    try:
        notes = await recreate(installation, "moved", lambda texts: None)
        assert (notes.outcome, notes.failure) == ("done", "")
        after = installation.client.get("/containers/moved/json")
        assert after["Image"] != before["Image"]
        config = after["Config"]
        env = {entry.partition("=")[0]: entry.partition("=")[2] for entry in config["Env"]}
        env.pop("PATH", None)
        assert env == {"NEW": "1", "BOTH": "new", "MINE": "own", "OWN": "1"}
        assert {key: config["Labels"][key] for key in ("release", "team")} == {"release": "2", "team": "own"}
        assert (config["WorkingDir"], config["User"], config["Cmd"], config["StopSignal"]) == (
            "/", "1001", ["sleep", "1002"], "INT",
        )  # fmt: skip
        assert list(config["ExposedPorts"]) == ["81/tcp"]
        mounts = [{mount["Destination"]: mount["Name"] for mount in one["Mounts"]} for one in (before, after)]
        assert mounts[1].keys() == {"/data", "/more"}
        assert mounts[1]["/data"] == mounts[0]["/data"]
    finally:
        installation.remove_containers()
        installation.docker("rmi", "-f", "moving:1")

"""Recreating a container loses nothing, on every engine: the new one's document is the old one's."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from typing import Any

from containers_app.intent import intent_of
from containers_app.recreate import Recreate
from containers_app.succession import creation, kept_name, with_volumes
from runtime.api.client import EngineClient
from runtime.api.errors import NotFound
from tests.conformance.conftest import BUSYBOX, UnderTest

# What is another one's by nature, or a moment's.
OBSERVED = frozenset(
    [
        "Id",
        "Created",
        "State",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "GraphDriver",
        "ExecIDs",
        "Args",
        "Path",
        "RestartCount",
    ]
)
OF_AN_ENDPOINT = ("IPAMConfig", "Aliases", "Links", "NetworkID", "DriverOpts")


@dataclass
class Notes:
    old_id: str
    name: str
    old_name: str
    kept_name: str
    body: dict[str, Any]
    networks: list[tuple[str, dict[str, Any]]]
    new_id: str = ""
    was: str = ""
    start: bool = True
    step: str = "asked"
    failure: str = ""
    warning: str = ""
    outcome: str = ""

    async def keep(self, *fields: str) -> None:
        pass


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what cannot be the same."""
    body = {key: copy.deepcopy(value) for key, value in document.items() if key not in OBSERVED}
    networks = body.pop("NetworkSettings")["Networks"]
    body["Networks"] = {
        name: {key: settings.get(key) for key in OF_AN_ENDPOINT} for name, settings in networks.items()
    }
    for settings in body["Networks"].values():  # Docker 20.10 adds the id
        settings["Aliases"] = [one for one in settings["Aliases"] or () if one != document["Id"][:12]]
    for mount in body["Mounts"]:
        mount.pop("Mode", None)  # "z" for a volume that has a name now, "" for one that had none
    body["Mounts"].sort(key=lambda one: str(one["Destination"]))
    body["HostConfig"]["Binds"] = sorted(body["HostConfig"]["Binds"] or ())
    return body


async def everything(client: EngineClient, engine: UnderTest, networks: list[str]) -> dict[str, Any]:
    """A create body with as many settings as one container can have."""
    body: dict[str, Any] = {
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"],
        "Entrypoint": ["env"],
        "Env": ["A=1", "SECRET=with = and 'quotes'", "EMPTY="],
        "Labels": {"team": "shop", "com.example/odd key": "<b>&"},
        "ExposedPorts": {"81/udp": {}},
        "WorkingDir": "/tmp",
        "User": "0:0",
        "Domainname": "example.org",
        "Hostname": "box",
        "Tty": True,
        "OpenStdin": True,
        "StopSignal": "TERM",
        "StopTimeout": 3,
        "Volumes": {"/anonymous": {}},
        "Healthcheck": {
            "Test": ["CMD-SHELL", "true"],
            "Interval": 200_000_000,
            "Timeout": 10**10,
            "Retries": 50,
        },
        "HostConfig": {
            "Binds": ["named:/named:ro"],
            "Mounts": [
                {"Type": "volume", "Source": "mounted", "Target": "/mounted"},
                {"Type": "tmpfs", "Target": "/t"},
            ],
            "Tmpfs": {"/run": "size=1m"},
            "NetworkMode": networks[0],
            "PortBindings": {"81/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 7},
            "Memory": 64 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": 99,
            "CpuShares": 512,
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["MKNOD"],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nil", "CgroupPermissions": "r"}],
            "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Dns": ["127.0.0.1"],
            "DnsSearch": ["example.org"],
            "ExtraHosts": ["peer:192.0.2.1"],
            "GroupAdd": ["99"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "OomScoreAdj": 100,
            "ShmSize": 1 << 20,
        },
        "NetworkingConfig": {"EndpointsConfig": {networks[0]: {"Aliases": ["shop", "web"]}}},
    }
    if engine.kind == "fake":  # its containers are this machine's processes
        body |= {"Entrypoint": None, "User": "", "Healthcheck": None}
        body = {key: value for key, value in body.items() if value is not None}
        body["HostConfig"]["PortBindings"] = {"81/udp": [{"HostIp": "127.0.0.1", "HostPort": "18181"}]}
        del body["HostConfig"]["Mounts"]
    return body


async def test_recreating_keeps_every_setting(client: EngineClient, engine: UnderTest) -> None:
    tag = uuid.uuid4().hex[:8]
    networks = [f"one-{tag}", f"two-{tag}"]
    third = uuid.uuid4().int % 200 + 20
    name, new_id = f"recreated-{tag}", ""
    # Engines that are tried side by side are on one host.
    prefix = f"10.{ {'fake': 205, 'native': 206, 'docker': 207}[engine.kind] }"
    pools = [{"Subnet": f"{prefix}.{third + n}.0/24"} for n in (0, 1)]
    for network, pool in zip(networks, pools, strict=True):
        await client.network_create({"Name": network, "IPAM": {"Config": [pool]}})
    try:
        body = await everything(client, engine, networks)
        old_id = str((await client.container_create(body, name=name))["Id"])
        try:
            fixed = {"IPAMConfig": {"IPv4Address": f"{prefix}.{third + 1}.77"}, "Aliases": ["second"]}
            await client.network_connect(networks[1], {"Container": old_id, "EndpointConfig": fixed})
            await client.container_start(old_id)
            before = await client.container_inspect(old_id)
            image = await client.image_inspect(before["Image"])
            intent = with_volumes(intent_of(before, image, await client.info()), before)
            notes = Notes(old_id, name, name, kept_name(name, old_id), *creation(intent))
            await Recreate(client, notes, up_s=0.2).run()
            new_id = notes.new_id
            assert (notes.outcome, notes.failure, notes.warning) == ("done", "", "")
            after = await client.container_inspect(name)
        finally:
            for id in (old_id, new_id):
                if id:
                    await _removed(client, id)
    finally:
        for network in networks:
            await client.network_remove(network)
    one, two = lasting(before), lasting(after)
    # The anonymous volume has its name among the binds from now on.
    extra = set(two["HostConfig"]["Binds"]) - set(one["HostConfig"]["Binds"])
    anonymous = [mount["Name"] for mount in before["Mounts"] if mount["Destination"] == "/anonymous"]
    assert extra == {f"{volume}:/anonymous" for volume in anonymous}
    two["HostConfig"]["Binds"] = one["HostConfig"]["Binds"]
    two["Config"]["Volumes"] = one["Config"]["Volumes"]
    assert two == one
    assert after["State"]["Running"]


async def _removed(client: EngineClient, id: str) -> None:
    try:
        await client.container_remove(id, force=True, volumes=True)
    except NotFound:
        pass

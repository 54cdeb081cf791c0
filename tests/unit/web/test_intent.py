"""The intent of a container: what its image and engine say anyway is left out, everything else is kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers_app.intent import intent_of
from containers_app.succession import creation, kept_name, refusal, with_volumes, without_addresses
from runtime.containers import bodies

ID = "a1b2c3d4e5f6" + "0" * 52
INFO = {"CgroupVersion": "2", "DefaultRuntime": "crun", "Name": "machine", "SwapLimit": True}
IMAGE = {
    "Env": ["PATH=/usr/bin", "LANG=C"],
    "Cmd": ["serve"],
    "Entrypoint": ["/entry"],
    "Labels": {"maker": "us"},
    "User": "app",
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 3},
}


def inspected(body: dict[str, Any], image: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The document an engine gives of a container made of this body; made by the engine's own merging."""
    config = bodies.container_config(body, image)
    host = bodies.host_config(body.get("HostConfig") or {}, runtime="crun", cgroup_version=2)
    config["Hostname"] = config["Hostname"] or ID[:12]
    if host["Memory"] and not host["MemorySwap"]:
        host["MemorySwap"] = 2 * host["Memory"]
    endpoints = dict((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    mode = host["NetworkMode"]
    networks = {mode: {}} | endpoints if mode not in ("host", "none") else {}
    shown = {
        name: {
            "IPAMConfig": None,
            "Aliases": None,
            "MacAddress": "02:42:0a:00:00:07",
            "IPAddress": "10.0.0.7",
            **one,
        }
        for name, one in networks.items()
    }
    return {
        "Id": ID,
        "Name": "/web",
        "Config": config,
        "HostConfig": host,
        "NetworkSettings": {"Networks": shown},
        "State": {"Status": "running"},
        **more,
    }


words = st.lists(st.text("abc /'\"$-", min_size=1, max_size=6), min_size=1, max_size=3)
names = st.text("abcdefgh", min_size=1, max_size=6)
sizes = st.integers(1, 1 << 40)


def rarely(strategy: Any) -> Any:
    return st.one_of(st.just(None), strategy)


CONFIG = {
    "Cmd": words,
    "Entrypoint": words,
    "Env": st.dictionaries(st.text("ABCD", min_size=1, max_size=3), names, min_size=1, max_size=4).map(
        lambda found: [f"{name}={value}" for name, value in found.items()]
    ),
    "Labels": st.dictionaries(names, st.text(max_size=5), min_size=1, max_size=3),
    "ExposedPorts": st.just({"81/udp": {}}),
    "Volumes": st.just({"/own": {}}),
    "User": st.just("1000:1000"),
    "WorkingDir": st.just("/elsewhere"),
    "Hostname": st.just("box"),
    "Domainname": names,
    "MacAddress": st.just("02:00:00:00:00:09"),
    "Tty": st.just(True),
    "OpenStdin": st.just(True),
    "StdinOnce": st.just(True),
    "StopSignal": st.just("SIGINT"),
    "StopTimeout": st.integers(0, 99),
    "Healthcheck": st.fixed_dictionaries(
        {"Test": st.just(["CMD-SHELL", "x"]), "Timeout": sizes, "StartInterval": sizes}
    ),
}  # fmt: skip
MOUNTS = [
    {"Type": "volume", "Source": "v", "Target": "/m", "VolumeOptions": {"Subpath": "s"}},
    {
        "Type": "volume",
        "Target": "/n",
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": {"a": "b=c"},
            "DriverConfig": {"Name": "local", "Options": {"type": "nfs", "o": "addr=1.2.3.4,rw"}},
        },
    },
    {
        "Type": "bind",
        "Source": "/a,b",
        "Target": "/b",
        "ReadOnly": True,
        "Consistency": "cached",
        "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
    },
    {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 0o1770}},
]
HOST = {
    "Binds": st.lists(
        st.sampled_from(["/a:/b:ro", "vol:/c", "/x:/y:rshared,z", "other:/d:nocopy"]), min_size=1, unique=True
    ),
    "Mounts": st.lists(st.sampled_from(MOUNTS), min_size=1, max_size=3),
    "Tmpfs": st.just({"/run": "size=1m"}),
    "PortBindings": st.just({"81/udp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}),
    "RestartPolicy": st.just({"Name": "on-failure", "MaximumRetryCount": 7}),
    "Memory": st.integers(6 << 20, 1 << 40),
    "NanoCpus": st.integers(10**7, 10**12),
    "PidsLimit": st.integers(1, 999),
    "CapAdd": st.just(["NET_ADMIN"]),
    "CapDrop": st.just(["ALL"]),
    "Devices": st.just([{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]),
    "Sysctls": st.just({"net.core.somaxconn": "9"}),
    "Ulimits": st.just([{"Name": "nofile", "Soft": 1, "Hard": 2}]),
    "LogConfig": st.just({"Type": "json-file", "Config": {"max-size": "1m"}}),
    "Dns": st.just(["10.0.0.1"]),
    "ExtraHosts": st.just(["a:1.2.3.4"]),
    "GroupAdd": st.just(["audio"]),
    "SecurityOpt": st.just(["no-new-privileges"]),
    "ReadonlyRootfs": st.just(True),
    "Init": st.booleans(),
    "ShmSize": st.just(1 << 20),
    "OomScoreAdj": st.just(500),
    "CgroupParent": st.just("some"),
    "Annotations": st.just({"a": "b"}),
    "MaskedPaths": st.just([]),
    "BlkioWeight": st.just(300),
    "PidMode": st.just("host"),
    "UsernsMode": st.just("host"),
    "CgroupnsMode": st.just("host"),
    "VolumesFrom": st.just(["web:ro"]),
    "DnsOptions": st.just(["ndots:2"]),
    "CpuPeriod": st.just(50_000),
    "CpuQuota": st.just(25_000),
    "CpuRealtimePeriod": st.just(1_000_000),
    "CpuRealtimeRuntime": st.just(950_000),
    "CpusetMems": st.just("0"),
    "MemorySwappiness": st.sampled_from([0, 60]),
    "DeviceCgroupRules": st.just(["c 188:* rwm"]),
    "Links": st.just(["db:database"]),
    "StorageOpt": st.just({"size": "2G"}),
    "VolumeDriver": st.just("local"),
    "OomKillDisable": st.just(True),
    "BlkioWeightDevice": st.just([{"Path": "/dev/sda", "Weight": 300}]),
    "BlkioDeviceReadBps": st.just([{"Path": "/dev/sda", "Rate": 1 << 20}]),
    "BlkioDeviceWriteIOps": st.just([{"Path": "/dev/sda", "Rate": 1000}, {"Path": "/dev/sdb", "Rate": 7}]),
    "DeviceRequests": st.just([{"Count": -1, "Capabilities": [["gpu"]]}]),
}  # fmt: skip
ENDPOINTS = st.dictionaries(
    st.sampled_from(["front", "back", "side"]),
    st.sampled_from(
        [{}, {"Aliases": ["db", "cache"]}, {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["x"]},
         {"MacAddress": "02:00:00:00:00:08"}, {"Links": ["a:b"], "GwPriority": 5, "DriverOpts": {"k": "v"}}]
    ),
    min_size=1,
)  # fmt: skip


@st.composite
def asked(draw: Any) -> dict[str, Any]:
    body = {key: value for key, strategy in CONFIG.items() if (value := draw(rarely(strategy))) is not None}
    host = {key: value for key, strategy in HOST.items() if (value := draw(rarely(strategy))) is not None}
    if "NanoCpus" in host:  # the same in other words
        host.pop("CpuPeriod", None), host.pop("CpuQuota", None)
    body["Image"] = "shop:1"
    networks = draw(rarely(ENDPOINTS))
    if networks:
        host["NetworkMode"] = next(iter(networks))
        body["NetworkingConfig"] = {"EndpointsConfig": networks}
    body["HostConfig"] = host
    return body


@settings(max_examples=40, deadline=None, derandomize=True)
@given(asked(), st.sampled_from([{}, IMAGE]))
def test_an_intent_made_and_looked_at_is_the_same_intent(body: dict[str, Any], image: dict[str, Any]) -> None:
    document = inspected(body, image)
    intent = intent_of(document, {"Config": image}, INFO)
    again = inspected(intent, image)
    assert again == document
    assert intent_of(again, {"Config": image}, INFO) == intent


@settings(max_examples=40, deadline=None, derandomize=True)
@given(asked())
def test_what_was_asked_is_in_the_intent(body: dict[str, Any]) -> None:
    intent = intent_of(inspected(body, IMAGE), {"Config": IMAGE}, INFO)
    for key, value in body.items():
        if key not in ("HostConfig", "NetworkingConfig"):
            assert intent[key] == value, key
    for key, value in body["HostConfig"].items():
        if (key, value) != ("RestartPolicy", {"Name": "no"}):
            assert intent["HostConfig"][key] == value, key
    assert (
        intent.get("NetworkingConfig", {"EndpointsConfig": {"bridge": {}}})["EndpointsConfig"]
        == (body.get("NetworkingConfig", {"EndpointsConfig": {"bridge": {}}})["EndpointsConfig"])
    )


def test_an_image_that_is_gone_has_no_defaults() -> None:
    document = inspected({"Image": "shop:1", "HostConfig": {}}, IMAGE)
    intent = intent_of(document, {}, INFO)
    assert intent["Env"] == IMAGE["Env"]
    assert (intent["Entrypoint"], intent["Cmd"]) == (IMAGE["Entrypoint"], IMAGE["Cmd"])
    assert (intent["User"], intent["Volumes"]) == ("app", {"/data": {}})


def test_nothing_asked_is_nothing_but_an_image_and_a_network() -> None:
    intent = intent_of(inspected({"Image": "shop:1", "HostConfig": {}}, IMAGE), {"Config": IMAGE}, INFO)
    assert intent == {
        "Image": "shop:1",
        "HostConfig": {
            "LogConfig": {"Type": "json-file", "Config": {}},
            "IpcMode": "private",
            "NetworkMode": "bridge",
        },
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked_for", "seen"),
    [
        ({}, {}),
        ({"Cmd": ["other"]}, {"Cmd": ["other"]}),
        ({"Entrypoint": [""], "Cmd": ["sh"]}, {"Entrypoint": [""], "Cmd": ["sh"]}),
        ({"Entrypoint": ["/entry"]}, {"Entrypoint": ["/entry"]}),
        ({"Entrypoint": [""], "Cmd": ["serve"]}, {"Entrypoint": [""], "Cmd": ["serve"]}),
        ({"Entrypoint": ["/entry"], "Cmd": ["serve"]}, {}),
    ],
)
def test_a_cleared_entrypoint_is_told_from_the_images(
    asked_for: dict[str, Any], seen: dict[str, Any]
) -> None:
    document = inspected({"Image": "shop:1", **asked_for}, IMAGE)
    intent = intent_of(document, {"Config": IMAGE}, INFO)
    assert {key: intent[key] for key in ("Entrypoint", "Cmd") if key in intent} == seen
    assert inspected(intent, IMAGE)["Config"] == document["Config"]


def test_a_variable_of_the_image_that_is_gone_stays_gone() -> None:
    document = inspected({"Image": "shop:1"}, IMAGE)
    document["Config"]["Env"] = ["PATH=/usr/bin"]
    assert intent_of(document, {"Config": IMAGE}, INFO)["Env"] == ["LANG"]


def test_spellings_of_docker_are_taken_back() -> None:
    document = inspected({"Image": "shop:1", "HostConfig": {"NetworkMode": "front"}}, {})
    document["HostConfig"]["Links"] = ["/db:/web/database"]
    document["HostConfig"]["ContainerIDFile"] = "/home/me/cid"
    document["NetworkSettings"]["Networks"] = {"front": {"Aliases": ["web", ID[:12]], "MacAddress": ""}}
    intent = intent_of(document, {}, INFO)
    assert intent["HostConfig"]["Links"] == ["db:database"]
    assert "ContainerIDFile" not in intent["HostConfig"]
    assert intent["NetworkingConfig"]["EndpointsConfig"] == {"front": {"Aliases": ["web"]}}


def test_the_host_name_is_not_asked_for_where_it_is_shared() -> None:
    for host in ({"NetworkMode": "container:x"}, {"UTSMode": "host"}):
        document = inspected({"Image": "shop:1", "Hostname": "box", "HostConfig": host}, {})
        assert "Hostname" not in intent_of(document, {}, INFO), host
    document = inspected(
        {"Image": "shop:1", "Hostname": "machine", "HostConfig": {"NetworkMode": "host"}}, {}
    )
    assert "Hostname" not in intent_of(document, {}, INFO)


def test_a_network_it_was_taken_off_is_not_asked_for_again() -> None:
    document = inspected({"Image": "shop:1"}, {})
    document["NetworkSettings"]["Networks"] = {"side": {}}
    intent = intent_of(document, {}, INFO)
    assert intent["HostConfig"]["NetworkMode"] == "side"
    assert creation(intent)[1] == []


def test_defaults_of_a_machine_are_no_intent() -> None:
    document = inspected({"Image": "shop:1"}, {})
    document["HostConfig"] |= {"CgroupnsMode": "host", "MemorySwap": -1, "Memory": 9 << 20}
    old = {**INFO, "CgroupVersion": "1", "SwapLimit": False}
    intent = intent_of(document, {}, old)
    assert not {"CgroupnsMode", "MemorySwap", "Runtime", "MaskedPaths"} & intent["HostConfig"].keys()
    assert intent_of(document, {}, {**INFO})["HostConfig"]["MemorySwap"] == -1


def test_further_networks_are_connected_one_by_one() -> None:
    endpoints = {"front": {"Aliases": ["web"]}, "back": {}, "side": {"Aliases": ["x"]}}
    body, further = creation(
        {
            "Image": "i",
            "HostConfig": {"NetworkMode": "front"},
            "NetworkingConfig": {"EndpointsConfig": endpoints},
        }
    )
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"front": {"Aliases": ["web"]}}}
    assert further == [("back", {}), ("side", {"Aliases": ["x"]})]


def test_anonymous_volumes_are_named() -> None:
    document = inspected(
        {
            "Image": "shop:1",
            "Volumes": {"/own": {}},
            "HostConfig": {"Binds": ["/bare", "vol:/c"], "Mounts": [{"Type": "volume", "Target": "/m"}]},
        },
        IMAGE,
        Mounts=[
            {"Type": "volume", "Name": name, "Destination": place}
            for name, place in (("v1", "/data"), ("v2", "/own"), ("v3", "/bare"), ("v4", "/m"), ("vol", "/c"))
        ],
    )  # fmt: skip
    intent = with_volumes(intent_of(document, {"Config": IMAGE}, INFO), document)
    assert intent["HostConfig"]["Binds"] == ["v3:/bare", "vol:/c", "v1:/data", "v2:/own"]
    assert intent["HostConfig"]["Mounts"] == [{"Type": "volume", "Target": "/m", "Source": "v4"}]
    assert "Volumes" not in intent


def test_what_only_one_can_have_is_not_duplicated() -> None:
    endpoints = {
        "front": {
            "IPAMConfig": {"IPv4Address": "10.0.0.9"},
            "MacAddress": "02:00:00:00:00:01",
            "Aliases": ["a"],
        }
    }
    body = without_addresses({"MacAddress": "x", "NetworkingConfig": {"EndpointsConfig": endpoints}})
    assert body == {"NetworkingConfig": {"EndpointsConfig": {"front": {"Aliases": ["a"]}}}}


def test_some_cannot_be_replaced() -> None:
    assert "--rm" in refusal({"HostConfig": {"AutoRemove": True}})
    assert refusal({"State": {"Status": "removing"}})
    assert not refusal({"State": {"Status": "exited"}})
    assert kept_name("web", ID) == "web-replaced-a1b2c3d4"

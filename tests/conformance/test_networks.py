"""Promises about networks and volumes as far as the API goes."""

from __future__ import annotations

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, Forbidden, InvalidArgument, NotFound
from tests.conformance.api import Api
from tests.conformance.conftest import MakeContainer, UnderTest, read_all


@pytest.fixture
async def network(client: EngineClient, name: str):  # type: ignore[no-untyped-def]
    created = await client.network_create({"Name": name, "Labels": {"cf": name}})
    yield created["Id"]
    try:
        await client.network_remove(name)
    except NotFound:
        pass


@pytest.fixture
async def volume(client: EngineClient, name: str):  # type: ignore[no-untyped-def]
    yield (await client.volume_create({"Name": name, "Labels": {"cf": name}}))["Name"]
    await client.volume_remove(name, force=True)


async def test_bridge_host_and_none_are_there(client: EngineClient) -> None:
    drivers = {network["Name"]: network["Driver"] for network in await client.network_list()}
    assert {"host": "host", "none": "null"}.items() <= drivers.items()
    assert drivers["bridge"] == "bridge"


async def test_a_network_is_found_by_name_id_and_prefix(
    client: EngineClient, network: str, name: str
) -> None:
    for ref in (name, network, network[:12]):
        found = await client.network_inspect(ref)
        assert (found["Id"], found["Name"], found["Driver"]) == (network, name, "bridge")
    assert found["IPAM"]["Config"][0]["Subnet"]
    assert found["Containers"] == {}


async def test_networks_are_filtered(client: EngineClient, network: str, name: str) -> None:
    found = await client.network_list(filters={"label": [f"cf={name}"]})
    assert [one["Id"] for one in found] == [network]


async def test_status_codes_of_networks(api: Api, client: EngineClient, name: str) -> None:
    assert (await api("POST", "/networks/create", json={"Name": name, "CheckDuplicate": True})).status == 201
    assert (await api("POST", "/networks/create", json={"Name": name, "CheckDuplicate": True})).status == 409
    assert (await api("DELETE", f"/networks/{name}")).status == 204
    answer = await api("DELETE", f"/networks/{name}")
    assert answer.status == 404
    assert f"network {name} not found" in answer.message


async def test_a_predefined_network_stays(client: EngineClient) -> None:
    with pytest.raises(Forbidden, match="pre-defined network"):
        await client.network_remove("host")


async def test_containers_join_and_leave(
    client: EngineClient, make_container: MakeContainer, network: str, name: str
) -> None:
    container = await make_container("sleep", "1000", start=True)
    await client.network_connect(name, {"Container": container})
    assert container in (await client.network_inspect(name))["Containers"]
    endpoints = (await client.container_inspect(container))["NetworkSettings"]["Networks"]
    assert endpoints[name]["NetworkID"] == network
    with pytest.raises(EngineError, match=r"(?i)active endpoints"):
        await client.network_remove(name)
    await client.network_disconnect(name, {"Container": container})
    assert (await client.network_inspect(name))["Containers"] == {}


async def test_an_ipv6_subnet_of_a_network_without_ipv6_is_shown_and_not_used(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    subnet = f"fd00:{name[3:7]}:{name[7:11]}::/64"
    made = await client.network_create({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})
    wish = {"IPAMConfig": {"IPv6Address": subnet.removesuffix("/64") + "9"}}
    try:
        container = await make_container(
            "sleep",
            "1000",
            start=True,
            HostConfig={"NetworkMode": name},
            NetworkingConfig={"EndpointsConfig": {name: wish}},
        )
        network = await client.network_inspect(name)
        assert network["EnableIPv6"] is False
        assert len([one for one in network["IPAM"]["Config"] if ":" in one["Subnet"]]) == 1
        got = (await client.container_inspect(container))["NetworkSettings"]["Networks"][name]
        assert (got["IPAMConfig"], got["GlobalIPv6Address"]) == (wish["IPAMConfig"], "")
        assert got["IPAddress"]
        await client.container_remove(container, force=True)
    finally:
        await client.network_remove(made["Id"])


async def test_a_link_local_address_is_given_beside_the_others(
    client: EngineClient, make_container: MakeContainer, network: str, name: str, engine: UnderTest
) -> None:
    wish = {"IPAMConfig": {"LinkLocalIPs": ["169.254.8.8"]}}
    container = await make_container(
        "sleep",
        "1000",
        start=True,
        HostConfig={"NetworkMode": name},
        NetworkingConfig={"EndpointsConfig": {name: wish}},
    )
    got = (await client.container_inspect(container))["NetworkSettings"]["Networks"][name]
    assert got["IPAMConfig"] == wish["IPAMConfig"]
    if engine.kind != "fake":
        session = await client.exec_create(
            container, {"Cmd": ["ip", "-4", "address"], "AttachStdout": True, "AttachStderr": True}
        )
        said = (await read_all(await client.exec_start(session)))[1].decode()
        assert "169.254.8.8/16" in said
        assert f"{got['IPAddress']}/" in said
    await client.container_remove(container, force=True)


async def test_an_unknown_network_is_not_found_at_start_or_create(
    client: EngineClient, make_container: MakeContainer
) -> None:
    async def run() -> None:
        container = await make_container("true", HostConfig={"NetworkMode": "nosuchnetwork"})
        await client.container_start(container)

    with pytest.raises(NotFound, match="network nosuchnetwork not found"):
        await run()


async def test_a_volume_is_made_found_and_removed(client: EngineClient, volume: str, name: str) -> None:
    found = await client.volume_inspect(name)
    assert (found["Name"], found["Driver"], found["Scope"]) == (name, "local", "local")
    assert found["Mountpoint"].endswith(f"/{name}/_data")
    listed = await client.volume_list(filters={"label": [f"cf={name}"]})
    assert [one["Name"] for one in listed["Volumes"]] == [name]
    await client.volume_remove(name)
    with pytest.raises(NotFound, match=r"(?i)no such volume"):
        await client.volume_inspect(name)


async def test_making_a_volume_twice_is_no_error(api: Api, volume: str) -> None:
    assert (await api("POST", "/volumes/create", json={"Name": volume})).status == 201


async def test_a_volume_without_a_name_gets_one(client: EngineClient) -> None:
    made = await client.volume_create({})
    assert len(made["Name"]) == 64
    await client.volume_remove(made["Name"])


@pytest.mark.parametrize("bad", ["a/b", "../x", "-x", "a b"])
async def test_a_bad_volume_name_is_refused(client: EngineClient, bad: str) -> None:
    with pytest.raises(InvalidArgument, match="includes invalid characters for a local volume name"):
        await client.volume_create({"Name": bad})


async def test_a_volume_in_use_is_not_removed(
    client: EngineClient, make_container: MakeContainer, volume: str, engine: UnderTest
) -> None:
    container = await make_container("true", HostConfig={"Binds": [f"{volume}:/data"]})
    with pytest.raises(Conflict, match="volume is in use"):
        await client.volume_remove(volume)
    mounts = (await client.container_inspect(container))["Mounts"]
    assert [(one["Type"], one["Name"], one["Destination"]) for one in mounts] == [("volume", volume, "/data")]
    await client.container_remove(container)


async def test_removing_no_volume_is_not_found_unless_forced(client: EngineClient) -> None:
    with pytest.raises(NotFound, match=r"(?i)no such volume"):
        await client.volume_remove("nosuchvolume")
    await client.volume_remove("nosuchvolume", force=True)

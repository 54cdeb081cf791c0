"""The verbs of /networks against a real kernel: create, connect, disconnect, remove, prune."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest

from runtime.api.errors import Conflict, EngineError, Forbidden, InvalidArgument, NotFound, NotSupported
from runtime.config import AddressPool
from runtime.network.endpoints import NetworkSetup
from runtime.network.networks import Member, Networks
from tests.integration.runtime.network.conftest import (
    Container,
    Host,
    MakeContainer,
    Site,
    bindings,
    connect,
    inside,
    listen,
    reaches,
    run,
)


class Directory:
    """The containers' room, as far as connect and disconnect ask it."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    def add(self, id: str, *, running: bool, mode: str = "default", **endpoints: dict[str, Any]) -> None:
        self.members[id] = Member(id, f"name-{id[:4]}", running, mode, endpoints)

    def network_member(self, ref: str) -> Member:
        for member in self.members.values():
            if ref in (member.id, member.name):
                return member
        raise NotFound(f"No such container: {ref}")

    async def save_endpoints(self, container_id: str, endpoints: dict[str, dict[str, Any]]) -> None:
        old = self.members[container_id]
        self.members[container_id] = Member(old.id, old.name, old.running, old.mode, endpoints)


@pytest.fixture
def containers(networks: Networks) -> Directory:
    made = Directory()
    networks.containers = made
    return made


def running(containers: Directory, container: Container) -> str:
    containers.add(container.id, running=True, **{name: {} for name in container.setup.networks})
    return container.id


def ping(container: Container, address: str) -> bool:
    answer = run(
        *("nsenter", f"--net={container.namespace}", "busybox", "ping", "-c1", "-W3", address), check=False
    )
    return " 0% packet loss" in answer


async def test_predefined_networks_are_listed_as_docker_does(networks: Networks) -> None:
    by_name = {net["Name"]: net for net in await networks.list()}
    assert {name: net["Driver"] for name, net in by_name.items()} == {
        "bridge": "bridge",
        "host": "host",
        "none": "null",
    }
    bridge = by_name["bridge"]
    assert bridge["Options"]["com.docker.network.bridge.default_bridge"] == "true"
    assert bridge["IPAM"] == {
        "Driver": "default",
        "Options": None,
        "Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}],
    }
    assert by_name["host"]["IPAM"]["Config"] == []


async def test_created_network_has_a_bridge_with_the_gateway(networks: Networks, host: Host) -> None:
    answer = await networks.create(
        {
            "Name": "mine",
            "Labels": {"tier": "db"},
            "IPAM": {
                "Config": [
                    {
                        "Subnet": "10.9.0.0/24",
                        "IPRange": "10.9.0.128/25",
                        "Gateway": "10.9.0.254",
                        "AuxiliaryAddresses": {"router": "10.9.0.129"},
                    }
                ]
            },
            "Options": {"com.docker.network.bridge.name": "br-mine", "com.docker.network.driver.mtu": "1400"},
        }
    )
    assert answer["Warning"] == ""
    body = await networks.inspect(answer["Id"][:10])
    assert (body["Name"], body["Labels"], body["Id"]) == ("mine", {"tier": "db"}, answer["Id"])
    assert body["IPAM"]["Config"] == [
        {
            "Subnet": "10.9.0.0/24",
            "IPRange": "10.9.0.128/25",
            "Gateway": "10.9.0.254",
            "AuxiliaryAddresses": {"router": "10.9.0.129"},
        }
    ]
    assert "10.9.0.254/24" in run("ip", "address", "show", "br-mine")
    assert "mtu 1400" in run("ip", "link", "show", "br-mine")
    await networks.remove("mine")
    assert "br-mine" not in host.interfaces()


async def test_addresses_come_from_the_range_and_skip_what_is_reserved(
    networks: Networks, make_container: MakeContainer
) -> None:
    config = {
        "Subnet": "10.9.0.0/24",
        "IPRange": "10.9.0.128/30",
        "AuxiliaryAddresses": {"router": "10.9.0.129"},
    }
    await networks.create({"Name": "mine", "IPAM": {"Config": [config]}})
    found = [(await make_container(mode="mine")).address for _ in range(3)]
    assert found == ["10.9.0.128", "10.9.0.130", "10.9.0.131"]
    with pytest.raises(EngineError, match="no available IPv4 addresses"):
        await make_container(mode="mine")
    fixed = {"mine": {"IPAMConfig": {"IPv4Address": "10.9.0.77"}}}
    assert (await make_container(mode="mine", endpoints=fixed)).address == "10.9.0.77"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"Name": "bridge"}, Forbidden, "operation is not permitted on predefined bridge network"),
        ({"Name": "mine"}, Conflict, "network with name mine already exists"),
        ({"Name": "x", "Driver": "host"}, Forbidden, 'only one instance of "host" network is allowed'),
        ({"Name": "x", "Driver": "weave"}, NotFound, 'plugin "weave" not found'),
        ({"Name": "x", "Driver": "macvlan"}, NotSupported, "bridge networks only"),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.8.0.128/25"}]}},
            Forbidden,
            "Pool overlaps with other one on this address space: .* of network mine",
        ),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "198.51.0.0/16"}]}},
            Forbidden,
            "Pool overlaps with other one on this address space: .* of interface wan0",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "wan0"}},
            Forbidden,
            "interface wan0 exists already",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "br-mine"}},
            Forbidden,
            "bridge name br-mine is used by another network",
        ),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.8.0.0/99"}]}},
            InvalidArgument,
            "invalid CIDR block",
        ),
    ],
)
async def test_bad_networks_are_refused_and_leave_nothing(
    networks: Networks, host: Host, site: Site, body: dict[str, Any], kind: type[EngineError], words: str
) -> None:
    await networks.create(
        {
            "Name": "mine",
            "IPAM": {"Config": [{"Subnet": "10.8.0.0/24"}]},
            "Options": {"com.docker.network.bridge.name": "br-mine"},
        }
    )
    before = (host.interfaces(), host.ruleset(), await networks.list())
    with pytest.raises(kind, match=words):
        await networks.create(body)
    assert (host.interfaces(), host.ruleset(), await networks.list()) == before


async def test_exhausted_pools_are_a_clear_error(site: Site) -> None:
    networks = await site.start(pools=(AddressPool(ip_network("10.5.0.0/23"), 24),))
    await networks.create({"Name": "last"})
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        await networks.create({"Name": "toomany"})


async def test_same_name_at_once_is_made_once(networks: Networks) -> None:
    answers = await asyncio.gather(
        *(networks.create({"Name": "mine"}) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4


async def test_network_in_use_is_not_removed(networks: Networks, make_container: MakeContainer) -> None:
    await networks.create({"Name": "mine"})
    container = await make_container("web", mode="mine")
    with pytest.raises(Forbidden, match=r"network mine id .* has active endpoints: web"):
        await networks.remove("mine")
    await networks.teardown(container.id)
    await networks.remove("mine")
    with pytest.raises(NotFound, match="network mine not found"):
        await networks.inspect("mine")
    with pytest.raises(Forbidden, match="bridge is a pre-defined network and cannot be removed"):
        await networks.remove("bridge")


async def test_prune_removes_what_nobody_is_on(networks: Networks, make_container: MakeContainer) -> None:
    await networks.create({"Name": "used"})
    await networks.create({"Name": "old", "Labels": {"keep": "yes"}})
    await networks.create({"Name": "idle"})
    await make_container(mode="used")
    assert await networks.prune({"until": ["1h"]}) == {"NetworksDeleted": None}
    assert await networks.prune({"label!": ["keep"]}) == {"NetworksDeleted": ["idle"]}
    assert await networks.prune({"label": ["keep=yes"]}) == {"NetworksDeleted": ["old"]}
    assert {net["Name"] for net in await networks.list()} == {"bridge", "host", "none", "used"}
    with pytest.raises(InvalidArgument, match="invalid filter"):
        await networks.prune({"color": ["red"]})


async def test_filters_of_list(networks: Networks, make_container: MakeContainer) -> None:
    mine = await networks.create({"Name": "mine", "Labels": {"tier": "db"}})
    await networks.create({"Name": "my-other"})
    await make_container(mode="my-other")

    async def names(**filters: list[str]) -> set[str]:
        return {net["Name"] for net in await networks.list(filters)}

    assert await names(name=["mi"]) == {"mine"}
    assert await names(name=["m"], driver=["bridge"]) == {"mine", "my-other"}
    assert await names(id=[mine["Id"][:8]]) == {"mine"}
    assert await names(label=["tier=db"]) == {"mine"}
    assert await names(type=["builtin"]) == {"bridge", "host", "none"}
    assert await names(type=["custom"]) == {"mine", "my-other"}
    assert await names(dangling=["true"]) == {"mine"}
    assert "mine" not in await names(dangling=["false"])
    assert await names(scope=["swarm"]) == set()
    for bad in ({"type": ["odd"]}, {"dangling": ["maybe"]}, {"color": ["red"]}):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            await networks.list(bad)


async def test_inspect_shows_who_is_on_it(networks: Networks, make_container: MakeContainer) -> None:
    await networks.create({"Name": "mine"})
    container = await make_container("web", mode="mine", endpoints={"mine": {"Aliases": ["www"]}})
    settings = container.setup.networks["mine"]
    assert (await networks.inspect("mine"))["Containers"] == {
        container.id: {
            "Name": "web",
            "EndpointID": settings["EndpointID"],
            "MacAddress": settings["MacAddress"],
            "IPv4Address": f"{container.address}/16",
            "IPv6Address": "",
        }
    }
    assert settings["Aliases"] == ["www"]
    assert settings["DNSNames"] == ["web", "www", container.id[:12]]


async def test_several_networks_are_joined_at_start_with_one_way_out(
    networks: Networks, make_container: MakeContainer
) -> None:
    for name in ("beta", "alpha", "omega"):
        await networks.create({"Name": name, "Internal": name == "alpha"})
    container = await make_container(mode="omega", endpoints={"omega": {}, "beta": {}, "alpha": {}})
    assert set(container.setup.networks) == {"omega", "beta", "alpha"}
    interfaces = {link["ifname"] for link in container.ip("link") if link["link_type"] == "ether"}
    assert interfaces == {"eth0", "eth1", "eth2"}
    (route,) = [entry for entry in container.ip("route") if entry["dst"] == "default"]
    assert route["gateway"] == container.setup.networks["beta"]["Gateway"]


async def test_gateway_priority_wins_over_names(networks: Networks, make_container: MakeContainer) -> None:
    for name in ("alpha", "beta"):
        await networks.create({"Name": name})
    container = await make_container(mode="alpha", endpoints={"alpha": {}, "beta": {"GwPriority": 10}})
    (route,) = [entry for entry in container.ip("route") if entry["dst"] == "default"]
    assert route["gateway"] == container.setup.networks["beta"]["Gateway"]


async def test_internal_network_is_closed_to_both_sides(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    await networks.create({"Name": "inner", "Internal": True})
    one, two = await make_container(mode="inner"), await make_container(mode="inner")
    assert one.setup.networks["inner"]["Gateway"] == ""
    assert [entry for entry in one.ip("route") if entry["dst"] == "default"] == []
    assert ping(one, two.address)
    subnet = (await networks.inspect("inner"))["IPAM"]["Config"][0]
    one.run("ip", "route", "add", "default", "via", subnet["Gateway"])
    with inside(host.neighbour):
        outside = listen(9000)
    with outside, one.inside():
        assert not reaches(host.neighbour_address, 9000)
    published = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with published.inside():
        server = listen(80)
    with server, one.inside():
        assert not reaches(published.address, 80)


async def test_neighbours_are_kept_apart_when_asked(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    await networks.create({"Name": "apart", "Options": {"com.docker.network.bridge.enable_icc": "false"}})
    one, two = await make_container(mode="apart"), await make_container(mode="apart")
    assert not ping(one, two.address)
    assert ping(one, one.setup.networks["apart"]["Gateway"])
    with inside(host.neighbour):
        outside = listen(9000)
    with outside, one.inside():
        assert reaches(host.neighbour_address, 9000)


async def test_network_without_masquerade_shows_the_containers_address(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    await networks.create(
        {"Name": "plain", "Options": options, "IPAM": {"Config": [{"Subnet": "10.7.0.0/24"}]}}
    )
    container = await make_container(mode="plain")
    run("nsenter", f"--net={host.neighbour}", "ip", "route", "add", "10.7.0.0/24", "via", host.address)
    with inside(host.neighbour):
        outside = listen(9000)
    with outside:
        with container.inside():
            client = connect(host.neighbour_address, 9000)
        accepted, peer = outside.accept()
        client.close()
        accepted.close()
    assert peer[0] == container.address


async def test_ipv6_network_gives_addresses_routes_and_ports(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    await networks.create(
        {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "2001:db8:77::/64"}]}}
    )
    one = await make_container(mode="six", port_bindings=bindings(":7080:80/tcp"))
    two = await make_container(mode="six")
    settings = one.setup.networks["six"]
    assert (settings["GlobalIPv6Address"], settings["GlobalIPv6PrefixLen"]) == ("2001:db8:77::2", 64)
    assert settings["IPv6Gateway"] == "2001:db8:77::1"
    assert settings["IPAddress"].startswith("172.")
    assert ping(two, "2001:db8:77::2")
    with one.inside():
        server = listen(80, "::")
    with server:
        run(
            "nsenter",
            f"--net={host.neighbour}",
            "ip",
            "-6",
            "route",
            "add",
            "2001:db8:77::/64",
            "via",
            host.address6,
        )
        with inside(host.neighbour):
            client = connect(host.address6, 7080)
        accepted, peer = server.accept()
        assert peer[0] == "2001:db8:1::2"
        client.close()
        accepted.close()
        with two.inside():
            client = connect(host.address6, 7080)
        server.accept()[0].close()
        client.close()
        with one.inside():
            client = connect(host.address6, 7080)  # itself, through the host
        server.accept()[0].close()
        client.close()
        _, writer = await asyncio.open_connection("::1", 7080)
        accepted, peer = await asyncio.to_thread(server.accept)
        assert peer[0] == "2001:db8:77::1"
        accepted.close()
        writer.close()
        await writer.wait_closed()
    with inside(host.neighbour):
        outside = listen(9000, "::")
    with outside:
        with one.inside():
            client = connect("2001:db8:1::2", 9000)
        accepted, peer = outside.accept()
        assert peer[0] == host.address6
        client.close()
        accepted.close()


async def test_ipv6_without_a_subnet_gets_one_of_the_instances_own(networks: Networks) -> None:
    await networks.create({"Name": "six", "EnableIPv6": True})
    four, six = (await networks.inspect("six"))["IPAM"]["Config"]
    assert four["Subnet"].startswith("172.")
    assert six["Subnet"].startswith("fd")
    assert six["Subnet"].endswith("/64")


async def test_running_container_is_connected_and_disconnected(
    networks: Networks, make_container: MakeContainer, containers: Directory
) -> None:
    await networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
    container, other = await make_container("web"), await make_container("db", mode="mine")
    id = running(containers, container)
    told: list[NetworkSetup] = []
    networks.hosts_changed = lambda changed, setup: told.append(setup)
    config = {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.9.0.77"}}
    await networks.connect("mine", {"Container": "name-" + id[:4], "EndpointConfig": config})
    assert ping(container, other.address)
    assert ping(other, "10.9.0.77")
    assert told[-1].networks["mine"]["IPAddress"] == "10.9.0.77"
    assert told[-1].nameservers == ["127.0.0.11"]
    assert ("10.9.0.77", [container.id[:12]]) in told[-1].hosts
    assert containers.members[id].endpoints["mine"] == config
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network mine"):
        await networks.connect("mine", {"Container": id})
    await networks.disconnect("bridge", {"Container": id})
    (route,) = [entry for entry in container.ip("route") if entry["dst"] == "default"]
    assert route["gateway"] == "10.9.0.1"
    assert [link["ifname"] for link in container.ip("link") if link["link_type"] == "ether"] == ["eth1"]
    await networks.disconnect("mine", {"Container": id})
    assert [link for link in container.ip("link") if link["link_type"] == "ether"] == []
    assert containers.members[id].endpoints == {}
    with pytest.raises(Forbidden, match="is not connected to network mine"):
        await networks.disconnect("mine", {"Container": id})
    await networks.connect("bridge", {"Container": id})
    assert ping(container, "172.17.0.1")


async def test_ports_follow_the_way_out(
    networks: Networks, make_container: MakeContainer, containers: Directory, host: Host
) -> None:
    await networks.create({"Name": "alpha"})
    await networks.create({"Name": "inner", "Internal": True})
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    id = running(containers, container)
    with container.inside():
        server = listen(80)

    def open_from_outside() -> bool:
        with inside(host.neighbour):
            return reaches(host.address, 7080)

    with server:
        await networks.connect("alpha", {"Container": id})
        assert open_from_outside()  # now by alpha, whose name comes first
        await networks.disconnect("alpha", {"Container": id})
        assert open_from_outside()
        await networks.connect("inner", {"Container": id})
        await networks.disconnect("bridge", {"Container": id})
        assert not open_from_outside()
        listen(7080).close()  # the port is free
        await networks.connect("alpha", {"Container": id})
        assert open_from_outside()


async def test_connect_that_cannot_be_done_changes_nothing(
    networks: Networks, make_container: MakeContainer, containers: Directory, host: Host
) -> None:
    await networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
    await networks.create({"Name": "auto"})
    container = await make_container()
    id = running(containers, container)
    blocker = await make_container(mode="mine")
    before = (host.interfaces(), host.ruleset(), container.ip("address"))
    cases: list[tuple[str, dict[str, Any], type[EngineError], str]] = [
        ("nowhere", {}, NotFound, "network nowhere not found"),
        ("host", {}, InvalidArgument, "connected to host network"),
        ("none", {}, InvalidArgument, "private"),
        ("mine", {"IPAMConfig": {"IPv4Address": blocker.address}}, Forbidden, "Address already in use"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.9.0.1"}}, Forbidden, "Address already in use"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.9.9.9"}}, InvalidArgument, "no configured subnet"),
        ("mine", {"IPAMConfig": {"IPv4Address": "x"}}, InvalidArgument, "not an IP address"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.9.0.255"}}, InvalidArgument, "cannot be given"),
        ("auto", {"IPAMConfig": {"IPv4Address": "172.18.0.9"}}, InvalidArgument, "user configured subnets"),
        ("mine", {"Aliases": ["has space"]}, InvalidArgument, "not a host name"),
        ("mine", {"MacAddress": "nope"}, InvalidArgument, "invalid MAC address"),
    ]
    for ref, config, kind, words in cases:
        with pytest.raises(kind, match=words):
            await networks.connect(ref, {"Container": id, "EndpointConfig": config})
    with pytest.raises(NotFound, match="No such container"):
        await networks.connect("mine", {"Container": "ghost"})
    with pytest.raises(InvalidArgument, match="name or id must be given"):
        await networks.connect("mine", {})
    assert (host.interfaces(), host.ruleset(), container.ip("address")) == before
    assert containers.members[id].endpoints == {"bridge": {}}


async def test_stopped_container_is_connected_for_its_next_start(
    networks: Networks, containers: Directory
) -> None:
    await networks.create({"Name": "mine"})
    containers.add("s" * 64, running=False, mode="default", bridge={})
    await networks.connect("mine", {"Container": "s" * 64, "EndpointConfig": {"Aliases": ["www"]}})
    assert containers.members["s" * 64].endpoints == {"bridge": {}, "mine": {"Aliases": ["www"]}}
    assert (await networks.inspect("mine"))["Containers"] == {}
    with pytest.raises(Forbidden, match="already exists"):
        await networks.connect("mine", {"Container": "s" * 64})
    await networks.disconnect("mine", {"Container": "s" * 64})
    assert containers.members["s" * 64].endpoints == {"bridge": {}}
    with pytest.raises(Forbidden, match="is not connected to the network mine"):
        await networks.disconnect("mine", {"Container": "s" * 64})


async def test_container_that_shares_a_network_cannot_be_connected(
    networks: Networks, containers: Directory
) -> None:
    await networks.create({"Name": "mine"})
    containers.add("s" * 64, running=True, mode="container:other")
    with pytest.raises(InvalidArgument, match="container sharing network namespace"):
        await networks.connect("mine", {"Container": "s" * 64})
    containers.add("h" * 64, running=True, mode="host")
    for verb in (networks.connect, networks.disconnect):
        with pytest.raises(InvalidArgument, match="connected to host network"):
            await verb("mine", {"Container": "h" * 64})


async def test_endpoint_of_a_vanished_container_is_forced_out(
    networks: Networks, make_container: MakeContainer, containers: Directory
) -> None:
    await networks.create({"Name": "mine"})
    container = await make_container("ghost", mode="mine")
    with pytest.raises(NotFound):
        await networks.disconnect("mine", {"Container": "ghost"})
    await networks.disconnect("mine", {"Container": "ghost", "Force": True})
    assert (await networks.inspect("mine"))["Containers"] == {}
    assert not container.namespace.exists()


async def test_events_tell_what_happened_to_networks(
    networks: Networks, make_container: MakeContainer, site: Site
) -> None:
    follower = site.events.subscribe()
    made = await networks.create({"Name": "mine"})
    container = await make_container(mode="mine")
    await networks.teardown(container.id)
    await networks.remove("mine")
    events = follower.pending()
    follower.close()
    assert [event["Action"] for event in events] == ["create", "connect", "disconnect", "destroy"]
    assert {event["Actor"]["ID"] for event in events} == {made["Id"]}
    attributes = events[1]["Actor"]["Attributes"]
    assert attributes == {"container": container.id, "name": "mine", "type": "bridge"}


async def test_connections_survive_a_restart_of_the_engine(
    site: Site, networks: Networks, make_container: MakeContainer, containers: Directory
) -> None:
    await networks.create({"Name": "mine"})
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    id = running(containers, container)
    await networks.connect("mine", {"Container": id})
    before = networks.describe(id)
    await site.stop(networks)
    again = await site.start(live=[id])
    assert again.describe(id) == before
    assert id in (await again.inspect("mine"))["Containers"]


async def test_fifty_networks_and_two_hundred_containers(
    networks: Networks, make_container: MakeContainer, site: Site, host: Host
) -> None:
    for number in range(50):
        await networks.create(
            {"Name": f"net{number}", "IPAM": {"Config": [{"Subnet": f"10.{100 + number}.0.0/24"}]}}
        )
    made = await asyncio.gather(*(make_container(mode=f"net{number % 50}") for number in range(200)))
    assert len({container.address for container in made}) == 200
    assert ping(made[0], made[50].address)
    assert not ping(made[0], made[1].address)
    live = [container.id for container in made[:100]]
    await site.stop(networks)
    again = await site.start(live=live)
    bodies = [await again.inspect(f"net{number}") for number in range(50)]
    assert {id for body in bodies for id in body["Containers"]} == set(live)
    await asyncio.gather(*(again.teardown(id) for id in live))
    await again.settle()
    assert not {name for name in host.interfaces() if again._kernel.owns(name)}
    assert len((await again.prune())["NetworksDeleted"]) == 50

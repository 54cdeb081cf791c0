"""Networks in memory: finding them, their addresses, names and ways out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from runtime.api.errors import Forbidden, InvalidArgument, NotFound, Unavailable
from runtime.network.endpoints import Endpoint, EndpointRequest, Sandbox
from runtime.network.naming import Naming
from runtime.network.registry import Net, Registry, choose_gateway
from runtime.network.requests import new_endpoint, new_sandbox, wanted_networks
from runtime.network.store import NetworkRecord, SubnetConfig


def make_net(name: str, id: str, subnet: str = "10.0.0.0/29", **fields: Any) -> Net:
    network = ip_network(subnet)
    config = SubnetConfig(network, network.network_address + 1, asked=True)
    record = NetworkRecord(id, name, "bridge", "2024", bridge=f"wd-{id[:8]}", subnets=(config,))
    return Net.of(replace(record, **fields))


def put(net: Net, name: str, **request: Any) -> tuple[Sandbox, Endpoint]:
    asked = EndpointRequest(mode=net.name, name=name, **request)
    registry = Registry()
    registry.add(net)
    sandbox = new_sandbox(name.ljust(64, "0"), asked)
    ((_, wish),) = wanted_networks(registry, asked)
    endpoint = new_endpoint(net, sandbox, wish, name.ljust(64, "e"), "wdv0000000")
    sandbox.endpoints[net.id] = endpoint
    net.join(sandbox, endpoint)
    return sandbox, endpoint


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    for name, id in (("mine", "abc1" + "0" * 60), ("abc2", "abd0" + "0" * 60), ("bridge", "fff0" + "0" * 60)):
        made.add(make_net(name, id))
    return made


def test_networks_are_found_by_id_name_and_beginning(registry: Registry) -> None:
    assert registry.find("mine").name == "mine"
    assert registry.find("abc1" + "0" * 60).name == "mine"
    assert registry.find("abc1").name == "mine"
    assert registry.find("abc2").name == "abc2"  # a name wins over the beginning of an id
    assert registry.find("default").name == "bridge"


def test_ambiguous_beginning_lists_the_candidates(registry: Registry) -> None:
    with pytest.raises(InvalidArgument, match=r"ambiguous \(2 matches found on ID prefix\): .*mine.*abc2"):
        registry.find("ab")
    for ref in ("zzz", ""):
        with pytest.raises(NotFound):
            registry.find(ref)


def test_addresses_are_taken_and_released() -> None:
    net = make_net("mine", "a" * 64)
    _, endpoint = put(net, "web")
    assert str(endpoint.ipv4) == "10.0.0.2/29"
    assert endpoint.mac == "02:42:0a:00:00:02"
    net.release(endpoint.ipv4)
    assert str(net.allocate(4, None)) == "10.0.0.2/29"
    assert net.allocate(6, None) is None


def test_refusals_of_addresses() -> None:
    net = make_net("mine", "a" * 64)
    for _ in range(5):
        net.allocate(4, None)
    with pytest.raises(
        Unavailable, match="no available IPv4 addresses on this network's address pools: mine"
    ):
        net.allocate(4, None)
    with pytest.raises(Forbidden, match="Address already in use"):
        net.allocate(4, ip_address("10.0.0.3"))
    with pytest.raises(InvalidArgument, match="no configured subnet"):
        net.allocate(4, ip_address("10.1.0.3"))


def test_failed_endpoint_gives_its_address_back() -> None:
    net = make_net("mine", "a" * 64)
    put(net, "one", mac_address="02:00:00:00:00:07")
    with pytest.raises(Forbidden, match="MAC address already in use"):
        put(net, "two", mac_address="02:00:00:00:00:07")
    assert str(net.allocate(4, None)) == "10.0.0.3/29"


def test_names_are_per_network_and_in_any_case() -> None:
    mine, other = make_net("mine", "a" * 64), make_net("other", "b" * 64)
    web, _ = put(mine, "Web", hostname="Host", endpoints={"mine": {"Aliases": ["www"]}})
    client, _ = put(mine, "client", links=["Web:shop"])
    stranger, _ = put(other, "stranger")
    registry = Registry()
    for net in (mine, other):
        registry.add(net)
    naming = Naming(registry, {one.container_id: one for one in (web, client, stranger)})
    address = [ip_address("10.0.0.2")]
    for name in ("web", "www", "host", web.container_id[:12].lower(), "web.mine"):
        assert naming.lookup(client.container_id, name) == address, name
    assert naming.lookup(client.container_id, "shop") == address
    assert naming.lookup(web.container_id, "shop") is None
    assert naming.lookup(stranger.container_id, "web") is None
    assert naming.lookup("nobody", "web") is None
    assert naming.reverse(client.container_id, address[0]) == "Web.mine"
    mine.leave(web.container_id)
    assert naming.lookup(client.container_id, "web") is None
    assert mine.names.keys() == {"client", client.container_id[:12]}


def test_default_bridge_has_no_names() -> None:
    bridge = make_net("bridge", "a" * 64)
    web, endpoint = put(bridge, "web")
    assert bridge.names == {}
    assert bridge.settings(web, endpoint)["DNSNames"] is None


def test_way_out_is_chosen_by_priority_then_name() -> None:
    nets = [make_net(name, name.ljust(64, "0"), f"10.{at}.0.0/24") for at, name in enumerate("cab")]
    nets.append(make_net("aaa", "f" * 64, "10.9.0.0/24", internal=True))
    pairs = [(net, put(net, "web")[1]) for net in nets]
    assert choose_gateway(pairs, 4) == pairs[1]
    pairs[2][1].asked["GwPriority"] = 1
    assert choose_gateway(pairs, 4) == pairs[2]
    assert choose_gateway(pairs, 6) is None
    assert choose_gateway(pairs[3:], 4) is None


def test_internal_network_shows_no_gateway() -> None:
    net = make_net("mine", "a" * 64, internal=True)
    sandbox, endpoint = put(net, "web")
    assert net.settings(sandbox, endpoint)["Gateway"] == ""
    assert net.describe(None)["Internal"] is True


def test_sandbox_record_is_read_back_as_it_was() -> None:
    net = make_net("mine", "a" * 64)
    sandbox, _ = put(net, "web", port_bindings={"80/tcp": [{"HostPort": "80"}]}, extra_hosts=["a:1.2.3.4"])
    assert Sandbox.from_json(sandbox.to_json()) == sandbox


def test_network_record_is_read_back_as_it_was() -> None:
    record = make_net("mine", "a" * 64, labels={"a": "b"}, enable_ipv6=True).record
    assert NetworkRecord.from_json(record.to_json()) == record

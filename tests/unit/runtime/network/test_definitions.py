"""Requests to create networks and to put containers on them, good and bad."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.api.errors import EngineError, Forbidden, InvalidArgument, NotFound, NotSupported
from runtime.network.definitions import (
    check_mac,
    parse_endpoint,
    parse_ipam,
    parse_network,
    parse_options,
    split_link,
)


def ipam(**entry: Any) -> dict[str, Any]:
    return {"Name": "x", "IPAM": {"Config": [entry]}}


def test_plain_network() -> None:
    found = parse_network({"Name": "mine"})
    assert (found.name, found.internal, found.enable_ipv6, found.subnets) == ("mine", False, False, ())


def test_everything_is_read() -> None:
    found = parse_network(
        {
            "Name": "mine",
            "Driver": "bridge",
            "Internal": True,
            "Attachable": True,
            "EnableIPv6": True,
            "IPAM": {
                "Driver": "default",
                "Options": {"a": "b"},
                "Config": [
                    {"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.64/26", "Gateway": "10.0.0.254"},
                    {"Subnet": "fd00:1::/64", "AuxiliaryAddresses": {"router": "fd00:1::9"}},
                ],
            },
            "Labels": {"tier": "db"},
            "Options": {"com.docker.network.bridge.enable_icc": "false", "of.somebody.else": "kept"},
        }
    )
    four, six = found.subnets
    assert (str(four.gateway), str(four.ip_range)) == ("10.0.0.254", "10.0.0.64/26")
    assert (str(six.gateway), six.auxiliary) == ("fd00:1::1", {"router": "fd00:1::9"})
    assert (found.ipam_options, found.labels) == ({"a": "b"}, {"tier": "db"})
    assert found.options["of.somebody.else"] == "kept"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({}, InvalidArgument, "invalid name: name is empty"),
        ({"Name": ""}, InvalidArgument, "name is empty"),
        ({"Name": "  "}, InvalidArgument, "name is empty"),
        ({"Name": "a/b"}, InvalidArgument, "invalid network name"),
        ({"Name": "a\n"}, InvalidArgument, "invalid network name"),
        ({"Name": "a\0"}, InvalidArgument, "invalid network name"),
        ({"Name": "x" * 256}, InvalidArgument, "invalid network name"),
        ({"Name": 7}, InvalidArgument, "name is empty"),
        ({"Name": "default"}, Forbidden, "predefined default network"),
        ({"Name": "none"}, Forbidden, "predefined none network"),
        ({"Name": "x", "Driver": "null"}, Forbidden, "only one instance"),
        ({"Name": "x", "Driver": "overlay"}, NotSupported, "bridge networks only, not overlay"),
        ({"Name": "x", "Driver": "weave"}, NotFound, 'plugin "weave" not found'),
        ({"Name": "x", "ConfigOnly": True}, NotSupported, "ConfigOnly"),
        ({"Name": "x", "Ingress": True}, NotSupported, "Ingress"),
        ({"Name": "x", "ConfigFrom": {"Network": "y"}}, NotSupported, "config-only"),
        ({"Name": "x", "Scope": "swarm"}, NotSupported, "scope"),
        ({"Name": "x", "EnableIPv4": False}, NotSupported, "without IPv4"),
        ({"Name": "x", "IPAM": ["y"]}, InvalidArgument, "IPAM"),
        ({"Name": "x", "IPAM": {"Driver": "dhcp"}}, NotFound, 'plugin "dhcp" not found'),
        ({"Name": "x", "IPAM": {"Config": "10.0.0.0/8"}}, InvalidArgument, "must be a list"),
        ({"Name": "x", "IPAM": {"Config": ["10.0.0.0/8"]}}, InvalidArgument, "must be an object"),
        ({"Name": "x", "Labels": {"a": 1}}, InvalidArgument, "labels"),
        ({"Name": "x", "Labels": []}, InvalidArgument, "labels"),
        ({"Name": "x", "Labels": {"a": "x" * 70000}}, InvalidArgument, "bytes"),
        ({"Name": "x", "Options": {"a": None}}, InvalidArgument, "options"),
        (ipam(Subnet="10.0.0.0"), InvalidArgument, "invalid CIDR block"),
        (ipam(Subnet="10.0.0.0/33"), InvalidArgument, "invalid CIDR block"),
        (ipam(Subnet="10.0.0/24"), InvalidArgument, "invalid CIDR block"),
        (ipam(Subnet="nonsense"), InvalidArgument, "invalid CIDR block"),
        (ipam(Subnet="10.0.0.5/24"), InvalidArgument, r"it should be 10\.0\.0\.0/24"),
        (ipam(Subnet="10.0.0.0/31"), InvalidArgument, "too small"),
        (ipam(Subnet="224.0.0.0/24"), InvalidArgument, "cannot be used for hosts"),
        (ipam(Subnet="127.1.0.0/24"), InvalidArgument, "cannot be used for hosts"),
        (ipam(Subnet="0.0.0.0/0"), InvalidArgument, "cannot be used for hosts"),
        (ipam(Gateway="10.0.0.1"), InvalidArgument, "Gateway needs a subnet"),
        (ipam(Subnet="10.0.0.0/24", Gateway="10.0.1.1"), InvalidArgument, "gateway 10.0.1.1: not inside"),
        (ipam(Subnet="10.0.0.0/24", Gateway="x"), InvalidArgument, "not an IP address"),
        (ipam(Subnet="10.0.0.0/24", Gateway="10.0.0.0"), InvalidArgument, "not for hosts"),
        (ipam(Subnet="10.0.0.0/24", Gateway="10.0.0.255"), InvalidArgument, "not for hosts"),
        (ipam(Subnet="10.0.0.0/24", Gateway="fd00::1"), InvalidArgument, "not inside"),
        (ipam(Subnet="10.0.0.0/24", IPRange="10.0.1.0/25"), InvalidArgument, "ip-range .* not inside"),
        (ipam(Subnet="10.0.0.0/24", IPRange="10.0.0.0/16"), InvalidArgument, "ip-range .* not inside"),
        (ipam(Subnet="10.0.0.0/24", IPRange="fd00::/80"), InvalidArgument, "ip-range .* not inside"),
        (
            ipam(Subnet="10.0.0.0/24", AuxiliaryAddresses={"a": "10.0.0.1"}),
            InvalidArgument,
            "is the gateway already",
        ),
        (
            ipam(Subnet="10.0.0.0/24", AuxiliaryAddresses={"a": "10.0.0.9", "b": "10.0.0.9"}),
            InvalidArgument,
            "is auxiliary address a already",
        ),
        (ipam(Subnet="10.0.0.0/24", AuxiliaryAddresses=["10.0.0.9"]), InvalidArgument, "must be an object"),
    ],
)
def test_bad_networks_are_refused(body: dict[str, Any], kind: type[EngineError], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse_network(body)


def test_overlapping_subnets_of_one_network_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="overlap"):
        parse_ipam([{"Subnet": "10.0.0.0/8"}, {"Subnet": "10.5.0.0/16"}])
    with pytest.raises(InvalidArgument, match="at most"):
        parse_ipam([{"Subnet": f"10.{n}.0.0/16"} for n in range(17)])


def test_gateway_may_carry_a_prefix() -> None:
    (entry,) = parse_ipam([{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.9/24"}])
    assert str(entry.gateway) == "10.0.0.9"


def test_bridge_options_are_read() -> None:
    found = parse_options(
        {
            "com.docker.network.bridge.name": "br-x",
            "com.docker.network.bridge.enable_icc": "0",
            "com.docker.network.bridge.enable_ip_masquerade": "f",
            "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.container_iface_prefix": "net",
        }
    )
    assert (found.interface, found.neighbours, found.masquerade) == ("br-x", False, False)
    assert (found.host_binding, found.mtu, found.prefix) == ("127.0.0.1", 1400, "net")


@pytest.mark.parametrize(
    "options",
    [
        {"com.docker.network.bridge.enable_icc": "maybe"},
        {"com.docker.network.bridge.name": "a name"},
        {"com.docker.network.bridge.name": "x" * 16},
        {"com.docker.network.bridge.name": "../x"},
        {"com.docker.network.bridge.host_binding_ipv4": "x"},
        {"com.docker.network.driver.mtu": "-5"},
        {"com.docker.network.driver.mtu": "70000"},
        {"com.docker.network.driver.mtu": "1e3"},
        {"com.docker.network.container_iface_prefix": "lo"},
        {"com.docker.network.container_iface_prefix": "a/b"},
    ],
)
def test_bad_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_options(options)


def test_routed_gateways_are_not_supported() -> None:
    with pytest.raises(NotSupported):
        parse_options({"com.docker.network.bridge.gateway_mode_ipv4": "routed"})


def test_endpoint_settings_are_read_and_observed_fields_ignored() -> None:
    wish = parse_endpoint(
        {
            "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9"},
            "Aliases": ["db", "db", "store_1", "--service"],
            "Links": ["a:b", "c"],
            "MacAddress": "02-11-22-33-44-55",
            "GwPriority": 3,
            "IPAddress": "172.17.0.9",
            "EndpointID": "x",
        }
    )
    assert (str(wish.ipv4), str(wish.ipv6)) == ("10.0.0.9", "fd00::9")
    assert wish.aliases == ("db", "store_1", "--service")
    assert wish.links == ("a:b", "c:c")
    assert (wish.mac, wish.gateway_priority) == ("02:11:22:33:44:55", 3)
    assert parse_endpoint(None).asked == {}


@pytest.mark.parametrize(
    "settings",
    [
        [],
        {"IPAMConfig": "10.0.0.1"},
        {"IPAMConfig": {"IPv4Address": "fd00::1"}},
        {"IPAMConfig": {"IPv6Address": "10.0.0.1"}},
        {"IPAMConfig": {"IPv4Address": "10.0.0"}},
        {"IPAMConfig": {"IPv4Address": "0.0.0.0"}},
        {"Aliases": "db"},
        {"Aliases": [""]},
        {"Aliases": ["a b"]},
        {"Aliases": ["x" * 254]},
        {"Aliases": [f"a{n}" for n in range(257)]},
        {"Links": ["a:b:c"]},
        {"Links": [""]},
        {"Links": "a:b"},
        {"MacAddress": "02:11:22:33:44"},
        {"MacAddress": "01:11:22:33:44:55"},
        {"GwPriority": "high"},
        {"IPAMConfig": {"LinkLocalIPs": "169.254.1.1"}},
        {"IPAMConfig": {"LinkLocalIPs": ["169.254.1"]}},
        {"IPAMConfig": {"LinkLocalIPs": ["10.0.0.1"]}},
        {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"] * 65}},
    ],
)
def test_bad_endpoint_settings_are_refused(settings: Any) -> None:
    with pytest.raises(InvalidArgument):
        parse_endpoint(settings)


def test_links_in_every_spelling() -> None:
    assert split_link("db") == ("db", "db")
    assert split_link("db:store") == ("db", "store")
    assert split_link("/db:/web/store") == ("db", "store")


def test_mac_of_nobody_is_no_wish() -> None:
    assert check_mac("") == ""
    with pytest.raises(InvalidArgument):
        check_mac("00:00:00:00:00:00")

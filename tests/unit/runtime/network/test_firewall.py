"""The table's text and elements, and the rules for other people's tables."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from runtime.network.elements import Element, Port, Protocol
from runtime.network.firewall import BridgeRules, bridge_elements, port_elements, table_name, table_text
from runtime.network.foreign import Pass, passes
from runtime.network.nft import pack
from runtime.network.ports import Published


def published(text: str, address: str, number: int) -> Published:
    return Published.from_json({"port": text, "host_ip": address, "host_port": number})


def words(elements: list[Element]) -> set[str]:
    return {f"{element.set}: {element.words()}" for element in elements}


def test_table_is_named_after_the_instance() -> None:
    assert table_name("webdock-1a2b3c") == "webdock_1a2b3c"


def test_text_replaces_the_table_in_one_transaction() -> None:
    text = table_text("webdock", [Element("bridges", ("wd0",)), Element("bridges", ("wd-1",))])
    assert text.splitlines()[:3] == [
        "table inet webdock",
        "delete table inet webdock",
        "table inet webdock {",
    ]
    assert 'set bridges { type ifname; elements = { "wd0", "wd-1" }; }' in text
    assert "map publish4 { type inet_proto . inet_service : ipv4_addr . inet_service; }" in text
    assert text.count("{") == text.count("}")


def test_elements_of_a_plain_network() -> None:
    rules = BridgeRules("wd0", (IPv4Network("172.17.0.0/16"), IPv6Network("fd00::/64")))
    assert words(bridge_elements(rules)) == {
        'bridges: "wd0"',
        'same: "wd0" . "wd0"',
        'leaving: "wd0"',
        "hairpin4: 172.17.0.0/16 . 172.17.0.0/16",
        "hairpin6: fd00::/64 . fd00::/64",
    }


def test_elements_of_a_closed_network() -> None:
    rules = BridgeRules("wd0", (IPv4Network("172.17.0.0/16"),), internal=True, neighbours=False)
    assert words(bridge_elements(rules)) == {'bridges: "wd0"', 'internal: "wd0"'}


def test_elements_of_ports() -> None:
    ports = [
        published("80/tcp", "0.0.0.0", 8080),
        published("80/tcp", "::", 8080),
        published("53/udp", "127.0.0.1", 5353),
        published("53/udp", "fd00::1", 5353),
    ]
    both = port_elements(ports, IPv4Address("172.17.0.2"), IPv6Address("fd00::2"))
    assert words(both) == {
        "publish4: tcp . 8080 : 172.17.0.2 . 80",
        "publish6: tcp . 8080 : fd00::2 . 80",
        "publish_at4: 127.0.0.1 . udp . 5353 : 172.17.0.2 . 53",
        "publish_at6: fd00::1 . udp . 5353 : fd00::2 . 53",
    }
    assert words(port_elements(ports, IPv4Address("172.17.0.2"), None)) == {
        "publish4: tcp . 8080 : 172.17.0.2 . 80",
        "publish_at4: 127.0.0.1 . udp . 5353 : 172.17.0.2 . 53",
    }
    assert port_elements(ports, None, None) == []


def test_element_bytes_are_what_the_kernel_stores() -> None:
    """Taken from `nft --debug=netlink`: each field padded to four bytes, in network order."""
    element = Element("publish4", (Protocol.TCP, Port(80)), (IPv4Address("172.17.0.2"), Port(80)))
    key, value = "0c0001000600000000500000", "0c000100ac11000200500000"
    assert pack(element).hex() == "24000180" + "10000180" + key + "10000280" + value
    subnet = IPv4Network("10.0.0.0/8")
    interval = pack(Element("hairpin4", (subnet, subnet)))
    assert bytes([10, 0, 0, 0, 10, 0, 0, 0]) in interval
    assert bytes([10, 255, 255, 255, 10, 255, 255, 255]) in interval
    assert b"wd0".ljust(16, b"\0") in pack(Element("bridges", ("wd0",)))


@pytest.mark.parametrize("beside_docker", [False, True])
def test_passes_name_this_instances_bridges_only(beside_docker: bool) -> None:
    for entry in passes("wd", beside_docker):
        assert {entry.incoming, entry.outgoing} & {"wd0", "wd-*"}
    returns = [entry for entry in passes("wd", beside_docker) if entry.verdict == "return"]
    assert bool(returns) == beside_docker
    # What leads to Docker's bridges is left to Docker before anything is accepted.
    assert passes("wd", beside_docker)[: len(returns)] == returns


def test_pass_in_both_languages() -> None:
    entry = Pass("wd-*", "docker0", "return")
    assert entry.nft("webdock") == 'iifname "wd-*" oifname "docker0" return comment "webdock"'
    assert entry.iptables("webdock") == [
        *("-i", "wd-+", "-o", "docker0"),
        *("-m", "comment", "--comment", "webdock", "-j", "RETURN"),
    ]

"""Port bindings and exposed ports as Docker's clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.network.elements import Protocol
from runtime.network.ports import (
    Binding,
    ContainerPort,
    Published,
    parse_bindings,
    parse_exposed,
    parse_port,
    parse_ports,
    to_port_map,
)

WEB = ContainerPort(80, Protocol.TCP)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ["80/tcp"]),
        ("80/tcp", ["80/tcp"]),
        ("53/UDP", ["53/udp"]),
        ("132/sctp", ["132/sctp"]),
        ("8000-8002/udp", ["8000/udp", "8001/udp", "8002/udp"]),
        ("65535", ["65535/tcp"]),
    ],
)
def test_ports_are_read(text: str, ports: list[str]) -> None:
    assert [str(port) for port in parse_ports(text)] == ports


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "70000",
        "65536",
        "-1",
        "80/",
        "80/icmp",
        "a",
        "80-",
        "-80",
        "90-80",
        "80/tcp/udp",
        " 80",
        "80 ",
        "8٠",
    ],
)
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid port specification"):
        parse_ports(text)


def test_single_port_is_no_range() -> None:
    with pytest.raises(InvalidArgument):
        parse_port("80-81")


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        for port in parse_ports(text):
            assert 1 <= port.number <= 65535
    except InvalidArgument:
        pass


def test_exposed_ports_are_sorted_and_given_once() -> None:
    assert [str(port) for port in parse_exposed({"443/tcp": {}, "80": {}, "80/tcp": {}})] == [
        "80/tcp",
        "443/tcp",
    ]
    assert parse_exposed(None) == []


def test_binding_without_address_is_for_both_families() -> None:
    (wish,) = parse_bindings({"80/tcp": [{"HostPort": "8080"}]})
    assert wish == Binding(WEB, "", 8080, 8080)
    assert wish.families == (4, 6)


@pytest.mark.parametrize(
    ("address", "read", "families"),
    [
        ("127.0.0.1", "127.0.0.1", (4,)),
        ("0.0.0.0", "0.0.0.0", (4,)),
        ("[::1]", "::1", (6,)),
        ("::", "::", (6,)),
    ],
)
def test_addresses_of_bindings(address: str, read: str, families: tuple[int, ...]) -> None:
    (wish,) = parse_bindings({"80/tcp": [{"HostIp": address, "HostPort": "8080"}]})
    assert (wish.host_ip, wish.families) == (read, families)


@pytest.mark.parametrize("address", ["localhost", "1.2.3", "1.2.3.4.5", "::g", "fe80::1%eth0"])
def test_bad_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid IP address"):
        parse_bindings({"80/tcp": [{"HostIp": address, "HostPort": "8080"}]})


@pytest.mark.parametrize("port", ["70000", "x", "80-70", "0-5", "-1", "8080/tcp"])
def test_bad_host_ports_are_refused(port: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid port specification"):
        parse_bindings({"80/tcp": [{"HostPort": port}]})


@pytest.mark.parametrize("bindings", [[], "80", {"80/tcp": 5}, {"80/tcp": ["8080"]}])
def test_bad_shapes_are_refused(bindings: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_bindings(bindings)  # type: ignore[arg-type]


def test_range_of_host_ports_leaves_the_choice() -> None:
    (wish,) = parse_bindings({"80/tcp": [{"HostPort": "8000-8010"}]})
    assert (wish.first, wish.last) == (8000, 8010)


def test_equal_ranges_are_matched_one_to_one() -> None:
    wishes = parse_bindings({"80-82/tcp": [{"HostPort": "8080-8082"}]})
    assert [(wish.port.number, wish.first) for wish in wishes] == [(80, 8080), (81, 8081), (82, 8082)]
    with pytest.raises(InvalidArgument, match="ranges of different lengths"):
        parse_bindings({"80-82/tcp": [{"HostPort": "8080-8081"}]})


def test_ports_asked_for_by_number_come_before_random_ones() -> None:
    wishes = parse_bindings(
        {"1/tcp": [{}], "2/tcp": [{"HostPort": "9000-9005"}], "3/tcp": [{"HostPort": "9000"}], "4/udp": None}
    )
    assert [wish.port.number for wish in wishes] == [3, 2, 1]


def test_publish_all_takes_exposed_ports_that_are_not_bound() -> None:
    exposed = parse_exposed(["80/tcp", "443/tcp"])
    wishes = parse_bindings({"80/tcp": [{"HostPort": "8080"}]}, exposed, publish_all=True)
    assert [(str(wish.port), wish.first) for wish in wishes] == [("80/tcp", 8080), ("443/tcp", 0)]


def test_same_wish_twice_counts_once() -> None:
    assert len(parse_bindings({"80/tcp": [{"HostPort": "1"}, {"HostPort": "1"}]})) == 1


def test_port_map_shows_exposed_and_published_ports() -> None:
    body = {"port": "80/tcp", "host_ip": "0.0.0.0", "host_port": 8080}
    published = Published.from_json(body)
    assert published.to_json() == body
    assert to_port_map([published], parse_exposed(["80/tcp", "53/udp"])) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "53/udp": None,
    }

"""Subnets and addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config import DEFAULT_POOLS
from runtime.network.ipam import (
    AddressesExhausted,
    AddressTaken,
    Network,
    Pool,
    PoolExhausted,
    choose_subnet,
    mac_of,
    overlapping,
    unique_local,
)

POOLS = [(pool.base, pool.size) for pool in DEFAULT_POOLS]


def net(text: str) -> Network:
    return ip_network(text)


def test_first_subnet_is_dockers() -> None:
    assert choose_subnet(POOLS, [], 4) == net("172.17.0.0/16")


def test_taken_subnets_are_stepped_over() -> None:
    taken = [net("172.17.0.0/16"), net("172.18.4.0/24"), net("172.20.0.0/14")]
    assert choose_subnet(POOLS, taken, 4) == net("172.19.0.0/16")
    assert choose_subnet(POOLS, [net("172.16.0.0/12")], 4) == net("192.168.0.0/20")
    assert choose_subnet(POOLS, [net("172.16.0.0/12"), net("192.168.0.0/18")], 4) == net("192.168.64.0/20")


def test_default_pools_hold_thirty_one_networks() -> None:
    taken: list[Network] = []
    for _ in range(31):
        taken.append(choose_subnet(POOLS, taken, 4))
    assert overlapping(taken[-1], taken[:-1]) is None
    with pytest.raises(PoolExhausted):
        choose_subnet(POOLS, taken, 4)


def test_families_do_not_overlap() -> None:
    assert overlapping(net("10.0.0.0/8"), [net("fd00::/8")]) is None
    with pytest.raises(PoolExhausted):
        choose_subnet(POOLS, [], 6)


@given(st.lists(st.tuples(st.integers(0, 2**24 - 1), st.integers(20, 30)), max_size=8))
def test_chosen_subnet_never_overlaps(taken: list[tuple[int, int]]) -> None:
    blockers: list[Network] = [
        ip_network((int(IPv4Address("10.0.0.0")) + offset, size), strict=False) for offset, size in taken
    ]
    chosen = choose_subnet([(net("10.0.0.0/8"), 24)], blockers, 4)
    assert chosen.prefixlen == 24
    assert overlapping(chosen, blockers) is None


def test_ipv6_pool_is_the_instances_own() -> None:
    base, size = unique_local("webdock")
    assert base.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert (base.prefixlen, size) == (48, 64)
    assert unique_local("webdock-abcdef")[0] != base


def test_mac_is_dockers_for_that_address() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_addresses_are_given_from_the_lowest_and_again_when_released() -> None:
    pool = Pool(net("10.0.0.0/29"), ip_address("10.0.0.1"))
    assert [str(pool.take()) for _ in range(3)] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    pool.release(ip_address("10.0.0.3"))
    assert str(pool.take()) == "10.0.0.3"
    assert [str(pool.take()) for _ in range(2)] == ["10.0.0.5", "10.0.0.6"]
    with pytest.raises(AddressesExhausted):
        pool.take()


def test_asked_address_is_given_once_and_only_if_it_is_for_hosts() -> None:
    pool = Pool(net("10.0.0.0/29"), ip_address("10.0.0.1"), reserved=frozenset({ip_address("10.0.0.4")}))
    assert pool.take(ip_address("10.0.0.5")) == ip_address("10.0.0.5")
    assert pool.take(ip_address("10.0.0.4")) == ip_address("10.0.0.4")  # auxiliary: only by name
    for taken in ("10.0.0.5", "10.0.0.1"):
        with pytest.raises(AddressTaken):
            pool.take(ip_address(taken))
    for wrong in ("10.0.0.0", "10.0.0.7", "10.0.1.5", "::1"):
        with pytest.raises(ValueError, match="cannot be given"):
            pool.take(ip_address(wrong))


def test_range_limits_what_nobody_asked_for() -> None:
    pool = Pool(net("10.0.0.0/24"), ip_address("10.0.0.1"), net("10.0.0.128/31"))
    assert [str(pool.take()) for _ in range(2)] == ["10.0.0.128", "10.0.0.129"]
    with pytest.raises(AddressesExhausted):
        pool.take()
    assert pool.take(ip_address("10.0.0.9")) == ip_address("10.0.0.9")


def test_ipv6_addresses_begin_behind_the_routers_anycast() -> None:
    pool = Pool(net("fd00::/64"), IPv6Address("fd00::1"))
    assert pool.take() == IPv6Address("fd00::2")


@given(st.lists(st.booleans(), max_size=60))
def test_no_address_is_ever_given_twice(takes: list[bool]) -> None:
    pool = Pool(net("10.0.0.0/28"), ip_address("10.0.0.1"))
    held: list[object] = []
    for take in takes:
        if take:
            try:
                address = pool.take()
            except AddressesExhausted:
                assert len(held) == 13
                continue
            assert address not in held
            held.append(address)
        elif held:
            pool.release(held.pop(0))  # type: ignore[arg-type]

"""Which subnets networks get and which addresses containers get.

Pure: it is told what is taken and never looks at the machine.

Spec: Docker API 1.47, IPAM, IPAMConfig.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface  # an address with its subnet


class PoolExhausted(Exception):
    """No subnet is left in the pools."""


class AddressesExhausted(Exception):
    """No address is left in a subnet."""


class AddressTaken(Exception):
    """The address asked for is in use, or is the gateway's."""


def overlapping(subnet: Network, others: Iterable[Network]) -> Network | None:
    """The first of ``others`` that shares an address with ``subnet``."""
    for other in others:
        if isinstance(subnet, IPv4Network):
            if isinstance(other, IPv4Network) and subnet.overlaps(other):
                return other
        elif isinstance(other, IPv6Network) and subnet.overlaps(other):
            return other
    return None


def choose_subnet(pools: Iterable[tuple[Network, int]], taken: Sequence[Network], version: int) -> Network:
    """The first subnet of the pools, (base, prefix length) each, that overlaps nothing taken.

    Raises: PoolExhausted.
    """
    for base, size in pools:
        if base.version != version:
            continue
        for candidate in _subnets(base, size, taken):
            return candidate
    raise PoolExhausted


def _subnets(base: Network, size: int, taken: Sequence[Network]) -> Iterator[Network]:
    """Free subnets of a base; each taken network is stepped over in one stride."""
    step = 1 << (base.max_prefixlen - size)
    at = int(base.network_address)
    end = int(base.broadcast_address) + 1
    kind = type(base)
    while at < end:
        candidate = kind((at, size))
        blocker = overlapping(candidate, taken)
        if blocker is None:
            yield candidate
            at += step
        else:
            at = max(at + step, -(-(int(blocker.broadcast_address) + 1) // step) * step)


def unique_local(instance: str) -> tuple[IPv6Network, int]:
    """The IPv6 pool of an instance: a /48 of its own in fd00::/8, split in /64s. Spec: RFC 4193, 3.2."""
    digest = hashlib.sha256(instance.encode()).digest()
    return IPv6Network((bytes([0xFD]) + digest[:5] + bytes(10), 48)), 64


def mac_of(address: IPv4Address) -> str:
    """Docker's MAC of an address: neighbours' caches stay right when it is given out again."""
    return "02:42:" + address.packed.hex(":")


@dataclass(slots=True)
class Pool:
    """The addresses of one subnet."""

    subnet: Network
    gateway: Address | None = None
    ip_range: Network | None = None  # where addresses nobody asked for by name come from
    reserved: frozenset[Address] = frozenset()  # auxiliary addresses
    taken: set[Address] = field(default_factory=set)

    def first_free(self) -> Address:
        """The lowest address that may be given to a container; does not take it.

        Raises: AddressesExhausted.
        """
        area = self.ip_range or self.subnet
        for number in range(int(area.network_address), int(area.broadcast_address) + 1):
            address = area.network_address.__class__(number)
            if self._usable(address) and address not in self.taken:
                return address
        raise AddressesExhausted

    def _usable(self, address: Address) -> bool:
        if address == self.gateway or address in self.reserved:
            return False
        if self.subnet.max_prefixlen - self.subnet.prefixlen < 2:
            return True
        if address == self.subnet.network_address:
            return False  # IPv6: the anycast address of routers
        return isinstance(address, IPv6Address) or address != self.subnet.broadcast_address

    def take(self, wanted: Address | None = None) -> Address:
        """Take an address, the lowest free one or the one asked for; auxiliary ones only by name.

        Raises: AddressesExhausted, AddressTaken, ValueError outside of the subnet.
        """
        if wanted is None:
            wanted = self.first_free()
        elif wanted not in self.subnet or not (wanted in self.reserved or self._usable(wanted)):
            if wanted == self.gateway:
                raise AddressTaken
            raise ValueError(f"{wanted} cannot be given to a container of {self.subnet}")
        if wanted in self.taken:
            raise AddressTaken
        self.taken.add(wanted)
        return wanted

    def release(self, address: Address) -> None:
        self.taken.discard(address)

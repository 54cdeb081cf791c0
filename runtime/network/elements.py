"""Elements of the packet filter's sets and maps, typed by their Python values; pure.

    Element("publish4", (Protocol.TCP, Port(8080)), (IPv4Address("172.17.0.2"), Port(80)))
    # publish4 = { tcp . 8080 : 172.17.0.2 . 80 }

Spec: nft(8), ELEMENTS and SETS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


class Protocol(IntEnum):
    """By its number in IP headers."""

    TCP = 6
    UDP = 17
    SCTP = 132


class Port(int):
    """A port number, so that an element knows how to write it."""


Field = Protocol | Port | str | IPv4Address | IPv6Address | IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Element:
    """One entry of a set or map; a network among the key's fields makes it an interval."""

    set: str
    key: tuple[Field, ...]
    value: tuple[Field, ...] = ()

    def words(self) -> str:
        """As nft writes it: ``tcp . 8080 : 172.17.0.2 . 80``."""
        key = " . ".join(_words(field) for field in self.key)
        return key + " : " + " . ".join(_words(field) for field in self.value) if self.value else key


def _words(field: Field) -> str:
    if isinstance(field, Protocol):
        return field.name.lower()
    return f'"{field}"' if isinstance(field, str) else str(field)

"""Published ports: what was asked, read and checked; what was given, as Docker shows it.

Pure. It reads Docker's PortBindings and ExposedPorts and never takes a port from anybody.

Spec: Docker API 1.47, PortMap, HostConfig.PortBindings, ContainerConfig.ExposedPorts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.network.elements import Protocol

BINDINGS_MAX = 65536 * 3  # of one container: every port of every protocol

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "sctp": Protocol.SCTP}


@dataclass(frozen=True, slots=True, order=True)
class ContainerPort:
    """A port inside, ``80/tcp``."""

    number: int
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol.name.lower()}"


@dataclass(frozen=True, slots=True)
class Binding:
    """A wish: this container port on one port of first..last (0..0: any free one) of these addresses."""

    port: ContainerPort
    host_ip: str  # "" means every address of both families
    first: int
    last: int

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions it is bound on."""
        return (4, 6) if not self.host_ip else (ip_address(self.host_ip).version,)


@dataclass(frozen=True, slots=True)
class Published:
    """A container port that a host port leads to, on one address family."""

    port: ContainerPort
    host_ip: IPv4Address | IPv6Address
    host_port: int

    def to_json(self) -> dict[str, Any]:
        return {"port": str(self.port), "host_ip": str(self.host_ip), "host_port": self.host_port}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Published:
        return cls(parse_port(body["port"]), ip_address(body["host_ip"]), int(body["host_port"]))


def _invalid(value: object) -> InvalidArgument:
    return InvalidArgument(f'invalid port specification: "{value}"')


def _range(value: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(value)
    if found is None:
        raise _invalid(value)
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last or last > 65535:
        raise _invalid(value)
    return first, last


def parse_ports(value: str) -> list[ContainerPort]:
    """``80``, ``80/udp`` or ``8000-8010/tcp`` as single ports.

    Raises: InvalidArgument.
    """
    if not isinstance(value, str):
        raise _invalid(value)
    numbers, slash, name = value.partition("/")
    protocol = _PROTOCOLS.get(name.lower()) if slash else Protocol.TCP
    if protocol is None:
        raise InvalidArgument(f'invalid port specification: "{value}": unknown protocol {name!r}')
    first, last = _range(numbers)
    if first == 0:
        raise _invalid(value)
    return [ContainerPort(number, protocol) for number in range(first, last + 1)]


def parse_port(value: str) -> ContainerPort:
    """Exactly one port.

    Raises: InvalidArgument.
    """
    ports = parse_ports(value)
    if len(ports) != 1:
        raise _invalid(value)
    return ports[0]


def parse_exposed(values: Iterable[str] | Mapping[str, Any] | None) -> list[ContainerPort]:
    """The keys of ExposedPorts, each once and in order.

    Raises: InvalidArgument.
    """
    return sorted({port for value in values or () for port in parse_ports(value)})


def parse_bindings(
    bindings: Mapping[str, Sequence[Mapping[str, str]] | None] | None,
    exposed: Sequence[ContainerPort] = (),
    publish_all: bool = False,
) -> list[Binding]:
    """Every wish, in order of container ports; those without a host port come last, so that a random port
    never takes one that was asked for.

    Raises: InvalidArgument.
    """
    if bindings is not None and not isinstance(bindings, Mapping):
        raise InvalidArgument("invalid port bindings: must be an object")
    wishes: list[Binding] = []
    named: set[ContainerPort] = set()
    for key, entries in (bindings or {}).items():
        ports = parse_ports(key)
        if entries is not None and not isinstance(entries, Sequence):
            raise InvalidArgument(f"invalid port bindings of {key}: must be a list")
        for entry in entries or ():
            named.update(ports)
            wishes += _wishes(key, ports, entry)
    if publish_all:
        wishes += [Binding(port, "", 0, 0) for port in exposed if port not in named]
    if len(wishes) > BINDINGS_MAX:
        raise InvalidArgument(f"too many port bindings: {len(wishes)}, at most {BINDINGS_MAX}")
    unique = dict.fromkeys(wishes)
    return sorted(unique, key=lambda wish: (wish.first == 0, wish.first != wish.last, wish.port))


def _wishes(key: str, ports: Sequence[ContainerPort], entry: Mapping[str, str]) -> list[Binding]:
    if not isinstance(entry, Mapping):
        raise InvalidArgument(f"invalid port bindings of {key}: an entry must be an object")
    host_port = str(entry.get("HostPort") or "")
    host_ip = _host_ip(str(entry.get("HostIp") or ""))
    first, last = _range(host_port) if host_port else (0, 0)
    if host_port and host_port != "0" and first == 0:
        raise _invalid(host_port)
    if len(ports) == 1:
        return [Binding(ports[0], host_ip, first, last)]
    if first == 0:
        return [Binding(port, host_ip, 0, 0) for port in ports]
    if last - first != len(ports) - 1:
        raise InvalidArgument(
            f"invalid port specification: {key} and {host_port} are ranges of different lengths"
        )
    return [Binding(port, host_ip, first + at, first + at) for at, port in enumerate(ports)]


def _host_ip(value: str) -> str:
    value = value.strip("[]")
    if not value:
        return ""
    try:
        address = ip_address(value)
    except ValueError:
        raise InvalidArgument(f'invalid IP address "{value}" in a port binding') from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise InvalidArgument(f'invalid IP address "{value}" in a port binding: a zone is not possible')
    return str(address)


def to_port_map(
    published: Iterable[Published], exposed: Iterable[ContainerPort] = ()
) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports: ``{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null}``."""
    found: dict[str, list[dict[str, str]] | None] = {str(port): None for port in sorted(exposed)}
    for entry in published:
        entries = found.get(str(entry.port)) or []
        entries.append({"HostIp": str(entry.host_ip), "HostPort": str(entry.host_port)})
        found[str(entry.port)] = entries
    return found

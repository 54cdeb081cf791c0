"""Host ports held by this process: the proof that nobody else has them, and the way in where no rule leads.

A published port is a bound socket here for as long as the container runs, so that neither another engine
nor any other program can take it without an error. The packet filter leads nearly all packets past these
sockets; what still reaches them (::1, a host's IPv6 address when the container has none, a host whose rules
were just flushed) is relayed to the container. Relayed connections show the container the bridge's address.

It never touches netlink or rules. All calls come from the event loop's thread.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from runtime.network.elements import Protocol
from runtime.network.ports import Binding, Published
from runtime.network.relay import DatagramRelay, StreamRelay

BACKLOG = 128  # connections the kernel holds until they are taken
RANDOM_TRIES = 64  # a random port must be free on both address families

_ANY = ("", "0.0.0.0")  # noqa: S104 - every address of both families

Address = IPv4Address | IPv6Address

log = logging.getLogger(__name__)


class PortTaken(Exception):
    """A host port cannot be had; the text is Docker's, ``Bind for 0.0.0.0:80 failed: …``."""


@dataclass(slots=True)
class _Held:
    published: Published
    socket: socket.socket | None  # None for SCTP, which is only written down
    relay: StreamRelay | DatagramRelay | None = None


@dataclass(slots=True)
class Reservation:
    """The host ports of one container."""

    held: list[_Held] = field(default_factory=list)

    @property
    def published(self) -> list[Published]:
        return [entry.published for entry in self.held]

    def serve(self, ipv4: Address | None, ipv6: Address | None) -> None:
        """Relay what arrives at the sockets to these addresses; needs a running loop."""
        for entry in self.held:
            if entry.socket is None:
                continue
            if entry.relay is not None:
                entry.relay.close()
                entry.relay = None
            same, other = (ipv4, ipv6) if entry.published.host_ip.version == 4 else (ipv6, ipv4)
            target = same or other
            if target is None:
                continue
            kind = StreamRelay if entry.published.port.protocol is Protocol.TCP else DatagramRelay
            entry.relay = kind(entry.socket, (str(target), entry.published.port.number))


class Listeners:
    """All host ports of this instance."""

    def __init__(self, default_ip: str) -> None:
        self._default_ip = default_ip
        self._ours: dict[tuple[Protocol, int], list[Published]] = {}
        self._has_ipv6 = _has_ipv6()

    def reserve(self, wishes: Iterable[Binding], default_ip: str = "") -> Reservation:
        """Take every host port that is wished for, or none; ``default_ip`` is for wishes without one.

        Raises: PortTaken.
        """
        reservation = Reservation()
        try:
            for wish in wishes:
                self._reserve_one(wish, default_ip or self._default_ip, reservation)
        except BaseException:
            self.release(reservation)
            raise
        return reservation

    def adopt(self, published: Iterable[Published]) -> Reservation:
        """Take the ports of a running container again; of one that cannot be had only the rule is left."""
        reservation = Reservation()
        for entry in published:
            try:
                self._hold([entry], reservation)
            except OSError as error:
                log.warning("port %s:%d is not held any more: %s", entry.host_ip, entry.host_port, error)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Give ports back; connections that were relayed end."""
        for entry in reservation.held:
            if entry.relay is not None:
                entry.relay.close()
            if entry.socket is not None:
                entry.socket.close()
            key = (entry.published.port.protocol, entry.published.host_port)
            left = [other for other in self._ours.get(key, []) if other is not entry.published]
            if left:
                self._ours[key] = left
            else:
                self._ours.pop(key, None)
        reservation.held.clear()

    def leads_inside(self, address: str, port: int) -> bool:
        """Whether this TCP port of a loopback address is a container's, not a service's of this machine."""
        asked = ip_address(address)
        return asked.is_loopback and any(
            entry.host_ip.version == asked.version
            and (entry.host_ip == asked or entry.host_ip.is_unspecified)
            for entry in self._ours.get((Protocol.TCP, port), ())
        )

    def _addresses(self, wish: Binding, default_ip: str) -> Sequence[Address]:
        if wish.host_ip or default_ip not in _ANY:
            return [ip_address(wish.host_ip or default_ip)]
        any4 = ip_address("0.0.0.0")  # noqa: S104
        return [any4, ip_address("::")] if self._has_ipv6 else [any4]

    def _reserve_one(self, wish: Binding, default_ip: str, reservation: Reservation) -> None:
        addresses = self._addresses(wish, default_ip)
        candidates: Iterable[int] = range(wish.first, wish.last + 1) if wish.first else [0] * RANDOM_TRIES
        failure: OSError | None = None
        for number in candidates:
            try:
                self._hold([Published(wish.port, address, number) for address in addresses], reservation)
                return
            except OSError as error:
                failure = error
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    break
        raise PortTaken(self._refusal(wish, addresses[0], failure))

    def _hold(self, entries: Sequence[Published], reservation: Reservation) -> None:
        """Bind one port on every address, all or none; port 0 becomes one that is free on all of them."""
        held: list[_Held] = []
        number = entries[0].host_port
        try:
            for entry in entries:
                bound = self._bind(entry, number)
                number = bound.getsockname()[1] if bound is not None else number
                held.append(_Held(Published(entry.port, entry.host_ip, number), bound))
        except OSError:
            for one in held:
                if one.socket is not None:
                    one.socket.close()
            raise
        for one in held:
            self._ours.setdefault((one.published.port.protocol, number), []).append(one.published)
        reservation.held += held

    def _bind(self, entry: Published, number: int) -> socket.socket | None:
        protocol = entry.port.protocol
        if protocol is Protocol.SCTP:
            if number == 0 or self._clashes(entry, number):
                raise OSError(errno.EADDRINUSE, "SCTP host ports must be named and be free")
            return None
        family = socket.AF_INET if entry.host_ip.version == 4 else socket.AF_INET6
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        bound = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if protocol is Protocol.TCP:
                # Old connections in TIME_WAIT must not stand in the way; a listener still excludes others.
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((str(entry.host_ip), number))
            if protocol is Protocol.TCP:
                bound.listen(BACKLOG)
        except BaseException:
            bound.close()
            raise
        return bound

    def _clashes(self, entry: Published, number: int) -> bool:
        for other in self._ours.get((entry.port.protocol, number), []):
            if other.host_ip.version == entry.host_ip.version and (
                other.host_ip == entry.host_ip or other.host_ip.is_unspecified or entry.host_ip.is_unspecified
            ):
                return True
        return False

    def _refusal(self, wish: Binding, address: Address, failure: OSError | None) -> str:
        host = f"[{address}]" if address.version == 6 else str(address)
        ports = f"{wish.first}-{wish.last}" if wish.first != wish.last else str(wish.first)
        head = f"Bind for {host}:{ports} failed"
        if failure is None or failure.errno == errno.EADDRINUSE:
            if wish.first != wish.last or wish.first == 0:
                return f"{head}: all ports are allocated"
            if self._ours.get((wish.port.protocol, wish.first)):
                return f"{head}: port is already allocated"
            return (
                f"{head}: port is already allocated (address already in use by another process of this host)"
            )
        if failure.errno == errno.EADDRNOTAVAIL:
            return f"{head}: cannot assign requested address, no interface of this host has it"
        return f"{head}: {failure.strerror}"


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
            return True
    return False

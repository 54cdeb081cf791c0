"""Bridges, veth pairs and the table: the kernel's side of our networks, one blocking call per step.

† The only way from our networks to netlink and nftables; it uses the siblings marked so. Everything runs in
one thread, in order, so that a step sees what the former did. Steps are undone when they fail half way, and
undoing what is not there is no error: after a crash the same calls clean up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Interface
from pathlib import Path

from runtime.network import firewall, links, nft
from runtime.network.elements import Element
from runtime.network.ipam import Address, Interface, Network
from runtime.network.links import Link
from runtime.network.netlink import NetlinkError, NetlinkSocket
from runtime.network.netns import Namespaces
from runtime.network.nft import NftSocket

USABLE_S = (
    5  # until an interface works whose other end is up; milliseconds, but the kernel's lock may be busy
)
USABLE_POLL_S = 0.0005

_SYSCTL = Path("/proc/sys/net")
_HAS_IPV6 = (_SYSCTL / "ipv6").exists()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge as it shall be."""

    name: str
    addresses: tuple[Interface, ...]  # the gateways
    mtu: int

    @property
    def mac(self) -> str:
        """Stable for a name, locally administered."""
        return "02:42:" + hashlib.sha256(self.name.encode()).digest()[:4].hex(":")


@dataclass(frozen=True, slots=True)
class Plug:
    """A container's interface on a bridge, as it shall be."""

    bridge: str
    host_interface: str
    interface: str  # inside
    mac: str
    addresses: tuple[Interface, ...]
    mtu: int
    hairpin: bool = False  # it has published ports, which it may reach through the host's address
    isolated: bool = False  # neighbours must not reach it
    internal: bool = False  # nothing it sends leaves this host


class Bridges:
    """The kernel's side of one instance."""

    def __init__(self, instance: str, short: str, namespaces: Namespaces) -> None:
        self.table = firewall.table_name(instance)
        self._short = short
        self._namespaces = namespaces
        self._netlink = NetlinkSocket()
        self._slow = NetlinkSocket()  # of the background thread
        self._nft = NftSocket()

    def close(self) -> None:
        self._netlink.close()
        self._slow.close()
        self._nft.close()

    @property
    def filter_port(self) -> int:
        """Whose notices of changed rules are our own doing."""
        return self._nft.port

    def interface_of(self, network_id: str, default: bool) -> str:
        """The bridge's name for a network that names none itself."""
        return f"{self._short}0" if default else f"{self._short}-{network_id[:8]}"

    def port_name(self, endpoint_id: str) -> str:
        """The host's end of an endpoint's interface."""
        return f"{self._short}v{endpoint_id[:7]}"

    def owns(self, name: str) -> bool:
        """Whether an interface of that name is a container's end made by this instance."""
        head, tail = f"{self._short}v", name.removeprefix(f"{self._short}v")
        return name.startswith(head) and len(tail) == 7 and all(sign in "0123456789abcdef" for sign in tail)

    def owns_bridge(self, name: str) -> bool:
        """Whether a bridge of that name is one this instance names itself."""
        tail = name.removeprefix(f"{self._short}-")
        ours = tail != name and len(tail) == 8 and all(sign in "0123456789abcdef" for sign in tail)
        return ours or name == f"{self._short}0"

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other instances in this network namespace from choosing a subnet at the same time.

        The lock is on the namespace itself: no file, no directory both would have to know.
        """
        lock = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def links(self) -> list[Link]:
        return links.links(self._netlink)

    def subnets_in_use(self, but: str = "") -> tuple[list[tuple[str, Network]], list[Network]]:
        """(interface, its subnet) of every address here, and every route; without those of ``but``."""
        names = {link.index: link.name for link in self.links()}
        mine = {index for index, name in names.items() if name == but}
        direct = [
            (names.get(index, ""), interface.network)
            for index, interface in links.addresses(self._netlink)
            if index not in mine and not interface.ip.is_link_local and not interface.ip.is_loopback
        ]
        routes = [subnet for index, subnet in links.routes(self._netlink) if index not in mine]
        return direct, routes

    # -- bridges

    def ensure(self, bridge: Bridge) -> None:
        """Make the bridge what it shall be, creating it when it is not there; its ports stay."""
        found = links.link(self._netlink, bridge.name)
        created = found is None
        if found is None:
            self._netlink.send(links.new_bridge(bridge.name, bridge.mac, bridge.mtu))
            found = links.link(self._netlink, bridge.name)
        if found is None or found.kind != "bridge":
            raise OSError(errno.EEXIST, f"interface {bridge.name} exists and is not a bridge")
        try:
            self._addresses(found.index, bridge)
            self._sysctl(f"ipv4/conf/{bridge.name}/route_localnet", "1")
            if not found.up:
                self._netlink.send(links.set_up(found.index))
            if not created:
                # Ports that an earlier version made: else they would cut what the bridge hands on.
                self._enlarge(*(port.name for port in self.links() if port.master == found.index))
        except BaseException:
            if created:
                self.remove(bridge.name)
            raise

    def _addresses(self, index: int, bridge: Bridge) -> None:
        ipv6 = any(isinstance(entry, IPv6Interface) for entry in bridge.addresses)
        self._sysctl(f"ipv6/conf/{bridge.name}/disable_ipv6", "0" if ipv6 else "1")
        if ipv6:
            self._sysctl(f"ipv6/conf/{bridge.name}/accept_dad", "0")
            self._sysctl(f"ipv6/conf/{bridge.name}/accept_ra", "0")
        present = {entry for at, entry in links.addresses(self._netlink) if at == index}
        wanted = set(bridge.addresses)
        stale = [entry for entry in present - wanted if not entry.ip.is_link_local]
        self._netlink.send(*(links.delete_address(index, entry) for entry in stale))
        self._netlink.send(*(links.add_address(index, entry) for entry in wanted - present))

    def remove(self, name: str) -> None:
        """Delete an interface; a missing one is no error."""
        _delete(self._netlink, name)

    def remove_slowly(self, name: str) -> None:
        """The same, to be called from another thread than everything else."""
        _delete(self._slow, name)

    def allow_forwarding(self, ipv6: bool) -> None:
        """Let the host pass packets on between interfaces."""
        self._sysctl("ipv4/ip_forward", "1")
        if not ipv6:
            return
        # Kernel: with forwarding on, an interface listens to router advertisements only when accept_ra is 2.
        for entry in sorted((_SYSCTL / "ipv6/conf").glob("*/accept_ra")):
            if entry.parent.name not in ("all", "lo") and entry.read_text().strip() == "1":
                entry.write_text("2")
        self._sysctl("ipv6/conf/all/forwarding", "1")

    def _sysctl(self, name: str, value: str) -> None:
        path = _SYSCTL / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except FileNotFoundError:
            if not name.startswith("ipv6/"):  # a kernel without IPv6 has nothing to switch off
                raise

    # -- containers

    def plug(self, plug: Plug, namespace: Path, inner: NetlinkSocket) -> None:
        """Give a namespace an interface on a bridge; nothing stays when it fails."""
        try:
            bridge = socket.if_nametoindex(plug.bridge)
        except OSError:
            raise OSError(errno.ENODEV, f"bridge {plug.bridge} is gone") from None
        port = plug.host_interface
        requests = [links.set_quiet(port)] if _HAS_IPV6 else []
        if plug.hairpin or plug.isolated:
            requests.append(links.set_port(port, hairpin=plug.hairpin, isolated=plug.isolated))
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            veth = links.new_veth(
                port, bridge, plug.interface, plug.mac, descriptor, plug.mtu, large=plug.internal
            )
            self._netlink.send(veth)
        finally:
            os.close(descriptor)
        try:
            if any(isinstance(entry, IPv6Interface) for entry in plug.addresses):
                self._allow_ipv6(namespace, plug.interface)
            inside = links.link(inner, plug.interface)
            if inside is None:
                raise OSError(errno.ENODEV, f"interface {plug.interface} is not in {namespace}")
            inner.send(
                links.set_up(inside.index),
                *(links.add_address(inside.index, entry) for entry in plug.addresses),
            )
            self._netlink.send(*requests, links.set_up_named(port))
            self._enlarge(plug.bridge)
            _await_usable(inner, plug.interface)
            _await_usable(self._netlink, port)
            _await_usable(self._netlink, plug.bridge)  # its first port brings the bridge itself to life
        except BaseException:
            self.remove(plug.host_interface)
            raise

    def _enlarge(self, *names: str) -> None:
        """Let large pieces pass where the kernel does; elsewhere they stay as they were."""
        for name in names:
            with contextlib.suppress(NetlinkError):
                self._netlink.send(links.set_large(name))

    def _allow_ipv6(self, namespace: Path, interface: str) -> None:
        with self._namespaces.inside(namespace):
            for name, value in (("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")):
                self._sysctl(f"ipv6/conf/{interface}/{name}", value)

    def set_port(self, host_interface: str, *, hairpin: bool, isolated: bool) -> None:
        with contextlib.suppress(NetlinkError):
            self._netlink.send(links.set_port(host_interface, hairpin=hairpin, isolated=isolated))

    def unplug(self, host_interface: str) -> bool:
        """Take an interface off its bridge at once; whether it was there. Deleting it takes longer."""
        found = links.link(self._netlink, host_interface)
        if found is None:
            return False
        self._netlink.send(links.unplug(found.index))
        return True

    def route(
        self, inner: NetlinkSocket, ways: Sequence[tuple[str, Address]], *, replace: bool = False
    ) -> None:
        """Make (interface, gateway) the ways to everywhere else; with ``replace`` other ones end."""
        for interface, gateway in ways:
            found = links.link(inner, interface)
            if found is None:
                raise OSError(errno.ENODEV, f"interface {interface} is gone")
            inner.send(links.set_default_route(found.index, gateway))
        for version in {4, 6} - {gateway.version for _, gateway in ways} if replace else ():
            try:
                inner.send(links.delete_default_route(version))
            except NetlinkError as error:
                if error.errno not in (errno.ESRCH, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                    raise

    # -- the table

    def load(self, elements: Iterable[Element]) -> None:
        """Replace the whole table in one step.

        Raises: nft.NftError.
        """
        nft.load(firewall.table_text(self.table, elements))

    def loaded(self) -> bool:
        return self._nft.has_table("inet", self.table)

    def change(self, *, add: Iterable[Element] = (), remove: Iterable[Element] = ()) -> None:
        """Add and remove elements, all or none."""
        self._nft.change(self.table, add=add, remove=remove)

    def drop_elements(self, elements: Iterable[Element]) -> None:
        """Remove elements; those already gone are no error."""
        gone = list(elements)
        try:
            self._nft.change(self.table, remove=gone)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            for element in gone:
                with contextlib.suppress(NetlinkError):
                    self._nft.change(self.table, remove=[element])

    def unload(self) -> None:
        """Delete the table."""
        if self.loaded():
            nft.load(f"delete table inet {self.table}\n")


def _await_usable(netlink: NetlinkSocket, name: str) -> None:
    """Return when the interface sends packets and, being a port of a bridge, passes them on.

    Kernel: that an end of a pair has found the other, or a bridge its first port, is noticed by a work
    queue; before that, what is sent is dropped, and a bridge keeps the port closed. Since 6.8 asking for the
    link does that work; before, it happens within a few milliseconds. A first packet lost here would cost
    its sender a second.
    """
    limit = time.monotonic() + USABLE_S
    while not ((found := links.link(netlink, name)) and found.usable):
        if time.monotonic() > limit:
            raise OSError(errno.ETIMEDOUT, f"interface {name} does not come up")
        time.sleep(USABLE_POLL_S)


def _delete(netlink: NetlinkSocket, name: str) -> None:
    try:
        netlink.send(links.delete_link(name))
    except NetlinkError as error:
        if error.errno != errno.ENODEV:
            raise

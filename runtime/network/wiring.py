"""A sandbox in the kernel: namespace, interfaces, routes, rules and resolver sockets.

Decides nothing: what a sandbox shall have stands in the books. The blocking steps run in the path thread, in
order; what may take its time runs in the background thread. The record is written before anything exists and
removed after everything is gone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from runtime.network import resolvconf
from runtime.network.bridge import Bridges, Plug
from runtime.network.conntrack import forget_flows
from runtime.network.elements import Element, Protocol
from runtime.network.endpoints import Endpoint, Sandbox
from runtime.network.firewall import port_elements
from runtime.network.ipam import Address
from runtime.network.netns import Namespaces
from runtime.network.registry import Net, Registry, choose_gateway
from runtime.network.store import Records
from runtime.network.worker import Worker

EMBEDDED = IPv4Address(resolvconf.EMBEDDED)

log = logging.getLogger(__name__)

DnsSockets = tuple[socket.socket, socket.socket]


class Wiring:
    """The kernel's side of the sandboxes of one instance."""

    def __init__(
        self,
        *,
        registry: Registry,
        kernel: Bridges,
        namespaces: Namespaces,
        records: Records,
        path: Worker,
        background: Worker,
        mtu: int,
    ) -> None:
        self._registry = registry
        self._kernel = kernel
        self._namespaces = namespaces
        self._records = records
        self._path = path
        self._background = background
        self._mtu = mtu

    def port_name(self, endpoint_id: str) -> str:
        return self._kernel.port_name(endpoint_id)

    def place(self, sandbox: Sandbox) -> Path | None:
        """Its namespace's file; None for one that shares the host's network."""
        return self._namespaces.directory / sandbox.namespace if sandbox.namespace else None

    async def save(self, sandbox: Sandbox) -> None:
        await self._path.run(lambda: self._records.save(sandbox.container_id, sandbox.to_json()))

    def gateway(self, sandbox: Sandbox, version: int) -> tuple[Net, Endpoint] | None:
        """The network that is its way out, with its endpoint there."""
        pairs = [
            (net, endpoint)
            for endpoint in sandbox.endpoints.values()
            if (net := self._registry.by_id(endpoint.network_id)) is not None
        ]
        return choose_gateway(pairs, version)

    def elements(self, sandbox: Sandbox) -> list[Element]:
        """The table's elements of a sandbox's ports."""
        ipv4, ipv6 = self.targets(sandbox)
        return port_elements(sandbox.published, ipv4, ipv6)

    def targets(self, sandbox: Sandbox) -> tuple[IPv4Address | None, IPv6Address | None]:
        """The addresses its published ports lead to."""
        way4, way6 = self.gateway(sandbox, 4), self.gateway(sandbox, 6)
        ipv4 = way4[1].ipv4.ip if way4 is not None and way4[1].ipv4 else None
        ipv6 = way6[1].ipv6.ip if way6 is not None and way6[1].ipv6 else None
        return ipv4, ipv6

    def _plug(self, sandbox: Sandbox, endpoint: Endpoint) -> Plug | None:
        net = self._registry.by_id(endpoint.network_id)
        if net is None or not net.is_bridge:
            return None
        return Plug(
            bridge=net.record.bridge,
            host_interface=endpoint.host_interface,
            interface=endpoint.interface,
            mac=endpoint.mac,
            addresses=tuple(endpoint.addresses),
            mtu=net.options.mtu or self._mtu,
            hairpin=bool(sandbox.published),
            isolated=not net.options.neighbours,
            internal=net.record.internal,
        )

    def _ways(self, sandbox: Sandbox) -> list[tuple[str, Address]]:
        """(interface, gateway) of each default route."""
        found: list[tuple[str, Address]] = []
        for version in (4, 6):
            way = self.gateway(sandbox, version)
            if way is not None:
                net, endpoint = way
                gateway = net.gateway_of(endpoint.ipv4 if version == 4 else endpoint.ipv6)
                if gateway is not None:
                    found.append((endpoint.interface, gateway))
        return found

    async def set_up(self, sandbox: Sandbox, owner: Path | None, *, named: bool) -> DnsSockets | None:
        """Make true what the books say; with ``named`` there are two sockets for the resolver.

        Raises: OSError; what was made then is undone by ``take_down``.
        """
        plugs = [self._plug(sandbox, endpoint) for endpoint in sandbox.endpoints.values()]
        ways = self._ways(sandbox)
        elements = self.elements(sandbox)
        sockets: list[DnsSockets] = []

        def work() -> None:
            namespace = self._namespaces.take(owner)
            try:
                sandbox.namespace = namespace.path.name
                self._records.save(sandbox.container_id, sandbox.to_json())
                for plug in plugs:
                    if plug is not None:
                        self._kernel.plug(plug, namespace.path, namespace.netlink)
                self._kernel.route(namespace.netlink, ways)
                self._kernel.change(add=elements)
                if named:
                    sockets.append(self._namespaces.open_dns(namespace.path, EMBEDDED))
                if any(port.port.protocol is Protocol.UDP for port in sandbox.published):
                    self._forget_flows(sandbox)
            finally:
                namespace.netlink.close()

        try:
            await self._path.run(work)
        except BaseException:
            for pair in sockets:
                close_pair(pair)
            raise
        self.refill(owner)
        return sockets[0] if sockets else None

    async def take_down(self, sandbox: Sandbox) -> None:
        """Cut a sandbox off and let its namespace go; a second call finds nothing left.

        Raises: OSError.
        """
        elements = self.elements(sandbox)
        await self._path.run(lambda: self._take_down(sandbox, elements))

    def _take_down(self, sandbox: Sandbox, elements: Sequence[Element]) -> None:
        """Cut a sandbox off and let its namespace go; a second call finds nothing left."""
        self._kernel.drop_elements(elements)
        for endpoint in sandbox.endpoints.values():
            if endpoint.host_interface:
                self._kernel.unplug(endpoint.host_interface)
        if sandbox.namespace:
            self._namespaces.release(self._namespaces.directory / sandbox.namespace)
        self._records.delete(sandbox.container_id)

    def delete_later(self, host_interface: str) -> None:
        """Deleting an interface takes the kernel 20 ms; it is off its bridge already."""

        def work() -> None:
            try:
                self._kernel.remove_slowly(host_interface)
            except OSError as error:
                log.warning("interface %s could not be deleted: %s", host_interface, error)

        self._background.submit(work)

    async def rewire(
        self,
        sandbox: Sandbox,
        before: Sequence[Element],
        *,
        plug: Endpoint | None = None,
        unplug: Endpoint | None = None,
        named: bool = False,
    ) -> DnsSockets | None:
        """Carry a changed set of endpoints into the kernel; ``before`` are the elements it had.

        Raises: OSError.
        """
        after = self.elements(sandbox)
        wanted = self._plug(sandbox, plug) if plug is not None else None
        ways = self._ways(sandbox)
        path = self._namespaces.directory / sandbox.namespace
        hairpins = [entry for entry in sandbox.endpoints.values() if entry.host_interface]
        sockets: list[DnsSockets] = []

        def work() -> None:
            self._records.save(sandbox.container_id, sandbox.to_json())
            with contextlib.closing(self._namespaces.netlink(path)) as inner:
                if unplug is not None and unplug.host_interface:
                    self._kernel.unplug(unplug.host_interface)
                    self._kernel.remove(unplug.host_interface)
                if wanted is not None:
                    self._kernel.plug(wanted, path, inner)
                self._kernel.route(inner, ways, replace=True)
            if set(before) != set(after):
                self._kernel.drop_elements(before)
                self._kernel.change(add=after)
                for entry in hairpins:
                    net = self._registry.by_id(entry.network_id)
                    isolated = net is not None and not net.options.neighbours
                    self._kernel.set_port(entry.host_interface, hairpin=bool(after), isolated=isolated)
            if named:
                sockets.append(self._namespaces.open_dns(path, EMBEDDED))

        await self._path.run(work)
        return sockets[0] if sockets else None

    async def open_dns_again(self, sandbox: Sandbox) -> DnsSockets:
        """Sockets for the resolver of a sandbox that lived on. Raises: OSError."""
        path = self._namespaces.directory / sandbox.namespace
        return await self._path.run(lambda: self._namespaces.open_dns(path, EMBEDDED, replace=True))

    async def socket_inside(self, sandbox: Sandbox, family: int, kind: int) -> socket.socket:
        """A non-blocking socket in the sandbox's namespace. Raises: OSError."""
        path = self._namespaces.directory / sandbox.namespace

        def work() -> socket.socket:
            with self._namespaces.inside(path):
                return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

        return await self._path.run(work)

    def _forget_flows(self, sandbox: Sandbox) -> None:
        """Connectionless peers would go on to whoever had the port before."""
        ports = [port.host_port for port in sandbox.published if port.port.protocol is Protocol.UDP]
        try:
            forget_flows(ports)
        except OSError as error:
            log.warning("old flows to published UDP ports could not be forgotten: %s", error)

    def refill(self, owner: Path | None) -> None:
        """Have as many namespaces made ready as are missing, later."""
        for _ in range(self._namespaces.claim(owner)):
            self._background.submit(lambda: self._fill(owner))

    def _fill(self, owner: Path | None) -> None:
        try:
            self._namespaces.fill(owner)
        except OSError as error:
            log.warning("no network namespace can be made ready: %s", error)


def close_pair(pair: DnsSockets) -> None:
    for one in pair:
        one.close()

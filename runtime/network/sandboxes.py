"""Containers on networks: what each has, and the four verbs that change it.

``setup`` and ``teardown`` go with a container's start and exit, ``join`` and ``leave`` with connect and
disconnect. Each is all or nothing. Decisions are made in the event loop, where nothing else runs meanwhile;
the kernel is changed in the path thread, one verb after the other. The record is written before anything
exists and removed after everything is gone, so a crash at any point leaves something that says what to undo.

It knows no container beyond its id and name, and decides nothing about restarts.

Spec: Docker API 1.47, ContainerStart (networking), NetworkConnect, NetworkDisconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

from runtime.api.errors import EngineError, Forbidden, Internal, InvalidArgument, NotFound
from runtime.events import EventHub
from runtime.network import resolvconf
from runtime.network.bridge import Bridges, Plug
from runtime.network.conntrack import forget_flows
from runtime.network.definitions import Wish, check_mac, parse_endpoint, split_link
from runtime.network.endpoints import Endpoint, EndpointRequest, NetworkSetup, Sandbox
from runtime.network.firewall import port_elements
from runtime.network.ipam import mac_of
from runtime.network.links import Address
from runtime.network.listeners import Listeners, PortTaken, Reservation
from runtime.network.netlink import NetlinkSocket
from runtime.network.netns import Namespaces
from runtime.network.nft import Element, NftSocket, Protocol
from runtime.network.ports import Binding, parse_bindings, parse_exposed, to_port_map
from runtime.network.registry import Net, Registry, check_wish, choose_gateway
from runtime.network.resolver import Resolver, Upstream
from runtime.network.store import Records
from runtime.network.worker import Worker

EMBEDDED = IPv4Address(resolvconf.EMBEDDED)
DEFAULT_MODES = ("", "default", "bridge")

log = logging.getLogger(__name__)

DnsSockets = tuple[socket.socket, socket.socket]


class Sandboxes:
    """The sandboxes of one instance."""

    def __init__(
        self,
        *,
        registry: Registry,
        kernel: Bridges,
        namespaces: Namespaces,
        listeners: Listeners,
        records: Records,
        events: EventHub,
        path: Worker,
        background: Worker,
        mtu: int,
        host_resolver: Callable[[], resolvconf.ResolvConf],
        defaults: resolvconf.ResolvConf,
    ) -> None:
        self._registry = registry
        self._kernel = kernel
        self._namespaces = namespaces
        self._listeners = listeners
        self._records = records
        self._events = events
        self._path = path
        self._background = background
        self._mtu = mtu
        self._host_resolver = host_resolver
        self._defaults = defaults
        self._resolver = Resolver(self)
        self._all: dict[str, Sandbox] = {}
        self._reservations: dict[str, Reservation] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self.hosts_changed: Callable[[str, NetworkSetup], None] | None = None

    @property
    def all(self) -> dict[str, Sandbox]:
        return self._all

    def get(self, container_id: str) -> Sandbox | None:
        return self._all.get(container_id)

    def _lock(self, container_id: str) -> asyncio.Lock:
        lock = self._locks.get(container_id)
        if lock is None:
            lock = self._locks[container_id] = asyncio.Lock()
        return lock

    # -- checks

    def check(self, request: EndpointRequest) -> None:
        """Whether a request can be met as far as that does not depend on what others do meanwhile.

        Raises: NotFound (no such network), InvalidArgument.
        """
        parse_bindings(request.port_bindings, parse_exposed(request.exposed), request.publish_all)
        check_mac(request.mac_address or "")
        for entry in request.links:
            split_link(entry)
        for entry in request.extra_hosts:
            self._extra_host(entry)
        self._wanted(request)

    def _wanted(self, request: EndpointRequest) -> list[tuple[Net, Wish]]:
        """The networks asked for with the wish for each; the one named by the mode comes first."""
        primary = self._registry.find("bridge" if request.mode in DEFAULT_MODES else request.mode)
        wishes: dict[str, tuple[Net, Wish]] = {primary.id: (primary, Wish())}
        for ref, settings in sorted((request.endpoints or {}).items()):
            net = primary if ref in (request.mode, "default") else self._registry.find(ref)
            wishes[net.id] = (net, parse_endpoint(settings))
        if len(wishes) > 1:
            for net, _ in wishes.values():
                if net.record.driver == "null":
                    raise InvalidArgument(
                        "container cannot be connected to multiple networks with one of the networks "
                        "in private (none) mode"
                    )
                if net.record.driver == "host":
                    raise InvalidArgument("container cannot be connected to host network and other networks")
        net, wish = wishes[primary.id]
        if request.mac_address and not wish.mac:
            wish = replace(wish, mac=check_mac(request.mac_address))
        if request.links and net.user_defined:
            links = tuple(":".join(split_link(entry)) for entry in request.links)
            wish = replace(wish, links=tuple(dict.fromkeys((*wish.links, *links))))
        wishes[primary.id] = (net, wish)
        for net, wish in wishes.values():
            check_wish(net, wish)
        return list(wishes.values())

    # -- setup

    async def setup(self, container_id: str, request: EndpointRequest) -> NetworkSetup:
        """Give a container its namespace, addresses and ports; nothing stays when it fails.

        Raises: NotFound, InvalidArgument, Forbidden (address in use), Unavailable (none left), Internal.
        """
        async with self._lock(container_id):
            if container_id in self._all:  # what a start that was interrupted left
                await self._tear_down(container_id)
            wanted = self._wanted(request)
            sandbox = Sandbox(
                container_id=container_id,
                sandbox_id=secrets.token_hex(32),
                name=request.name,
                hostname=request.hostname,
                domainname=request.domainname,
                namespace="",
                mapped=request.mapping is not None,
                mode=request.mode,
                exposed=[str(port) for port in parse_exposed(request.exposed)],
                bindings={key: list(value or ()) for key, value in request.port_bindings.items()},
                publish_all=request.publish_all,
                links=[":".join(split_link(entry)) for entry in request.links],
                dns=list(request.dns),
                dns_search=list(request.dns_search),
                dns_options=list(request.dns_options),
                extra_hosts=list(request.extra_hosts),
            )
            self._check_links(sandbox, wanted[0][0])
            owner = request.mapping.userns if request.mapping is not None else None
            try:
                for net, wish in wanted:
                    self._add_endpoint(sandbox, net, wish)
                self._all[container_id] = sandbox
                self._reserve(sandbox)
                if wanted[0][0].record.driver == "host":
                    await self._path.run(lambda: self._records.save(container_id, sandbox.to_json()))
                else:
                    await self._raise(sandbox, owner)
            except BaseException as error:
                await self._undo(sandbox)
                raise _translated(error, sandbox) from error
            for endpoint in sandbox.endpoints.values():
                self._tell("connect", sandbox, endpoint)
            self._tell_linked(sandbox)
            return self.describe(container_id)

    def _add_endpoint(self, sandbox: Sandbox, net: Net, wish: Wish) -> Endpoint:
        """Take addresses for a sandbox on a network and make it a member."""
        if net.is_bridge and net.broken:
            raise Internal(f"network {net.name} cannot be used: {net.broken}")
        ipv4 = ipv6 = None
        if net.is_bridge:
            ipv4 = net.allocate(4, wish.ipv4)
            try:
                ipv6 = net.allocate(6, wish.ipv6)
            except BaseException:
                net.release(ipv4)
                raise
        endpoint_id = secrets.token_hex(32)
        mac = wish.mac or (mac_of(ipv4.ip) if isinstance(ipv4, IPv4Interface) else "")
        endpoint = Endpoint(
            network_id=net.id,
            network=net.name,
            endpoint_id=endpoint_id,
            host_interface=self._kernel.port_name(endpoint_id) if net.is_bridge else "",
            interface=_free_name(sandbox, net.options.prefix) if net.is_bridge else "",
            mac=mac,
            ipv4=ipv4 if isinstance(ipv4, IPv4Interface) else None,
            ipv6=ipv6 if isinstance(ipv6, IPv6Interface) else None,
            aliases=list(wish.aliases),
            links=list(wish.links),
            asked=wish.asked,
        )
        taken = next((one for one in net.members.values() if mac and one.mac == mac), None)
        if taken is not None:
            net.release(ipv4, ipv6)
            raise Forbidden(f"MAC address already in use: {mac} on network {net.name}")
        sandbox.endpoints[net.id] = endpoint
        net.join(sandbox, endpoint)
        return endpoint

    def _drop_endpoint(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        net = self._registry.by_id(endpoint.network_id)
        sandbox.endpoints.pop(endpoint.network_id, None)
        if net is not None:
            net.leave(sandbox.container_id)
            net.release(endpoint.ipv4, endpoint.ipv6)

    def _check_links(self, sandbox: Sandbox, net: Net) -> None:
        if not net.is_default:
            return
        for entry in sandbox.links:
            name, alias = split_link(entry)
            if self._by_name(name) is None:
                raise InvalidArgument(
                    f"Cannot link to a non running container: /{name} AS /{sandbox.name}/{alias}"
                )

    # -- ports

    def _wishes(self, sandbox: Sandbox) -> list[Binding]:
        return parse_bindings(sandbox.bindings, parse_exposed(sandbox.exposed), sandbox.publish_all)

    def _gateway(self, sandbox: Sandbox, version: int) -> tuple[Net, Endpoint] | None:
        pairs = [
            (net, endpoint)
            for endpoint in sandbox.endpoints.values()
            if (net := self._registry.by_id(endpoint.network_id)) is not None
        ]
        return choose_gateway(pairs, version)

    def _reserve(self, sandbox: Sandbox) -> None:
        """Take the host ports when the sandbox has a way out, give them back when it has none."""
        gateway = self._gateway(sandbox, 4) or self._gateway(sandbox, 6)
        held = self._reservations.get(sandbox.container_id)
        if gateway is None:
            if held is not None:
                self._listeners.release(self._reservations.pop(sandbox.container_id))
            sandbox.published = []
        elif held is None:
            wishes = self._wishes(sandbox)
            if wishes:
                try:
                    reservation = self._listeners.reserve(wishes, gateway[0].options.host_binding)
                except PortTaken as error:
                    raise Internal(
                        "driver failed programming external connectivity on endpoint "
                        f"{sandbox.name} ({gateway[1].endpoint_id}): {error}"
                    ) from None
                self._reservations[sandbox.container_id] = reservation
                sandbox.published = reservation.published

    def elements(self, sandbox: Sandbox) -> list[Element]:
        """The table's elements of a sandbox's ports."""
        ipv4, ipv6 = self._targets(sandbox)
        return port_elements(sandbox.published, ipv4, ipv6)

    def _targets(self, sandbox: Sandbox) -> tuple[IPv4Address | None, IPv6Address | None]:
        """The addresses its published ports lead to."""
        way4, way6 = self._gateway(sandbox, 4), self._gateway(sandbox, 6)
        ipv4 = way4[1].ipv4.ip if way4 is not None and way4[1].ipv4 else None
        ipv6 = way6[1].ipv6.ip if way6 is not None and way6[1].ipv6 else None
        return ipv4, ipv6

    def _serve(self, sandbox: Sandbox) -> None:
        reservation = self._reservations.get(sandbox.container_id)
        if reservation is not None:
            reservation.serve(*self._targets(sandbox))

    # -- the kernel's part

    async def _raise(self, sandbox: Sandbox, owner: Path | None) -> None:
        """Make true what was planned, in the path thread; then take its sockets into the loop."""
        plugs = [self._plug(sandbox, endpoint) for endpoint in sandbox.endpoints.values()]
        ways = self._ways(sandbox)
        elements = self.elements(sandbox)
        named = self._needs_resolver(sandbox)
        sockets: list[DnsSockets] = []

        def work() -> None:
            namespace = self._namespaces.take(owner)
            try:
                sandbox.namespace = namespace.path.name
                self._records.save(sandbox.container_id, sandbox.to_json())
                for plug in plugs:
                    if plug is not None:
                        self._kernel.plug(plug, namespace.path, namespace.socket)
                if plugs != [None]:
                    self._kernel.route(namespace.socket, ways)
                self._kernel.change(add=elements)
                if named:
                    sockets.append(self._open_dns(namespace.path))
            finally:
                namespace.socket.close()

        try:
            await self._path.run(work)
        except BaseException:
            for pair in sockets:
                _close(pair)
            raise
        self.refill(owner)
        for udp, tcp in sockets:
            self._resolver.open(sandbox.container_id, udp, tcp, self._upstream(sandbox))
        self._serve(sandbox)
        if any(port.port.protocol is Protocol.UDP for port in sandbox.published):
            await self._forget_flows(sandbox)

    def refill(self, owner: Path | None) -> None:
        """Have as many namespaces made ready as are missing, later."""
        for _ in range(self._namespaces.claim(owner)):
            self._background.submit(lambda: self._fill(owner))

    def _fill(self, owner: Path | None) -> None:
        try:
            self._namespaces.fill(owner)
        except OSError as error:
            log.warning("no network namespace can be made ready: %s", error)

    def _plug(self, sandbox: Sandbox, endpoint: Endpoint) -> Plug | None:
        net = self._registry.by_id(endpoint.network_id)
        if net is None or not net.is_bridge:
            return None
        addresses = [entry for entry in (endpoint.ipv4, endpoint.ipv6) if entry is not None]
        return Plug(
            bridge=net.record.bridge,
            host_interface=endpoint.host_interface,
            interface=endpoint.interface,
            mac=endpoint.mac,
            addresses=tuple(addresses),
            mtu=net.options.mtu or self._mtu,
            hairpin=bool(sandbox.published),
            isolated=not net.options.neighbours,
        )

    def _ways(self, sandbox: Sandbox) -> list[tuple[str, Address]]:
        """(interface, gateway) of each default route."""
        found: list[tuple[str, Address]] = []
        for version in (4, 6):
            way = self._gateway(sandbox, version)
            if way is not None:
                net, endpoint = way
                gateway = net.gateway_of(endpoint.ipv4 if version == 4 else endpoint.ipv6)
                if gateway is not None:
                    found.append((endpoint.interface, gateway))
        return found

    def _open_dns(self, namespace: Path, *, replace: bool = False) -> DnsSockets:
        """Two sockets for the resolver inside, and the rule that leads port 53 to them."""
        with self._namespaces.inside(namespace):
            udp = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            tcp = socket.socket(
                socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            try:
                udp.bind((resolvconf.EMBEDDED, 0))
                tcp.bind((resolvconf.EMBEDDED, 0))
                tcp.listen(64)
                with contextlib.closing(NftSocket()) as nft:
                    nft.redirect_dns(EMBEDDED, udp.getsockname()[1], tcp.getsockname()[1], replace=replace)
            except BaseException:
                _close((udp, tcp))
                raise
        return udp, tcp

    async def _undo(self, sandbox: Sandbox) -> None:
        """Take back a setup that failed; what cannot be undone now is undone at the next start."""
        container_id = sandbox.container_id
        self._resolver.close(container_id)
        elements = self.elements(sandbox)
        try:
            await self._path.run(lambda: self._take_down(sandbox, elements))
        except OSError as error:
            log.error("network of container %s could not be undone: %s", container_id, error)
        self._forget(sandbox)

    def _take_down(self, sandbox: Sandbox, elements: Sequence[Element]) -> None:
        """Cut a sandbox off and let its namespace go; a second call finds nothing left."""
        self._kernel.drop_elements(elements)
        for endpoint in sandbox.endpoints.values():
            if endpoint.host_interface:
                self._kernel.unplug(endpoint.host_interface)
        if sandbox.namespace:
            self._namespaces.release(self._namespaces.directory / sandbox.namespace)
        self._records.delete(sandbox.container_id)

    def _forget(self, sandbox: Sandbox) -> None:
        """Give back what only exists in our books: ports, addresses, membership."""
        reservation = self._reservations.pop(sandbox.container_id, None)
        if reservation is not None:
            self._listeners.release(reservation)
        for endpoint in list(sandbox.endpoints.values()):
            self._drop_endpoint(sandbox, endpoint)
            if endpoint.host_interface:
                self._delete_later(endpoint.host_interface)
        self._all.pop(sandbox.container_id, None)

    def _delete_later(self, host_interface: str) -> None:
        """Deleting an interface takes the kernel 20 ms; it is off its bridge already."""

        def work() -> None:
            try:
                self._kernel.remove_slowly(host_interface)
            except OSError as error:
                log.warning("interface %s could not be deleted: %s", host_interface, error)

        self._background.submit(work)

    async def _forget_flows(self, sandbox: Sandbox) -> None:
        """Connectionless peers would go on to whoever had the port before."""
        ports = [port for port in sandbox.published if port.port.protocol is Protocol.UDP]
        try:
            await self._path.run(lambda: forget_flows([port.host_port for port in ports]))
        except OSError as error:
            log.warning("old flows to published UDP ports could not be forgotten: %s", error)

    # -- teardown

    async def teardown(self, container_id: str) -> None:
        """Take everything from a container; nothing happens when it has nothing.

        Raises: Internal when the kernel refuses; then it still counts as having it.
        """
        async with self._lock(container_id):
            await self._tear_down(container_id)

    async def _tear_down(self, container_id: str) -> None:
        sandbox = self._all.get(container_id)
        if sandbox is None:
            return
        self._resolver.close(container_id)
        elements = self.elements(sandbox)
        try:
            await self._path.run(lambda: self._take_down(sandbox, elements))
        except asyncio.CancelledError:
            self._ended(sandbox)
            raise
        except OSError as error:
            raise Internal(
                f"network of container {container_id[:12]} cannot be taken down: {error}"
            ) from None
        self._ended(sandbox)

    def _ended(self, sandbox: Sandbox) -> None:
        endpoints = list(sandbox.endpoints.values())
        self._forget(sandbox)
        for endpoint in endpoints:
            self._tell("disconnect", sandbox, endpoint)

    # -- connect and disconnect

    async def join(self, container_id: str, net: Net, wish: Wish) -> None:
        """Put a running container on one more network.

        Raises: NotFound, InvalidArgument, Forbidden, Unavailable, Internal.
        """
        async with self._lock(container_id):
            sandbox = self._running(container_id)
            if net.id in sandbox.endpoints:
                raise Forbidden(f"endpoint with name {sandbox.name} already exists in network {net.name}")
            check_wish(net, wish)
            before = self.elements(sandbox)
            try:
                endpoint = self._add_endpoint(sandbox, net, wish)
                self._reserve(sandbox)
                await self._rewire(sandbox, before, plug=endpoint)
            except BaseException as error:
                joined = sandbox.endpoints.get(net.id)
                if joined is not None:
                    after = self.elements(sandbox)
                    self._drop_endpoint(sandbox, joined)
                    self._reserve(sandbox)
                    await self._rewire(sandbox, after, unplug=joined)
                raise _translated(error, sandbox) from error
            self._tell("connect", sandbox, endpoint)
            self._tell_linked(sandbox)
            self._changed(sandbox)

    async def leave(self, container_id: str, net: Net) -> None:
        """Take a running container off a network.

        Raises: Forbidden when it is not on it, Internal.
        """
        async with self._lock(container_id):
            sandbox = self._running(container_id)
            endpoint = sandbox.endpoints.get(net.id)
            if endpoint is None:
                raise Forbidden(f"container {sandbox.name} is not connected to network {net.name}")
            before = self.elements(sandbox)
            # Members first, address last: it may not be given away while the interface is plugged in.
            sandbox.endpoints.pop(net.id)
            self._reserve(sandbox)
            try:
                await self._rewire(sandbox, before, unplug=endpoint)
            except OSError as error:
                sandbox.endpoints[net.id] = endpoint
                raise Internal(f"{sandbox.name} cannot be taken off network {net.name}: {error}") from None
            finally:
                if net.id not in sandbox.endpoints:
                    self._drop_endpoint(sandbox, endpoint)
            self._tell("disconnect", sandbox, endpoint)
            self._changed(sandbox)

    def _running(self, container_id: str) -> Sandbox:
        sandbox = self._all.get(container_id)
        if sandbox is None or not sandbox.namespace:
            raise NotFound(f"container {container_id[:12]} has no network of its own")
        return sandbox

    async def _rewire(
        self,
        sandbox: Sandbox,
        before: Sequence[Element],
        *,
        plug: Endpoint | None = None,
        unplug: Endpoint | None = None,
    ) -> None:
        """Carry a changed set of endpoints into the kernel: interface, routes, ports, names."""
        after = self.elements(sandbox)
        wanted = self._plug(sandbox, plug) if plug is not None else None
        ways = self._ways(sandbox)
        named = self._needs_resolver(sandbox) and not self._resolver.is_open(sandbox.container_id)
        path = self._namespaces.directory / sandbox.namespace
        hairpins = [entry for entry in sandbox.endpoints.values() if entry.host_interface]
        sockets: list[DnsSockets] = []

        def work() -> None:
            self._records.save(sandbox.container_id, sandbox.to_json())
            with self._namespaces.inside(path):
                inner = NetlinkSocket()
            with contextlib.closing(inner):
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
                sockets.append(self._open_dns(path))

        await self._path.run(work)
        for udp, tcp in sockets:
            self._resolver.open(sandbox.container_id, udp, tcp, self._upstream(sandbox))
        self._resolver.change(sandbox.container_id, self._upstream(sandbox))
        self._serve(sandbox)

    async def rename(self, container_id: str, name: str) -> None:
        """A running container has another name; others find it by that."""
        async with self._lock(container_id):
            sandbox = self._all.get(container_id)
            if sandbox is None:
                return
            sandbox.name = name
            for endpoint in sandbox.endpoints.values():
                net = self._registry.by_id(endpoint.network_id)
                if net is not None:
                    net.leave(container_id)
                    net.join(sandbox, endpoint)
            await self._path.run(lambda: self._records.save(container_id, sandbox.to_json()))

    # -- after a restart of the engine

    def take_over(self, sandbox: Sandbox) -> None:
        """Note a sandbox that lived on; its ports and resolver follow with ``serve_again``."""
        for endpoint in list(sandbox.endpoints.values()):
            net = self._registry.by_id(endpoint.network_id)
            if net is None:
                continue
            net.occupy(endpoint.ipv4, endpoint.ipv6)
            net.join(sandbox, endpoint)
        self._all[sandbox.container_id] = sandbox

    async def serve_again(self) -> None:
        """Hold the ports and answer the questions of every sandbox that lived on."""
        for sandbox in list(self._all.values()):
            if sandbox.published:
                self._reservations[sandbox.container_id] = self._listeners.adopt(sandbox.published)
                self._serve(sandbox)
            if not self._needs_resolver(sandbox) or not sandbox.namespace:
                continue
            path = self._namespaces.directory / sandbox.namespace
            try:
                udp, tcp = await self._path.run(lambda path=path: self._open_dns(path, replace=True))  # type: ignore[misc]
            except OSError as error:
                log.error("names for container %s cannot be served: %s", sandbox.container_id, error)
                continue
            self._resolver.open(sandbox.container_id, udp, tcp, self._upstream(sandbox))

    def close(self) -> None:
        """Give up ports and sockets; containers and their rules stay."""
        self._resolver.close_all()
        for reservation in self._reservations.values():
            self._listeners.release(reservation)
        self._reservations.clear()

    # -- names

    def _needs_resolver(self, sandbox: Sandbox) -> bool:
        return any(
            (net := self._registry.by_id(endpoint.network_id)) is not None and net.user_defined
            for endpoint in sandbox.endpoints.values()
        )

    def _upstream(self, sandbox: Sandbox) -> Upstream:
        allowed = self._gateway(sandbox, 4) is not None or self._gateway(sandbox, 6) is not None
        given = sandbox.dns or self._defaults.nameservers
        if not given:
            host = self._host_resolver().nameservers or list(resolvconf.FALLBACK)
            return Upstream(tuple(host), None, allowed)
        path = self._namespaces.directory / sandbox.namespace

        async def open_socket(family: int, kind: int) -> socket.socket:
            def work() -> socket.socket:
                with self._namespaces.inside(path):
                    return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

            return await self._path.run(work)

        return Upstream(tuple(given), open_socket, allowed)

    def lookup(self, container_id: str, name: str) -> list[Address] | None:
        """Addresses of who has that name on the networks of this container; None when it is nobody's."""
        sandbox = self._all.get(container_id)
        if sandbox is None:
            return None
        for endpoint in sandbox.endpoints.values():
            net = self._registry.by_id(endpoint.network_id)
            if net is None or not net.user_defined:
                continue
            found = net.names.get(name)
            if found is None and name.endswith("." + net.name.lower()):
                found = net.names.get(name.removesuffix("." + net.name.lower()))
            members = list(found.values()) if found else self._linked(net, endpoint, name)
            if members:
                return [one.ip for member in members for one in (member.ipv4, member.ipv6) if one is not None]
        return None

    def _linked(self, net: Net, endpoint: Endpoint, name: str) -> list[Endpoint]:
        for entry in endpoint.links:
            target, alias = split_link(entry)
            if alias.lower() == name:
                return list(net.names.get(target.lower(), {}).values())
        return []

    def reverse(self, container_id: str, address: Address) -> str | None:
        """``name.network`` of the container with that address on a network of this one."""
        sandbox = self._all.get(container_id)
        for endpoint in sandbox.endpoints.values() if sandbox is not None else ():
            net = self._registry.by_id(endpoint.network_id)
            if net is None or not net.user_defined:
                continue
            for member_id, member in net.members.items():
                if address in ((member.ipv4 and member.ipv4.ip), (member.ipv6 and member.ipv6.ip)):
                    other = self._all.get(member_id)
                    if other is not None:
                        return f"{other.name}.{net.name}"
        return None

    def _by_name(self, ref: str) -> Sandbox | None:
        for sandbox in self._all.values():
            if ref in (sandbox.name, sandbox.container_id, sandbox.container_id[:12]):
                return sandbox
        return None

    # -- what a container is told

    def describe(self, container_id: str) -> NetworkSetup:
        """What a container has.

        Raises: NotFound.
        """
        sandbox = self._all.get(container_id)
        if sandbox is None:
            raise NotFound(f"container {container_id[:12]} has no network")
        networks = {
            net.name: net.settings(sandbox, endpoint)
            for endpoint in sandbox.endpoints.values()
            if (net := self._registry.by_id(endpoint.network_id)) is not None
        }
        resolv = self._resolv_conf(sandbox)
        shares_host = not sandbox.namespace
        return NetworkSetup(
            netns_path=None if shares_host else self._namespaces.directory / sandbox.namespace,
            networks=networks,
            ports={} if shares_host else to_port_map(sandbox.published, parse_exposed(sandbox.exposed)),
            hosts=self._hosts(sandbox),
            nameservers=resolv.nameservers,
            search=resolv.search,
            options=resolv.options,
            sandbox_id=sandbox.sandbox_id,
            environment=self._link_environment(sandbox),
        )

    def _resolv_conf(self, sandbox: Sandbox) -> resolvconf.ResolvConf:
        found = resolvconf.for_container(
            self._host_resolver(),
            dns=sandbox.dns or self._defaults.nameservers,
            search=sandbox.dns_search or self._defaults.search,
            options=sandbox.dns_options or self._defaults.options,
            keep_loopback=not sandbox.namespace,
        )
        return resolvconf.embedded(found) if self._needs_resolver(sandbox) else found

    def _hosts(self, sandbox: Sandbox) -> list[tuple[str, list[str]]]:
        lines: list[tuple[str, list[str]]] = [self._extra_host(entry) for entry in sandbox.extra_hosts]
        for entry in sandbox.links:
            target, alias = split_link(entry)
            linked = self._by_name(target)
            address = self._default_address(linked) if linked is not None else None
            if linked is not None and address and self._default_address(sandbox):
                names = [alias, linked.hostname, linked.name]
                lines.append((address, [name for name in dict.fromkeys(names) if name]))
        own = [sandbox.hostname] if sandbox.hostname else []
        if own and sandbox.domainname:
            own = [f"{sandbox.hostname}.{sandbox.domainname}", *own]
        for endpoint in sandbox.endpoints.values():
            for interface in (endpoint.ipv4, endpoint.ipv6):
                if interface is not None and own:
                    lines.append((str(interface.ip), own))
        return lines

    def _extra_host(self, entry: str) -> tuple[str, list[str]]:
        """``name:address`` or ``name=address``; host-gateway is the default bridge's own address."""
        name, separator, address = entry.partition("=" if "=" in entry else ":")
        address = address.strip("[]")
        if not name or not separator or not address:
            raise InvalidArgument(f"bad format for add-host: {entry!r}")
        if address == "host-gateway":
            bridge = self._registry.named("bridge")
            if bridge is None or not bridge.gateways:
                raise InvalidArgument("unable to derive the IP value for host-gateway")
            return str(bridge.gateways[0].ip), [name]
        if not _is_address(address):
            raise InvalidArgument(f"invalid IP address in add-host: {address!r}")
        return address, [name]

    def _default_address(self, sandbox: Sandbox) -> str | None:
        bridge = self._registry.named("bridge")
        endpoint = sandbox.endpoints.get(bridge.id) if bridge is not None else None
        return str(endpoint.ipv4.ip) if endpoint is not None and endpoint.ipv4 else None

    def _link_environment(self, sandbox: Sandbox) -> list[str]:
        """What links on the default bridge have told since Docker's first days: DB_PORT=tcp://172.17.0.2:5432."""
        found: list[str] = []
        if self._default_address(sandbox) is None:
            return found
        for entry in sandbox.links:
            target, alias = split_link(entry)
            linked = self._by_name(target)
            address = self._default_address(linked) if linked is not None else None
            if linked is None or address is None:
                continue
            prefix = alias.upper().replace("-", "_").replace(".", "_")
            ports = parse_exposed(linked.exposed)
            for at, port in enumerate(ports):
                protocol = port.protocol.name.lower()
                url = f"{protocol}://{address}:{port.number}"
                if at == 0:
                    found.append(f"{prefix}_PORT={url}")
                stem = f"{prefix}_PORT_{port.number}_{protocol.upper()}"
                found += [
                    f"{stem}={url}",
                    f"{stem}_ADDR={address}",
                    f"{stem}_PORT={port.number}",
                    f"{stem}_PROTO={protocol}",
                ]
            found.append(f"{prefix}_NAME=/{sandbox.name}/{alias}")
        return found

    def _tell(self, action: str, sandbox: Sandbox, endpoint: Endpoint) -> None:
        net = self._registry.by_id(endpoint.network_id)
        attributes = {
            "container": sandbox.container_id,
            "name": endpoint.network,
            "type": net.record.driver if net is not None else "bridge",
        }
        self._events.publish("network", action, endpoint.network_id, attributes)

    def _changed(self, sandbox: Sandbox) -> None:
        if self.hosts_changed is not None and sandbox.container_id in self._all:
            self.hosts_changed(sandbox.container_id, self.describe(sandbox.container_id))

    def _tell_linked(self, sandbox: Sandbox) -> None:
        """Containers linked to this one on the default bridge know it by a line in their hosts file."""
        for other in list(self._all.values()):
            if any(split_link(entry)[0] == sandbox.name for entry in other.links) and other is not sandbox:
                self._changed(other)


def _free_name(sandbox: Sandbox, prefix: str) -> str:
    used = {endpoint.interface for endpoint in sandbox.endpoints.values()}
    return next(name for at in range(len(used) + 1) if (name := f"{prefix}{at}") not in used)


def _translated(error: BaseException, sandbox: Sandbox) -> BaseException:
    if isinstance(error, EngineError) or not isinstance(error, OSError):
        return error
    return Internal(f"failed to set up container networking of {sandbox.name}: {error}")


def _is_address(value: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
    except OSError:
        return False
    return True


def _close(pair: DnsSockets) -> None:
    for one in pair:
        one.close()

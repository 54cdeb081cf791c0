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
import logging
import secrets
import socket
import weakref
from collections.abc import Callable
from pathlib import Path

from runtime.api.errors import EngineError, Forbidden, Internal, NotFound
from runtime.events import EventHub
from runtime.network import resolvconf
from runtime.network.definitions import Wish
from runtime.network.elements import Element
from runtime.network.endpoints import Endpoint, EndpointRequest, NetworkSetup, Sandbox
from runtime.network.listeners import Listeners
from runtime.network.naming import Naming
from runtime.network.ports import parse_exposed, to_port_map
from runtime.network.published import PublishedPorts
from runtime.network.registry import Net, Registry, check_wish
from runtime.network.requests import new_endpoint, new_sandbox, wanted_networks
from runtime.network.resolver import Resolver, Upstream
from runtime.network.wiring import DnsSockets, Wiring

log = logging.getLogger(__name__)


class Sandboxes:
    """The sandboxes of one instance."""

    def __init__(
        self,
        registry: Registry,
        wiring: Wiring,
        listeners: Listeners,
        events: EventHub,
        *,
        host_resolver: Callable[[], resolvconf.ResolvConf],
        defaults: resolvconf.ResolvConf,
    ) -> None:
        self._registry = registry
        self._wiring = wiring
        self._events = events
        self._host_resolver = host_resolver
        self._defaults = defaults
        self._all: dict[str, Sandbox] = {}
        self._naming = Naming(registry, self._all)
        self._resolver = Resolver(self._naming)
        self._published = PublishedPorts(wiring, listeners)
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
        for entry in request.extra_hosts:
            self._naming.extra_host(entry)
        wanted_networks(self._registry, request)

    # -- setup

    async def setup(self, container_id: str, request: EndpointRequest) -> NetworkSetup:
        """Give a container its namespace, addresses and ports; nothing stays when it fails.

        Raises: NotFound, InvalidArgument, Forbidden (address in use), Unavailable (none left), Internal.
        """
        async with self._lock(container_id):
            if container_id in self._all:  # what a start that was interrupted left
                await self._tear_down(container_id)
            wanted = wanted_networks(self._registry, request)
            sandbox = new_sandbox(container_id, request)
            self._naming.check_links(sandbox, wanted[0][0])
            owner = request.mapping.userns if request.mapping is not None else None
            try:
                for net, wish in wanted:
                    self._add_endpoint(sandbox, net, wish)
                self._all[container_id] = sandbox
                self._published.reserve(sandbox)
                if wanted[0][0].record.driver == "host":
                    await self._wiring.save(sandbox)
                else:
                    await self._set_up(sandbox, owner)
            except BaseException as error:
                await self._undo(sandbox)
                raise _translated(error, sandbox) from error
            for endpoint in sandbox.endpoints.values():
                self._tell("connect", sandbox, endpoint)
            for linked in self._naming.linked_to(sandbox):
                self._changed(linked)
            return self.describe(container_id)

    def _add_endpoint(self, sandbox: Sandbox, net: Net, wish: Wish) -> Endpoint:
        """Take addresses for a sandbox on a network and make it a member."""
        id = secrets.token_hex(32)
        endpoint = new_endpoint(net, sandbox, wish, id, self._wiring.port_name(id))
        sandbox.endpoints[net.id] = endpoint
        net.join(sandbox, endpoint)
        return endpoint

    def _drop_endpoint(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        net = self._registry.by_id(endpoint.network_id)
        sandbox.endpoints.pop(endpoint.network_id, None)
        if net is not None:
            net.leave(sandbox.container_id)
            net.release(endpoint.ipv4, endpoint.ipv6)

    # -- what we serve

    def elements(self, sandbox: Sandbox) -> list[Element]:
        """The table's elements of a sandbox's ports."""
        return self._wiring.elements(sandbox)

    def _serve(self, sandbox: Sandbox, sockets: DnsSockets | None) -> None:
        """Answer at a sandbox's ports and at its resolver, when there are new sockets for it."""
        self._published.serve(sandbox)
        if sockets is not None:
            self._resolver.open(sandbox.container_id, *sockets, self._upstream(sandbox))

    # -- setup and teardown, further

    async def _set_up(self, sandbox: Sandbox, owner: Path | None) -> None:
        named = self._naming.has_names(sandbox)
        self._serve(sandbox, await self._wiring.set_up(sandbox, owner, named=named))

    async def _undo(self, sandbox: Sandbox) -> None:
        """Take back a setup that failed; what cannot be undone now is undone at the next start."""
        self._resolver.close(sandbox.container_id)
        try:
            await self._wiring.take_down(sandbox)
        except OSError as error:
            log.error("network of container %s could not be undone: %s", sandbox.container_id, error)
        self._forget(sandbox)

    def _forget(self, sandbox: Sandbox) -> None:
        """Give back what only exists in our books: ports, addresses, membership."""
        self._published.release(sandbox)
        for endpoint in list(sandbox.endpoints.values()):
            self._drop_endpoint(sandbox, endpoint)
            if endpoint.host_interface:
                self._wiring.delete_later(endpoint.host_interface)
        self._all.pop(sandbox.container_id, None)

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
        try:
            await self._wiring.take_down(sandbox)
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
                self._published.reserve(sandbox)
                await self._rewire(sandbox, before, plug=endpoint)
            except BaseException as error:
                joined = sandbox.endpoints.get(net.id)
                if joined is not None:
                    after = self.elements(sandbox)
                    self._drop_endpoint(sandbox, joined)
                    self._published.reserve(sandbox)
                    await self._rewire(sandbox, after, unplug=joined)
                raise _translated(error, sandbox) from error
            self._tell("connect", sandbox, endpoint)
            for changed in (sandbox, *self._naming.linked_to(sandbox)):
                self._changed(changed)

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
            self._published.reserve(sandbox)
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

    async def _rewire(
        self,
        sandbox: Sandbox,
        before: list[Element],
        *,
        plug: Endpoint | None = None,
        unplug: Endpoint | None = None,
    ) -> None:
        """Carry a changed set of endpoints into the kernel and into what we serve."""
        id = sandbox.container_id
        named = self._naming.has_names(sandbox) and not self._resolver.is_open(id)
        sockets = await self._wiring.rewire(sandbox, before, plug=plug, unplug=unplug, named=named)
        self._serve(sandbox, sockets)
        self._resolver.change(id, self._upstream(sandbox))

    def _running(self, container_id: str) -> Sandbox:
        sandbox = self._all.get(container_id)
        if sandbox is None or not sandbox.namespace:
            raise NotFound(f"container {container_id[:12]} has no network of its own")
        return sandbox

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
            await self._wiring.save(sandbox)

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
                self._published.adopt(sandbox)
            sockets = None
            if sandbox.namespace and self._naming.has_names(sandbox):
                try:
                    sockets = await self._wiring.open_dns_again(sandbox)
                except OSError as error:
                    log.error("names for container %s cannot be served: %s", sandbox.container_id, error)
            self._serve(sandbox, sockets)

    def close(self) -> None:
        """Give up ports and sockets; containers and their rules stay."""
        self._resolver.close_all()
        self._published.close()

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
        place = self._wiring.place(sandbox)
        return NetworkSetup(
            netns_path=place,
            networks=networks,
            ports={} if place is None else to_port_map(sandbox.published, parse_exposed(sandbox.exposed)),
            hosts=self._naming.hosts(sandbox),
            nameservers=resolv.nameservers,
            search=resolv.search,
            options=resolv.options,
            sandbox_id=sandbox.sandbox_id,
            environment=self._naming.link_environment(sandbox),
        )

    def _resolv_conf(self, sandbox: Sandbox) -> resolvconf.ResolvConf:
        found = resolvconf.for_container(
            self._host_resolver(),
            dns=sandbox.dns or self._defaults.nameservers,
            search=sandbox.dns_search or self._defaults.search,
            options=sandbox.dns_options or self._defaults.options,
            keep_loopback=not sandbox.namespace,
        )
        return resolvconf.embedded(found) if self._naming.has_names(sandbox) else found

    def _upstream(self, sandbox: Sandbox) -> Upstream:
        """Whom our resolver asks for names that are nobody's here."""
        allowed = any(self._wiring.gateway(sandbox, version) is not None for version in (4, 6))
        given = sandbox.dns or self._defaults.nameservers
        if not given:
            return Upstream(lambda: self._host_resolver().nameservers or resolvconf.FALLBACK, None, allowed)

        async def open_socket(family: int, kind: int) -> socket.socket:
            return await self._wiring.socket_inside(sandbox, family, kind)

        return Upstream(lambda: given, open_socket, allowed)

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


def _translated(error: BaseException, sandbox: Sandbox) -> BaseException:
    if isinstance(error, EngineError) or not isinstance(error, OSError):
        return error
    return Internal(f"failed to set up container networking of {sandbox.name}: {error}")

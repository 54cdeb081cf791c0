"""Networks of one instance: the verbs of /networks, and what happens to them at start and stop.

Owns the records of networks and the order in which books, disk and kernel change. What containers have on
networks is ``sandboxes.py``'s, and the only calls to the kernel are ``bridge.py``'s.

Start-up, before any socket of the API opens: records are read, bridges made, sandboxes of containers that
live on are taken over and all others undone, anything of ours that no record explains is removed, and the
whole table is loaded in one step.

Spec: Docker API 1.47, Network.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, Forbidden, Internal, InvalidArgument
from runtime.config import EngineConfig
from runtime.events import EventHub
from runtime.idmap import IdMap
from runtime.network import resolvconf
from runtime.network.bridge import Bridges
from runtime.network.connections import Connections, Directory, Member
from runtime.network.definitions import OPTION, PREDEFINED, Definition, parse_network
from runtime.network.elements import Element
from runtime.network.endpoints import EndpointRequest, NetworkSetup
from runtime.network.filters import Filters, check_keys, created_before, labels_match, rfc3339
from runtime.network.filterwatch import FilterWatch
from runtime.network.firewall import bridge_elements
from runtime.network.foreign import ForeignFilters
from runtime.network.listeners import Listeners
from runtime.network.netns import Namespaces
from runtime.network.reconcile import Reconciler, bridge_of, purge
from runtime.network.registry import Net, Registry
from runtime.network.sandboxes import Sandboxes
from runtime.network.store import NetworkRecord, Records
from runtime.network.subnets import choose_subnets
from runtime.network.wiring import Wiring
from runtime.network.worker import Worker

__all__ = ["Directory", "Member", "Networks", "purge"]

NETWORKS_MAX = 1000  # of one instance; the pools have room for 31 chosen by us

_LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PRUNE_FILTERS = ("until", "label", "label!")

log = logging.getLogger(__name__)


class Networks:
    """The networks of one engine."""

    def __init__(
        self,
        config: EngineConfig,
        events: EventHub,
        store_root: Path,
        *,
        host_resolver: Callable[[], resolvconf.ResolvConf] | None = None,
    ) -> None:
        self._config = config
        self._events = events
        self._records = Records(store_root, durable=True)
        self._sandbox_records = Records(config.run / "sandboxes", durable=False)
        self._registry = Registry()
        self._namespaces = Namespaces(config.run / "netns", config.network.ready_namespaces)
        self._kernel = Bridges(config.instance, config.short, self._namespaces)
        self._foreign = ForeignFilters(config.instance, config.short, [self._kernel.table])
        self._path = Worker("network")
        self._background = Worker("network-background")
        wiring = Wiring(
            registry=self._registry,
            kernel=self._kernel,
            namespaces=self._namespaces,
            records=self._sandbox_records,
            path=self._path,
            background=self._background,
            mtu=config.network.mtu,
        )
        self.listeners = Listeners(config.network.bind_address)
        self._sandboxes = Sandboxes(
            self._registry,
            wiring,
            self.listeners,
            events,
            host_resolver=host_resolver or resolvconf.HostFile().read,
            defaults=resolvconf.ResolvConf(
                list(config.network.dns), list(config.network.dns_search), list(config.network.dns_options)
            ),
        )
        self._wiring = wiring
        self._changing = asyncio.Lock()  # one network is made or removed at a time
        self._filter = FilterWatch(self._kernel, self._foreign, self._path, self._elements)
        self._connections = Connections(self._registry, self._sandboxes)

    # -- start and stop

    async def start(self, live: Iterable[str], mapping: IdMap | None = None) -> None:
        """Make the kernel agree with the records; ``live`` are the ids of running containers.

        ``mapping`` is that of most containers to come: for them namespaces are kept ready from now on.

        Raises: Internal when no container could have a network.
        """
        alive = set(live)
        reconciler = Reconciler(
            self._config, self._kernel, self._namespaces, self._records, self._sandbox_records
        )
        try:
            nets, sandboxes = await self._path.run(lambda: reconciler.run(alive))
            for net in nets:
                self._registry.add(net)
            for sandbox in sandboxes:
                self._sandboxes.take_over(sandbox)
            await self._path.run(self._filter.load)
        except OSError as error:
            raise Internal(f"networks cannot be set up: {error}") from error
        await self._sandboxes.serve_again()
        self._filter.start()
        self._wiring.refill(mapping.userns if mapping is not None else None)

    async def close(self) -> None:
        """Stop serving; networks, addresses, rules and containers stay as they are."""
        self._filter.close()
        self._sandboxes.close()
        await self._path.idle()
        await self._background.idle()
        self._namespaces.close()
        self._kernel.close()
        self._foreign.close()
        await asyncio.to_thread(self._path.close)
        await asyncio.to_thread(self._background.close)

    def _elements(self) -> list[Element]:
        found: list[Element] = []
        for net in self._registry:
            if net.is_bridge and not net.broken:
                found += bridge_elements(net.rules())
        for sandbox in self._sandboxes.all.values():
            found += self._sandboxes.elements(sandbox)
        return found

    # -- containers

    def check(self, request: EndpointRequest) -> None:
        """Whether a request is right in itself: for `create`, before anything is made.

        Raises: NotFound (no such network), InvalidArgument.
        """
        self._sandboxes.check(request)

    async def setup(self, container_id: str, request: EndpointRequest) -> NetworkSetup:
        """Give a starting container its namespace, addresses, names and ports; all or nothing.

        Cancelling undoes what was done and passes on then.
        Raises: NotFound, InvalidArgument, Forbidden (address in use), Unavailable (none left), Internal
        (a host port is taken, or the kernel refused).
        """
        return await self._sandboxes.setup(container_id, request)

    async def teardown(self, container_id: str) -> None:
        """Take it all back; idempotent. On return no packet reaches the container and its addresses and
        ports are free; the kernel deletes the interface within the next 50 ms.

        Raises: Internal when the kernel refused.
        """
        await self._sandboxes.teardown(container_id)

    def describe(self, container_id: str) -> NetworkSetup | None:
        """What a container has now, for inspect; None when it has no network."""
        return self._sandboxes.describe(container_id) if self._sandboxes.get(container_id) else None

    async def rename(self, container_id: str, name: str) -> None:
        """A container has another name from now on."""
        await self._sandboxes.rename(container_id, name)

    @property
    def containers(self) -> Directory | None:
        """The room of containers, for connect and disconnect; set by whoever wires the engine."""
        return self._connections.containers

    @containers.setter
    def containers(self, containers: Directory | None) -> None:
        self._connections.containers = containers

    @property
    def hosts_changed(self) -> Callable[[str, NetworkSetup], None] | None:
        """Called with (container id, setup) when a running container's hosts file or resolv.conf is to be
        written again: after connect and disconnect, and when a linked container has a new address."""
        return self._sandboxes.hosts_changed

    @hosts_changed.setter
    def hosts_changed(self, call: Callable[[str, NetworkSetup], None] | None) -> None:
        self._sandboxes.hosts_changed = call

    async def settle(self) -> None:
        """Wait until everything that happens behind the scenes (deleting interfaces) has happened."""
        await self._background.idle()

    # -- /networks

    def find_id(self, ref: str) -> str:
        """The id of a network.

        Raises: NotFound, InvalidArgument.
        """
        return self._registry.find(ref).id

    async def list(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """Bodies of GET /networks, in order of creation.

        Raises: InvalidArgument for an unknown filter.
        """
        wanted = filters or {}
        check_keys(wanted, _LIST_FILTERS)
        return [net.describe(None) for net in self._registry if self._matches(net, wanted)]

    def _matches(self, net: Net, filters: Filters) -> bool:
        record = net.record
        for value in filters.get("type", []):
            if value not in ("custom", "builtin"):
                raise InvalidArgument(f"invalid filter: 'type'='{value}'")
        for value in filters.get("dangling", []):
            if value.lower() not in ("1", "true", "0", "false"):
                raise InvalidArgument(f"invalid filter: 'dangling'='{value}'")
            idle = not net.members and record.name not in PREDEFINED
            if idle != (value.lower() in ("1", "true")):
                return False
        kind = "builtin" if record.name in PREDEFINED else "custom"
        return (
            _any(filters.get("driver"), lambda value: value == record.driver)
            and _any(filters.get("id"), lambda value: value in record.id)
            and _any(filters.get("name"), lambda value: value in record.name)
            and _any(filters.get("scope"), lambda value: value == "local")
            and _any(filters.get("type"), lambda value: value == kind)
            and labels_match(record.labels, filters.get("label", []))
        )

    async def inspect(self, ref: str) -> dict[str, Any]:
        """Body of GET /networks/{id}.

        Raises: NotFound, InvalidArgument.
        """
        return self._registry.find(ref).describe(self._sandboxes.all)

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a network: ``{"Id": "…", "Warning": ""}``.

        Raises: InvalidArgument, Forbidden (name, overlapping subnet), Conflict (name taken), NotFound
        (driver), NotSupported, Internal.
        """
        definition = parse_network(body)
        async with self._changing:
            if self._registry.named(definition.name) is not None:
                raise Conflict(f"network with name {definition.name} already exists")
            if sum(1 for _ in self._registry) >= NETWORKS_MAX:
                raise Forbidden(f"this engine has {NETWORKS_MAX} networks already")
            try:
                net = await self._path.run(lambda: self._create(definition))
            except OSError as error:
                raise Internal(f"network {definition.name} cannot be created: {error}") from error
            self._registry.add(net)
            self._tell("create", net)
            return {"Id": net.id, "Warning": ""}

    def _create(self, definition: Definition) -> Net:
        id = secrets.token_hex(32)
        record = NetworkRecord(
            id=id,
            name=definition.name,
            driver="bridge",
            created=rfc3339(),
            internal=definition.internal,
            attachable=definition.attachable,
            enable_ipv6=definition.enable_ipv6,
            ipam_options=definition.ipam_options,
            options=definition.options,
            labels=definition.labels,
            bridge=definition.options.get(f"{OPTION}name") or self._kernel.interface_of(id, default=False),
        )
        self._check_bridge_name(record.bridge)
        with self._kernel.exclusive():
            ours = [(net.name, pool.subnet) for net in self._registry for pool in net.pools]
            direct, routes = self._kernel.subnets_in_use()
            subnets = choose_subnets(self._config, definition, ours, direct, routes)
            net = Net.of(replace(record, subnets=subnets))
            self._records.save(id, net.record.to_json())
            try:
                if definition.enable_ipv6:
                    self._kernel.allow_forwarding(ipv6=True)
                self._kernel.ensure(bridge_of(net, self._config.network.mtu))
                self._kernel.change(add=bridge_elements(net.rules()))
            except BaseException:
                self._kernel.drop_elements(bridge_elements(net.rules()))
                self._kernel.remove(net.record.bridge)
                self._records.delete(id)
                raise
        return net

    def _check_bridge_name(self, name: str) -> None:
        if any(net.record.bridge == name for net in self._registry):
            raise Forbidden(f"bridge name {name} is used by another network of this engine")
        if any(link.name == name for link in self._kernel.links()):
            raise Forbidden(f"interface {name} exists already and is not this engine's")

    async def remove(self, ref: str) -> None:
        """Remove a network nobody is on.

        Raises: NotFound, InvalidArgument, Forbidden (predefined or in use), Internal.
        """
        async with self._changing:
            await self._remove(self._registry.find(ref))

    async def _remove(self, net: Net) -> None:
        if net.name in PREDEFINED:
            raise Forbidden(f"{net.name} is a pre-defined network and cannot be removed")
        if net.members:
            names = ", ".join(
                sorted(
                    self._sandboxes.all[id].name if id in self._sandboxes.all else id[:12]
                    for id in net.members
                )
            )
            raise Forbidden(
                f"error while removing network: network {net.name} id {net.id} has active endpoints: {names}"
            )
        self._registry.remove(net)  # from here on nobody can join

        def work() -> None:
            self._kernel.drop_elements(bridge_elements(net.rules()))
            if not net.broken:
                self._kernel.remove(net.record.bridge)
            self._records.delete(net.id)

        try:
            await self._path.run(work)
        except OSError as error:
            self._registry.add(net)
            raise Internal(f"network {net.name} cannot be removed: {error}") from error
        self._tell("destroy", net)

    async def prune(self, filters: Filters | None = None) -> dict[str, Any]:
        """Remove every network nobody is on: ``{"NetworksDeleted": ["name", …] | null}``.

        Raises: InvalidArgument for an unknown filter.
        """
        wanted = filters or {}
        check_keys(wanted, _PRUNE_FILTERS)
        limit = created_before(wanted.get("until", []))
        gone: list[str] = []
        async with self._changing:
            for net in self._registry:
                labels = net.record.labels
                if (
                    net.name in PREDEFINED
                    or net.members
                    or not labels_match(labels, wanted.get("label", []))
                    or (wanted.get("label!") and labels_match(labels, wanted["label!"]))
                    or (limit is not None and net.record.created >= limit)
                ):
                    continue
                try:
                    await self._remove(net)
                except (Forbidden, Internal) as error:
                    log.warning("network %s was not pruned: %s", net.name, error)
                    continue
                gone.append(net.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": gone or None}

    async def connect(self, ref: str, body: Mapping[str, Any]) -> None:
        """Put a container on a network, now when it runs, and at its next start.

        Raises: NotFound, InvalidArgument, Forbidden, Unavailable, Internal.
        """
        await self._connections.connect(ref, body)

    async def disconnect(self, ref: str, body: Mapping[str, Any]) -> None:
        """Take a container off a network, now and for its next start.

        Raises: NotFound, InvalidArgument, Forbidden, Internal.
        """
        await self._connections.disconnect(ref, body)

    def _tell(self, action: str, net: Net) -> None:
        self._events.publish("network", action, net.id, {"name": net.name, "type": net.record.driver})


def _any(values: Sequence[str] | None, matches: Callable[[str], bool]) -> bool:
    return not values or any(matches(value) for value in values)

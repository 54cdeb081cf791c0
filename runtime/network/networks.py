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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from runtime.api.errors import Conflict, Forbidden, Internal, InvalidArgument, NotFound
from runtime.config import EngineConfig
from runtime.events import EventHub
from runtime.network import ipam, resolvconf
from runtime.network.bridge import Bridge, Bridges
from runtime.network.definitions import (
    OPTION,
    OPTION_MTU,
    PREDEFINED,
    Definition,
    parse_endpoint,
    parse_network,
)
from runtime.network.endpoints import EndpointRequest, NetworkSetup, Sandbox, Settings
from runtime.network.filters import Filters, check_keys, created_before, labels_match, rfc3339
from runtime.network.firewall import bridge_elements
from runtime.network.foreign import ForeignFilters
from runtime.network.listeners import Listeners
from runtime.network.netns import Namespaces
from runtime.network.nft import Element, NftError, drain, notices
from runtime.network.registry import Net, Registry, check_wish
from runtime.network.sandboxes import Sandboxes
from runtime.network.store import NetworkRecord, Records, SubnetConfig, load_networks, load_sandboxes
from runtime.network.worker import Worker

NETWORKS_MAX = 1000  # of one instance; the pools have room for 31 chosen by us
QUIET_S = 0.2  # after somebody changed the packet filter, before we look whether our rules are still there

_LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PRUNE_FILTERS = ("until", "label", "label!")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A container as the verbs connect and disconnect need it."""

    id: str
    name: str
    running: bool  # has a namespace of its own right now
    mode: str  # HostConfig.NetworkMode
    endpoints: Mapping[str, Settings]  # as asked: network name -> EndpointSettings


class Directory(Protocol):
    """The room of containers, seen from here."""

    def network_member(self, ref: str) -> Member:
        """Raises: NotFound."""

    async def save_endpoints(self, container_id: str, endpoints: dict[str, Settings]) -> None:
        """Keep what the container shall have at its next start."""


class Networks:
    """The networks of one engine."""

    def __init__(
        self,
        config: EngineConfig,
        events: EventHub,
        store_root: Path,
        *,
        host_resolver: Callable[[], resolvconf.ResolvConf] = resolvconf.read_host,
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
        self._sandboxes = Sandboxes(
            registry=self._registry,
            kernel=self._kernel,
            namespaces=self._namespaces,
            listeners=Listeners(config.network.bind_address),
            records=self._sandbox_records,
            events=events,
            path=self._path,
            background=self._background,
            mtu=config.network.mtu,
            host_resolver=host_resolver,
            defaults=resolvconf.ResolvConf(
                list(config.network.dns), list(config.network.dns_search), list(config.network.dns_options)
            ),
        )
        self._changing = asyncio.Lock()  # one network is made or removed at a time
        self._watch = notices()
        self._check_timer: asyncio.TimerHandle | None = None
        self.containers: Directory | None = None  # set by whoever wires the engine

    # -- start and stop

    async def start(self, live: Iterable[str]) -> None:
        """Make the kernel agree with the records; ``live`` are the ids of running containers.

        Raises: Internal when no container could have a network.
        """
        alive = set(live)
        try:
            await self._path.run(lambda: self._reconcile(alive))
        except (OSError, NftError) as error:
            raise Internal(f"networks cannot be set up: {error}") from error
        await self._sandboxes.serve_again()
        asyncio.get_running_loop().add_reader(self._watch, self._filter_changed)
        self._sandboxes.refill(None)

    async def close(self) -> None:
        """Stop serving; networks, addresses, rules and containers stay as they are."""
        if self._check_timer is not None:
            self._check_timer.cancel()
        asyncio.get_running_loop().remove_reader(self._watch)
        self._watch.close()
        self._sandboxes.close()
        await self._path.idle()
        await self._background.idle()
        self._namespaces.close()
        self._kernel.close()
        self._foreign.close()
        await asyncio.to_thread(self._path.close)
        await asyncio.to_thread(self._background.close)

    def _reconcile(self, alive: set[str]) -> None:
        self._namespaces.prepare()
        for records in (self._records, self._sandbox_records):
            records.prepare()
        found = load_networks(self._records)
        sandboxes = load_sandboxes(self._sandbox_records)
        ours = {id: sandbox for id, sandbox in sandboxes.items() if id in alive}
        for sandbox in sandboxes.values():
            if sandbox.container_id not in ours:
                self._remove_sandbox(sandbox)
        self._remove_unknown(found.values(), ours.values())
        with self._kernel.exclusive():
            for record in self._predefined(found, ours.values()):
                self._registry.add(Net.of(record))
            for net in self._registry:
                if net.is_bridge:
                    self._make_bridge(net)
        for sandbox in ours.values():
            self._sandboxes.take_over(sandbox)
        self._kernel.allow_forwarding(any(net.record.enable_ipv6 for net in self._registry))
        self._kernel.load(self._elements())
        self._check_foreign()

    def _remove_sandbox(self, sandbox: Sandbox) -> None:
        for endpoint in sandbox.endpoints.values():
            if endpoint.host_interface:
                self._kernel.remove(endpoint.host_interface)
        if sandbox.namespace:
            self._namespaces.release(self._namespaces.directory / sandbox.namespace)
        self._sandbox_records.delete(sandbox.container_id)

    def _remove_unknown(self, networks: Iterable[NetworkRecord], sandboxes: Iterable[Sandbox]) -> None:
        """Whatever bears our names and is in no record: left by a crash between two steps."""
        bridges = {record.bridge for record in networks}
        ports = {entry.host_interface for one in sandboxes for entry in one.endpoints.values()}
        pins = {sandbox.namespace for sandbox in sandboxes}
        for link in self._kernel.links():
            if (self._kernel.owns(link.name) and link.name not in ports) or (
                self._kernel.owns_bridge(link.name) and link.name not in bridges
            ):
                self._kernel.remove(link.name)
        for path in self._namespaces.pins():
            if path.name not in pins:
                self._namespaces.release(path)

    def _predefined(
        self, found: dict[str, NetworkRecord], sandboxes: Iterable[Sandbox]
    ) -> list[NetworkRecord]:
        """All records, with the three networks that always exist made where they are missing."""
        by_name = {record.name: record for record in found.values()}
        for name, driver in (("host", "host"), ("none", "null")):
            if name not in by_name:
                record = NetworkRecord(secrets.token_hex(32), name, driver, rfc3339())
                self._records.save(record.id, record.to_json())
                by_name[name] = record
        others = sorted(
            (record for record in by_name.values() if record.name != "bridge"),
            key=lambda record: record.created,
        )
        in_use = {network for sandbox in sandboxes for network in sandbox.endpoints}
        default = self._default_bridge(by_name.get("bridge"), others, in_use)
        return [default, *others]

    def _default_bridge(
        self, record: NetworkRecord | None, others: Iterable[NetworkRecord], in_use: set[str]
    ) -> NetworkRecord:
        """The default bridge's record, with a subnet nobody else has."""
        wanted = self._config.network.bridge_subnet
        interface = self._kernel.interface_of("", default=True)
        direct, routes = self._kernel.subnets_in_use(but=interface)
        taken = [
            *(subnet for _, subnet in direct),
            *routes,
            *(entry.subnet for other in others for entry in other.subnets),
        ]
        if record is not None:
            subnet = record.subnets[0].subnet
            clash = ipam.overlapping(subnet, [net for _, net in direct])
            if (wanted in (None, subnet) and clash is None) or record.id in in_use:
                if clash is not None:
                    log.warning("the default bridge's subnet %s overlaps with %s", subnet, clash)
                return record
        subnet = wanted or self._free_subnet(taken, 4)
        options = {
            f"{OPTION}default_bridge": "true",
            f"{OPTION}enable_icc": "true",
            f"{OPTION}enable_ip_masquerade": "true",
            f"{OPTION}host_binding_ipv4": self._config.network.bind_address,
            f"{OPTION}name": interface,
            OPTION_MTU: str(self._config.network.mtu),
        }
        made = NetworkRecord(
            id=record.id if record is not None else secrets.token_hex(32),
            name="bridge",
            driver="bridge",
            created=record.created if record is not None else rfc3339(),
            bridge=interface,
            subnets=(SubnetConfig(subnet, subnet.network_address + 1),),
            options=options,
        )
        self._records.save(made.id, made.to_json())
        return made

    def _make_bridge(self, net: Net) -> None:
        """Have the network's bridge; a user's network that cannot have one is kept, marked, for a person."""
        try:
            self._kernel.ensure(self._bridge(net))
        except OSError as error:
            if net.is_default:
                raise
            net.broken = str(error)
            log.error("network %s has no bridge: %s", net.name, error)

    def _bridge(self, net: Net) -> Bridge:
        return Bridge(net.record.bridge, net.gateways, net.options.mtu or self._config.network.mtu)

    def _elements(self) -> list[Element]:
        found: list[Element] = []
        for net in self._registry:
            if net.is_bridge and not net.broken:
                found += bridge_elements(net.rules())
        for sandbox in self._sandboxes.all.values():
            found += self._sandboxes.elements(sandbox)
        return found

    # -- other people's packet filters

    def _filter_changed(self) -> None:
        own = {self._kernel.filter_port, self._foreign.filter_port}
        if drain(self._watch, own) and self._check_timer is None:
            self._check_timer = asyncio.get_running_loop().call_later(QUIET_S, self._check_filter)

    def _check_filter(self) -> None:
        self._check_timer = None
        elements = self._elements()

        def work() -> None:
            try:
                if not self._kernel.loaded():
                    log.warning("the packet filter's table was removed by somebody; it is loaded again")
                    self._kernel.load(elements)
                self._check_foreign()
            except (OSError, NftError) as error:
                log.error("the packet filter could not be looked after: %s", error)

        self._path.submit(work)

    def _check_foreign(self) -> None:
        """Our rules in other tables; without them packets may be dropped, but nothing else fails."""
        try:
            changed = self._foreign.ensure()
        except (OSError, NftError) as error:
            log.error("bridges could not be let through another packet filter: %s", error)
            return
        if changed:
            log.info("bridges were let through %d chains of other packet filters", changed)

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
            except (OSError, NftError) as error:
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
            net = Net.of(replace(record, subnets=self._subnets(definition)))
            self._records.save(id, net.record.to_json())
            try:
                if definition.enable_ipv6:
                    self._kernel.allow_forwarding(ipv6=True)
                self._kernel.ensure(self._bridge(net))
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

    def _subnets(self, definition: Definition) -> tuple[SubnetConfig, ...]:
        """The subnets asked for, and one chosen for each family that has none.

        Raises: Forbidden (overlap), InvalidArgument (nothing left to choose).
        """
        direct, routes = self._kernel.subnets_in_use()
        ours = [(net.name, pool.subnet) for net in self._registry for pool in net.pools]
        for asked in definition.subnets:
            for kind, others in (("network", ours), ("interface", direct)):
                for name, other in others:
                    if ipam.overlapping(asked.subnet, [other]):
                        raise Forbidden(
                            f"Pool overlaps with other one on this address space: {asked.subnet} and "
                            f"{other} of {kind} {name}"
                        )
        taken = [
            *(subnet for _, subnet in (*ours, *direct)),
            *routes,
            *(entry.subnet for entry in definition.subnets),
        ]
        chosen: list[SubnetConfig] = []
        for version in (4, 6) if definition.enable_ipv6 else (4,):
            if not any(entry.subnet.version == version for entry in definition.subnets):
                subnet = self._free_subnet(taken, version)
                chosen.append(SubnetConfig(subnet, subnet.network_address + 1))
        return tuple(sorted((*definition.subnets, *chosen), key=lambda entry: entry.subnet.version))

    def _free_subnet(self, taken: Sequence[ipam.Network], version: int) -> Any:
        pools = [(pool.base, pool.size) for pool in self._config.network.pools]
        if not any(base.version == version for base, _ in pools) and version == 6:
            pools.append(ipam.unique_local(self._config.instance))
        try:
            return ipam.choose_subnet(pools, taken, version)
        except ipam.PoolExhausted:
            raise InvalidArgument(
                "all predefined address pools have been fully subnetted: name a subnet, or add a pool to "
                "the engine's configuration"
            ) from None

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
        directory = self._directory()
        net = self._registry.find(ref)
        wish = parse_endpoint(body.get("EndpointConfig"))
        member = directory.network_member(_container(body))
        _check_connectable(member, net)
        check_wish(net, wish)
        endpoints = dict(member.endpoints)
        if not member.running and net.name in endpoints:
            raise Forbidden(f"endpoint with name {member.name} already exists in network {net.name}")
        if member.running:
            await self._sandboxes.join(member.id, net, wish)
        endpoints[net.name] = dict(body.get("EndpointConfig") or {})
        await directory.save_endpoints(member.id, endpoints)

    async def disconnect(self, ref: str, body: Mapping[str, Any]) -> None:
        """Take a container off a network, now and for its next start.

        Raises: NotFound, InvalidArgument, Forbidden, Internal.
        """
        directory = self._directory()
        net = self._registry.find(ref)
        try:
            member = directory.network_member(_container(body))
        except NotFound:
            if not body.get("Force"):
                raise
            await self._force_out(net, _container(body))
            return
        if net.record.driver == "host" or member.mode == "host":
            raise InvalidArgument(
                "container cannot be disconnected from host network or connected to host network"
            )
        endpoints = dict(member.endpoints)
        if member.running:
            await self._sandboxes.leave(member.id, net)
        elif net.name not in endpoints:
            raise Forbidden(f"container {member.id} is not connected to the network {net.name}")
        endpoints.pop(net.name, None)
        await directory.save_endpoints(member.id, endpoints)

    async def _force_out(self, net: Net, ref: str) -> None:
        """Drop an endpoint whose container is gone."""
        for id in list(net.members):
            sandbox = self._sandboxes.get(id)
            if id == ref or (sandbox is not None and sandbox.name == ref):
                await self._sandboxes.teardown(id)
                return
        raise NotFound(f"container {ref} is not connected to network {net.name}")

    def _directory(self) -> Directory:
        if self.containers is None:
            raise RuntimeError("networks were not told of the containers' room")
        return self.containers

    def _tell(self, action: str, net: Net) -> None:
        self._events.publish("network", action, net.id, {"name": net.name, "type": net.record.driver})


def _any(values: Sequence[str] | None, matches: Callable[[str], bool]) -> bool:
    return not values or any(matches(value) for value in values)


def _container(body: Mapping[str, Any]) -> str:
    ref = body.get("Container")
    if not isinstance(ref, str) or not ref:
        raise InvalidArgument("a container's name or id must be given")
    return ref


def _check_connectable(member: Member, net: Net) -> None:
    if net.record.driver == "host" or member.mode == "host":
        raise InvalidArgument(
            "container cannot be disconnected from host network or connected to host network"
        )
    if member.mode.startswith("container:"):
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any "
            "other network"
        )
    if (net.record.driver == "null" or member.mode == "none") and (
        net.name not in member.endpoints and member.endpoints
    ):
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private "
            "(none) mode"
        )


def purge(config: EngineConfig) -> None:
    """Remove everything an instance has in the kernel: for `scripts/down --purge`, with its engine stopped.

    Containers that still run lose their networks. The records on disk stay.

    Raises: OSError, NftError.
    """
    namespaces = Namespaces(config.run / "netns", 0)
    kernel = Bridges(config.instance, config.short, namespaces)
    foreign = ForeignFilters(config.instance, config.short, [kernel.table])
    try:
        foreign.remove()
        kernel.unload()
        records = Records(config.home / "networks", durable=True)
        named = {record.bridge for record in load_networks(records).values()}
        for link in kernel.links():
            if (
                kernel.owns(link.name)
                or kernel.owns_bridge(link.name)
                or (link.name in named and link.kind == "bridge")
            ):
                kernel.remove(link.name)
        namespaces.purge()
        sandboxes = Records(config.run / "sandboxes", durable=False)
        for id in sandboxes.load():
            sandboxes.delete(id)
    finally:
        foreign.close()
        kernel.close()
        namespaces.close()

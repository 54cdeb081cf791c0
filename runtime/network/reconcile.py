"""Making the kernel agree with the records when an engine starts, and taking everything away for good.

What no record explains was left by a crash between two steps and is removed; what belongs to a container
that lives on is taken over as it is. Runs in the path thread, before anything is served.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

from runtime.config import EngineConfig
from runtime.network import ipam
from runtime.network.bridge import Bridge, Bridges
from runtime.network.definitions import OPTION, OPTION_MTU
from runtime.network.endpoints import Sandbox
from runtime.network.filters import rfc3339
from runtime.network.foreign import ForeignFilters
from runtime.network.netns import Namespaces
from runtime.network.registry import Net
from runtime.network.store import NetworkRecord, Records, SubnetConfig, load_networks, load_sandboxes
from runtime.network.subnets import free_subnet

log = logging.getLogger(__name__)


class Reconciler:
    """One start of an instance's networks."""

    def __init__(
        self,
        config: EngineConfig,
        kernel: Bridges,
        namespaces: Namespaces,
        records: Records,
        sandbox_records: Records,
    ) -> None:
        self._config = config
        self._kernel = kernel
        self._namespaces = namespaces
        self._records = records
        self._sandbox_records = sandbox_records

    def run(self, alive: set[str]) -> tuple[list[Net], list[Sandbox]]:
        """(all networks with their bridges made, the sandboxes of containers that are alive).

        Raises: OSError when no container could have a network.
        """
        self._namespaces.prepare()
        for records in (self._records, self._sandbox_records):
            records.prepare()
        found = load_networks(self._records)
        sandboxes = load_sandboxes(self._sandbox_records)
        ours = [sandbox for id, sandbox in sandboxes.items() if id in alive]
        for id, sandbox in sandboxes.items():
            if id not in alive:
                self._remove_sandbox(sandbox)
        self._remove_unknown(found.values(), ours)
        with self._kernel.exclusive():
            nets = [Net.of(record) for record in self._predefined(found, ours)]
            for net in nets:
                if net.is_bridge:
                    self._make_bridge(net)
        self._kernel.allow_forwarding(any(net.record.enable_ipv6 for net in nets))
        return nets, ours

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
        subnet = wanted or free_subnet(self._config, taken, 4)
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
            self._kernel.ensure(bridge_of(net, self._config.network.mtu))
        except OSError as error:
            if net.is_default:
                raise
            net.broken = str(error)
            log.error("network %s has no bridge: %s", net.name, error)


def bridge_of(net: Net, mtu: int) -> Bridge:
    """The bridge a network shall have; ``mtu`` when it names none itself."""
    return Bridge(net.record.bridge, net.gateways, net.options.mtu or mtu)


def purge(config: EngineConfig) -> list[str]:
    """Remove everything an instance has in the kernel: for `scripts/down --purge`, with its engine stopped.

    Containers that still run lose their networks. The records on disk stay.
    Returns the names of what was there: the table, bridges and containers' ends.

    Raises: OSError.
    """
    removed: list[str] = []
    namespaces = Namespaces(config.run / "netns", 0)
    kernel = Bridges(config.instance, config.short, namespaces)
    foreign = ForeignFilters(config.instance, config.short, [kernel.table])
    try:
        foreign.remove()
        if kernel.loaded():
            kernel.unload()
            removed.append(f"table inet {kernel.table}")
        records = Records(config.home / "networks", durable=True)
        named = {record.bridge for record in load_networks(records).values()}
        for link in kernel.links():
            if (
                kernel.owns(link.name)
                or kernel.owns_bridge(link.name)
                or (link.name in named and link.kind == "bridge")
            ):
                kernel.remove(link.name)
                removed.append(link.name)
        namespaces.purge()
        sandboxes = Records(config.run / "sandboxes", durable=False)
        for id in sandboxes.load():
            sandboxes.delete(id)
    finally:
        foreign.close()
        kernel.close()
        namespaces.close()
    return removed

"""The networks of one instance in memory: found by name or id, with their addresses and members.

Pure: no disk, no kernel, no clock. It decides who has which address; what it says is made true elsewhere.

Spec: Docker API 1.47, NetworkInspect, EndpointSettings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.api.errors import Forbidden, InvalidArgument, NotFound, Unavailable
from runtime.network.definitions import BridgeOptions, Wish, interface_in, parse_options, pools_of
from runtime.network.endpoints import Endpoint, Sandbox, Settings
from runtime.network.firewall import BridgeRules
from runtime.network.ipam import Address, AddressesExhausted, AddressTaken, Interface, Pool
from runtime.network.store import NetworkRecord


@dataclass(slots=True, eq=False)
class Net:
    """One network with what is on it."""

    record: NetworkRecord
    options: BridgeOptions
    pools: list[Pool]
    broken: str = ""  # why its bridge could not be made; nothing can start on it
    members: dict[str, Endpoint] = field(default_factory=dict)  # by container id
    names: dict[str, dict[str, Endpoint]] = field(
        default_factory=dict
    )  # lower case -> container id -> endpoint

    @classmethod
    def of(cls, record: NetworkRecord) -> Net:
        """The network of a record. An IPv6 subnet of one without IPv6 is shown and not used."""
        used = [entry for entry in record.subnets if entry.subnet.version == 4 or record.enable_ipv6]
        return cls(record, parse_options(record.options), pools_of(used))

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def is_bridge(self) -> bool:
        return self.record.driver == "bridge"

    @property
    def is_default(self) -> bool:
        return self.name == "bridge"

    @property
    def user_defined(self) -> bool:
        return self.is_bridge and not self.is_default

    @property
    def gateways(self) -> tuple[Interface, ...]:
        """The bridge's own addresses."""
        return tuple(
            interface_in(pool.gateway, pool.subnet) for pool in self.pools if pool.gateway is not None
        )

    def gateway_of(self, interface: Interface | None) -> Address | None:
        """The way out for a container with that address."""
        if interface is None or self.record.internal:
            return None
        return next((pool.gateway for pool in self.pools if interface.ip in pool.subnet), None)

    def rules(self) -> BridgeRules:
        return BridgeRules(
            bridge=self.record.bridge,
            subnets=tuple(pool.subnet for pool in self.pools),
            internal=self.record.internal,
            neighbours=self.options.neighbours,
            masquerade=self.options.masquerade,
        )

    # -- addresses

    def allocate(self, version: int, wanted: Address | None) -> Interface | None:
        """An address of that family, the wanted one or the lowest free; None when the network has none.

        Raises: InvalidArgument, Forbidden (in use), Unavailable (none left).
        """
        pools = [pool for pool in self.pools if pool.subnet.version == version]
        if wanted is not None:
            pools = [pool for pool in pools if wanted in pool.subnet]
            if not pools:
                raise InvalidArgument(
                    f"invalid endpoint settings: no configured subnet of network {self.name} "
                    f"contains IP address {wanted}"
                )
        for pool in pools:
            try:
                return interface_in(pool.take(wanted), pool.subnet)
            except AddressTaken:
                raise Forbidden(f"Address already in use: {wanted} on network {self.name}") from None
            except ValueError as error:
                raise InvalidArgument(f"invalid endpoint settings: {error}") from None
            except AddressesExhausted:
                continue
        if pools:
            raise Unavailable(
                f"no available IPv{version} addresses on this network's address pools: "
                f"{self.name} ({self.id[:12]})"
            )
        return None

    def release(self, *interfaces: Interface | None) -> None:
        for interface in interfaces:
            for pool in self.pools:
                if interface is not None and interface.ip in pool.subnet:
                    pool.release(interface.ip)

    def occupy(self, *interfaces: Interface | None) -> None:
        """Note addresses that are in use already, by containers that ran on while nobody kept the books."""
        for interface in interfaces:
            for pool in self.pools:
                if interface is not None and interface.ip in pool.subnet:
                    pool.taken.add(interface.ip)

    # -- members

    def join(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        self.members[sandbox.container_id] = endpoint
        if self.user_defined:
            for name in dns_names(sandbox, endpoint):
                self.names.setdefault(name.lower(), {})[sandbox.container_id] = endpoint

    def leave(self, container_id: str) -> None:
        self.members.pop(container_id, None)
        for name in [
            name for name, found in self.names.items() if found.pop(container_id, None) and not found
        ]:
            del self.names[name]

    def settings(self, sandbox: Sandbox, endpoint: Endpoint) -> Settings:
        """An endpoint as `docker inspect` shows it."""
        ipv4, ipv6 = endpoint.ipv4, endpoint.ipv6
        gateway4, gateway6 = self.gateway_of(ipv4), self.gateway_of(ipv6)
        return {
            "IPAMConfig": endpoint.asked.get("IPAMConfig"),
            "Links": endpoint.links or None,
            "Aliases": endpoint.aliases or None,
            "MacAddress": endpoint.mac,
            "DriverOpts": endpoint.asked.get("DriverOpts"),
            "GwPriority": endpoint.asked.get("GwPriority", 0),
            "NetworkID": self.id,
            "EndpointID": endpoint.endpoint_id,
            "Gateway": str(gateway4 or ""),
            "IPAddress": str(ipv4.ip) if ipv4 else "",
            "IPPrefixLen": ipv4.network.prefixlen if ipv4 else 0,
            "IPv6Gateway": str(gateway6 or ""),
            "GlobalIPv6Address": str(ipv6.ip) if ipv6 else "",
            "GlobalIPv6PrefixLen": ipv6.network.prefixlen if ipv6 else 0,
            "DNSNames": dns_names(sandbox, endpoint) if self.user_defined else None,
        }

    def describe(self, sandboxes: dict[str, Sandbox] | None) -> dict[str, Any]:
        """The network as `docker network inspect` shows it; without ``sandboxes`` as `docker network ls`."""
        record = self.record
        config = []
        for entry in record.subnets:
            body: dict[str, Any] = {"Subnet": str(entry.subnet)}
            if entry.ip_range is not None:
                body["IPRange"] = str(entry.ip_range)
            if entry.gateway is not None:
                body["Gateway"] = str(entry.gateway)
            if entry.auxiliary:
                body["AuxiliaryAddresses"] = dict(entry.auxiliary)
            config.append(body)
        containers = {}
        for container_id, endpoint in self.members.items() if sandboxes is not None else ():
            sandbox = (sandboxes or {}).get(container_id)
            containers[container_id] = {
                "Name": sandbox.name if sandbox else "",
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac,
                "IPv4Address": str(endpoint.ipv4 or ""),
                "IPv6Address": str(endpoint.ipv6 or ""),
            }
        return {
            "Name": record.name,
            "Id": record.id,
            "Created": record.created,
            "Scope": "local",
            "Driver": record.driver,
            "EnableIPv4": record.enable_ipv4,
            "EnableIPv6": record.enable_ipv6,
            "IPAM": {"Driver": "default", "Options": record.ipam_options, "Config": config},
            "Internal": record.internal,
            "Attachable": record.attachable,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": containers,
            "Options": dict(record.options),
            "Labels": dict(record.labels),
        }


def dns_names(sandbox: Sandbox, endpoint: Endpoint) -> list[str]:
    """The names a container has on a user network, each once: own name, aliases, short id, host name."""
    names = [sandbox.name, *endpoint.aliases, sandbox.container_id[:12], sandbox.hostname]
    return [name for name in dict.fromkeys(names) if name]


def check_wish(net: Net, wish: Wish, *, connecting: bool = False) -> None:
    """Whether a network can give what is asked.

    Raises: InvalidArgument.
    """
    if not net.user_defined:
        if wish.ipv4 or wish.ipv6:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if wish.aliases:
            raise InvalidArgument(
                "network-scoped alias is supported only for containers in user defined networks"
            )
        if wish.links and not net.is_default:
            raise InvalidArgument("network-scoped links are supported only on user defined networks")
        return
    for version, wanted in ((4, wish.ipv4), (6, wish.ipv6)):
        if wanted is None:
            continue
        asked = [entry.subnet for entry in net.record.subnets if entry.asked]
        if not any(subnet.version == version for subnet in asked):
            raise InvalidArgument(
                "user specified IP address is supported only when connecting to networks with "
                "user configured subnets"
            )
        if not any(wanted in subnet for subnet in asked):
            raise InvalidArgument(
                f"invalid endpoint settings: no configured subnet of network {net.name} "
                f"contains IP address {wanted}"
            )


def choose_gateway(endpoints: Iterable[tuple[Net, Endpoint]], version: int) -> tuple[Net, Endpoint] | None:
    """The endpoint that leads everywhere else: highest priority first, then by the network's name."""
    able = [
        (net, endpoint)
        for net, endpoint in endpoints
        if net.gateway_of(endpoint.ipv4 if version == 4 else endpoint.ipv6) is not None
    ]
    return min(able, key=lambda one: (-int(one[1].asked.get("GwPriority") or 0), one[0].name), default=None)


class Registry:
    """All networks, by name and id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Net] = {}

    def __iter__(self) -> Iterator[Net]:
        return iter(list(self._by_id.values()))

    def add(self, net: Net) -> None:
        self._by_id[net.id] = net

    def remove(self, net: Net) -> None:
        self._by_id.pop(net.id, None)

    def named(self, name: str) -> Net | None:
        return next((net for net in self._by_id.values() if net.name == name), None)

    def by_id(self, id: str) -> Net | None:
        return self._by_id.get(id)

    def find(self, ref: str) -> Net:
        """A network by full id, name, or unique beginning of its id, in this order.

        Raises: NotFound, InvalidArgument when several ids begin so.
        """
        if not ref:
            raise NotFound("network name or id is empty")
        found = self._by_id.get(ref) or self.named("bridge" if ref == "default" else ref)
        if found is not None:
            return found
        matches = [net for net in self._by_id.values() if net.id.startswith(ref)]
        if len(matches) > 1:
            names = ", ".join(f"{net.id[:12]} ({net.name})" for net in matches)
            raise InvalidArgument(
                f"network {ref} is ambiguous ({len(matches)} matches found on ID prefix): {names}"
            )
        if not matches:
            raise NotFound(f"network {ref} not found")
        return matches[0]

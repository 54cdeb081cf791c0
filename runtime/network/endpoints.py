"""What a container asks of the network, what it gets, and the record kept while it has it.

Pure. A ``Sandbox`` is one container's network namespace with its endpoints; its record lies in the run
directory, because namespaces and addresses end with the machine's uptime, as that directory does.

Spec: Docker API 1.47, EndpointSettings, NetworkSettings, PortMap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from pathlib import Path
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.idmap import IdMap
from runtime.network.ports import Published

LINK_LOCAL_MAX = 64  # addresses of one endpoint

Settings = dict[str, Any]  # an EndpointSettings body


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """What a container wants when it starts; bodies are Docker's."""

    mode: str  # HostConfig.NetworkMode: "", "default", "bridge", "none", "host", or a network's name or id
    name: str  # the container's, without slash
    hostname: str = ""
    domainname: str = ""
    endpoints: Mapping[str, Settings] = field(default_factory=dict)  # network name or id -> EndpointSettings
    exposed: Sequence[str] = ()  # "80/tcp", of image and request together
    port_bindings: Mapping[str, Sequence[Mapping[str, str]] | None] = field(default_factory=dict)
    publish_all: bool = False
    links: Sequence[str] = ()  # HostConfig.Links, "container:alias", on the default bridge
    mapping: IdMap | None = None  # the namespace shall belong to that user namespace
    mac_address: str = ""  # Config.MacAddress, for the network named by mode
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    extra_hosts: Sequence[str] = ()  # "name:address"; the address may be "host-gateway"


@dataclass(frozen=True, slots=True)
class NetworkSetup:
    """What it got; everything `docker inspect` and the container's /etc files show."""

    netns_path: Path | None  # None: the host's own (mode "host")
    networks: dict[str, Settings]  # by network name
    ports: dict[str, list[dict[str, str]] | None]  # NetworkSettings.Ports
    hosts: list[tuple[str, list[str]]]  # lines of /etc/hosts after those every container has
    nameservers: list[str]
    search: list[str]
    options: list[str]
    sandbox_id: str  # 64 hex digits
    environment: list[str] = field(default_factory=list)  # of links on the default bridge: "DB_PORT=tcp://…"


def link_local_addresses(ipam: Mapping[str, Any]) -> list[IPv4Interface | IPv6Interface]:
    """The link-local addresses an IPAMConfig asks for, beside those of its network.

    Raises: InvalidArgument.
    """
    asked = ipam.get("LinkLocalIPs") or []
    if not isinstance(asked, list) or len(asked) > LINK_LOCAL_MAX:
        raise InvalidArgument(f"invalid LinkLocalIPs: must be a list of at most {LINK_LOCAL_MAX} addresses")
    found = []
    for value in asked:
        try:
            address = ip_address(str(value))
        except ValueError:
            raise InvalidArgument(f"invalid link-local IP address {value}: not an IP address") from None
        if not address.is_link_local:
            raise InvalidArgument(
                f"invalid link-local IP address {value}: not in 169.254.0.0/16 or fe80::/10"
            )
        found.append(ip_interface(f"{address}/{16 if address.version == 4 else 64}"))
    return found


@dataclass(slots=True)
class Endpoint:
    """One container on one network."""

    network_id: str
    network: str  # its name
    endpoint_id: str
    host_interface: str  # "wdv1234567"; "" on host and none
    interface: str  # "eth0" inside
    mac: str
    ipv4: IPv4Interface | None
    ipv6: IPv6Interface | None
    aliases: list[str]
    links: list[str]  # "container:alias"
    asked: Settings  # IPAMConfig, DriverOpts, GwPriority as they were given

    @property
    def addresses(self) -> list[IPv4Interface | IPv6Interface]:
        """All that its interface gets."""
        own = [entry for entry in (self.ipv4, self.ipv6) if entry is not None]
        return [*own, *link_local_addresses(self.asked.get("IPAMConfig") or {})]

    def to_json(self) -> dict[str, Any]:
        return {
            "network_id": self.network_id,
            "network": self.network,
            "endpoint_id": self.endpoint_id,
            "host_interface": self.host_interface,
            "interface": self.interface,
            "mac": self.mac,
            "ipv4": str(self.ipv4) if self.ipv4 else None,
            "ipv6": str(self.ipv6) if self.ipv6 else None,
            "aliases": self.aliases,
            "links": self.links,
            "asked": self.asked,
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Endpoint:
        return cls(
            **{
                **body,
                "ipv4": IPv4Interface(body["ipv4"]) if body["ipv4"] else None,
                "ipv6": IPv6Interface(body["ipv6"]) if body["ipv6"] else None,
            }
        )


@dataclass(slots=True)
class Sandbox:
    """One container's namespace, addresses and published ports."""

    container_id: str
    sandbox_id: str
    name: str
    hostname: str
    domainname: str
    namespace: str  # file name in <run>/netns
    mapped: bool  # belongs to the instance's user namespace
    mode: str
    endpoints: dict[str, Endpoint] = field(default_factory=dict)  # by network id
    published: list[Published] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    bindings: dict[str, Any] = field(default_factory=dict)  # as asked, for a gateway endpoint joined later
    publish_all: bool = False
    links: list[str] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    dns_options: list[str] = field(default_factory=list)
    extra_hosts: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        body["endpoints"] = [endpoint.to_json() for endpoint in self.endpoints.values()]
        body["published"] = [port.to_json() for port in self.published]
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Sandbox:
        endpoints = [Endpoint.from_json(entry) for entry in body["endpoints"]]
        return cls(
            **{
                **body,
                "endpoints": {endpoint.network_id: endpoint for endpoint in endpoints},
                "published": [Published.from_json(entry) for entry in body["published"]],
            }
        )

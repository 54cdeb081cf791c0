"""Who is called what: names on user networks, links, and the lines of /etc/hosts.

Reads the books and changes nothing.

Spec: Docker, networking with names, legacy links.
"""

from __future__ import annotations

import socket

from runtime.api.errors import InvalidArgument
from runtime.network.definitions import split_link
from runtime.network.endpoints import Endpoint, Sandbox
from runtime.network.ipam import Address
from runtime.network.ports import parse_exposed
from runtime.network.registry import Net, Registry


class Naming:
    """The names of one instance's containers."""

    def __init__(self, registry: Registry, sandboxes: dict[str, Sandbox]) -> None:
        self._registry = registry
        self._all = sandboxes

    def has_names(self, sandbox: Sandbox) -> bool:
        """Whether it is on a network where containers have names, so that it needs our resolver."""
        return any(
            (net := self._registry.by_id(endpoint.network_id)) is not None and net.user_defined
            for endpoint in sandbox.endpoints.values()
        )

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

    def check_links(self, sandbox: Sandbox, net: Net) -> None:
        """Raises: InvalidArgument when a container it shall be linked to does not run."""
        if not net.is_default:
            return
        for entry in sandbox.links:
            name, alias = split_link(entry)
            if self._by_name(name) is None:
                raise InvalidArgument(
                    f"Cannot link to a non running container: /{name} AS /{sandbox.name}/{alias}"
                )

    def hosts(self, sandbox: Sandbox) -> list[tuple[str, list[str]]]:
        """The lines of its hosts file after those every container has."""
        lines: list[tuple[str, list[str]]] = [self.extra_host(entry) for entry in sandbox.extra_hosts]
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

    def extra_host(self, entry: str) -> tuple[str, list[str]]:
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

    def link_environment(self, sandbox: Sandbox) -> list[str]:
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

    def linked_to(self, sandbox: Sandbox) -> list[Sandbox]:
        """Containers that know this one by a line in their hosts file."""
        return [
            other
            for other in self._all.values()
            if other is not sandbox and any(split_link(entry)[0] == sandbox.name for entry in other.links)
        ]


def _is_address(value: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
    except OSError:
        return False
    return True

"""From what a container asks to what the books say: its networks, its sandbox, its endpoints.

Takes addresses in the registry and touches nothing else.

Spec: Docker API 1.47, ContainerCreate (NetworkingConfig), EndpointSettings.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface

from runtime.api.errors import Forbidden, Internal, InvalidArgument
from runtime.network.definitions import Wish, check_mac, parse_endpoint, split_link
from runtime.network.endpoints import Endpoint, EndpointRequest, Sandbox
from runtime.network.ipam import mac_of
from runtime.network.ports import parse_bindings, parse_exposed
from runtime.network.registry import Net, Registry, check_wish

DEFAULT_MODES = ("", "default", "bridge")


def wanted_networks(registry: Registry, request: EndpointRequest) -> list[tuple[Net, Wish]]:
    """The networks asked for with the wish for each; the one named by the mode comes first.

    Raises: NotFound (no such network), InvalidArgument.
    """
    parse_bindings(request.port_bindings, parse_exposed(request.exposed), request.publish_all)
    primary = registry.find("bridge" if request.mode in DEFAULT_MODES else request.mode)
    wishes: dict[str, tuple[Net, Wish]] = {primary.id: (primary, Wish())}
    for ref, settings in sorted((request.endpoints or {}).items()):
        net = primary if ref in (request.mode, "default") else registry.find(ref)
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


def new_sandbox(container_id: str, request: EndpointRequest) -> Sandbox:
    """A sandbox without endpoints. Raises: InvalidArgument."""
    return Sandbox(
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


def new_endpoint(net: Net, sandbox: Sandbox, wish: Wish, id: str, port_name: str) -> Endpoint:
    """Take addresses on a network for a sandbox.

    Raises: InvalidArgument, Forbidden (in use), Unavailable (none left), Internal (the network is broken).
    """
    if net.is_bridge and net.broken:
        raise Internal(f"network {net.name} cannot be used: {net.broken}")
    ipv4 = ipv6 = None
    if net.is_bridge:
        ipv4 = net.allocate(4, wish.ipv4)
        try:
            ipv6 = net.allocate(6, wish.ipv6) if net.record.enable_ipv6 else None
        except BaseException:
            net.release(ipv4)
            raise
    mac = wish.mac or (mac_of(ipv4.ip) if isinstance(ipv4, IPv4Interface) else "")
    taken = next((one for one in net.members.values() if mac and one.mac == mac), None)
    if taken is not None:
        net.release(ipv4, ipv6)
        raise Forbidden(f"MAC address already in use: {mac} on network {net.name}")
    return Endpoint(
        network_id=net.id,
        network=net.name,
        endpoint_id=id,
        host_interface=port_name if net.is_bridge else "",
        interface=_free_name(sandbox, net.options.prefix) if net.is_bridge else "",
        mac=mac,
        ipv4=ipv4 if isinstance(ipv4, IPv4Interface) else None,
        ipv6=ipv6 if isinstance(ipv6, IPv6Interface) else None,
        aliases=list(wish.aliases),
        links=list(wish.links),
        asked=wish.asked,
    )


def _free_name(sandbox: Sandbox, prefix: str) -> str:
    used = {endpoint.interface for endpoint in sandbox.endpoints.values()}
    return next(name for at in range(len(used) + 1) if (name := f"{prefix}{at}") not in used)

"""What the packet filter shall say: one table of fixed rules per instance, and sets that carry what changes.

Pure: networks and published ports in, nft text and set elements out. A new network or port is an element,
never a new rule, so the path through the rules is as long with 500 containers as with one.

    published port  ->  prerouting/output: destination becomes the container's (source kept)
    to our bridges  ->  answers, published ports and neighbours on the same bridge pass, the rest is dropped
    from a bridge   ->  leaves the host with the host's address, unless its network is internal

A packet from 127.0.0.1 may leave through a bridge (route_localnet), so that published ports answer there,
too; therefore nothing that *arrives* on a bridge may be addressed to 127.0.0.0/8.

Spec: nft(8). Kernel: 5.6 for two interval fields in a set and for iifname in postrouting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from runtime.network.elements import Element, Port
from runtime.network.ports import Published

_PORT4 = "inet_proto . inet_service : ipv4_addr . inet_service"
_PORT6 = "inet_proto . inet_service : ipv6_addr . inet_service"

# name -> declaration; the order is that of the text
_SETS = {
    "bridges": "set bridges { type ifname;",
    "internal": "set internal { type ifname;",
    "leaving": "set leaving { type ifname;",
    "same": "set same { type ifname . ifname;",
    "hairpin4": "set hairpin4 { type ipv4_addr . ipv4_addr; flags interval;",
    "hairpin6": "set hairpin6 { type ipv6_addr . ipv6_addr; flags interval;",
    "publish4": f"map publish4 {{ type {_PORT4};",
    "publish6": f"map publish6 {{ type {_PORT6};",
    "publish_at4": f"map publish_at4 {{ type ipv4_addr . {_PORT4};",
    "publish_at6": f"map publish_at6 {{ type ipv6_addr . {_PORT6};",
}

_CHAINS = """
  chain arriving {
    type filter hook prerouting priority raw; policy accept;
    ip daddr 127.0.0.0/8 iifname @bridges drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.0/8 return
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    fib daddr type local jump publish
  }
  chain publish {
    dnat ip to ip daddr . meta l4proto . th dport map @publish_at4
    dnat ip to meta l4proto . th dport map @publish4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @publish_at6
    dnat ip6 to meta l4proto . th dport map @publish6
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname @leaving oifname != @bridges masquerade
    ip saddr 127.0.0.0/8 oifname @bridges masquerade
    ct status dnat ip saddr . ip daddr @hairpin4 masquerade
    ct status dnat ip6 saddr . ip6 daddr @hairpin6 masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname @bridges jump inward
    iifname @internal drop
  }
  chain inward {
    iifname . oifname @same accept
    oifname @internal drop
    iifname @internal drop
    ct state established,related accept
    ct status dnat accept
    drop
  }
"""


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """What the filter needs to know of a network."""

    bridge: str  # its interface
    subnets: tuple[IPv4Network | IPv6Network, ...]
    internal: bool = False  # nothing in, nothing out
    neighbours: bool = True  # containers on it may talk with each other
    masquerade: bool = True


def table_name(instance: str) -> str:
    return instance.replace("-", "_")


def table_text(table: str, elements: Iterable[Element]) -> str:
    """The whole table as one transaction that replaces what was there."""
    by_set: dict[str, list[str]] = {name: [] for name in _SETS}
    for element in elements:
        by_set[element.set].append(element.words())
    lines = [f"table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    for name, declaration in _SETS.items():
        words = by_set[name]
        inner = f" elements = {{ {', '.join(words)} }};" if words else ""
        lines.append(f"  {declaration}{inner} }}")
    return "\n".join(lines) + _CHAINS + "}\n"


def bridge_elements(rules: BridgeRules) -> list[Element]:
    """The elements of one network."""
    found = [Element("bridges", (rules.bridge,))]
    if rules.neighbours:
        found.append(Element("same", (rules.bridge, rules.bridge)))
    if rules.internal:
        return [*found, Element("internal", (rules.bridge,))]
    if rules.masquerade:
        found.append(Element("leaving", (rules.bridge,)))
    for subnet in rules.subnets:
        found.append(Element(f"hairpin{subnet.version}", (subnet, subnet)))
    return found


def port_elements(
    published: Iterable[Published], ipv4: IPv4Address | None, ipv6: IPv6Address | None
) -> list[Element]:
    """The elements that lead host ports to a container's addresses; a family it lacks is left out."""
    found: list[Element] = []
    for entry in published:
        target = ipv4 if entry.host_ip.version == 4 else ipv6
        if target is None:
            continue
        key = (entry.port.protocol, Port(entry.host_port))
        value = (target, Port(entry.port.number))
        name = f"publish{entry.host_ip.version}"
        if entry.host_ip.is_unspecified:
            found.append(Element(name, key, value))
        else:
            found.append(Element(name.replace("publish", "publish_at"), (entry.host_ip, *key), value))
    return found

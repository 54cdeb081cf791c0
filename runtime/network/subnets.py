"""Which subnets a new network gets, given what else there is; pure.

Spec: Docker API 1.47, NetworkCreate, IPAM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runtime.api.errors import Forbidden, InvalidArgument
from runtime.config import EngineConfig
from runtime.network import ipam
from runtime.network.definitions import Definition
from runtime.network.ipam import Network
from runtime.network.store import SubnetConfig

Named = Iterable[tuple[str, Network]]  # who has it, and what


def choose_subnets(
    config: EngineConfig, definition: Definition, ours: Named, direct: Named, routes: Iterable[Network]
) -> tuple[SubnetConfig, ...]:
    """The subnets asked for, and one chosen for each family that has none.

    ours: of other networks; direct: of the machine's interfaces, which must not overlap either; routes: ways
    elsewhere, which only choices of ours avoid, as somebody who names a subnet knows what he does.
    Raises: Forbidden (overlap), InvalidArgument (nothing left to choose).
    """
    taken = [("network", *entry) for entry in ours] + [("interface", *entry) for entry in direct]
    for asked in definition.subnets:
        for kind, name, other in taken:
            if ipam.overlapping(asked.subnet, [other]):
                raise Forbidden(
                    f"Pool overlaps with other one on this address space: {asked.subnet} and "
                    f"{other} of {kind} {name}"
                )
    avoided = [subnet for _, _, subnet in taken]
    avoided += [*routes, *(entry.subnet for entry in definition.subnets)]
    chosen: list[SubnetConfig] = []
    for version in (4, 6) if definition.enable_ipv6 else (4,):
        if not any(entry.subnet.version == version for entry in definition.subnets):
            subnet = free_subnet(config, avoided, version)
            chosen.append(SubnetConfig(subnet, subnet.network_address + 1))
    return tuple(sorted((*definition.subnets, *chosen), key=lambda entry: entry.subnet.version))


def free_subnet(config: EngineConfig, taken: Sequence[Network], version: int) -> Network:
    """The first subnet of the configured pools that overlaps nothing.

    Raises: InvalidArgument.
    """
    pools: list[tuple[Network, int]] = [(pool.base, pool.size) for pool in config.network.pools]
    if version == 6 and not any(base.version == 6 for base, _ in pools):
        pools.append(ipam.unique_local(config.instance))
    try:
        return ipam.choose_subnet(pools, taken, version)
    except ipam.PoolExhausted:
        raise InvalidArgument(
            "all predefined address pools have been fully subnetted: name a subnet, or add a pool to "
            "the engine's configuration"
        ) from None

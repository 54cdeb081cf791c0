"""What a record shows of its container's networks: while it runs, and when it does not."""

from __future__ import annotations

from runtime.containers.record import Record
from runtime.network.endpoints import NetworkSetup

NO_ADDRESSES = {  # of an endpoint's settings, while its container does not run
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
}


def show_network(record: Record, setup: NetworkSetup) -> None:
    """Take what the network room has given into the record, for inspect."""
    record.networks, record.ports = setup.networks, setup.ports
    record.sandbox_id, record.netns = setup.sandbox_id, str(setup.netns_path or "")


def forget_network(record: Record) -> None:
    """Show no addresses and ports: it does not run, and its addresses may be another's by now."""
    record.sandbox_id = record.netns = ""
    record.ports = {}
    for name, settings in record.networks.items():
        settings.update(NO_ADDRESSES)
        settings["MacAddress"] = record.endpoints.get(name, {}).get("MacAddress") or ""  # as asked

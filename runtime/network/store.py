"""Records of networks and sandboxes on disk.

A network's record outlives the machine's uptime: written beside, fsynced, renamed. A sandbox's record is as
volatile as the namespace it describes: it lies in the run directory and is renamed into place without a
sync. Nothing here decides what a record means.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from runtime.network.endpoints import Sandbox
from runtime.network.ipam import Address, Network

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubnetConfig:
    """One entry of IPAM.Config."""

    subnet: Network
    gateway: Address | None  # None: an internal network without one
    ip_range: Network | None = None
    auxiliary: dict[str, str] = field(default_factory=dict)  # name -> address
    asked: bool = False  # named by the person, not chosen by us: only then may addresses be fixed

    def to_json(self) -> dict[str, Any]:
        return {
            "subnet": str(self.subnet),
            "gateway": str(self.gateway) if self.gateway else None,
            "ip_range": str(self.ip_range) if self.ip_range else None,
            "auxiliary": self.auxiliary,
            "asked": self.asked,
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> SubnetConfig:
        return cls(
            ip_network(body["subnet"]),
            ip_address(body["gateway"]) if body["gateway"] else None,
            ip_network(body["ip_range"]) if body["ip_range"] else None,
            body["auxiliary"],
            body["asked"],
        )


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A network as it was created."""

    id: str
    name: str
    driver: str  # "bridge", "host", "null"
    created: str  # RFC 3339 with nanoseconds
    bridge: str = ""  # interface
    subnets: tuple[SubnetConfig, ...] = ()
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_options: dict[str, str] | None = None
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        body["subnets"] = [subnet.to_json() for subnet in self.subnets]
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> NetworkRecord:
        subnets = tuple(SubnetConfig.from_json(entry) for entry in body["subnets"])
        return cls(**{**body, "subnets": subnets})


class Records:
    """JSON files of one directory, one per id."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self._directory = directory
        self._durable = durable

    def prepare(self) -> None:
        """Make the directory; drop what a crash left half written."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._directory.glob(".*.new"):
            left.unlink(missing_ok=True)

    def load(self) -> dict[str, dict[str, Any]]:
        """Every record by id; one that cannot be read is logged and left for a person to look at."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                found[path.stem] = json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                log.error("record %s cannot be read: %s", path, error)
        return found

    def save(self, id: str, body: dict[str, Any]) -> None:
        target = self._directory / f"{id}.json"
        beside = self._directory / f".{id}.new"
        with beside.open("w") as opened:
            opened.write(json.dumps(body))
            if self._durable:
                opened.flush()
                os.fsync(opened.fileno())
        beside.replace(target)
        if self._durable:
            self._sync_directory()

    def delete(self, id: str) -> None:
        (self._directory / f"{id}.json").unlink(missing_ok=True)
        if self._durable:
            self._sync_directory()

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load_sandboxes(records: Records) -> dict[str, Sandbox]:
    """Sandboxes by container id; a record of another version's shape counts as unreadable."""
    found: dict[str, Sandbox] = {}
    for id, body in records.load().items():
        try:
            found[id] = Sandbox.from_json(body)
        except (KeyError, TypeError, ValueError) as error:
            log.error("record of sandbox %s cannot be used: %s", id, error)
            records.delete(id)
    return found


def load_networks(records: Records) -> dict[str, NetworkRecord]:
    """Networks by id."""
    found: dict[str, NetworkRecord] = {}
    for id, body in records.load().items():
        try:
            found[id] = NetworkRecord.from_json(body)
        except (KeyError, TypeError, ValueError) as error:
            log.error("record of network %s cannot be used: %s", id, error)
    return found

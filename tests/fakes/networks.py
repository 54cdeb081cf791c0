"""Networks and volumes of the fake engine: records in memory."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

from runtime.api.errors import Conflict, Forbidden, InvalidArgument, NotFound
from runtime.events import EventHub
from tests.fakes.rooms import NAME, Body, check_filters, find, labels_match, new_id, now

PREDEFINED = ("bridge", "host", "none")


class FakeNetworks:
    def __init__(self, events: EventHub) -> None:
        self._all: dict[str, Body] = {}
        self._events = events
        self.containers: Any = None
        for name in PREDEFINED:
            self._add({"Name": name, "Driver": "null" if name == "none" else name})

    def _add(self, body: Body) -> Body:
        network_id, number = new_id(), 17 + len(self._all)
        pools = body.get("IPAM", {}).get("Config") or []
        if not pools and body.get("Driver", "bridge") in ("", "bridge"):
            pools = [{"Subnet": f"172.{number}.0.0/16", "Gateway": f"172.{number}.0.1"}]
        network = {
            "Name": body["Name"],
            "Id": network_id,
            "Created": now(),
            "Scope": "local",
            "Driver": body.get("Driver") or "bridge",
            "EnableIPv4": True,
            "EnableIPv6": bool(body.get("EnableIPv6")),
            "IPAM": {"Driver": "default", "Options": None, "Config": pools},
            "Internal": bool(body.get("Internal")),
            "Attachable": bool(body.get("Attachable")),
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Options": body.get("Options") or {},
            "Labels": body.get("Labels") or {},
        }
        self._all[network_id] = network
        return network

    def get(self, ref: str) -> Body:
        names = {network["Name"]: key for key, network in self._all.items()}
        try:
            found: Body = find(self._all, ref, "network", names)
        except NotFound:
            raise NotFound(f"network {ref} not found") from None
        return found

    def endpoint(self, name: str, settings: Body, running: bool) -> Body:
        network = self.get(name)
        pool = (network["IPAM"]["Config"] or [{}])[0]
        wired = running and pool
        subnet = ipaddress.ip_network(pool["Subnet"]) if wired else None
        return {
            "IPAMConfig": settings.get("IPAMConfig"),
            "Links": None,
            "Aliases": settings.get("Aliases"),
            "MacAddress": "02:42:ac:11:00:02" if wired else "",
            "DriverOpts": None,
            "NetworkID": network["Id"],
            "EndpointID": hashlib.sha256(name.encode()).hexdigest() if wired else "",
            "Gateway": pool.get("Gateway", "") if wired else "",
            "IPAddress": str(subnet[2]) if subnet is not None else "",
            "IPPrefixLen": subnet.prefixlen if subnet is not None else 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": None,
        }

    async def list(self, filters: dict[str, list[str]]) -> list[Body]:
        check_filters(filters, ("dangling", "driver", "id", "label", "name", "scope", "type"))
        rows = []
        for network in self._all.values():
            if "name" in filters and not any(value in network["Name"] for value in filters["name"]):
                continue
            if "driver" in filters and network["Driver"] not in filters["driver"]:
                continue
            if "id" in filters and not any(network["Id"].startswith(value) for value in filters["id"]):
                continue
            if "label" in filters and not labels_match(network["Labels"], filters["label"]):
                continue
            rows.append({**network, "Containers": {}})
        return rows

    async def inspect(self, ref: str) -> Body:
        network = self.get(ref)
        joined = {
            one.id: {
                "Name": one.name,
                "EndpointID": hashlib.sha256(one.id.encode()).hexdigest(),
                "MacAddress": "02:42:ac:11:00:02",
                "IPv4Address": "172.17.0.2/16",
                "IPv6Address": "",
            }
            for one in self.containers.on_network(network)
        }
        return {**network, "Containers": joined}

    async def create(self, body: Body) -> Body:
        name = body.get("Name", "")
        if not NAME.fullmatch(name):
            raise InvalidArgument(f"invalid network name: {name!r}")
        if any(network["Name"] == name for network in self._all.values()):
            raise Conflict(f"network with name {name} already exists")
        for pool in body.get("IPAM", {}).get("Config") or ():
            try:
                ipaddress.ip_network(pool.get("Subnet", ""))
            except ValueError:
                raise InvalidArgument(f"invalid subnet {pool.get('Subnet')!r}") from None
        network = self._add(body)
        self._events.publish("network", "create", network["Id"], {"name": name, "type": network["Driver"]})
        return {"Id": network["Id"], "Warning": ""}

    async def remove(self, ref: str) -> None:
        network = self.get(ref)
        if network["Name"] in PREDEFINED:
            raise Forbidden(f"{network['Name']} is a pre-defined network and cannot be removed")
        if self.containers.on_network(network):
            raise Forbidden(f"error while removing network: network {network['Name']} has active endpoints")
        del self._all[network["Id"]]
        attributes = {"name": network["Name"], "type": network["Driver"]}
        self._events.publish("network", "destroy", network["Id"], attributes)

    async def connect(self, ref: str, body: Body) -> None:
        network, one = self.get(ref), self.containers.get(body.get("Container", ""))
        if network["Name"] in one.endpoints:
            raise Forbidden(f"endpoint with name {one.name} already exists in network {network['Name']}")
        one.endpoints[network["Name"]] = body.get("EndpointConfig", {})
        attributes = {"container": one.id, "name": network["Name"], "type": network["Driver"]}
        self._events.publish("network", "connect", network["Id"], attributes)

    async def disconnect(self, ref: str, body: Body) -> None:
        network, one = self.get(ref), self.containers.get(body.get("Container", ""))
        if one.endpoints.pop(network["Name"], None) is None:
            raise Forbidden(f"container {one.id} is not connected to network {network['Name']}")
        attributes = {"container": one.id, "name": network["Name"], "type": network["Driver"]}
        self._events.publish("network", "disconnect", network["Id"], attributes)

    async def prune(self, filters: dict[str, list[str]]) -> Body:
        check_filters(filters, ("until", "label", "label!"))
        gone = []
        for network in list(self._all.values()):
            if network["Name"] not in PREDEFINED and not self.containers.on_network(network):
                del self._all[network["Id"]]
                gone.append(network["Name"])
        return {"NetworksDeleted": gone or None}


class FakeVolumes:
    def __init__(self, events: EventHub) -> None:
        self._all: dict[str, Body] = {}
        self._events = events
        self.containers: Any = None

    async def list(self, filters: dict[str, list[str]]) -> Body:
        check_filters(filters, ("dangling", "driver", "label", "name"))
        rows = []
        for volume in self._all.values():
            if "name" in filters and not any(value in volume["Name"] for value in filters["name"]):
                continue
            if "label" in filters and not labels_match(volume["Labels"], filters["label"]):
                continue
            if "dangling" in filters:
                unused = not self.containers.on_volume(volume["Name"])
                if unused != (filters["dangling"][0] in ("true", "1")):
                    continue
            rows.append(volume)
        return {"Volumes": rows, "Warnings": None}

    async def inspect(self, name: str, *, size: bool = False) -> Body:
        if name not in self._all:
            raise NotFound(f"get {name}: no such volume")
        usage = {"UsageData": {"Size": 0, "RefCount": len(self.containers.on_volume(name))}}
        return self._all[name] | (usage if size else {})

    async def create(self, body: Body) -> Body:
        name = body.get("Name") or new_id()
        if not NAME.fullmatch(name) or name.startswith("/"):
            raise InvalidArgument(
                f'create {name}: "{name}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
                "absolute path"
            )
        if body.get("Driver", "local") not in ("", "local"):
            raise NotFound(
                f'create {name}: error looking up volume plugin {body["Driver"]}: plugin "" not found'
            )
        if name not in self._all:
            self._all[name] = {
                "CreatedAt": now()[:19] + "Z",
                "Driver": "local",
                "Labels": body.get("Labels") or {},
                "Mountpoint": f"/var/lib/webdock/engine/volumes/{name}/_data",
                "Name": name,
                "Options": body.get("DriverOpts"),
                "Scope": "local",
            }
            self._events.publish("volume", "create", name, {"driver": "local"})
        return self._all[name]

    async def remove(self, name: str, *, force: bool = False) -> None:
        if name not in self._all:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        users = self.containers.on_volume(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        del self._all[name]
        self._events.publish("volume", "destroy", name, {"driver": "local"})

    async def prune(self, filters: dict[str, list[str]]) -> Body:
        check_filters(filters, ("label", "label!", "all"))
        gone = [name for name in self._all if not self.containers.on_volume(name)]
        for name in gone:
            del self._all[name]
        return {"VolumesDeleted": gone, "SpaceReclaimed": 0}

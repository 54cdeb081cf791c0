"""Connecting containers to networks and disconnecting them, whether they run or not.

A running container changes at once; what it shall have at its next start is kept by the containers' room.

Spec: Docker API 1.47, NetworkConnect, NetworkDisconnect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.api.errors import Forbidden, InvalidArgument, NotFound
from runtime.network.definitions import parse_endpoint
from runtime.network.endpoints import Settings
from runtime.network.registry import Net, Registry, check_wish
from runtime.network.sandboxes import Sandboxes


@dataclass(frozen=True, slots=True)
class Member:
    """A container as the verbs connect and disconnect need it."""

    id: str
    name: str
    running: bool  # has a namespace of its own right now
    mode: str  # HostConfig.NetworkMode
    endpoints: Mapping[str, Settings]  # as asked: network name -> EndpointSettings


class Directory(Protocol):
    """The room of containers, seen from here."""

    def network_member(self, ref: str) -> Member:
        """Raises: NotFound."""

    async def save_endpoints(self, container_id: str, endpoints: dict[str, Settings]) -> None:
        """Keep what the container shall have at its next start."""


class Connections:
    """The verbs connect and disconnect."""

    def __init__(self, registry: Registry, sandboxes: Sandboxes) -> None:
        self._registry = registry
        self._sandboxes = sandboxes
        self.containers: Directory | None = None  # set when the engine is wired

    async def connect(self, ref: str, body: Mapping[str, Any]) -> None:
        """Put a container on a network, now when it runs, and at its next start.

        Raises: NotFound, InvalidArgument, Forbidden, Unavailable, Internal.
        """
        directory = self._directory()
        net = self._registry.find(ref)
        wish = parse_endpoint(body.get("EndpointConfig"))
        member = directory.network_member(_container(body))
        _check_connectable(member, net)
        check_wish(net, wish)
        endpoints = dict(member.endpoints)
        if not member.running and net.name in endpoints:
            raise Forbidden(f"endpoint with name {member.name} already exists in network {net.name}")
        if member.running:
            await self._sandboxes.join(member.id, net, wish)
        endpoints[net.name] = dict(body.get("EndpointConfig") or {})
        await directory.save_endpoints(member.id, endpoints)

    async def disconnect(self, ref: str, body: Mapping[str, Any]) -> None:
        """Take a container off a network, now and for its next start.

        Raises: NotFound, InvalidArgument, Forbidden, Internal.
        """
        directory = self._directory()
        net = self._registry.find(ref)
        try:
            member = directory.network_member(_container(body))
        except NotFound:
            if not body.get("Force"):
                raise
            await self._force_out(net, _container(body))
            return
        if net.record.driver == "host" or member.mode == "host":
            raise InvalidArgument(
                "container cannot be disconnected from host network or connected to host network"
            )
        endpoints = dict(member.endpoints)
        if member.running:
            await self._sandboxes.leave(member.id, net)
        elif net.name not in endpoints:
            raise Forbidden(f"container {member.id} is not connected to the network {net.name}")
        endpoints.pop(net.name, None)
        await directory.save_endpoints(member.id, endpoints)

    async def _force_out(self, net: Net, ref: str) -> None:
        """Drop an endpoint whose container is gone."""
        for id in list(net.members):
            sandbox = self._sandboxes.get(id)
            if id == ref or (sandbox is not None and sandbox.name == ref):
                await self._sandboxes.teardown(id)
                return
        raise NotFound(f"container {ref} is not connected to network {net.name}")

    def _directory(self) -> Directory:
        if self.containers is None:
            raise RuntimeError("networks were not told of the containers' room")
        return self.containers


def _container(body: Mapping[str, Any]) -> str:
    ref = body.get("Container")
    if not isinstance(ref, str) or not ref:
        raise InvalidArgument("a container's name or id must be given")
    return ref


def _check_connectable(member: Member, net: Net) -> None:
    if net.record.driver == "host" or member.mode == "host":
        raise InvalidArgument(
            "container cannot be disconnected from host network or connected to host network"
        )
    if member.mode.startswith("container:"):
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any "
            "other network"
        )
    if (net.record.driver == "null" or member.mode == "none") and (
        net.name not in member.endpoints and member.endpoints
    ):
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private "
            "(none) mode"
        )

"""The host ports of every sandbox: held while it has a way out, served, given back.

It decides which ports; `listeners.py` holds them.
"""

from __future__ import annotations

from runtime.api.errors import Internal
from runtime.network.endpoints import Sandbox
from runtime.network.listeners import Listeners, PortTaken, Reservation
from runtime.network.ports import parse_bindings, parse_exposed
from runtime.network.wiring import Wiring


class PublishedPorts:
    """Those of one instance."""

    def __init__(self, wiring: Wiring, listeners: Listeners) -> None:
        self._wiring = wiring
        self._listeners = listeners
        self._reservations: dict[str, Reservation] = {}  # by container id

    def reserve(self, sandbox: Sandbox) -> None:
        """Take the host ports when the sandbox has a way out, give them back when it has none."""
        gateway = self._wiring.gateway(sandbox, 4) or self._wiring.gateway(sandbox, 6)
        held = self._reservations.get(sandbox.container_id)
        if gateway is None:
            if held is not None:
                self._listeners.release(self._reservations.pop(sandbox.container_id))
            sandbox.published = []
        elif held is None:
            exposed = parse_exposed(sandbox.exposed)
            wishes = parse_bindings(sandbox.bindings, exposed, sandbox.publish_all)
            if wishes:
                try:
                    reservation = self._listeners.reserve(wishes, gateway[0].options.host_binding)
                except PortTaken as error:
                    raise Internal(
                        "driver failed programming external connectivity on endpoint "
                        f"{sandbox.name} ({gateway[1].endpoint_id}): {error}"
                    ) from None
                self._reservations[sandbox.container_id] = reservation
                sandbox.published = reservation.published

    def serve(self, sandbox: Sandbox) -> None:
        """Answer at a sandbox's ports, as its addresses are now."""
        reservation = self._reservations.get(sandbox.container_id)
        if reservation is not None:
            reservation.serve(*self._wiring.targets(sandbox))

    def adopt(self, sandbox: Sandbox) -> None:
        """Hold the ports of a sandbox that lived on."""
        self._reservations[sandbox.container_id] = self._listeners.adopt(sandbox.published)

    def release(self, sandbox: Sandbox) -> None:
        """Give back what a sandbox has, if anything."""
        reservation = self._reservations.pop(sandbox.container_id, None)
        if reservation is not None:
            self._listeners.release(reservation)

    def close(self) -> None:
        """Give all of them up; containers and their rules stay."""
        for reservation in self._reservations.values():
            self._listeners.release(reservation)
        self._reservations.clear()

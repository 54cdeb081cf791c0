"""The engine's events, without those about things that are not there for whoever looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientResponse

from runtime.api.streams import JsonStream
from webdock.engines.threads import in_thread
from webdock.people import viewer
from webdock.people.belongings import CLAIM_LABEL, KINDS, PREDEFINED, others_among

Event = dict[str, Any]


def about(event: Event) -> list[tuple[str, str]]:
    """The things an event tells of: [("network", id), ("container", id)]; pure."""
    kind, actor = str(event.get("Type", "")), event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    found = []
    predefined = kind == "network" and attributes.get("name") in PREDEFINED
    if kind in KINDS and not predefined:
        found.append((kind, str(actor.get("ID", ""))))
    if other := attributes.get("container"):
        found.append(("container", str(other)))
    if label := attributes.get(CLAIM_LABEL):  # Race: the event may come before its row has the id
        found.append(("container", str(label)))
    return found


@in_thread
def seen_events(events: list[Event]) -> list[Event]:
    """Those the viewer may know of."""
    things = {thing for event in events for thing in about(event)}
    hidden = {
        (kind, id) for kind in KINDS for id in others_among(kind, {id for k, id in things if k == kind})
    }
    return [event for event in events if hidden.isdisjoint(about(event))]


class SeenEvents(JsonStream):
    """Events as they come; each lot that arrives together is looked at with one question."""

    def __init__(self, start: Callable[[], Awaitable[ClientResponse]]) -> None:
        super().__init__(start)
        self._looked_at: deque[Event] = deque()
        self._viewer = viewer.current()  # a long answer is read after its request's own context has ended

    async def __anext__(self) -> Event:
        viewer.look_as(self._viewer)
        if self._viewer is None or self._viewer.standing.admin:
            return await super().__anext__()
        while not self._looked_at:
            lot = [await super().__anext__(), *self._ready]
            self._ready.clear()
            self._looked_at.extend(await seen_events(lot))
        return self._looked_at.popleft()

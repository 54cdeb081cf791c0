"""The event hub: what happened in this engine, told to everybody who follows it.

Owns the ring of recent events and the queues of the followers. Never does IO and never waits: a follower
that falls behind is ended, because an event dropped in silence would be worse; it lists again.
All calls come from the event loop's thread.

Spec: Docker API 1.47, SystemEvents.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

RING_EVENTS = 1024  # kept for ``since``
QUEUE_EVENTS = 4096  # waiting for one follower

Event = dict[str, Any]

# Actions that carry details after a colon ("exec_start: sh -c true") are matched by their beginning.
_BY_BEGINNING = frozenset({"health_status", "exec_create", "exec_start"})


class EventHub:
    """Bounded fan-out of Docker-shaped events."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._ring: deque[Event] = deque(maxlen=RING_EVENTS)
        self._followers: set[Subscription] = set()
        self._last_ns = 0

    def publish(self, type: str, action: str, id: str, attributes: dict[str, str]) -> None:
        """Tell everybody that ``action`` happened to the object ``id``; never blocks, never raises."""
        # Two events never carry one time, and time never runs back: ``since`` is a position in the ring.
        now_ns = self._last_ns = max(self._clock(), self._last_ns + 1)
        event: Event = {}
        if type == "container":
            event = {"status": action, "id": id, "from": attributes.get("image", "")}
        elif type == "image":
            event = {"status": action, "id": id}
        event |= {
            "Type": type,
            "Action": action,
            "Actor": {"ID": id, "Attributes": dict(attributes)},
            "scope": "local",
            "time": now_ns // 1_000_000_000,
            "timeNano": now_ns,
        }
        self._ring.append(event)
        for follower in tuple(self._followers):
            follower._offer(event)

    def subscribe(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: dict[str, list[str]] | None = None,
    ) -> Subscription:
        """Follow from now on, after a replay of what the ring still has from ``since`` (seconds) on.

        The subscription is in force when this returns; it ends by itself at ``until``.
        """
        subscription = Subscription(self, until, filters or {})
        if since is not None:
            since_ns = int(since * 1_000_000_000)
            for event in self._ring:
                if event["timeNano"] >= since_ns:
                    subscription._offer(event)
        self._followers.add(subscription)
        return subscription

    @property
    def followers(self) -> int:
        return len(self._followers)

    def close(self) -> None:
        """End every follower; used when the engine stops."""
        for follower in tuple(self._followers):
            follower.close()


class Subscription:
    """One follower, an async iterator; it ends when closed, at ``until``, or when it fell behind."""

    def __init__(self, hub: EventHub, until: float | None, filters: dict[str, list[str]]) -> None:
        self._hub = hub
        self._until = until
        self._filters = filters
        self._queue: deque[Event] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self.overrun = False  # ended because the follower was too slow

    def _offer(self, event: Event) -> None:
        if self._closed or not matches(event, self._filters):
            return
        if self._until is not None and event["timeNano"] > self._until * 1_000_000_000:
            return
        if len(self._queue) >= QUEUE_EVENTS:
            self.overrun = True
            self.close()
            return
        self._queue.append(event)
        self._news.set()

    def close(self) -> None:
        """Stop following; events already queued are still delivered, unless it fell behind."""
        self._closed = True
        if self.overrun:
            self._queue.clear()
        self._hub._followers.discard(self)
        self._news.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            try:
                async with asyncio.timeout(self._left_s()):
                    await self._news.wait()
            except TimeoutError:
                self.close()
        return self._queue.popleft()

    def pending(self) -> list[Event]:
        """Everything queued right now, without waiting, so that a burst can be sent in one write."""
        events = list(self._queue)
        self._queue.clear()
        return events

    def _left_s(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - self._hub._clock() / 1_000_000_000)


def matches(event: Event, filters: dict[str, list[str]]) -> bool:
    """Whether Docker would show this event under these filters.

    Several values of one filter are alternatives, except labels, which must all be there.
    """
    actor: dict[str, Any] = event["Actor"]
    attributes: dict[str, str] = actor["Attributes"]
    for key, values in filters.items():
        if not values:
            continue
        if key == "event":
            action = event["Action"]
            beginning = any(value in _BY_BEGINNING for value in values)
            if not any(action.startswith(value) if beginning else action == value for value in values):
                return False
        elif key == "type":
            if event["Type"] not in values:
                return False
        elif key == "scope":
            if event["scope"] not in values:
                return False
        elif key == "label":
            if not all(_label(attributes, value) for value in values):
                return False
        elif key == "image":
            name = attributes.get("name" if event["Type"] == "image" else "image", "")
            names = {actor["ID"], name, _without_tag(actor["ID"]), _without_tag(name)}
            if names.isdisjoint(values):
                return False
        elif key in (
            "container",
            "network",
            "volume",
            "daemon",
            "plugin",
            "node",
            "service",
            "secret",
            "config",
        ):
            name = attributes.get("name", "")
            if not any(actor["ID"].startswith(value) or name.startswith(value) for value in values):
                return False
    return True


def _label(attributes: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _without_tag(reference: str) -> str:
    head, slash, last = reference.rpartition("/")
    return head + slash + last.split("@")[0].split(":")[0]

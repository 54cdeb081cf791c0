"""The newest events of each engine, kept in this process: each look reads on where the last one stopped.

The engine remembers them; what is kept here is a copy, asked for piece by piece. To read a day of them for
each look cost a page more than all else on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

from django.utils import timezone

from runtime.api.client import EngineClient
from webdock.engines.threads import spawn
from webdock.people import viewer
from webdock.people.seen_events import seen_events

SPAN_S = 24 * 3600  # as far back as anybody looks
KEPT_MAX = 1024  # of an engine, as many as ours remembers; who sees few of them is shown fewer
TELLING_MAX = 500  # of those that tell something, so that execs of health checks do not crowd them out
OVERLAP_S = 0.01  # a float is a little off; what is known already is left out
BACK_S = 5.0  # a clock that went back further than this: all is asked for again
#: Actions that go with another one, or with looking on: they would crowd out what happened.
SILENT = ("exec_", "attach", "resize", "top", "kill", "stop", "connect", "disconnect", "mount", "unmount")

Event = dict[str, Any]


class Recent:
    """Of one engine, for everybody, oldest first."""

    def __init__(self) -> None:
        self.all: deque[Event] = deque(maxlen=KEPT_MAX)
        self.telling: deque[Event] = deque(maxlen=TELLING_MAX)
        self._newest = 0  # nanoseconds, by the engine's clock
        self._lock = asyncio.Lock()

    async def read(self, client: EngineClient) -> None:
        """Raises: EngineError when the engine does not answer."""
        async with self._lock:
            now = timezone.now().timestamp()
            if self._newest / 1e9 > now + BACK_S:
                self.all.clear()
                self.telling.clear()
                self._newest = 0
            since = max(now - SPAN_S, self._newest / 1e9 - OVERLAP_S)
            before = self._newest  # Race: two events of one moment are both news
            async with client.events(since=since, until=now) as events:
                async for event in events:
                    at = int(event.get("timeNano") or 0)
                    if at and at <= before:
                        continue
                    self._newest = max(at, self._newest)
                    self.all.append(event)
                    if not str(event.get("Action", "")).startswith(SILENT):
                        self.telling.append(event)


_recent: WeakKeyDictionary[EngineClient, Recent] = WeakKeyDictionary()


async def of(client: EngineClient) -> Recent:
    """What is known of this engine after a look at it. Raises: EngineError when it does not answer."""
    recent = _recent.setdefault(client, Recent())
    await spawn(_read_for_everybody(recent, client), name="recent events")
    return recent


async def _read_for_everybody(recent: Recent, client: EngineClient) -> None:
    viewer.look_as(None)  # in this task
    await recent.read(client)


async def seen(events: deque[Event]) -> list[Event]:
    """Those that whoever looks may know of."""
    now = viewer.current()
    if now is None or now.standing.admin:
        return list(events)
    return await seen_events(list(events))

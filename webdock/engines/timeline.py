"""What the engine reported lately: the page, and the word to an open page that there is more.

The engine remembers; nothing is kept here. An event on the socket is a reason to look again, never data.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_GET

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import SocketConsumer
from webdock.engines.documents import storable_text
from webdock.engines.models import current_engine
from webdock.engines.pages import page
from webdock.engines.threads import in_thread
from webdock.engines.wording import explain
from webdock.people import viewer
from webdock.people.rights import requires
from webdock.people.seen_events import seen_events

TIMEOUT_S = 10.0
ROWS_MAX = 500
TEXT_MAX_CHARS = 200
QUIET_S = 1.0  # between two words to a page: a storm of events is one
TYPES = ("container", "image", "network", "volume", "daemon")
LATEST_SPAN_S = 24 * 3600
RECENT_MAX = 500  # kept of an engine; who sees few of them is shown fewer
OVERLAP_S = 0.01  # a float is a little off; what is known already is left out
LATEST_TIMEOUT_S = 2.0  # the overview does not wait longer for its events
DETAILS_MAX = 8
SHORT_ID_CHARS = 12
#: Actions that go with another one, or with looking on: they would crowd out what happened.
SILENT = ("exec_", "attach", "resize", "top", "kill", "stop", "connect", "disconnect", "mount", "unmount")
#: The last word about something of this type: what is gone has no page any more. (A container's page stays.)
ENDS = {"image": "delete", "network": "destroy"}
SPANS_S = {"5m": 300, "1h": 3600, "24h": 24 * 3600}
DEFAULT_SPAN = "24h"


@dataclass(frozen=True)
class Filters:
    """What the timeline is narrowed to; what is not understood is ignored."""

    type: str
    action: str
    name: str
    since: str

    @classmethod
    def of(cls, query: QueryDict) -> Filters:
        def text(key: str) -> str:
            return storable_text(query.get(key, "")).strip()[:TEXT_MAX_CHARS]

        return cls(
            type=text("type") if text("type") in TYPES else "",
            action=text("action"),
            name=text("name"),
            since=text("since") if text("since") in SPANS_S else DEFAULT_SPAN,
        )

    @property
    def narrows(self) -> bool:
        return bool(self.type or self.action or self.name or self.since != DEFAULT_SPAN)

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether a row is shown: words are parts of the action and of the name or ID."""
        return (
            (not self.type or row["type"] == self.type)
            and self.action.lower() in row["action"].lower()
            and (self.name.lower() in row["name"].lower() or (row["id"].startswith(self.name.lower())))
        )


@requires("view")
@require_GET
async def event_list(request: HttpRequest) -> HttpResponse:
    """What the engine still remembers, newest first."""
    filters = Filters.of(request.GET)
    engine = await sync_to_async(current_engine)()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found, error = await _read(client_of(engine.alias), filters), ""
    except EngineError as failure:
        found, error = [], explain(failure)
    except TimeoutError:
        found, error = [], explain(EngineUnreachable(""))
    context = {
        "rows": found[::-1],
        "error": error,
        "filters": filters,
        "types": TYPES,
        "spans": list(SPANS_S),
    }
    return await page(request, "events/list.html", context)


class Recent:
    """The newest events of one engine, for everybody: each look reads on where the last one stopped.

    An engine remembers thousands; to ask for a day of them cost the overview more than all else on it.
    """

    def __init__(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=RECENT_MAX)
        self._newest = 0  # nanoseconds, by the engine's clock
        self._lock = asyncio.Lock()

    async def read(self, client: EngineClient) -> None:
        """Raises: EngineError when the engine does not answer."""
        async with self._lock:
            now = timezone.now().timestamp()
            since = max(now - LATEST_SPAN_S, self._newest / 1e9 - OVERLAP_S)
            async with client.events(since=since, until=now) as events:
                async for event in events:
                    at = int(event.get("timeNano") or 0)
                    if at and at <= self._newest:
                        continue
                    self._newest = max(at, self._newest)
                    if not str(event.get("Action", "")).startswith(SILENT):
                        self.events.append(event)


_recent: WeakKeyDictionary[EngineClient, Recent] = WeakKeyDictionary()


async def latest(alias: str, number: int) -> list[dict[str, Any]]:
    """The newest rows that tell something, newest first; none when the engine does not answer at once."""
    client = client_of(alias)
    recent = _recent.setdefault(client, Recent())
    for_everybody = contextvars.copy_context()
    for_everybody.run(viewer.look_as, None)
    try:
        async with asyncio.timeout(LATEST_TIMEOUT_S):
            reading = recent.read(client)
            await asyncio.get_running_loop().create_task(reading, name="recent events", context=for_everybody)
    except (EngineError, TimeoutError):
        return []
    events = list(recent.events)
    now = viewer.current()
    if now is not None and not now.standing.admin:
        events = await seen_events(events)
    rows = [_row(event) for event in events[-number:]]
    gone: set[str] = set()
    for row in rows:
        _follow(gone, row)
    return [row | {"gone": row["id"] in gone} for row in reversed(rows)]


async def of_container(alias: str, id: str) -> tuple[list[dict[str, Any]], str]:
    """(rows, newest first, and why there are none): what the engine remembers of one container."""
    now = timezone.now().timestamp()
    found: deque[dict[str, Any]] = deque(maxlen=ROWS_MAX)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            about = {"container": [id]}
            async with client_of(alias).events(since=now - LATEST_SPAN_S, until=now, filters=about) as events:
                async for event in events:
                    found.append(_row(event))
    except EngineError as failure:
        return [], explain(failure)
    except TimeoutError:
        return [], explain(EngineUnreachable(""))
    return list(reversed(found)), ""


async def _read(client: EngineClient, filters: Filters) -> list[dict[str, Any]]:
    """The newest rows that fit, oldest first."""
    now = timezone.now().timestamp()
    found: list[dict[str, Any]] = []
    gone: set[str] = set()
    async with client.events(since=now - SPANS_S[filters.since], until=now) as events:
        async for event in events:
            row = _row(event)
            _follow(gone, row)
            if filters.fits(row):
                found.append(row)
            if len(found) > 2 * ROWS_MAX:
                del found[:ROWS_MAX]
    return [row | {"gone": row["id"] in gone} for row in found[-ROWS_MAX:]]


def _follow(gone: set[str], row: dict[str, Any]) -> None:
    """Keep the IDs of what is there no more; rows come oldest first."""
    if row["action"] == ENDS.get(row["type"]):
        gone.add(row["id"])
    else:
        gone.discard(row["id"])


def _row(body: dict[str, Any]) -> dict[str, Any]:
    actor = body.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    details = [
        (key, _short(key, str(value)))
        for key, value in attributes.items()
        if key != "name" and value not in ("", None)
    ]
    action = str(body.get("Action", ""))
    if action.startswith("exec_"):  # "exec_create: sh -c …": the command can be a whole script
        action, _colon, command = action.partition(": ")
        details = [("command", " ".join(command.split())), *details] if command else details
    return {
        "time": datetime.fromtimestamp(float(body.get("timeNano") or 0) / 1e9 or body.get("time") or 0, UTC),
        "type": str(body.get("Type", "")),
        "action": action,
        "id": str(actor.get("ID", "")),
        "name": _short("name", str(attributes.get("name", ""))),
        "details": details[:DETAILS_MAX],
    }


def _short(key: str, value: str) -> str:
    """A value as it is shown: IDs as short as everywhere; an image that has no name is called by its own."""
    bare = value.removeprefix("sha256:")
    is_id = len(bare) == 64 and (key in ("container", "execID") or bare != value)
    return bare[:SHORT_ID_CHARS] if is_id else value


class TimelineConsumer(SocketConsumer):
    """/ws/events/: {"type": "following"} once the engine tells, {"type": "news"} after something happened, at
    most once a second."""

    right = "view"

    async def run(self) -> None:
        client = client_of((await in_thread(current_engine)()).alias)
        self._news = asyncio.Event()
        self.tasks.create_task(self._tell(), name="tell")
        async with client.events() as events:
            await self.send_json({"type": "following"})
            async for _event in events:
                self._news.set()
        raise EngineUnreachable("the engine ended its events")

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.send_json({"type": "news"})
            await asyncio.sleep(QUIET_S)

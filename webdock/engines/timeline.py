"""What the engine reported lately: the page, and the word to an open page that there is more.

The engine remembers; nothing is kept here. An event on the socket is a reason to look again, never data.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_GET

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable
from webdock.engines import recent
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import SocketConsumer
from webdock.engines.documents import storable_text
from webdock.engines.models import current_engine
from webdock.engines.pages import page
from webdock.engines.threads import in_thread
from webdock.engines.wording import explain
from webdock.people.rights import requires

TIMEOUT_S = 10.0
ROWS_MAX = 500  # of one container
PAGE_ROWS = 50
MOMENT_MAX_CHARS = 20  # of nanoseconds
TEXT_MAX_CHARS = 200
QUIET_S = 1.0  # between two words to a page: a storm of events is one
TYPES = ("container", "image", "network", "volume", "daemon")
LATEST_TIMEOUT_S = 2.0  # the overview does not wait longer for its events
DETAILS_MAX = 8
SHORT_ID_CHARS = 12
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
    """What the engine still remembers, newest first, in pieces (before=nanoseconds)."""
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
        "piece": Piece.of(found, _moment(request.GET.get("before", ""))),
        "error": error,
        "filters": filters,
        "types": TYPES,
        "spans": list(SPANS_S),
    }
    return await page(request, "events/list.html", context)


async def latest(alias: str, number: int) -> list[dict[str, Any]]:
    """The newest rows that tell something, newest first; none when the engine does not answer at once."""
    try:
        async with asyncio.timeout(LATEST_TIMEOUT_S):
            known = await recent.of(client_of(alias))
    except (EngineError, TimeoutError):
        return []
    events = await recent.seen(known.telling)
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
            async with client_of(alias).events(since=now - recent.SPAN_S, until=now, filters=about) as events:
                async for event in events:
                    found.append(_row(event))
    except EngineError as failure:
        return [], explain(failure)
    except TimeoutError:
        return [], explain(EngineUnreachable(""))
    return list(reversed(found)), ""


async def _read(client: EngineClient, filters: Filters) -> list[dict[str, Any]]:
    """The rows that fit, newest first. Raises: EngineError."""
    known = await recent.of(client)
    since = timezone.now() - timedelta(seconds=SPANS_S[filters.since])
    found: list[dict[str, Any]] = []
    gone: set[str] = set()
    for event in await recent.seen(known.all):
        row = _row(event)
        _follow(gone, row)
        if row["time"] >= since and filters.fits(row):
            found.append(row)
    return [row | {"gone": row["id"] in gone} for row in reversed(found)]


@dataclass(frozen=True)
class Piece:
    """Some rows of the list, newest first. It begins below a moment, not at a number: what happens meanwhile
    does not move what is being read."""

    rows: list[dict[str, Any]]
    first: int  # how many are newer, and one
    total: int
    newer: int | None  # ``before`` of the piece above; 0 for the newest, None where there is none
    older: int | None

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @classmethod
    def of(cls, rows: list[dict[str, Any]], before: int) -> Piece:
        """The rows below this moment (nanoseconds; 0 for the newest); pure."""
        at = 0
        if before:
            at = next((number for number, row in enumerate(rows) if row["at"] < before), None)
            at = max(0, len(rows) - PAGE_ROWS) if at is None else at  # so long ago that nobody remembers
        above = max(0, at - PAGE_ROWS)
        end = _whole(rows, at + PAGE_ROWS)
        return cls(
            rows=rows[at:end],
            first=at + 1,
            total=len(rows),
            newer=None if at == 0 else (rows[above - 1]["at"] if above else 0),
            older=rows[end - 1]["at"] if end < len(rows) else None,
        )


def _whole(rows: list[dict[str, Any]], end: int) -> int:
    """The end of a piece, moved behind the events of the same moment; pure."""
    while 0 < end < len(rows) and rows[end]["at"] == rows[end - 1]["at"]:
        end += 1
    return min(end, len(rows))


def _moment(text: str) -> int:
    return int(text[:MOMENT_MAX_CHARS]) if text.isascii() and text.isdigit() else 0


def _follow(gone: set[str], row: dict[str, Any]) -> None:
    """Keep the IDs of what is there no more; rows come oldest first."""
    if row["action"] == ENDS.get(row["type"]):
        gone.add(row["id"])
    else:
        gone.discard(row["id"])


def _row(body: dict[str, Any]) -> dict[str, Any]:
    at = int(body.get("timeNano") or 0) or int(body.get("time") or 0) * 10**9
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
        "at": at,
        "time": datetime.fromtimestamp(at / 1e9, UTC),
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

"""Live rows: a page tells which rows it shows, and hears what is newer. Knows no kind of row.

A hint (or the tick, when hints got lost) makes the consumer look at the page's ids and send rows whose
revision is newer than its cursor, rendered from the template the page itself uses.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from runtime.api.errors import InvalidArgument
from webdock.engines.consumers import HintedConsumer, whole
from webdock.engines.models import current_engine
from webdock.engines.threads import in_thread
from webdock.people.rights import rights_of

TICK_S = 5.0  # a lost hint costs this long
GAP_S = 0.1  # between two messages: a storm of events is one update
REFRESH_S = 60.0  # every row again, as "3 minutes ago" grows old
QUERY_MAX_CHARS = 2000
ROWLESS = ("network", "volume")  # kinds whose pages ask the engine: told that they are stale


@dataclass
class Snapshot:
    """What a page shows now."""

    cursor: int  # revision everything below was read at
    order: list[str]  # ids of the page, in order
    counts: dict[str, int]
    rows: list[dict[str, str]] = field(default_factory=list)  # {"id", "html"} of the newer ones
    header: str | None = None  # of the single object that is followed, when there is one


class RowsConsumer(HintedConsumer):
    """Follows one page's rows. Subclasses say how to read them."""

    right = "view"
    row_kind: str
    hint_kinds = ("engine",)

    def prepare(self) -> None:
        self._wake = asyncio.Event()
        self._following: QueryDict | None = None
        self._cursor = 0
        self._shown: list[str] | None = None
        self._counts: dict[str, int] | None = None
        self._engine: dict[str, Any] | None = None
        self._engine_news = True
        self._stale: set[str] = set()  # kinds without rows that changed
        self._wake.set()  # the engine's state is told at once

    async def run(self) -> None:
        self.tasks.create_task(self.listen(self._hinted), name="hints")
        self.tasks.create_task(self._pump(), name="rows")

    @abstractmethod
    def read(
        self, query: QueryDict, cursor: int, shown: list[str] | None, rights: frozenset[str]
    ) -> Snapshot:
        """What the page shows, rendered where newer than the cursor or not shown yet; in a thread."""

    async def receive_text(self, message: dict[str, Any]) -> None:
        if message.get("type") != "follow":
            return
        query = message.get("query", "")
        if not isinstance(query, str) or len(query) > QUERY_MAX_CHARS:
            raise InvalidArgument("the query is not one of this page")
        self._following = QueryDict(query.removeprefix("?"))
        self._cursor = whole(message.get("cursor"), 0, 2**62, 0)
        self._shown = self._counts = None
        self._wake.set()

    def _hinted(self, kind: str) -> None:
        if kind == "engine":
            self._engine_news = True
        if kind in ROWLESS:
            self._stale.add(kind)
        self._wake.set()

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        refresh_at = loop.time() + REFRESH_S
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                self._engine_news = True
            self._wake.clear()
            if self._engine_news:
                self._engine_news = False
                await self._tell_engine()
            if self._stale:
                kinds, self._stale = sorted(self._stale), set()
                await self.send_json({"type": "stale", "kinds": kinds})
            if self._following is not None:
                if loop.time() >= refresh_at:
                    self._cursor, refresh_at = 0, loop.time() + REFRESH_S
                await self._tell_rows(self._following)
            await asyncio.sleep(GAP_S)

    async def _tell_rows(self, query: QueryDict) -> None:
        snapshot = await in_thread(self._snapshot)(query, self._cursor, self._shown)
        if query is not self._following:
            return  # the page moved on meanwhile; its next look is on the way
        first = self._shown is None
        shown = self._shown or []
        now = set(snapshot.order)
        removed = [id for id in shown if id not in now]
        self._cursor = snapshot.cursor
        if first or snapshot.rows or shown != snapshot.order or self._counts != snapshot.counts:
            self._shown, self._counts = snapshot.order, snapshot.counts
            message: dict[str, Any] = {
                "type": "rows",
                "cursor": snapshot.cursor,
                "counts": snapshot.counts,
                "rows": snapshot.rows,
                "removed": removed,
            }
            if first or shown != snapshot.order:
                message["order"] = snapshot.order
            if snapshot.header is not None:
                message["header"] = snapshot.header
            await self.send_json(message)

    def _snapshot(self, query: QueryDict, cursor: int, shown: list[str] | None) -> Snapshot:
        return self.read(query, cursor, shown, rights_of(self.user))

    async def _tell_engine(self) -> None:
        engine = await in_thread(current_engine)()
        state = {"type": "engine", "connected": engine.connected, "error": engine.error}
        if state != self._engine:
            self._engine = state
            await self.send_json({**state, "now": time.time()})  # by which a browser's clock is put right

"""Live rows, logs and statistics of containers. No database writes."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any

from django.http import QueryDict
from django.template.loader import get_template

from containers_app import listing
from containers_app.gauges import gauges
from containers_app.histories import histories
from containers_app.loglines import Line, LogLines
from containers_app.models import Container, listed
from containers_app.projection import KIND
from containers_app.rates import rates, running
from containers_app.rendering import row_html
from runtime.api.client import EngineClient
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import CLOSE_GONE, CLOSE_STATE, Closed, SocketConsumer, whole
from webdock.engines.models import current_engine, last_revision
from webdock.engines.rows import ROWLESS, RowsConsumer, Snapshot
from webdock.engines.threads import in_thread
from webdock.people.belongings import sight

TAIL_DEFAULT, TAIL_MAX = 500, 10_000
BATCH_S = 0.2  # lines wait this long for company, so that a flood is a few messages a second
BATCH_LINES = 500  # of one message
WAITING_LINES = 2000  # kept for a slow reader; older ones are counted as skipped
WINDOW_LINES = 3000  # sent and not yet credited
GAUGES_MAX = 200  # containers of one page that are measured
SIGHT_BEATS = 5  # measurements between two looks at who may see what
CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


class ContainerRowsConsumer(RowsConsumer):
    """/ws/rows/containers/: a list's rows, or with "id=<id>" one container's row and header."""

    row_kind = KIND
    hint_kinds = ("container", "engine", *ROWLESS)

    def read(
        self, query: QueryDict, cursor: int, shown: list[str] | None, rights: frozenset[str]
    ) -> Snapshot:
        now = last_revision(KIND)
        page = listing.revisions_of(query)
        known = set(shown) if shown is not None else None
        wanted = [id for id, revision in page if revision > cursor or (known is not None and id not in known)]
        found = {row.container_id: row for row in listed().filter(container_id__in=wanted)} if wanted else {}
        newer = [found[id] for id in wanted if id in found]
        snapshot = Snapshot(
            cursor=now,
            order=[id for id, _revision in page],
            counts=listing.counts(),
            rows=[{"id": row.container_id, "html": row_html(row)} for row in newer],
        )
        if query.get("id") and newer:
            header = get_template("containers/_header.html")
            snapshot.header = header.render({"container": newer[0], "rights": rights})
        return snapshot


class ContainerSocket(SocketConsumer):
    """A socket about one container, named in its path."""

    async def container(self) -> Container:
        """Raises: Closed when there is no such container."""
        found = await _container(self.kwargs["container"])
        if found is None:
            raise Closed(CLOSE_GONE)
        return found


class LogsConsumer(ContainerSocket):
    """/ws/logs/<container>/: the newest lines, then what comes.

    A reader that does not keep up loses the oldest waiting lines and is told how many; the engine is never
    made to wait for a browser, as that would make the container wait.
    """

    right = "logs"

    def prepare(self) -> None:
        self._waiting: deque[Line] = deque()
        self._skipped = 0
        self._unread = 0
        self._paused = False
        self._wake = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        container = await self.container()
        self.tasks.create_task(self._send(), name="send")
        tail = whole(self.query.get("tail"), 0, TAIL_MAX, TAIL_DEFAULT)
        since, until = _seconds(self.query.get("since")), _seconds(self.query.get("until"))
        lines = LogLines()
        client = client_of(container.engine.alias)
        async with client.container_logs(
            container.container_id,
            follow=self.query.get("follow", "1") != "0" and until is None,
            tail=tail,
            since=since,
            until=until,
            timestamps=True,
            stdout=self.query.get("stdout", "1") != "0",
            stderr=self.query.get("stderr", "1") != "0",
            tty=container.tty,
        ) as log:
            async for stream, data in log:
                self._take(lines.feed(stream, data))
                await asyncio.sleep(0)  # a flood is always readable; let the others have a turn
        self._take(lines.end())
        self._ended = True
        self._wake.set()

    def _take(self, found: list[Line]) -> None:
        self._waiting.extend(found)
        while len(self._waiting) > WAITING_LINES:
            self._waiting.popleft()
            self._skipped += 1
        if self._waiting:
            self._wake.set()

    async def receive_text(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "credit":
            self._unread = max(0, self._unread - whole(message.get("lines"), 0, 1 << 40, 0))
        elif kind in ("pause", "resume"):
            self._paused = kind == "pause"
        self._wake.set()

    def _held(self) -> bool:
        return self._paused or self._unread >= WINDOW_LINES

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._held():
                continue
            if self._skipped:
                skipped, self._skipped = self._skipped, 0
                await self.send_json({"type": "skipped", "count": skipped})
            batch = [self._waiting.popleft() for _n in range(min(len(self._waiting), BATCH_LINES))]
            if batch:
                self._unread += len(batch)
                await self.send_json({"type": "lines", "lines": batch})
            if self._waiting:
                self._wake.set()
            elif self._ended:
                await self.send_json({"type": "end"})
                self._ended = False
            await asyncio.sleep(BATCH_S)


class StatsConsumer(ContainerSocket):
    """/ws/stats/<container>/: the last hour, as far as it was measured, then a measurement each second while
    the container runs."""

    right = "view"

    async def run(self) -> None:
        container = await self.container()
        client = client_of(container.engine.alias)
        before: dict[str, Any] | None = None
        await self.send_json({"type": "history", "points": histories.of(container.container_id)})
        async with client.container_stats(container.container_id) as samples:
            async for sample in samples:
                if not running(sample):
                    break
                await self.send_json({"type": "stats", **rates(before, sample)})
                before = sample
        raise Closed(CLOSE_STATE)


class GaugesConsumer(SocketConsumer):
    """/ws/gauges/: CPU and memory of the running rows of a page, each second as long as it is looked at.

    The page says which, none when it is hidden: {"type": "watch", "ids": [...], "as": 1}. Each second comes
    {"type": "gauges", "as": 1, "now": [[0, cpu, memory], ...], "past": {id: [[cpu, memory], ...]}}: what
    moved, by its place in the list, and all points that are kept of those the page has not heard of yet. One
    that is not named stays as it was, [place] alone has ended.
    """

    right = "view"

    def prepare(self) -> None:
        self._ids: list[str] = []
        self._as = 0
        self._told: set[str] = set()  # whose past the page has
        self._wake = asyncio.Event()

    async def receive_text(self, message: dict[str, Any]) -> None:
        ids = message.get("ids")
        if message.get("type") != "watch" or not isinstance(ids, list):
            return
        self._ids = [
            id if isinstance(id, str) and CONTAINER_ID.fullmatch(id) else "" for id in ids[:GAUGES_MAX]
        ]
        self._told &= set(self._ids)
        self._as = whole(message.get("as"), 0, 1 << 40, 0)
        self._wake.set()

    async def run(self) -> None:
        client = client_of((await in_thread(current_engine)()).alias)
        self.tasks.create_task(self._measure(client), name="gauges")

    async def _measure(self, client: EngineClient) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._follow(client, self._ids, self._as)
        finally:
            gauges.leave(self)

    async def _follow(self, client: EngineClient, asked: list[str], number: int) -> None:
        """Tell of these until the page asks for others."""
        gauges.leave(self)
        seen: list[str] = []
        looks, told = True, 0
        while asked and not self._wake.is_set():
            beat = gauges.beat()
            if looks:  # again now and then: what may be seen can have changed
                sees = await in_thread(sight)("container")
                seen = [id if id and sees(id) else "" for id in asked]
            if await gauges.look(client, self, [id for id in seen if id]):
                message = {"type": "gauges", "as": number, "now": gauges.news(seen, told)}
                if past := gauges.past(id for id in seen if id not in self._told):
                    message["past"] = past
                    self._told |= past.keys()
                await self.send_json(message)
                told = beat
            looks = beat % SIGHT_BEATS == 0
            await gauges.next_beat()


def _seconds(text: str | None) -> float | None:
    """A moment in seconds since 1970, as the page asks for it; None for anything else."""
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1 << 40 else None


@in_thread
def _container(id: str) -> Container | None:
    return listed().filter(container_id=id).first()

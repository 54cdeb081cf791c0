"""/ws/logs/?container=<id>&container=<id>: several logs as one, the past by time, then what comes.

Each line says whose it is: [stream, text, time, number of the container in the address]. No database writes.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from urllib.parse import parse_qs

from containers_app.consumers import (
    BATCH_LINES,
    BATCH_S,
    CONTAINER_ID,
    TAIL_DEFAULT,
    TAIL_MAX,
    LogsConsumer,
    _seconds,
)
from containers_app.loglines import Line, LogLines
from containers_app.models import Container, listed
from runtime.api.errors import Conflict, NotFound
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import CLOSE_FORBIDDEN, CLOSE_GONE, Closed, whole
from webdock.engines.threads import in_thread
from webdock.people.belongings import viewer_rights

MERGED_MAX = 20  # containers of one page
RIGHTS_EVERY_S = 3.0


def time_key(time: str) -> str:
    """RFC 3339 in UTC so that texts sort as moments do: engines cut the zeros of a fraction."""
    whole_part, _dot, fraction = time.removesuffix("Z").partition(".")
    return f"{whole_part}.{fraction:0<9}"


def merged(logs: list[list[Line]]) -> list[tuple[int, str, str, int]]:
    """Lines of several logs by time; those of one log keep their order, also where a clock went back."""
    found = []
    for number, lines in enumerate(logs):
        latest = ""
        for stream, text, time in lines:
            latest = max(latest, time_key(time))
            found.append((latest, (stream, text, time, number)))
    return [line for _key, line in sorted(found, key=lambda one: one[0])]


@in_thread
def logs_of(ids: list[str]) -> list[Container]:
    """The containers whose logs the viewer may read, in the order asked for."""
    rows = {row.container_id: row for row in listed().filter(container_id__in=ids)}
    return [rows[id] for id in ids if id in rows and "logs" in viewer_rights("container", id)]


def asked_for(values: list[str]) -> list[str]:
    """Ids of containers, each once, no more than fit."""
    return [id for id in dict.fromkeys(values) if CONTAINER_ID.fullmatch(id)][:MERGED_MAX]


class MergedLogsConsumer(LogsConsumer):
    """Several logs for one reader; see LogsConsumer for what happens to a slow one."""

    right = "logs"

    async def run(self) -> None:
        query = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        ids = asked_for(query.get("container", []))
        if not ids:
            return  # nothing chosen, nothing to send
        containers = await logs_of(ids)
        if not containers:
            raise Closed(CLOSE_GONE)
        self._numbers = {id: number for number, id in enumerate(ids)}
        self.tasks.create_task(self._send(), name="send")
        self.tasks.create_task(self._keep_rights([one.container_id for one in containers]), name="rights")
        since, until = _seconds(self.query.get("since")), _seconds(self.query.get("until"))
        tail = whole(self.query.get("tail"), 0, TAIL_MAX, TAIL_DEFAULT) // len(containers)
        past = await asyncio.gather(*(self._past(one, tail, since, until) for one in containers))
        for at in range(0, len(lines := merged(past)), BATCH_LINES):
            batch = lines[at : at + BATCH_LINES]
            self._take([(*line[:3], self._numbers[containers[line[3]].container_id]) for line in batch])  # type: ignore[misc]
            while len(self._waiting) > BATCH_LINES:  # noqa: ASYNC110 - the sender has no event for "sent"
                await asyncio.sleep(BATCH_S / 2)
        if until is None:
            async with asyncio.TaskGroup() as tasks:
                for one, seen in zip(containers, past, strict=True):
                    tasks.create_task(self._follow(one, seen, since))
        self._ended = True
        self._wake.set()

    async def _past(
        self, container: Container, tail: int, since: float | None, until: float | None
    ) -> list[Line]:
        lines, found = LogLines(), []
        async with client_of(container.engine.alias).container_logs(
            container.container_id, tail=tail, since=since, until=until, timestamps=True, tty=container.tty
        ) as log:
            async for stream, data in log:
                found += lines.feed(stream, data)
                await asyncio.sleep(0)
        return found + lines.end()

    async def _follow(self, container: Container, seen: list[Line], since: float | None) -> None:
        """What comes after the lines seen. One that does not run, or goes away, ends by itself."""
        last = max((time_key(line[2]) for line in seen), default="")
        number, lines = self._numbers[container.container_id], LogLines()
        try:
            async with client_of(container.engine.alias).container_logs(
                container.container_id,
                follow=True,
                since=_at(last) if last else since,
                timestamps=True,
                tty=container.tty,
            ) as log:
                async for stream, data in log:
                    news = (line for line in lines.feed(stream, data) if time_key(line[2]) > last)
                    self._take([(*line, number) for line in news])  # type: ignore[misc]
                    await asyncio.sleep(0)
        except (NotFound, Conflict):
            return

    async def _keep_rights(self, ids: list[str]) -> None:
        """Until one of them may no longer be read. Raises: Closed."""
        while True:
            await asyncio.sleep(RIGHTS_EVERY_S)
            if not await _still_read(ids):
                raise Closed(CLOSE_FORBIDDEN)


@in_thread
def _still_read(ids: list[str]) -> bool:
    """Whether the right to each of these that is there still holds."""
    there = Container.everything.filter(container_id__in=ids).values_list("container_id", flat=True)
    return all("logs" in viewer_rights("container", id) for id in there)


def _at(key: str) -> float:
    """The second a time key begins with: the engine is asked for a little too much, never too little."""
    return datetime.fromisoformat(f"{key[:19]}+00:00").timestamp()

"""The jobs this process runs. ``start`` begins one; whoever needs longer than a request uses it.

    async def work(job: LiveJob) -> str:                  # runs until done, whoever closes which tab
        job.progress.part("3f2a", "Pushing", 5, 10)       # any number of parts, or:
        job.progress.current, job.progress.total = 1, 4   # one total of bytes or steps
        job.tell()                                        # the pages hear of it, at most five times a second
        return _("web was recreated.")                    # the outcome people read

    job = start(actor, "recreate", work, engine="local", object_kind="container", subject=id, name="web")

An EngineError of ``work`` is the job's failure, in the words of ``explain``. A cancel by a person is an
``asyncio.CancelledError`` inside ``work``; with ``cancels=""`` nobody can. The audit row is written here
(``action``, else "container.recreate" from object_kind and kind). The row of the job outlives the process.

``sees`` and ``cancels`` name rights over what the job works on (``object_kind`` and ``subject``): jobs on a
container that belongs to somebody are theirs to see.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from runtime.api.errors import EngineError
from webdock.engines.audit import Actor, audited
from webdock.engines.documents import storable_text
from webdock.engines.threads import spawn
from webdock.engines.wording import explain
from webdock.jobs import rows, words
from webdock.jobs.models import Job
from webdock.jobs.progress import Progress

RUNNING_MAX = 16  # at once in this process, of all kinds
KEPT = 20  # finished ones that stay in memory; rows are kept longer
State = Job.State

logger = logging.getLogger("webdock.jobs")


class TooMany(Exception):
    """More jobs run than this process takes on; the text is for the person."""


@dataclass(eq=False)
class LiveJob:
    """One job of this process and where it stands."""

    kind: str
    engine: str
    subject: str
    name: str
    username: str
    url: str = ""
    sees: str = "view"
    cancels: str = "operate"
    object_kind: str = "image"
    owner_id: int | None = None  # of the subject, once that is known
    team_id: int | None = None
    settled: bool = False  # before that nobody is told of it
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: datetime = field(default_factory=timezone.now)
    ended: datetime | None = None
    state: str = State.RUNNING
    message: str = ""  # the outcome
    progress: Progress = field(default_factory=Progress)
    task: asyncio.Task[Any] | None = None
    cancelled: bool = False  # by a person
    lost: Any = words.RESTARTED  # why it ended when nobody cancelled it
    detail: str = ""  # of its audit row, which is written at its end

    def tell(self) -> None:
        """Something about it changed: whoever watches hears of it."""
        board().told(self)

    async def over(self) -> None:
        """Wait for its end; who waits may leave without ending it."""
        if self.task is not None:
            await asyncio.wait([self.task])

    def end(self, state: str, message: str) -> None:
        self.state, self.message, self.ended = state, storable_text(message), timezone.now()

    def as_dict(self) -> dict[str, Any]:
        """What the pages show."""
        current, total = self.progress.sums()
        return {
            "id": self.id,
            "kind": self.kind,
            "kind_word": words.kind_word(self.kind),
            "engine": self.engine,
            "subject": self.subject,
            "name": self.name or self.subject,
            "url": self.url,
            "by": self.username,
            "started": self.started.isoformat(),
            "ended": self.ended.isoformat() if self.ended else "",
            "state": str(self.state),
            "message": self.message or self.progress.message,
            "current": current,
            "total": total,
            "parts": self.progress.as_list(),
            "cancels": self.cancels,
        }


class Board:
    """The jobs of this process. Watchers are called after every change; they must return at once."""

    def __init__(self) -> None:
        self._jobs: dict[str, LiveJob] = {}
        self._watchers: set[Callable[[LiveJob], None]] = set()

    def all(self) -> list[LiveJob]:
        """Newest first."""
        return sorted(self._jobs.values(), key=lambda one: one.started, reverse=True)

    def settled(self) -> list[LiveJob]:
        """Those people may be told of."""
        return [one for one in self.all() if one.settled]

    def running(self, kind: str = "") -> list[LiveJob]:
        return [one for one in self.all() if one.state == State.RUNNING and kind in ("", one.kind)]

    def get(self, id: str) -> LiveJob | None:
        return self._jobs.get(id)

    def watch(self, watcher: Callable[[LiveJob], None]) -> Callable[[], None]:
        """Call the watcher after each change; returns what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def told(self, job: LiveJob) -> None:
        if not job.settled:
            return
        for watcher in tuple(self._watchers):
            watcher(job)

    def add(self, job: LiveJob) -> None:
        """Raises: TooMany."""
        if len(self.running()) >= RUNNING_MAX:
            raise TooMany(words.too_many())
        for old in [one for one in self.all() if one.state != State.RUNNING][KEPT - 1 :]:
            del self._jobs[old.id]
        self._jobs[job.id] = job

    def cancel(self, id: str) -> bool:
        """End a running job; False when there is none of this id, or nobody may end it."""
        job = self._jobs.get(id)
        if job is None or job.state != State.RUNNING or job.task is None or not job.cancels:
            return False
        job.cancelled = True
        job.task.cancel()
        return True

    async def close(self) -> None:
        """The process is going: end every job."""
        tasks = [one.task for one in self._jobs.values() if one.task is not None and not one.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_board = Board()


def board() -> Board:
    """The jobs of this process."""
    return _board


Work = Callable[[LiveJob], Awaitable[str]]


def start(
    actor: Actor,
    kind: str,
    work: Work,
    *,
    subject: str,
    name: str = "",
    engine: str = "",
    object_kind: str = "image",
    action: str = "",
    url: str = "",
    sees: str = "view",
    cancels: str = "operate",
    detail: str = "",
    joined: bool = True,
) -> LiveJob:
    """Begin a job; one of the same kind that runs for the same subject of the same engine is joined instead.

    Without ``joined`` only one's own is, as when each person's works on what is theirs. ``detail`` goes into
    the audit row; ``work`` may set ``job.detail`` anew. Raises: TooMany.
    """
    for one in board().running(kind):
        mine = joined or one.username == actor.username
        if mine and (one.engine, one.object_kind, one.subject) == (engine, object_kind, subject):
            return one
    job = LiveJob(
        kind,
        engine,
        subject,
        name,
        actor.username,
        url=url,
        sees=sees,
        cancels=cancels,
        object_kind=object_kind,
        detail=detail,
    )
    board().add(job)

    async def run() -> None:
        async with _kept(job), _audited(job, actor, action):
            job.message = await work(job)

    job.task = spawn(run(), name=f"{kind} {subject}")
    job.task.add_done_callback(_log)
    return job


@asynccontextmanager
async def tracked(
    actor: Actor,
    kind: str,
    *,
    subject: str,
    name: str = "",
    engine: str = "",
    object_kind: str = "image",
    action: str = "",
    sees: str = "view",
    cancels: str = "operate",
) -> AsyncIterator[LiveJob]:
    """A job that is this very block, as when a browser's own bytes are the work: it ends with its asker.

    The block sets ``job.message`` to the outcome. Errors are the job's failure and pass on. Raises: TooMany.
    """
    job = LiveJob(
        kind, engine, subject, name, actor.username, sees=sees, cancels=cancels, object_kind=object_kind
    )
    job.task, job.lost = asyncio.current_task(), words.LEFT
    board().add(job)
    failures: list[EngineError] = []
    async with _kept(job, failures), _audited(job, actor, action):
        yield job
    for failure in failures:
        raise failure


@asynccontextmanager
async def _audited(job: LiveJob, actor: Actor, action: str) -> AsyncIterator[None]:
    async with audited(
        actor,
        action or f"{job.object_kind}.{job.kind}",
        engine=job.engine,
        kind=job.object_kind,
        id=job.subject,
        name=job.name or job.subject,
        detail=job.detail,
    ) as entry:
        yield
        entry.detail = job.detail


@asynccontextmanager
async def _kept(job: LiveJob, failures: list[EngineError] | None = None) -> AsyncIterator[None]:
    """The job's row around the block, and its state after it. EngineErrors stop here (``failures``)."""
    try:
        await rows.settle(job)
        job.settled = True
        job.tell()
        await rows.write(job)
        yield
        job.end(State.DONE, job.message)
    except EngineError as error:
        job.end(State.FAILED, explain(error))
        if failures is not None:
            failures.append(error)
    except asyncio.CancelledError:
        if not job.cancelled:
            job.end(State.FAILED, str(job.lost))
            raise
        job.end(State.CANCELLED, str(words.CANCELLED))
        if (task := asyncio.current_task()) is not None:
            task.uncancel()  # meant for the job; the task it was part of may go on
    except GeneratorExit:  # the block is a response's body, and its asker left
        job.end(State.FAILED, str(job.lost))
        raise
    finally:
        if job.state == State.RUNNING:  # a bug; nobody may wait for ever
            job.end(State.FAILED, str(words.BROKEN))
        job.tell()
        await rows.write(job)


def _log(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("job %s failed", task.get_name(), exc_info=error)

"""The pulls this process runs, the newest progress of each layer. No history, no rows.

One task per (engine, reference): asking for one that runs joins it. Closing a tab changes nothing; cancelling
closes the connection to the engine, which ends the pull there.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from runtime.api.errors import EngineError, Internal
from webdock.engines.audit import Actor, audited
from webdock.engines.clients import client as client_of
from webdock.engines.threads import spawn
from webdock.engines.wording import explain, sentence

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"
RUNNING_MAX = 8  # at once in this process
KEPT = 20  # finished ones that are still shown
LAYERS_MAX = 256  # of one image (the specification's own limit is 127)
REFERENCE_MAX_CHARS = 512
READABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*")


@dataclass
class Layer:
    """The newest news of one layer."""

    id: str
    status: str = ""
    current: int = 0
    total: int = 0


@dataclass
class Pull:
    """One pull and where it stands."""

    engine: str
    reference: str
    username: str  # who asked first
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: datetime = field(default_factory=timezone.now)
    state: str = RUNNING
    message: str = ""
    layers: dict[str, Layer] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    cancelled: bool = False  # by a person

    def as_dict(self) -> dict[str, Any]:
        """What the pages show."""
        return {
            "id": self.id,
            "reference": self.reference,
            "state": self.state,
            "message": self.message,
            "layers": [
                {"id": one.id, "status": one.status, "current": one.current, "total": one.total}
                for one in self.layers.values()
            ],
            "started": self.started.isoformat(),
            "by": self.username,
        }

    def take(self, news: dict[str, Any]) -> None:
        """Apply one progress message of the engine.

        Raises: Internal when it says that the pull failed.
        """
        if news.get("error") or news.get("errorDetail"):
            detail = news.get("errorDetail") or {}
            raise Internal(str(detail.get("message") or news.get("error")))
        status, id = str(news.get("status") or ""), str(news.get("id") or "")
        progress = news.get("progressDetail") or {}
        if not id or status.startswith("Pulling from "):
            self.message = sentence(status)
            return
        if id not in self.layers and len(self.layers) >= LAYERS_MAX:
            return
        layer = self.layers.setdefault(id, Layer(id))
        layer.status = status[:200]
        if progress.get("total"):
            layer.current, layer.total = int(progress.get("current") or 0), int(progress["total"])
        elif layer.total and status in ("Pull complete", "Download complete", "Already exists"):
            layer.current = layer.total


class Pulls:
    """The pulls of this process. Watchers are called after every change; they must return at once."""

    def __init__(self) -> None:
        self._pulls: dict[str, Pull] = {}
        self._watchers: set[Callable[[Pull], None]] = set()

    def all(self) -> list[Pull]:
        """Newest first."""
        return sorted(self._pulls.values(), key=lambda one: one.started, reverse=True)

    def get(self, id: str) -> Pull | None:
        return self._pulls.get(id)

    def watch(self, watcher: Callable[[Pull], None]) -> Callable[[], None]:
        """Call the watcher after each change; returns what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def start(self, actor: Actor, engine: str, reference: str, auth: dict[str, str] | None) -> Pull | None:
        """Begin, or join the one that runs for the same reference; None when too many run."""
        running = [one for one in self._pulls.values() if one.state == RUNNING]
        for one in running:
            if (one.engine, one.reference) == (engine, reference):
                return one
        if len(running) >= RUNNING_MAX:
            return None
        finished = [one for one in self.all() if one.state != RUNNING]
        for old in finished[KEPT - 1 :]:
            del self._pulls[old.id]
        pull = Pull(engine, reference, actor.username)
        self._pulls[pull.id] = pull
        pull.task = spawn(self._run(pull, actor, auth), name=f"pull {reference}")
        return pull

    def cancel(self, id: str) -> bool:
        """End a running pull; False when there is none of this id."""
        pull = self._pulls.get(id)
        if pull is None or pull.state != RUNNING or pull.task is None:
            return False
        pull.cancelled = True
        pull.task.cancel()
        return True

    async def close(self) -> None:
        """The process is going: end every pull."""
        tasks = [one.task for one in self._pulls.values() if one.task is not None and not one.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, pull: Pull, actor: Actor, auth: dict[str, str] | None) -> None:
        try:
            async with audited(
                actor, "image.pull", engine=pull.engine, kind="image", id=pull.reference, name=pull.reference
            ):
                await self._follow(pull, auth)
            pull.state = DONE
        except EngineError as error:
            pull.state, pull.message = FAILED, explain(error)
        except asyncio.CancelledError:
            pull.state, pull.message = CANCELLED, _("Cancelled.")
            if not pull.cancelled:
                raise
        finally:
            if pull.state == RUNNING:  # a bug; nobody may wait for ever
                pull.state, pull.message = FAILED, _("The pull failed; the log of the web process says how.")
            self._tell(pull)

    async def _follow(self, pull: Pull, auth: dict[str, str] | None) -> None:
        async with client_of(pull.engine).image_pull(pull.reference, auth=auth) as progress:
            async for news in progress:
                pull.take(news)
                self._tell(pull)

    def _tell(self, pull: Pull) -> None:
        for watcher in tuple(self._watchers):
            watcher(pull)


_pulls = Pulls()


def pulls() -> Pulls:
    """The pulls of this process."""
    return _pulls


def clean_reference(text: str) -> str | None:
    """A reference worth asking a registry for, None when it cannot be one. The engine judges the rest."""
    text = text.strip()
    if len(text) > REFERENCE_MAX_CHARS or READABLE.fullmatch(text) is None:
        return None
    return text

"""Actions that run to their end although the one who asked has gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from runtime.api.errors import EngineError

T = TypeVar("T")

log = logging.getLogger("webdock.containers")


class Actions:
    """Owns the tasks of one room; `close` waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, action: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start an action nobody has to wait for; a failure nobody sees is logged."""
        task = asyncio.create_task(action, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def run(self, action: Coroutine[Any, Any, T], name: str) -> T:
        """Wait for an action; cancelling only stops the waiting."""
        return await asyncio.shield(self.begin(action, name))

    async def close(self, timeout_s: float) -> None:
        """Wait for what is under way; what takes longer is cancelled."""
        pending = {task for task in self._tasks if task is not asyncio.current_task()}
        if not pending:
            return
        _, late = await asyncio.wait(pending, timeout=timeout_s)
        for task in late:
            log.warning("%s did not end within %g s and is cancelled", task.get_name(), timeout_s)
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=timeout_s)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, EngineError):
            log.debug("%s: %s", task.get_name(), error)
        else:
            log.error("%s failed", task.get_name(), exc_info=error)

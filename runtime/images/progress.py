"""Progress as Docker's clients render it, and the queue between those who work and the one who reads.

Pure but for the queue. A reader that is slow sees fewer steps of a bar and every change of state.

Spec: Docker API 1.47, ImageCreate: a stream of JSON messages {status, id, progressDetail, progress}.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from runtime.api.errors import EngineError
from runtime.images.threads import ended

Message = dict[str, Any]

BAR_SIGNS = 50
BAR_S = 0.1  # between two steps of one bar


def short(digest: str) -> str:
    """The twelve digits by which people know a layer or an image."""
    return digest.partition(":")[2][:12] or digest[:12]


def status(text: str, id: str | None = None) -> Message:
    """A change of state; with an id it belongs to a line of its own."""
    if id is None:
        return {"status": text}
    return {"status": text, "progressDetail": {}, "id": id}


def bar(text: str, id: str, current: int, total: int) -> Message:
    """A step of a bar, with the drawing that old clients print as it is."""
    return {
        "status": text,
        "progressDetail": {"current": current, "total": total},
        "progress": drawing(current, total),
        "id": id,
    }


def failure(error: EngineError) -> Message:
    """How a stream that already began tells of its end."""
    return {"errorDetail": {"message": error.message}, "error": error.message}


def drawing(current: int, total: int) -> str:
    """ "[====>      ]  12.3kB/45.6kB", as Docker draws it."""
    if total <= 0 or current > total:
        return human_size(current)
    filled = min(int(current * 100 / total) // 2, BAR_SIGNS)
    return f"[{'=' * filled}>{' ' * (BAR_SIGNS - filled)}] {human_size(current):>8}/{human_size(total)}"


def human_size(count: int) -> str:
    """Four significant digits, decimal units: 48.77kB."""
    size = float(count)
    units = iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 1000.0 and (larger := next(units, "")):
        size /= 1000.0
        unit = larger
    return f"{size:.4g}{unit}"


class Progress:
    """Messages of one operation on their way to one reader; all calls come from the event loop."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, Any], Message] = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._ended = False
        self._error: EngineError | None = None

    def put(self, message: Message) -> None:
        """Queue a message; a step of a bar replaces an older one that was not read yet."""
        id = message.get("id")
        self._count += 1
        if message.get("progressDetail"):
            if ("bar", id) not in self._pending:
                self._pending["bar", id] = message
            else:
                self._pending["bar", id].update(message)
        else:
            self._pending.pop(("bar", id), None)
            self._pending["status", self._count] = message
        self._wake.set()

    def end(self, error: EngineError | None = None) -> None:
        self._ended = True
        self._error = error
        self._wake.set()

    async def messages(self) -> AsyncIterator[Message]:
        """Everything put, until the end. Raises: the error, if nothing was put before it."""
        begun = False
        while True:
            while self._pending:
                begun = True
                key = next(iter(self._pending))
                yield self._pending.pop(key)
            if self._ended:
                break
            self._wake.clear()
            await self._wake.wait()
        if self._error is not None:
            if not begun:
                raise self._error
            yield failure(self._error)


async def streamed(progress: Progress, work: Coroutine[Any, Any, None]) -> AsyncIterator[Message]:
    """Run ``work`` while its messages are read; closing the generator cancels it and waits for its end.

    Raises: what ``work`` raises before its first message; later failures are messages.
    """

    async def run() -> None:
        try:
            await work
        except EngineError as error:
            progress.end(error)
        except ExceptionGroup as group:
            progress.end(first_error(group))
        else:
            progress.end()

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: progress.end(progress._error))
    try:
        async for message in progress.messages():
            yield message
        await task
    finally:
        await ended(task)


def first_error(group: BaseExceptionGroup[BaseException]) -> EngineError:
    """The engine error of a failed task group. Raises: the group, when there is none in it."""
    for error in group.exceptions:
        if isinstance(error, EngineError):
            return error
        if isinstance(error, BaseExceptionGroup):
            return first_error(error)
    raise group

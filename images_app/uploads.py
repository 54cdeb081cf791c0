"""/ws/images/load/: an image archive from a browser to the engine, piece by piece.

A request's body would be taken in whole before anybody looks at it; over this socket never more than a window
is on its way. The browser sends binary frames while less than WINDOW_BYTES are uncredited, then
{"type": "end"}; the answer is {"type": "done", "ok", "message"}.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from images_app.pulls import clean_reference
from images_app.pushes import brought
from runtime.api.errors import EngineError
from webdock.engines.consumers import CLOSE_SLOW, CLOSE_STATE, Closed, SocketConsumer, whole
from webdock.engines.documents import storable_text
from webdock.engines.models import current_engine
from webdock.engines.wording import explain
from webdock.jobs.models import Job
from webdock.jobs.running import TooMany, tracked

WINDOW_BYTES = 1 << 20  # on their way from the browser to the engine
UPLOAD_MAX_BYTES = 1 << 50  # the engine bounds what it takes in; this bounds the number
NAME_MAX_CHARS = 200
IDLE_S = 120.0  # between two pieces


class LoadConsumer(SocketConsumer):
    """One upload: ?name=app.tar&size=123, with &reference=team/app:1 a root file system to import."""

    right = "pull"

    def prepare(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._news = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        reference = self.query.get("reference")
        if reference is not None and clean_reference(reference) is None:
            raise Closed(CLOSE_STATE, _("reference: expected a name such as team/app:1"))
        engine = await sync_to_async(current_engine)()
        name = storable_text(self.query.get("name", ""))[:NAME_MAX_CHARS] or _("an archive")
        message = ""
        try:
            async with tracked(
                self.actor,
                "load" if reference is None else "import",
                engine=engine.alias,
                subject=name,
                name=reference or name,
                cancels="pull",
            ) as job:
                job.progress.total = whole(self.query.get("size"), 0, UPLOAD_MAX_BYTES, 0)
                job.tell()
                await self.send_json({"type": "ready", "job": job.id, "window": WINDOW_BYTES})

                async def body() -> AsyncIterator[bytes]:
                    async for piece in self._arriving():
                        job.progress.current += len(piece)
                        job.tell()
                        yield piece

                job.message = await brought(job, engine.alias, body(), reference)
            ok, message = job.state == Job.State.DONE, job.message
        except TooMany as error:
            ok, message = False, str(error)
        except EngineError as error:
            ok, message = False, explain(error)
        await self.send_json({"type": "done", "ok": ok, "message": message})
        raise Closed()

    async def _arriving(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                yield piece
                self._held -= len(piece)
                await self.send_json({"type": "credit", "bytes": len(piece)})
            if self._ended:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._news.wait()
            except TimeoutError:
                raise Closed(CLOSE_STATE, _("Nothing came for too long.")) from None

    async def receive_bytes(self, data: bytes) -> None:
        self._held += len(data)
        if self._held > WINDOW_BYTES:
            raise Closed(CLOSE_SLOW, "more than the window was sent")
        self._pieces.append(data)
        self._news.set()

    async def receive_text(self, message: dict[str, Any]) -> None:
        if message.get("type") == "end":
            self._ended = True
            self._news.set()

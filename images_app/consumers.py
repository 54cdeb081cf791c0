"""Live rows of images and the progress of pulls. No database writes."""

from __future__ import annotations

import asyncio

from django.http import QueryDict
from django.template.loader import get_template

from images_app import listing
from images_app.projection import KIND
from images_app.pulls import KIND as PULL
from images_app.pulls import as_pull
from webdock.engines.consumers import SocketConsumer
from webdock.engines.models import last_revision
from webdock.engines.rows import RowsConsumer, Snapshot
from webdock.jobs.running import LiveJob, board

PROGRESS_S = 0.2  # at most five times a second


class ImageRowsConsumer(RowsConsumer):
    """/ws/rows/images/"""

    row_kind = KIND
    hint_kinds = ("image", "container", "engine")  # containers: the number that use an image

    def read(
        self, query: QueryDict, cursor: int, shown: list[str] | None, rights: frozenset[str]
    ) -> Snapshot:
        now = last_revision(KIND)
        page, _filters = listing.page_of(query)
        rows = list(page.object_list)
        known = set(shown) if shown is not None else None
        used = {row.image_id: row.containers_count for row in rows}
        before: dict[str, int] = getattr(self, "_used", used)
        self._used = used
        newer = [
            row
            for row in rows
            if row.revision > cursor
            or (known is not None and row.image_id not in known)
            or before.get(row.image_id) != used[row.image_id]
        ]
        template = get_template("images/_row.html")
        return Snapshot(
            cursor=now,
            order=[row.image_id for row in rows],
            counts=listing.counts(),
            rows=[
                {"id": row.image_id, "html": template.render({"image": row, "rights": rights})}
                for row in newer
            ],
        )


class PullsConsumer(SocketConsumer):
    """/ws/pulls/: every pull once, then those that change."""

    right = "view"

    async def run(self) -> None:
        changed: dict[str, LiveJob] = {}
        wake = asyncio.Event()

        def note(job: LiveJob) -> None:
            if job.kind == PULL:
                changed[job.id] = job
                wake.set()

        stop = board().watch(note)
        try:
            known = [as_pull(one) for one in board().settled() if one.kind == PULL]
            await self.send_json({"type": "pulls", "pulls": known})
            while True:
                await wake.wait()
                wake.clear()
                for id in list(changed):
                    await self.send_json({"type": "pull", **as_pull(changed.pop(id))})
                await asyncio.sleep(PROGRESS_S)
        finally:
            stop()

"""Recreations as rows: asked for once, carried on as a job by whichever process is there.

Owns who works on a row (a claim with a heartbeat). The steps themselves are ``recreate.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import uuid
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import IntegrityError
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from containers_app.models import Recreation
from containers_app.projection import ContainerProjection
from containers_app.recreate import STEPS, Recreate
from runtime.api.errors import Conflict, EngineError, Internal
from webdock.engines.audit import Actor
from webdock.engines.clients import client as client_of
from webdock.engines.documents import storable
from webdock.engines.models import Engine
from webdock.jobs.running import LiveJob, TooMany, start
from webdock.people.standing import standing
from webdock.people.viewer import Viewer, current, look_as

HEARTBEAT_S = 5
HELD_FOR = timedelta(seconds=20)  # without a heartbeat its holder is gone
LOOK_EVERY_S = 5.0
KEPT_FOR = timedelta(days=30)  # finished ones

STEP_WORDS = {
    "renamed": _lazy("The old container is renamed and kept"),
    "created": _lazy("The new container is made"),
    "connected": _lazy("Its networks are connected"),
    "stopped": _lazy("The old container is stopped"),
    "started": _lazy("The new container is started"),
    "up": _lazy("It is up, and healthy when it has a check"),
    "removed": _lazy("The old container is removed; its volumes stay"),
}
_process = uuid.uuid4()


async def begin(actor: Actor, engine: Engine, *, id: uuid.UUID, **fields: Any) -> Recreation:
    """Write the recreation down and begin a job for it; asked for twice, it is the first one that counts.

    Raises: Conflict when this container is being recreated already; TooMany.
    """
    existing = await Recreation.objects.filter(pk=id).afirst()
    if existing is not None:
        return existing
    try:
        row = await Recreation.objects.acreate(
            id=id,
            engine=engine,
            user_id=actor.user_id,
            username=actor.username,
            address=actor.address,
            holder=_process,
            held_at=timezone.now(),
            **storable(fields),
        )
    except IntegrityError:
        existing = await Recreation.objects.filter(pk=id).afirst()
        if existing is not None:
            return existing
        raise Conflict(_("It is being recreated already.")) from None
    row.engine = engine
    try:
        _begin_job(row)
    except TooMany:
        await row.adelete()
        raise
    return row


def _begin_job(row: Recreation) -> LiveJob:
    """A job that works on a row this process holds. Raises: TooMany."""

    async def work(job: LiveJob) -> str:
        return await carry(row, job)

    return start(
        Actor(row.user_id, row.username, row.address),
        "recreate",
        work,
        subject=row.old_id,
        name=row.name,
        engine=row.engine.alias,
        object_kind="container",
        url=reverse("recreation", args=[row.pk]),
        cancels="",  # half of it would be worse than either end
        detail=", ".join(str(change["label"]) for change in row.changes),
    )


async def carry(row: Recreation, job: LiveJob) -> str:
    """Work on a row until it has an outcome; the words for it.

    Raises: Internal when it was undone; EngineUnreachable, Unavailable: it is taken up again later.
    """
    client = client_of(row.engine.alias)
    if (now := current()) is not None:
        look_as(Viewer(now.user, succeeds=row.old_id))  # in the job's own context

    def told() -> None:
        job.progress.current, job.progress.total = STEPS.index(row.step), len(STEPS) - 1
        job.progress.message = str(STEP_WORDS.get(row.step, ""))
        job.tell()

    row.told = told
    beat = asyncio.ensure_future(_heartbeat(row.pk))
    try:
        await Recreate(client, row).run()
        await _finish(row)
    finally:
        beat.cancel()
        if not row.outcome:
            await Recreation.objects.filter(pk=row.pk).aupdate(held_at=None)
    with contextlib.suppress(EngineError):
        await ContainerProjection().look(row.engine, client, [id for id in (row.old_id, row.new_id) if id])
    if row.outcome != "done":
        raise Internal(row.failure or row.warning)
    return _("%(name)s was recreated.") % {"name": row.name}


async def _finish(row: Recreation) -> None:
    row.body, row.networks, row.finished_at = {}, [], timezone.now()
    await row.keep("body", "networks", "finished_at")


async def _heartbeat(id: uuid.UUID) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await Recreation.objects.filter(pk=id, holder=_process).aupdate(held_at=timezone.now())


def _unheld() -> Q:
    """Rows nobody works on. With Redis other web processes may run beside this one; without, none does."""
    silent = Q(held_at=None) | Q(held_at__lt=timezone.now() - HELD_FOR)
    return silent if settings.REDIS_URL else silent | ~Q(holder=_process)


async def resume() -> None:
    """Go on, now and then, with rows whose process ended or whose engine was away; until cancelled."""
    while True:
        await resume_once()
        await asyncio.sleep(LOOK_EVERY_S)


async def resume_once() -> list[LiveJob]:
    """Take over every unfinished row nobody holds; the jobs that work on them."""
    jobs = []
    async for row in Recreation.objects.filter(_unheld(), outcome="").select_related("engine", "user"):
        mine = Recreation.objects.filter(_unheld(), pk=row.pk, outcome="")
        if not await mine.aupdate(holder=_process, held_at=timezone.now()):
            continue
        if row.username and row.user is None and not row.failure:
            row.failure = str(_("The account of who asked for it is gone."))  # nobody's rights: it goes back
            await row.keep("failure")
        if row.user is not None:
            await sync_to_async(standing)(row.user)  # kept on the account for whoever asks in the loop
        context = contextvars.copy_context()
        context.run(look_as, Viewer(row.user) if row.user is not None else None)
        try:
            jobs.append(context.run(_begin_job, row))
        except TooMany:
            await Recreation.objects.filter(pk=row.pk).aupdate(held_at=None)
    await Recreation.objects.filter(finished_at__lt=timezone.now() - KEPT_FOR).adelete()
    return jobs

"""Rows of jobs: written, read for people, mended after a restart, forgotten in time. From threads."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from webdock.engines.documents import storable_text
from webdock.engines.threads import in_thread
from webdock.jobs import words
from webdock.jobs.models import Job
from webdock.jobs.sight import seen_rows
from webdock.people.models import Belonging
from webdock.people.standing import Standing

if TYPE_CHECKING:
    from webdock.jobs.running import LiveJob

PROCESS = uuid.uuid4().hex  # this web process
KEPT_DAYS = 30
KEPT_ROWS = 1000
RECENT = 20  # the panel shows
SILENT = timedelta(seconds=60)  # of another web process: it is gone


@in_thread
def write(job: LiveJob) -> None:
    """Write or complete the row of a job of this process."""
    current, total = job.progress.sums()
    Job.objects.update_or_create(
        id=job.id,
        defaults={
            "kind": job.kind,
            "engine": job.engine,
            "subject": storable_text(job.subject)[:512],
            "name": storable_text(job.name)[:512],
            "url": job.url[:600],
            "username": storable_text(job.username)[:150],
            "sees": job.sees,
            "cancels": job.cancels,
            "object_kind": job.object_kind,
            "owner_id": job.owner_id,
            "team_id": job.team_id,
            "state": job.state,
            "message": job.message or storable_text(job.progress.message),
            "current": current,
            "total": total,
            "started_at": job.started,
            "ended_at": job.ended,
            "process": PROCESS,
            "seen_at": timezone.now(),
        },
    )


@in_thread
def settle(job: LiveJob) -> None:
    """Note whose the thing is that the job works on, also for the time after it is removed."""
    row = Belonging.objects.filter(kind=job.object_kind, object_id=job.subject).first()
    if row is None:
        return
    job.owner_id, job.team_id = row.owner_id, row.team_id
    if row.owner_id is None and row.team_id is None:  # administrators alone see it
        job.sees, job.cancels = "admin", job.cancels and "admin"


def visible(who: Standing) -> QuerySet[Job]:
    """The rows this person may see, newest first."""
    return Job.objects.filter(seen_rows(who)).order_by("-started_at", "pk")


@in_thread
def recent(who: Standing, others_only: bool = False) -> list[dict[str, Any]]:
    """The newest rows, and every one that runs, as pages take them."""
    rows = visible(who)
    if others_only:
        rows = rows.exclude(process=PROCESS)
    newest = {row.pk: row for row in rows[:RECENT]}
    newest |= {row.pk: row for row in rows.filter(state=Job.State.RUNNING)[:RECENT]}
    return [as_dict(row) for row in newest.values()]


def as_dict(row: Job) -> dict[str, Any]:
    """A row as ``LiveJob.as_dict`` says it, without parts."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "kind_word": words.kind_word(row.kind),
        "engine": row.engine,
        "subject": row.subject,
        "name": row.name or row.subject,
        "url": row.url,
        "by": row.username,
        "started": row.started_at.isoformat(),
        "ended": row.ended_at.isoformat() if row.ended_at else "",
        "state": row.state,
        "message": row.message,
        "current": row.current,
        "total": row.total,
        "parts": [],
        "cancels": row.cancels,
    }


@in_thread
def fail_lost() -> int:
    """Jobs of web processes that are gone have failed; how many."""
    lost = Job.objects.filter(state=Job.State.RUNNING).exclude(process=PROCESS)
    if settings.REDIS_URL:  # others may run beside this one
        lost = lost.filter(seen_at__lt=timezone.now() - SILENT)
    now = timezone.now()
    return lost.update(state=Job.State.FAILED, message=str(words.RESTARTED), ended_at=now)


@in_thread
def forget_old() -> None:
    """Keep the newest KEPT_ROWS of the last KEPT_DAYS; what runs is kept anyway."""
    over = Job.objects.exclude(state=Job.State.RUNNING)
    old = Q(started_at__lt=timezone.now() - timedelta(days=KEPT_DAYS))
    last = over.order_by("-started_at").values_list("started_at", flat=True)[KEPT_ROWS : KEPT_ROWS + 1]
    if newest := last.first():
        old |= Q(started_at__lte=newest)
    over.filter(old).delete()


@in_thread
def asked_to_cancel() -> list[str]:
    """Jobs of this process that somebody cancelled through another one."""
    rows = Job.objects.filter(process=PROCESS, state=Job.State.RUNNING, cancel_asked=True)
    return list(rows.values_list("pk", flat=True))

"""The page of all jobs, and the cancel button. Guard, ask, answer."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import actor_of, write
from webdock.engines.pages import page
from webdock.jobs import rows, words
from webdock.jobs.models import Job
from webdock.jobs.running import board
from webdock.jobs.sight import may_cancel, sees
from webdock.people.rights import requires
from webdock.people.standing import standing

PAGE_ROWS = 50


@requires("view")
@require_GET
async def job_list(request: HttpRequest) -> HttpResponse:
    """Every job that is remembered, newest first."""
    user = await request.auser()

    def read() -> dict[str, Any]:
        found = rows.visible(standing(user))
        kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
        if kind in words.KINDS:
            found = found.filter(kind=kind)
        if state in Job.State.values:
            found = found.filter(state=state)
        shown = Paginator(found, PAGE_ROWS).get_page(request.GET.get("page"))
        shown.object_list = list(shown.object_list)
        for row in shown.object_list:
            row.kind_word = words.kind_word(row.kind)
        return {
            "page": shown,
            "rows": shown.object_list,
            "kinds": words.KINDS,
            "states": Job.State.choices,
            "kind": kind,
            "state": state,
        }

    return await page(request, "jobs/list.html", await sync_to_async(read)())


@requires("view")  # which right the job itself asks for is looked at below
@require_POST
async def job_cancel(request: HttpRequest, job_id: str) -> JsonResponse:
    """End a running job, also one that another web process runs."""
    who = await sync_to_async(standing)(await request.auser())
    live = board().get(job_id)
    live = live if live is not None and live.settled else None
    row = await Job.objects.filter(pk=job_id).afirst()
    job = live or row
    if job is None or not sees(who, job):
        return _said(False, _("No such job."), 404)
    if not job.cancels:
        return _said(False, _("This job cannot be cancelled."), 409)
    if not may_cancel(who, job):
        return _said(False, _("You do not have the right to do this."), 403)
    if not await _cancelled(job_id):
        return _said(False, _("This job is over already."), 409)
    await sync_to_async(write)(
        await actor_of(request),
        f"{job.kind}.cancel",
        engine=job.engine,
        kind="job",
        id=job.subject,
        name=job.name or job.subject,
    )
    return _said(True, _("The job is being cancelled."), 200)


def _said(ok: bool, message: str, status: int) -> JsonResponse:
    return JsonResponse({"ok": ok, "message": message}, status=status)


async def _cancelled(id: str) -> bool:
    if board().get(id) is not None:
        return board().cancel(id)
    running = Job.objects.filter(pk=id, state=Job.State.RUNNING)
    return bool(await running.aupdate(cancel_asked=True))  # its own process looks every few seconds

"""Long jobs: states, who sees and cancels them, what outlives the process, the page and the websocket."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from runtime.api.errors import Conflict
from tests.unit.web.conftest import Connect, eventually
from webdock.engines.audit import Actor
from webdock.engines.models import AuditEntry
from webdock.jobs import rows, running
from webdock.jobs.models import Job
from webdock.jobs.running import LiveJob, TooMany, board, start, tracked
from webdock.jobs.watch import beat
from webdock.people.models import Belonging

ANNA = Actor(None, "anna", "192.0.2.1")
JSON = {"accept": "application/json"}


async def job_heard(socket: WebsocketCommunicator, **wanted: Any) -> dict[str, Any]:
    """The next news of a job with these values."""
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive_json_from(timeout=20)
            if message["type"] == "job" and all(message[key] == value for key, value in wanted.items()):
                return dict(message)


def held(outcome: str = "It is done.") -> tuple[asyncio.Event, running.Work]:
    """Work that waits for the event."""
    event = asyncio.Event()

    async def work(job: LiveJob) -> str:
        job.progress.part("a", "Pushing", 5, 10)
        job.tell()
        await event.wait()
        return outcome

    return event, work


async def ended(job: LiveJob) -> Job:
    """The row once the job is over."""
    assert job.task is not None
    await asyncio.wait([job.task], timeout=60)
    return await Job.objects.aget(pk=job.id)


async def test_a_job_runs_ends_and_leaves_a_row_and_an_audit_row(transactional_db: None) -> None:
    event, work = held()
    job = start(ANNA, "recreate", work, engine="local", object_kind="container", subject="c1", name="web")
    await eventually(lambda: Job.objects.filter(pk=job.id, state="running").aexists())
    event.set()
    row = await ended(job)
    assert (row.state, row.message, row.username, row.name) == ("done", "It is done.", "anna", "web")
    assert (row.current, row.total) == (5, 10)
    assert row.ended_at is not None
    entry = await AuditEntry.objects.aget()
    assert (entry.action, entry.result, entry.object_name) == ("container.recreate", "ok", "web")


async def test_a_job_that_fails_says_why_in_plain_words(transactional_db: None) -> None:
    async def work(job: LiveJob) -> str:
        raise Conflict("the name web is taken")

    row = await ended(start(ANNA, "recreate", work, subject="c1"))
    assert (row.state, row.message) == ("failed", "The name web is taken.")


async def test_a_bug_fails_the_job_and_is_logged(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(job: LiveJob) -> str:
        raise ZeroDivisionError

    row = await ended(start(ANNA, "prune", work, subject="x"))
    assert row.state == "failed"
    assert "log of the web process" in row.message
    assert "ZeroDivisionError" in caplog.text


async def test_the_same_job_is_joined_and_too_many_are_refused(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "RUNNING_MAX", 2)
    event, work = held()
    one = start(ANNA, "push", work, engine="local", subject="a")
    assert start(ANNA, "push", work, engine="local", subject="a") is one
    other = start(ANNA, "save", work, engine="local", subject="a")
    assert other is not one
    with pytest.raises(TooMany):
        start(ANNA, "push", work, engine="local", subject="b")
    event.set()
    await ended(one)
    await ended(other)


async def test_what_takes_only_ones_own_is_not_joined_by_others(transactional_db: None) -> None:
    event, work = held()
    bert = Actor(None, "bert", "127.0.0.1")
    hers, his = (start(who, "prune", work, subject="x", joined=False) for who in (ANNA, bert))
    assert his is not hers
    assert start(bert, "prune", work, subject="x", joined=False) is his
    event.set()
    await ended(hers)
    await ended(his)


async def test_finished_jobs_leave_memory_in_time(transactional_db: None) -> None:
    for number in range(30):
        board().add(LiveJob("pull", "local", f"x:{number}", "", "", state="done"))
    assert len(board().all()) == running.KEPT


async def test_cancelling_asks_for_the_jobs_own_right(
    as_operator: AsyncClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    _event, work = held()
    job = start(ANNA, "push", work, engine="local", subject="a")
    stays = start(ANNA, "recreate", work, engine="local", subject="a", cancels="")
    path = f"/jobs/{job.id}/cancel/"
    assert (await as_stranger.post(path, headers=JSON)).status_code == 401
    assert (await as_viewer.post(path, headers=JSON)).status_code == 403
    assert (await as_operator.get(path)).status_code == 405
    assert (await as_operator.post(f"/jobs/{'0' * 32}/cancel/", headers=JSON)).status_code == 404
    assert (await as_operator.post(f"/jobs/{stays.id}/cancel/", headers=JSON)).status_code == 409
    assert (await as_operator.post(path, headers=JSON)).json()["ok"] is True
    assert (await ended(job)).state == "cancelled"
    assert (await as_operator.post(path, headers=JSON)).status_code == 409
    assert await AuditEntry.objects.filter(action="push.cancel", username="operator").aexists()
    assert stays.state == "running"


async def test_what_ran_at_a_restart_has_failed(transactional_db: None) -> None:
    _event, work = held()
    job = start(ANNA, "push", work, subject="a")
    await eventually(lambda: Job.objects.filter(pk=job.id).aexists())
    await board().close()
    row = await Job.objects.aget(pk=job.id)
    assert (row.state, row.message) == ("failed", "The web process was restarted.")
    # Killed instead of closed: the next process finds the row still running.
    now = timezone.now()
    lost = await Job.objects.acreate(id="1" * 32, kind="pull", started_at=now, seen_at=now, process="gone")
    own = await Job.objects.acreate(
        id="2" * 32, kind="pull", started_at=now, seen_at=now, process=rows.PROCESS
    )
    await beat()
    await lost.arefresh_from_db()
    await own.arefresh_from_db()
    assert (lost.state, lost.message) == ("failed", "The web process was restarted.")
    assert own.state == "running"


async def test_with_several_web_processes_only_silent_ones_are_lost(
    transactional_db: None, settings: Any
) -> None:
    settings.REDIS_URL = "redis://nowhere"
    now = timezone.now()
    alive = await Job.objects.acreate(id="1" * 32, kind="pull", started_at=now, seen_at=now, process="other")
    silent = await Job.objects.acreate(
        id="2" * 32, kind="pull", started_at=now, seen_at=now - timedelta(minutes=5), process="gone"
    )
    _event, work = held()
    job = start(ANNA, "push", work, subject="a")
    await eventually(lambda: Job.objects.filter(pk=job.id).aexists())
    await Job.objects.filter(pk=job.id).aupdate(cancel_asked=True)
    await beat()
    assert (await ended(job)).state == "cancelled"
    await alive.arefresh_from_db()
    await silent.arefresh_from_db()
    assert (alive.state, silent.state) == ("running", "failed")


async def test_a_cancel_reaches_the_process_that_runs_the_job(as_operator: AsyncClient) -> None:
    now = timezone.now()
    other = await Job.objects.acreate(id="1" * 32, kind="pull", started_at=now, seen_at=now, process="other")
    assert (await as_operator.post(f"/jobs/{other.pk}/cancel/", headers=JSON)).json()["ok"] is True
    await other.arefresh_from_db()
    assert other.cancel_asked is True


async def test_old_rows_are_forgotten(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    for number in range(6):
        at = now - timedelta(minutes=number)
        await Job.objects.acreate(
            id=f"{number:032}", kind="pull", state="done", started_at=at, seen_at=at, ended_at=at
        )
    ancient = now - timedelta(days=40)
    await Job.objects.acreate(id="a" * 32, kind="pull", state="done", started_at=ancient, seen_at=ancient)
    await Job.objects.acreate(id="b" * 32, kind="pull", state="running", started_at=ancient, seen_at=ancient)
    await rows.forget_old()
    assert await Job.objects.acount() == 7
    monkeypatch.setattr(rows, "KEPT_ROWS", 3)
    await rows.forget_old()
    assert await Job.objects.acount() == 4


async def test_a_tracked_job_is_its_askers_own_block(transactional_db: None) -> None:
    async with tracked(ANNA, "load", subject="x.tar") as job:
        job.message = "Two images."
    assert (await Job.objects.aget(pk=job.id)).message == "Two images."
    with pytest.raises(Conflict):
        async with tracked(ANNA, "load", subject="y.tar") as job:
            raise Conflict("no")
    assert job.state == "failed"
    async with tracked(ANNA, "load", subject="z.tar") as job:
        assert board().cancel(job.id)
        await asyncio.sleep(60)
    assert job.state == "cancelled"
    await asyncio.sleep(0)  # the task itself was not cancelled


async def test_the_socket_tells_of_jobs_of_everybody(as_viewer: AsyncClient, connect: Connect) -> None:
    event, work = held("Pushed.")
    await Belonging.objects.acreate(kind="container", object_id="c2")  # administrators alone
    socket = await connect(as_viewer, "/ws/jobs/")
    assert await socket.receive_json_from(timeout=20) == {"type": "jobs", "jobs": []}
    job = start(ANNA, "push", work, subject="shop/app:1")
    secret = start(ANNA, "push", work, subject="hidden", sees="admin")
    shown = await job_heard(socket, id=job.id, total=10)
    assert (shown["state"], shown["current"], shown["by"]) == ("running", 5, "anna")
    assert shown["parts"] == [{"id": "a", "status": "Pushing", "current": 5, "total": 10}]
    hidden = start(ANNA, "recreate", work, object_kind="container", subject="c2")
    await eventually(lambda: Job.objects.filter(pk=hidden.id, sees="admin").aexists())
    event.set()
    assert (await job_heard(socket, id=job.id, state="done"))["message"] == "Pushed."
    again = await connect(as_viewer, "/ws/jobs/")
    known = (await again.receive_json_from(timeout=20))["jobs"]
    assert [one["id"] for one in known] == [job.id]
    await ended(secret)
    await ended(hidden)


async def test_a_job_on_somebodys_container_is_seen_by_its_owner(
    as_viewer: AsyncClient, viewer: User, as_operator: AsyncClient, as_admin: AsyncClient, operator: User
) -> None:
    _event, work = held()
    await Belonging.objects.acreate(kind="container", object_id="c1", owner=operator)
    job = start(ANNA, "recreate", work, object_kind="container", subject="c1", name="mine")
    await eventually(lambda: Job.objects.filter(pk=job.id).aexists())
    path = f"/jobs/{job.id}/cancel/"
    assert (await as_viewer.post(path)).status_code == 404
    assert b"mine" not in (await as_viewer.get("/jobs/")).content
    assert b"mine" in (await as_admin.get("/jobs/")).content
    assert b"mine" in (await as_operator.get("/jobs/")).content
    assert (await as_operator.post(path)).status_code == 200
    await ended(job)


async def test_the_page_lists_what_was(as_viewer: AsyncClient, as_stranger: AsyncClient) -> None:
    event, work = held("Pushed, all of it.")
    event.set()
    await ended(start(ANNA, "push", work, subject="shop/app:1"))
    await ended(start(ANNA, "push", work, subject="hidden/app:1", sees="admin"))
    text = (await as_viewer.get("/jobs/")).content.decode()
    assert "shop/app:1" in text
    assert "Pushed, all of it." in text
    assert "hidden/app" not in text
    assert len((await as_viewer.get("/jobs/?kind=push&state=done")).context["rows"]) == 1
    assert len((await as_viewer.get("/jobs/?kind=pull")).context["rows"]) == 0
    assert (await as_viewer.get("/jobs/?kind=;x&state=;x&page=z")).status_code == 200
    assert (await as_viewer.post("/jobs/")).status_code == 405
    assert (await as_stranger.get("/jobs/")).status_code == 302

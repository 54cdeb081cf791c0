"""Pages of recordings: which there are, what they say, playing one, and making one of an open terminal.

People see those of their own terminals; administrators see everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from containers_app import recording
from containers_app.models import Recording
from containers_app.recorder import cast_file, remove_files, text_file
from containers_app.terminal_sharing import own_session
from containers_app.terminal_stream import hub_of
from runtime.api.errors import EngineError
from webdock.engines.audit import actor_of, audited
from webdock.engines.consumers import Closed
from webdock.engines.middleware import content_security_policy
from webdock.engines.pages import answer, page
from webdock.engines.wording import explain
from webdock.people.rights import requires, rights_of
from webdock.people.standing import Person

ROWS_MAX = 200
PIECE_BYTES = 64 << 10
WORDS_MAX_CHARS = 200
SEARCHED_MAX_BYTES = 512 << 20  # of text in one search
SNIPPET_CHARS = 60  # either side of what was found


@requires("terminal")
@require_POST
async def terminal_record(request: HttpRequest, session: UUID) -> HttpResponse:
    """Begin (on=on) or end the recording of a terminal of one's own."""
    found = await own_session(request, session)
    on = bool(request.POST.get("on"))
    back = reverse("recording-list")
    if settings.RECORD_TERMINALS != "asked":
        words = _("The settings decide here what is recorded.")
        return await answer(request, False, words, back, status=409)
    try:
        async with audited(
            await actor_of(request), "terminal.record", detail="on" if on else "off", **found.audit_object
        ):
            await recording.want(found, on)
            hub = hub_of(found)
            if on:
                await hub.connect()
                await recording.begin(hub)
            else:
                await recording.stop(hub)
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    except Closed as closed:
        return await answer(request, False, closed.reason, back, status=409)
    words = _("What this terminal shows is recorded from now on.") if on else _("The recording was ended.")
    return await answer(request, True, words, back)


@requires("terminal")
@require_GET
async def recording_list(request: HttpRequest) -> HttpResponse:
    """The recordings, newest first; with ``q`` those that say these words."""
    user = await request.auser()
    words = request.GET.get("q", "").strip()[:WORDS_MAX_CHARS]

    def read() -> list[dict[str, Any]]:
        rows = list(_visible(user)[:ROWS_MAX])
        if not words:
            return [{"recording": row} for row in rows]
        return _search(rows, words)

    context = {"rows": await sync_to_async(read)(), "words": words, "days": settings.RECORDING_DAYS}
    return await page(request, "recordings/list.html", context)


@requires("terminal")
@require_GET
async def recording_detail(request: HttpRequest, recording: UUID) -> HttpResponse:
    """One recording, to be played."""
    row = await _find(request, recording)
    async with audited(await actor_of(request), "recording.view", **row.audit_object):
        response = await page(request, "recordings/detail.html", {"recording": row})
    # The player's terminal is compiled code of this site; nothing else may be.
    policy = content_security_policy(request.csp_nonce)  # type: ignore[attr-defined]
    response.headers["Content-Security-Policy"] = policy.replace(
        "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
    )
    return response


@requires("terminal")
@require_GET
async def recording_cast(request: HttpRequest, recording: UUID) -> StreamingHttpResponse:
    """The file itself, asciicast v2."""
    row = await _find(request, recording)
    if not await asyncio.to_thread(cast_file(row.pk).is_file):
        raise Http404
    name = f"{row.container_name}-{row.started_at:%Y-%m-%d-%H%M}.cast"
    headers = {
        "Content-Type": "application/x-asciicast",
        "Content-Disposition": content_disposition_header("save" in request.GET, name),
    }
    return StreamingHttpResponse(_pieces(row.pk), headers=headers)


async def _pieces(id: UUID) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(cast_file(id).open, "rb")
    try:
        while data := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield data
    finally:
        file.close()


@requires("terminal")
@require_POST
async def recording_remove(request: HttpRequest, recording: UUID) -> HttpResponse:
    """Remove a recording that has ended."""
    row = await _find(request, recording)
    back = reverse("recording-list")
    if row.ended_at is None:
        return await answer(request, False, _("It is being made: end it first."), back, status=409)
    async with audited(await actor_of(request), "recording.remove", **row.audit_object):
        await sync_to_async(remove_files)(row.pk)
        await row.adelete()
    return await answer(request, True, _("The recording was removed."), back)


def _visible(user: Person) -> QuerySet[Recording]:
    """Asks the database: call it from a thread."""
    return (
        Recording.objects.all() if "admin" in rights_of(user) else Recording.objects.filter(user_id=user.pk)
    )


async def _find(request: HttpRequest, id: UUID) -> Recording:
    """Raises: Http404, also for somebody else's."""
    user = await request.auser()
    row = await sync_to_async(lambda: _visible(user).filter(pk=id).first())()
    if row is None:
        raise Http404
    return row


def _search(rows: list[Recording], words: str) -> list[dict[str, Any]]:
    """Those whose text, name, container or owner has the words, with the place where."""
    wanted, found, left = words.casefold(), [], SEARCHED_MAX_BYTES
    for row in rows:
        snippet = ""
        try:
            left -= text_file(row.pk).stat().st_size
            if left > 0:
                snippet = _snippet(row.pk, wanted)
        except OSError:
            pass  # it is being made, or its file is gone
        if snippet or any(
            wanted in name.casefold() for name in (row.title, row.container_name, row.username)
        ):
            found.append({"recording": row, "snippet": snippet})
    return found


def _snippet(id: UUID, wanted: str) -> str:
    with text_file(id).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            at = line.casefold().find(wanted)
            if at >= 0:
                return line[max(0, at - SNIPPET_CHARS) : at + len(wanted) + SNIPPET_CHARS].strip()
    return ""

"""Pages about terminals: which sessions are open, and what can be done with one from outside of it.

People see their own; administrators see everybody's and may end them, but take up or rename only their own.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from containers_app.models import Container, TerminalSession
from containers_app.terminal import TerminalConsumer, hang_up, note_end
from runtime.api.errors import Conflict, EngineError, NotFound, NotSupported
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.documents import storable_text
from webdock.engines.pages import answer, page
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires, rights_of

ROWS_MAX = 500
TITLE_MAX_CHARS = 120


@requires("shell")
@require_GET
async def terminal_list(request: HttpRequest) -> HttpResponse:
    """The sessions that are open, newest first."""
    user = await request.auser()

    def read() -> list[dict[str, Any]]:
        sessions = TerminalSession.objects.filter(ended_at=None).select_related("user", "engine")
        if "admin" not in rights_of(user):
            sessions = sessions.filter(user_id=user.pk)
        found = list(sessions[:ROWS_MAX])
        ids = {session.container_id for session in found}
        names = dict(
            Container.objects.filter(container_id__in=ids, removed_at=None).values_list(
                "container_id", "name"
            )
        )
        return [_row(session, names.get(session.container_id), user.pk) for session in found]

    return await page(request, "terminals/list.html", {"rows": await sync_to_async(read)()})


def _row(session: TerminalSession, name: str | None, user_id: int | None) -> dict[str, Any]:
    socket = TerminalConsumer.live.get(session.pk)
    rows, columns = (socket and socket.size) or (session.rows, session.columns)
    return {
        "session": session,
        "name": name,  # None when the container is gone
        "open": socket is not None,
        "rows": rows,
        "columns": columns,
        "own": session.user_id == user_id,
    }


@requires("shell")
@require_POST
async def terminal_rename(request: HttpRequest, session: UUID) -> HttpResponse:
    """Give a session of one's own another name."""
    found = await _find(request, session, own=True)
    title = " ".join(storable_text(request.POST.get("name", "")).split())[:TITLE_MAX_CHARS]
    back = reverse("terminal-list")
    if not title:
        return await answer(request, False, _("A terminal needs a name."), back, status=400)
    async with audited(await actor_of(request), "terminal.rename", detail=title, **_about(found)):
        await TerminalSession.objects.filter(pk=found.pk).aupdate(title=title)
    return await answer(request, True, _("The terminal is now called %(name)s.") % {"name": title}, back)


@requires("shell")
@require_POST
async def terminal_end(request: HttpRequest, session: UUID) -> HttpResponse:
    """End a session: the shell gets HUP, then KILL; a main process is only let go of."""
    found = await _find(request, session)
    try:
        await carried_out(_end(await actor_of(request), found), name="terminal end")
    except EngineError as error:
        return await answer(request, False, explain(error), reverse("terminal-list"), status=error.status)
    words = _("%(name)s was ended.") % {"name": found.title}
    return await answer(request, True, words, reverse("terminal-list"))


async def _end(actor: Actor, session: TerminalSession) -> None:
    async with audited(actor, "terminal.end", **_about(session)):
        socket = TerminalConsumer.live.get(session.pk)
        if socket is not None:
            socket.end()
        if session.exec_id:
            try:
                await hang_up(client_of(session.engine.alias), session)
            except (NotFound, Conflict):
                pass  # it has ended
            except NotSupported:
                if socket is None:
                    raise  # an open one tells its shell to go itself
        await note_end(session, None)


async def _find(request: HttpRequest, id: UUID, *, own: bool = False) -> TerminalSession:
    """An open session this person may act on.

    Raises: Http404, also for somebody else's.
    """
    user = await request.auser()
    sessions = TerminalSession.objects.select_related("engine").filter(pk=id, ended_at=None)
    if own or "admin" not in await sync_to_async(rights_of)(user):
        sessions = sessions.filter(user_id=user.pk)
    session = await sessions.afirst()
    if session is None:
        raise Http404
    return session


def _about(session: TerminalSession) -> dict[str, str]:
    """The object of an audit row."""
    return {
        "engine": session.engine.alias,
        "kind": "container",
        "id": session.container_id,
        "name": session.title,
    }

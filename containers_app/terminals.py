"""Pages about terminals: a container's tab, opening one, which are open, and what can be done from outside.

People see their own; administrators see everybody's and may end them, but take up or rename only their own.
"""

from __future__ import annotations

import shlex
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from containers_app.detail import find, rights_here, tab_context
from containers_app.models import Container, TerminalSession
from containers_app.runspec import parse_words
from containers_app.shells import NoShell, find_shells, offered
from containers_app.terminal import SIZE_MAX
from containers_app.terminal_hub import hubs
from containers_app.terminal_stream import end
from runtime.api.errors import Conflict, EngineError
from webdock.engines.audit import Actor, actor_of, audited, request_address
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import whole
from webdock.engines.documents import storable_text
from webdock.engines.models import Engine
from webdock.engines.pages import answer, page
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires, rights_of

ROWS_MAX = 500
TITLE_MAX_CHARS = 120
COMMAND_MAX_CHARS = 4096
SESSIONS_IN_MENU_MAX = 6  # the newest; all are in the list of terminals


@requires("terminal")
@require_GET
async def terminal_list(request: HttpRequest) -> HttpResponse:
    """The sessions that are open, newest first."""
    user = await request.auser()

    def read() -> list[dict[str, Any]]:
        sessions = TerminalSession.objects.filter(ended_at=None).select_related("user", "engine")
        if "admin" not in rights_of(user):
            sessions = sessions.filter(Q(user_id=user.pk) | Q(guests__user_id=user.pk)).distinct()
        found = list(sessions.prefetch_related("guests__user")[:ROWS_MAX])
        ids = {session.container_id for session in found}
        names = dict(
            Container.objects.filter(container_id__in=ids, removed_at=None).values_list(
                "container_id", "name"
            )
        )
        admin = "admin" in rights_of(user)
        return [_row(session, names.get(session.container_id), user.pk, admin) for session in found]

    return await page(request, "terminals/list.html", {"rows": await sync_to_async(read)()})


def _row(session: TerminalSession, name: str | None, user_id: int | None, admin: bool) -> dict[str, Any]:
    hub = hubs.get(session.pk)
    rows, columns = (hub and hub.size) or (session.rows, session.columns)
    return {
        "session": session,
        "name": name,  # None when the container is gone
        "open": hub is not None and bool(hub.viewers),
        "rows": rows,
        "columns": columns,
        "own": session.user_id == user_id,
        "ends": admin or session.user_id == user_id,
        "guests": list(session.guests.all()),
        "opens": session.user_id == user_id or any(g.user_id == user_id for g in session.guests.all()),
    }


@requires("terminal")
@require_POST
async def terminal_rename(request: HttpRequest, session: UUID) -> HttpResponse:
    """Give a session of one's own another name."""
    found = await _find(request, session, own=True)
    title = " ".join(storable_text(request.POST.get("name", "")).split())[:TITLE_MAX_CHARS]
    back = reverse("terminal-list")
    if not title:
        return await answer(request, False, _("A terminal needs a name."), back, status=400)
    async with audited(await actor_of(request), "terminal.rename", detail=title, **found.audit_object):
        await TerminalSession.objects.filter(pk=found.pk).aupdate(title=title)
    return await answer(request, True, _("The terminal is now called %(name)s.") % {"name": title}, back)


@requires("terminal")
@require_POST
async def terminal_end(request: HttpRequest, session: UUID) -> HttpResponse:
    """End a session: its processes get HUP, then KILL; a main process is only let go of."""
    found = await _find(request, session)
    try:
        await carried_out(_end(await actor_of(request), found), name="terminal end")
    except EngineError as error:
        return await answer(request, False, explain(error), reverse("terminal-list"), status=error.status)
    words = _("%(name)s was ended.") % {"name": found.title}
    return await answer(request, True, words, reverse("terminal-list"))


async def _end(actor: Actor, session: TerminalSession) -> None:
    async with audited(actor, "terminal.end", **session.audit_object):
        await end(hubs.get(session.pk), session)


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


@requires("terminal")
@require_GET
async def container_terminal(request: HttpRequest, container_id: str) -> HttpResponse:
    """The terminal tab, with the person's sessions that can be taken up again."""
    container = await find(container_id)
    user = await request.auser()
    mine = Q(user_id=user.pk) | Q(guests__user_id=user.pk)
    sessions = TerminalSession.objects.filter(mine, container_id=container_id, ended_at=None).distinct()
    context = await tab_context(container, "terminal")
    taken_up = [session async for session in sessions]
    context["sessions"] = taken_up[:SESSIONS_IN_MENU_MAX]
    inspect = {**(container.inspect or {}), "Id": container_id}
    context["shells"] = await offered(client_of(container.engine.alias), inspect)
    config = (container.inspect or {}).get("Config") or {}
    context["may_record"] = settings.RECORD_TERMINALS == "asked"
    context["directory"] = str(config.get("WorkingDir") or "/")
    asked = request.GET.get("session")
    context["taken_up"] = next((one for one in taken_up if str(one.pk) == asked), None)
    return await page(request, "containers/terminal.html", context)


@requires("terminal")
@require_POST
async def terminal_open(request: HttpRequest, container_id: str) -> JsonResponse:
    """Prepare a terminal: a shell found in the container, a command, or the main process (kind=attach)."""
    container = await find(container_id)
    kind = request.POST.get("kind", TerminalSession.Kind.SHELL)
    if kind not in TerminalSession.Kind.values:
        return JsonResponse({"ok": False, "message": _("kind: expected shell or attach")}, status=400)
    right = "control" if kind == TerminalSession.Kind.ATTACH else "shell"
    if right not in await rights_here(container):
        raise PermissionDenied
    try:
        command = parse_words(request.POST.get("command", "")[:COMMAND_MAX_CHARS])
    except ValueError as error:
        return JsonResponse({"ok": False, "message": _("command: %(why)s") % {"why": error}}, status=400)
    debug = bool(request.POST.get("debug")) and kind == TerminalSession.Kind.SHELL
    session = TerminalSession(
        engine=container.engine,
        container_id=container_id,
        user=await request.auser(),
        kind=kind,
        columns=whole(request.POST.get("cols"), 1, SIZE_MAX, 80),
        rows=whole(request.POST.get("rows"), 1, SIZE_MAX, 24),
        address=request_address(request),
    )
    try:
        shells = await carried_out(
            _open(await actor_of(request), container, session, command, debug), name="terminal"
        )
    except NoShell as error:
        return JsonResponse(
            {
                "ok": False,
                "message": error.message,
                "programs": list(error.programs),
                "debug": container.engine.kind == Engine.Kind.NATIVE,
            },
            status=409,
        )
    except EngineError as error:
        return JsonResponse({"ok": False, "message": explain(error)}, status=max(error.status, 400))
    return JsonResponse(
        {
            "ok": True,
            "session": str(session.pk),
            "websocket": f"/ws/terminal/{session.pk}/",
            "title": session.title,
            "shells": shells,
        }
    )


async def _open(
    actor: Actor, container: Container, session: TerminalSession, command: list[str], debug: bool
) -> list[str]:
    """Make the exec, or check that there is something to attach to, and save the session; the shells known.

    Raises: NoShell, EngineError.
    """
    client = client_of(container.engine.alias)
    attach = session.kind == TerminalSession.Kind.ATTACH
    async with audited(
        actor,
        "container.attach" if attach else "container.shell",
        **container.audit_object,
        detail="debug shell" if debug else shlex.join(command),
    ):
        inspect = await client.container_inspect(container.container_id)
        state = inspect.get("State") or {}
        if not state.get("Running"):
            raise Conflict(_("%(name)s is not running: start it first") % {"name": container.name})
        if state.get("Paused"):
            raise Conflict(_("%(name)s is paused: continue it first") % {"name": container.name})
        if attach:
            session.title = str(inspect.get("Path") or container.name)[:255]
            session.tty = bool((inspect.get("Config") or {}).get("Tty"))
        else:
            words = [] if debug else command or (await find_shells(client, inspect))[0]
            session.title = "debug shell" if debug else (command[:1] or words)[-1].rpartition("/")[2][:255]
            session.exec_id = await client.exec_create(
                container.container_id,
                {
                    "Cmd": words,
                    "Tty": True,
                    "AttachStdin": True,
                    "AttachStdout": True,
                    "AttachStderr": True,
                    "ConsoleSize": [session.rows, session.columns],
                    "Env": ["TERM=xterm-256color"],
                    "KeepOutput": True,
                    **({"DebugShell": True} if debug else {}),
                },
            )
        session.records = settings.RECORD_TERMINALS == "always"
        await session.asave()
    return await offered(client, dict(inspect))

"""Ends terminals nobody has come back to: a shell left behind by a closed laptop must not run for ever.

How long one is kept goes by the role its person has over the container.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from containers_app.models import TerminalSession
from containers_app.recorder import Recorder
from containers_app.recording import begin, tidy
from containers_app.terminal_hub import hubs
from containers_app.terminal_stream import hub_of
from runtime.api.errors import EngineError, EngineUnreachable, Unavailable
from webdock.engines.audit import Actor, write
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import Closed
from webdock.engines.threads import in_thread
from webdock.people.belongings import rights_over
from webdock.people.roles import role_of

IDLE = {role: timedelta(hours=hours) for role, hours in settings.TERMINAL_IDLE_HOURS.items()}
LOOK_S = 300.0
REAPER = Actor(None, "webdock", "")  # in the audit trail
KEPT = timedelta(days=30)  # ended sessions, for the admin; the audit trail keeps its own rows

logger = logging.getLogger("containers_app")


async def reap() -> None:
    """Look every few minutes until cancelled."""
    while True:
        await reap_once()
        await asyncio.sleep(LOOK_S)


async def reap_once() -> None:
    """Hang up what was left too long, forget what ended long ago, note which ones are open now."""
    await tidy({sink.id for hub in hubs.values() for sink in hub.sinks if isinstance(sink, Recorder)})
    for session in await _recorded():
        try:
            hub = hub_of(session)  # nobody need look on for a recording to go on
            await hub.connect()
            await begin(hub)
        except (Closed, EngineError):
            continue  # it has ended, or is asked again next time
    live = [id for id, hub in hubs.items() if hub.viewers]
    for session in await _left(live):
        try:
            if session.exec_id:
                await client_of(session.engine.alias).exec_end(session.exec_id)
        except (EngineUnreachable, Unavailable):
            continue  # asked again next time
        except EngineError:
            pass  # it has ended already, or this engine cannot say so
        logger.info("terminal %s of %s was left alone and ended", session.title, session.container_id[:12])
        await _end(session)


@in_thread
def _recorded() -> list[TerminalSession]:
    if settings.RECORD_TERMINALS == "never":
        return []
    sessions = TerminalSession.objects.filter(ended_at=None, records=True, started=True)
    return list(sessions.exclude(pk__in=list(hubs)).select_related("engine", "user"))


@in_thread
def _left(live: list[UUID]) -> list[TerminalSession]:
    now = timezone.now()
    TerminalSession.objects.filter(pk__in=live).update(seen_at=now)
    TerminalSession.objects.filter(ended_at__lt=now - KEPT).delete()
    sessions = TerminalSession.objects.select_related("engine", "user").filter(ended_at=None)
    left = sessions.filter(seen_at__lt=now - min(IDLE.values())).exclude(pk__in=live)
    return [session for session in left if session.seen_at < now - idle_limit(session)]


def idle_limit(session: TerminalSession) -> timedelta:
    """How long this terminal is kept without a browser: as its person's role over the container is today."""
    return IDLE[role_of(rights_over(session.user, "container", session.container_id))]


@in_thread
def _end(session: TerminalSession) -> None:
    TerminalSession.objects.filter(pk=session.pk, ended_at=None).update(ended_at=timezone.now())
    hours = idle_limit(session).total_seconds() / 3600
    write(REAPER, "terminal.end", detail=f"no browser showed it for {hours:g} h", **session.audit_object)

"""When a terminal is recorded: asked for by its owner or by the settings; begun, ended, forgotten."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from containers_app.models import Container, Recording, TerminalSession
from containers_app.recorder import FIRST_SCREEN_BYTES, Recorder, cast_file, remove_files, write_text
from containers_app.terminal_hub import Hub
from runtime.api.errors import Unavailable
from webdock.engines.threads import carry_on, in_thread

ROWS, COLUMNS = 24, 80  # of a screen whose size nobody has said

logger = logging.getLogger("containers_app")


def wanted(session: TerminalSession) -> bool:
    if settings.RECORD_TERMINALS == "never":
        return False
    return session.records or settings.RECORD_TERMINALS == "always"


def recorder_of(hub: Hub) -> Recorder | None:
    """The recording that is being made of a session."""
    return next((sink for sink in hub.sinks if isinstance(sink, Recorder)), None)


async def begin(hub: Hub) -> None:
    """Record from now on, if it is wanted and not done already; everybody there is told.

    Raises: Unavailable when it cannot be written.
    """
    if recorder_of(hub) is not None or not wanted(hub.session) or hub.outcome is not None:
        return
    session = hub.session
    rows, columns = hub.size or (session.rows, session.columns)
    row = Recording(
        session=session,
        engine_alias=session.engine.alias,
        container_id=session.container_id,
        user_id=session.user_id,
        username=session.user.get_username(),
        title=session.title,
        rows=rows or ROWS,
        columns=columns or COLUMNS,
    )
    screen = hub.output.picture(FIRST_SCREEN_BYTES)
    try:
        recorder = Recorder(row.pk, rows=row.rows, columns=row.columns, title=row.title, screen=screen)
    except OSError as error:
        words = _("The recording cannot be written: %(why)s") % {"why": error.strerror}
        raise Unavailable(words) from error
    recorder.noted = _note_end
    recorder.full = lambda: carry_on(stop(hub), name="recording is full")
    hub.sinks.append(recorder)
    await _save(row)
    tell(hub)


async def stop(hub: Hub) -> None:
    """End the recording of a session, if there is one."""
    if (recorder := recorder_of(hub)) is not None:
        hub.sinks.remove(recorder)
        await recorder.close()
        tell(hub)


def tell(hub: Hub) -> None:
    """Say to everybody there whether it is recorded."""
    hub.tell({"type": "recording", "on": recorder_of(hub) is not None})


@in_thread
def want(session: TerminalSession, on: bool) -> None:
    """Remember it: after a restart the recording goes on as another one."""
    session.records = on
    TerminalSession.objects.filter(pk=session.pk).update(records=on)


@in_thread
def _save(row: Recording) -> None:
    container = Container.objects.filter(container_id=row.container_id).first()
    row.container_name = container.name if container else row.container_id[:12]
    row.save(force_insert=True)


@in_thread
def _note_end(recorder: Recorder) -> None:
    Recording.objects.filter(pk=recorder.id).update(
        ended_at=timezone.now(), duration_s=recorder.duration_s, size_bytes=recorder.size_bytes
    )


@in_thread
def tidy(running: set[object]) -> None:
    """End what a killed process left unfinished, and forget what is too old."""
    for row in Recording.objects.filter(ended_at=None).exclude(pk__in=running):
        try:
            told = cast_file(row.pk).stat()
            write_text(row.pk)
        except OSError:
            row.delete()
            continue
        row.ended_at = datetime.fromtimestamp(told.st_mtime, UTC)
        row.size_bytes = told.st_size
        row.duration_s = max(0.0, (row.ended_at - row.started_at).total_seconds())
        row.save(update_fields=["ended_at", "size_bytes", "duration_s"])
    old = Recording.objects.filter(ended_at__lt=timezone.now() - timedelta(days=settings.RECORDING_DAYS))
    for row in old:
        remove_files(row.pk)
        row.delete()
        logger.info("recording %s of %s was kept long enough and removed", row.pk, row.container_name)

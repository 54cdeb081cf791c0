"""Where people are logged in: what a session says about its beginning, and ending those of one person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from webdock.engines.audit import request_address

FROM_KEY, AGENT_KEY = "webdock_from", "webdock_agent"  # in a session: where it was begun
AGENT_MAX_CHARS = 200
SESSIONS_MAX = 100  # shown


def mark(request: HttpRequest) -> None:
    """Write into a new session from where it was begun."""
    request.session[FROM_KEY] = request_address(request)
    request.session[AGENT_KEY] = request.headers.get("User-Agent", "")[:AGENT_MAX_CHARS]


def _each(user_id: int) -> Iterator[tuple[Session, dict[str, Any]]]:
    alive = Session.objects.filter(expire_date__gt=timezone.now()).order_by("-expire_date")
    for session in list(alive):
        data = session.get_decoded()
        if data.get(SESSION_KEY) == str(user_id):
            yield session, data


def sessions_of(user_id: int) -> list[tuple[Session, dict[str, Any]]]:
    """The live sessions of a person, newest first."""
    return list(_each(user_id))[:SESSIONS_MAX]


def end_sessions(user_id: int, *, but: str | None = None) -> int:
    """Log a person out everywhere, except in the session with the key ``but``; how many that were."""
    ended = 0
    for session, _data in _each(user_id):
        if session.session_key != but:
            session.delete()
            ended += 1
    return ended

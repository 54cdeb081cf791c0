"""The last step of every login: at once, or after a code where the person has a second factor."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import login as start_session
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.models import AuditEntry
from webdock.people import factors
from webdock.people.factors import PROVIDER_KEY
from webdock.people.sessions import mark
from webdock.people.throttle import succeeded

PENDING_KEY = "webdock_half"  # in a session that is nobody's yet: whose password was right
PENDING_S = 300
BACKEND = "django.contrib.auth.backends.ModelBackend"


def enter(request: HttpRequest, user: User, to: str, *, provider: str = "") -> HttpResponse:
    """Go on to ``to`` as this person, who showed a password or came from a provider; maybe after a code."""
    if factors.confirmed(user.pk) is None:
        return finish(request, user, to, provider=provider)
    request.session.flush()
    request.session[PENDING_KEY] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),  # a new password ends this, too
        "at": time.time(),
        "to": to,
        "provider": provider,
    }
    note(user.get_username(), request, user_id=user.pk, action="login.first", detail=provider or "password")
    return redirect("login-code")


def finish(
    request: HttpRequest, user: User, to: str, *, provider: str = "", second: str = ""
) -> HttpResponse:
    """Begin the session, and forgive what was mistyped before."""
    succeeded(user.get_username(), request_address(request))
    parts = [provider, {"": "", "code": "with a code", "recovery": "with a recovery code"}[second]]
    note(user.get_username(), request, user_id=user.pk, detail="; ".join(filter(None, parts)))
    request.session.pop(PENDING_KEY, None)
    start_session(request, user, backend=BACKEND)
    if provider:
        request.session[PROVIDER_KEY] = provider
    mark(request)
    return redirect(to)


def pending(request: HttpRequest) -> tuple[User, dict[str, Any]] | None:
    """Who is asked for a code in this session, and what was kept of their first step."""
    kept = request.session.get(PENDING_KEY)
    if not isinstance(kept, dict) or not 0 <= time.time() - kept["at"] <= PENDING_S:
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is None or not constant_time_compare(kept["hash"], user.get_session_auth_hash()):
        return None
    return user, kept


def note(
    username: str,
    request: HttpRequest,
    *,
    user_id: int | None = None,
    action: str = "login",
    result: str = AuditEntry.Result.OK,
    detail: str = "",
) -> None:
    """The row of one attempt to log in."""
    actor = Actor(user_id, username, request_address(request))
    write(actor, action, kind="user", name=username, result=result, detail=detail)

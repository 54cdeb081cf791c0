"""Who is behind a websocket: the session in its cookie, checked at the door and again every few seconds.

Owns the origin check as well. Channels' own validator lets a null origin and other ports through, and never
looks at the session again after the handshake.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.contrib.auth.models import AnonymousUser
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import constant_time_compare

from webdock.engines.threads import in_thread
from webdock.people.belongings import rights_over
from webdock.people.factors import PROVIDER_KEY, owed
from webdock.people.holding import forget_when_in_doubt
from webdock.people.roles import known
from webdock.people.standing import Person, standing

Thing = tuple[str, str] | None  # ("container", id)

KNOWN_S = 0.5
KNOWN_MAX = 1000
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Admission:
    """The answer for one socket: who it is, and whether the right is there."""

    user: Person
    allowed: bool
    hidden: bool = False  # what the socket is about is not there for this person


def header(scope: Mapping[str, Any], name: bytes) -> str:
    """The last value of a header of a websocket's request, "" without one."""
    found = ""
    for key, value in scope.get("headers", ()):
        if key == name:
            found = value.decode("latin-1")
    return found


def same_origin(scope: Mapping[str, Any]) -> bool:
    """Whether a page of this very site opened the socket: scheme, host and port, or a trusted origin.

    No origin, "null", another port and a sub-domain are all refused.
    """
    origin = header(scope, b"origin")
    if not origin or origin == "null":
        return False
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    host = header(scope, b"host").lower()
    name, _port = split_domain_port(host)
    if not name or not validate_host(name, settings.ALLOWED_HOSTS):
        return False
    forwarded = header(scope, b"x-forwarded-proto") if settings.BEHIND_PROXY else ""
    return _origin(origin) == _origin(f"{'https' if forwarded == 'https' else 'http'}://{host}") is not None


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, None for anything that is more or less than an origin."""
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if port is None or not parts.hostname or more:
        return None
    return parts.scheme, parts.hostname, port


def session_key(scope: Mapping[str, Any]) -> str:
    """The session key in the cookie, "" without one."""
    try:
        cookies = SimpleCookie(header(scope, b"cookie"))
    except CookieError:
        return ""
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    return morsel.value if morsel is not None else ""


def admission(key: str, right: str, thing: Thing = None) -> Admission:
    """Who holds this session now and whether they have the right, over ``thing`` if given; from a thread.

    A logged-out or expired session, a deactivated account, a changed password: each makes it nobody's.
    """
    if not key:
        return Admission(AnonymousUser(), False)
    store = import_module(settings.SESSION_ENGINE).SessionStore
    session = store(key)
    backend_path = session.get(BACKEND_SESSION_KEY)
    if backend_path not in settings.AUTHENTICATION_BACKENDS:
        return Admission(AnonymousUser(), False)
    user = load_backend(backend_path).get_user(session[SESSION_KEY])
    if user is None or not user.is_active:
        return Admission(AnonymousUser(), False)
    kept = session.get(HASH_SESSION_KEY, "")
    if not constant_time_compare(kept, user.get_session_auth_hash()):
        return Admission(AnonymousUser(), False)
    if owed(user, admin=standing(user).admin, by_provider=bool(session.get(PROVIDER_KEY))):
        return Admission(user, False)
    door = known(right) in standing(user).anywhere
    if thing is None:
        return Admission(user, door)
    rights = rights_over(user, *thing)
    return Admission(user, door and right in rights, "view" not in rights)


_admission = in_thread(admission)
_known: dict[tuple[str, str, Thing], tuple[float, Admission]] = {}  # answers of the last moment


forget_when_in_doubt(_known.clear)


async def admit(key: str, right: str, thing: Thing = None, *, fresh: bool = False) -> Admission:
    """``admission``, asked once for all sockets of a session that ask in the same moment.

    ``fresh``: at the door the answer is always a new one.
    """
    now = time.monotonic()
    found = _known.get((key, right, thing))
    if found is not None and not fresh and now - found[0] < KNOWN_S:
        return found[1]
    answer = await _admission(key, right, thing)
    if len(_known) >= KNOWN_MAX:
        _known.clear()
    _known[key, right, thing] = (time.monotonic(), answer)
    return answer

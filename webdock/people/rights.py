"""Who may do what: the one place that decides, for pages, forms, the admin and websockets alike.

Every view declares its right with ``@requires``; the middleware refuses a view without a declaration, so
forgetting one closes a door instead of opening it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

logger = logging.getLogger("webdock.people")

PUBLIC = "public"  # no login: login itself, the welcome link, healthz
RIGHTS = ("view", "operate", "shell", "admin")
OPERATORS = "operators"  # the group whose members may start, stop and open shells

Person = AbstractBaseUser | AnonymousUser
View = Callable[..., Any]


def rights_of(user: Person) -> frozenset[str]:
    """Every right this person has. Asks the database for the groups: call it from a thread.

    Staff and superusers are administrators; members of "operators" operate; everybody else may look.
    """
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    if user.is_superuser or user.is_staff:  # type: ignore[union-attr]
        return frozenset(RIGHTS)
    cached: frozenset[str] | None = getattr(user, "_webdock_rights", None)
    if cached is None:
        operates = user.groups.filter(name=OPERATORS).exists()  # type: ignore[union-attr]
        cached = frozenset(("view", "operate", "shell") if operates else ("view",))
        user._webdock_rights = cached  # type: ignore[union-attr]
    return cached


def allowed(user: Person, right: str) -> bool:
    """Whether this person has the right. Asks the database: call it from a thread."""
    if right == PUBLIC:
        return True
    if right not in RIGHTS:
        raise RuntimeError(f"unknown right: expected one of {RIGHTS}, got {right!r}")
    return right in rights_of(user)


def requires(right: str) -> Callable[[View], View]:
    """Declare the right a view needs; the middleware enforces it."""
    if right != PUBLIC and right not in RIGHTS:
        raise RuntimeError(f"unknown right: expected one of {RIGHTS}, got {right!r}")

    def declare(view: View) -> View:
        view.required_right = right  # type: ignore[attr-defined]
        return view

    return declare


def right_needed(request: HttpRequest, view: View) -> str | None:
    """The right a resolved view declares; the admin site's views all need "admin". None: nothing declared."""
    declared: str | None = getattr(view, "required_right", None)
    if declared is not None:
        return declared
    match = request.resolver_match
    if match is not None and match.namespaces[:1] == ["admin"]:
        return PUBLIC if match.url_name in ("login", "logout") else "admin"
    return None


def wants_json(request: HttpRequest) -> bool:
    """Whether the asker is one of our scripts rather than a form."""
    return "application/json" in request.headers.get("Accept", "")


class RightsMiddleware:
    """Refuses every view whose right the person lacks, and every view that declares none."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return await self.get_response(request)

    async def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        right = right_needed(request, view)
        if right == PUBLIC:
            return None
        if right is None:
            logger.error("%s declares no right and stays closed", request.path)
            raise PermissionDenied
        user = await request.auser()
        request.user = user  # templates ask again; spare them the second look-up
        if not user.is_authenticated:
            if wants_json(request):
                return JsonResponse({"ok": False, "message": _("Please log in again.")}, status=401)
            back = reverse(settings.LOGIN_REDIRECT_URL)
            if request.method == "GET":  # the proxy may have taken the sub-path off
                back = request.META.get("SCRIPT_NAME", "").rstrip("/") + request.get_full_path_info()
            return redirect_to_login(back, reverse(settings.LOGIN_URL))
        if not await sync_to_async(allowed)(user, right):
            if wants_json(request):
                return JsonResponse(
                    {"ok": False, "message": _("You do not have the right to do this.")}, status=403
                )
            raise PermissionDenied
        return None

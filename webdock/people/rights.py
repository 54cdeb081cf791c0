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
from django.contrib.auth import get_user
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.clients import client as client_of
from webdock.engines.models import AuditEntry
from webdock.people import viewer
from webdock.people.belongings import KINDS
from webdock.people.factors import PROVIDER_KEY, owed
from webdock.people.holding import doubt, held
from webdock.people.roles import known
from webdock.people.sockets import admit
from webdock.people.standing import Person, standing

logger = logging.getLogger("webdock.people")

PUBLIC = "public"  # no login: login itself, the welcome link, healthz

SAFE = ("GET", "HEAD", "OPTIONS")

View = Callable[..., Any]


def rights_of(user: Person) -> frozenset[str]:
    """Every right this person has over anything at all. Asks the database: call it from a thread."""
    return standing(user).anywhere


def allowed(user: Person, right: str) -> bool:
    """Whether this person has the right. Asks the database: call it from a thread."""
    return right == PUBLIC or known(right) in rights_of(user)


def requires(*rights: str) -> Callable[[View], View]:
    """Declare the rights a view needs, all of them; the middleware enforces it.

    A view whose path names a container, network or volume needs them over that very thing.
    """
    if not rights:
        raise RuntimeError("requires: expected at least one right, got none")
    needed = rights if rights == (PUBLIC,) else tuple(known(right) for right in rights)

    def declare(view: View) -> View:
        view.required_rights = needed  # type: ignore[attr-defined]
        return view

    return declare


def by_token(view: View) -> View:
    """Declare a view no session opens: it asks for an API token itself, and for the rights of each call."""
    view.required_rights = ("view",)  # type: ignore[attr-defined]
    view.by_token = True  # type: ignore[attr-defined]
    return view


def before_factor(view: View) -> View:
    """Declare a view that administrators who still owe their second factor may use, to set one up."""
    view.before_factor = True  # type: ignore[attr-defined]
    return view


def rights_needed(request: HttpRequest, view: View) -> tuple[str, ...] | None:
    """The rights a view declares; the admin site's views all need "admin". None: nothing declared."""
    declared: tuple[str, ...] | None = getattr(view, "required_rights", None)
    if declared is not None:
        return declared
    match = request.resolver_match
    if match is not None and match.namespaces[:1] == ["admin"]:
        return (PUBLIC,) if match.url_name in ("login", "logout") else ("admin",)
    return None


def _about_people(request: HttpRequest) -> bool:
    """Whether the view that answered may have changed who may do what."""
    match = request.resolver_match
    if match is None:
        return False
    module = str(getattr(match.func, "view_class", match.func).__module__)
    return match.namespaces[:1] == ["admin"] or module.startswith("webdock.people")


def hold(
    request: HttpRequest, response: HttpResponseBase, needed: tuple[str, ...], thing: tuple[str, str] | None
) -> None:
    """Let a long answer go on only while its person may have it."""
    key, user_id = request.session.session_key or "", request.user.pk

    async def may() -> bool:
        answers = [await admit(key, right, thing) for right in needed]
        return all(answer.allowed and answer.user.pk == user_id for answer in answers)

    if response.is_async:
        response.streaming_content = held(aiter(response.streaming_content), may)


def thing_named(request: HttpRequest, kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """The container, network or volume a path names: ("network", "shop")."""
    if "container_id" in kwargs:
        return "container", kwargs["container_id"]
    match = request.resolver_match
    kind = (match.url_name or "").partition("-")[0] if match is not None else ""
    return (kind, kwargs["name"]) if "name" in kwargs and kind in KINDS else None


def wants_json(request: HttpRequest) -> bool:
    """Whether the asker is one of our scripts rather than a form."""
    return "application/json" in request.headers.get("Accept", "")


def _who(request: HttpRequest) -> tuple[Person, frozenset[str]]:
    """Who asks, and what they may do: one visit to the database, whose answers the request keeps."""
    user: Person = get_user(request)

    async def auser() -> Person:
        return user

    request.user, request.auser = user, auser
    return user, rights_of(user)


class RightsMiddleware:
    """Refuses every view whose right the person lacks, and every view that declares none."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response = await self.get_response(request)
        finally:
            viewer.look_as(None)
        if request.method not in SAFE and _about_people(request):
            doubt()
        if response.streaming and (needed := getattr(request, "rights_asked", None)) is not None:
            hold(request, response, *needed)
        return response

    async def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        needed = rights_needed(request, view)
        if needed == (PUBLIC,) or getattr(view, "by_token", False):
            return None
        if needed is None:
            logger.error("%s declares no right and stays closed", request.path)
            raise PermissionDenied
        user, rights = await sync_to_async(_who)(request)
        if not user.is_authenticated:
            if wants_json(request):
                return JsonResponse({"ok": False, "message": _("Please log in again.")}, status=401)
            back = reverse(settings.LOGIN_REDIRECT_URL)
            if request.method == "GET":  # the proxy may have taken the sub-path off
                back = request.META.get("SCRIPT_NAME", "").rstrip("/") + request.get_full_path_info()
            return redirect_to_login(back, reverse(settings.LOGIN_URL))
        named = thing_named(request, kwargs)
        if named is not None and set(needed) <= rights and not standing(user).admin:
            rights = await self._rights_over(user, *named)
            if "view" not in rights:  # for strangers it does not exist
                raise Http404
        if not set(needed) <= rights:
            if request.method not in SAFE:
                await self._note_refusal(request, user, named, set(needed) - rights)
            if wants_json(request):
                return JsonResponse(
                    {"ok": False, "message": _("You do not have the right to do this.")}, status=403
                )
            raise PermissionDenied
        if settings.ADMIN_SECOND_FACTOR and not getattr(view, "before_factor", False):
            by_provider = bool(await request.session.aget(PROVIDER_KEY))
            admin = standing(user).admin
            if await sync_to_async(owed)(user, admin=admin, by_provider=by_provider):
                words = _("Administrators set up a second factor first.")
                if wants_json(request):
                    return JsonResponse({"ok": False, "message": words}, status=403)
                return redirect("factor")
        viewer.look_as(viewer.Viewer(user))
        request.rights_asked = needed, named
        return None

    @staticmethod
    async def _note_refusal(
        request: HttpRequest, user: Person, named: tuple[str, str] | None, lacking: set[str]
    ) -> None:
        """Somebody tried what they may not: that leaves a row as well."""
        kind, id = named or ("", "")
        detail = f"{request.path_info[:200]}; lacks {', '.join(sorted(lacking))}"
        actor = Actor(user.pk, user.get_username(), request_address(request))
        await sync_to_async(write)(
            actor, "right.refused", kind=kind, id=id, result=AuditEntry.Result.REFUSED, detail=detail
        )

    @staticmethod
    async def _rights_over(user: Person, kind: str, ref: str) -> frozenset[str]:
        viewer.look_as(viewer.Viewer(user))
        client = client_of(next(iter(settings.ENGINES)))
        return await client.rights_over(kind, ref)

"""Logging in at an identity provider: there and back, and connecting an account with an identity."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.models import AuditEntry
from webdock.engines.pages import page
from webdock.oidc import Provider
from webdock.people import identities, oidc
from webdock.people.entering import enter, note
from webdock.people.holding import doubt
from webdock.people.models import Identity
from webdock.people.rights import PUBLIC, requires
from webdock.people.sessions import end_sessions
from webdock.people.throttle import failed, throttled

ASKED_KEY = "webdock_asked"  # in the session: what the provider's answer is held against
ASKED_S = 600


def _provider() -> Provider:
    if settings.OIDC is None:
        raise Http404
    return settings.OIDC  # type: ignore[no-any-return]


def _back_url(request: HttpRequest) -> str:
    path = reverse("oidc-back")
    return settings.PUBLIC_URL.origin + path if settings.PUBLIC_URL else request.build_absolute_uri(path)


async def _failed(request: HttpRequest, words: str, detail: str, status: int = 400) -> HttpResponse:
    await sync_to_async(note)("", request, result=AuditEntry.Result.REFUSED, detail=f"provider: {detail}")
    return await page(request, "people/oidc_failed.html", {"words": words}, status=status)


async def _go(request: HttpRequest, to: str, user_id: int | None = None) -> HttpResponse:
    """To the provider, by a page of our own: a form must lead nowhere else (form-action of the policy)."""
    provider = _provider()
    try:
        url, asked = await oidc.begin(provider, _back_url(request))
    except oidc.ProviderError as error:
        words = _("%(name)s does not answer as it should. Try again later.") % {"name": provider.name}
        return await _failed(request, words, str(error), 502)
    kept = {**asdict(asked), "at": time.time(), "to": to, "user": user_id}
    await request.session.aset(ASKED_KEY, kept)
    response = await page(request, "people/oidc_go.html", {"provider": provider, "url": url})
    response["Refresh"] = f"0;url={url}"
    return response


@requires(PUBLIC)
@never_cache
@require_POST
async def start(request: HttpRequest) -> HttpResponse:
    """To the provider, to log in."""
    to = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(to, {request.get_host()}, require_https=request.is_secure()):
        to = reverse("overview")
    return await _go(request, to)


@requires("view")
@never_cache
@sensitive_post_parameters()
@require_POST
async def connect(request: HttpRequest) -> HttpResponse:
    """To the provider, to connect who comes back with one's own account; the password first."""
    _provider()

    def judged() -> str:
        name, address = request.user.get_username(), request_address(request)
        if throttled(name, address):
            return _("Too many attempts. Wait a few minutes and try again.")
        if request.user.check_password(request.POST.get("password", "")):  # type: ignore[union-attr]
            return ""
        failed(name, address)
        actor = Actor(request.user.pk, name, address)
        detail = "wrong password"
        write(
            actor, "identity.connect", kind="user", name=name, result=AuditEntry.Result.REFUSED, detail=detail
        )
        return _("That is not your password.")

    words = await sync_to_async(judged)()
    if words:
        await sync_to_async(messages.error)(request, words)
        return redirect("account")
    return await _go(request, reverse("account"), request.user.pk)


@requires("view")
@require_POST
def disconnect(request: HttpRequest) -> HttpResponse:
    """Log in with the password alone again; what was begun elsewhere ends."""
    if not request.user.has_usable_password():  # type: ignore[union-attr]
        messages.error(request, _("You have no password here: nobody could log in to this account any more."))
        return redirect("account")
    gone, _kinds = Identity.objects.filter(user_id=request.user.pk).delete()
    if gone:
        end_sessions(request.user.pk, but=request.session.session_key)
        name = request.user.get_username()
        write(
            Actor(request.user.pk, name, request_address(request)), "identity.remove", kind="user", name=name
        )
        messages.success(request, _("Disconnected."))
    return redirect("account")


@requires(PUBLIC)
@never_cache
@require_GET
async def back(request: HttpRequest) -> HttpResponse:
    """From the provider, once for each time somebody was sent there."""
    provider = _provider()
    kept = await request.session.apop(ASKED_KEY, None)
    if not isinstance(kept, dict) or not 0 <= time.time() - kept["at"] <= ASKED_S:
        words = _("That login was not begun in this browser, or it took too long. Begin again.")
        return await _failed(request, words, "not asked for")
    asked = oidc.Asked(kept["state"], kept["nonce"], kept["verifier"])
    answer = {key: value for key, value in request.GET.items() if isinstance(value, str)}
    try:
        claims = await oidc.claims_of(provider, answer, asked, _back_url(request))
    except oidc.ProviderError as error:
        words = _("What %(name)s said could not be believed, or it refused. Begin again.")
        return await _failed(request, words % {"name": provider.name}, str(error))
    try:
        return await sync_to_async(_arrive)(request, provider, claims, kept)
    except identities.Refused as refusal:
        return await _failed(request, refusal.words, refusal.detail, 403)


def _arrive(
    request: HttpRequest, provider: Provider, claims: dict[str, Any], kept: dict[str, Any]
) -> HttpResponse:
    if kept["user"] is None:
        user, changed = identities.account_of(provider, claims)
        if changed:
            doubt()
            actor = Actor(user.pk, user.username, request_address(request))
            detail = f"{provider.name}: {changed}"
            action = "user.create" if changed.startswith("made") else "user.roles"
            write(actor, action, kind="user", id=str(user.pk), name=user.username, detail=detail)
        return enter(request, user, kept["to"], provider=provider.name)
    if request.user.pk != kept["user"]:
        words = _("Somebody else is logged in here now.")
        raise identities.Refused(words, "connecting: another person came back")
    identities.connect(provider, claims, request.user)  # type: ignore[arg-type]
    actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
    write(actor, "identity.connect", kind="user", name=actor.username, detail=str(claims["sub"]))
    messages.success(request, _("Connected."))
    return redirect(kept["to"])

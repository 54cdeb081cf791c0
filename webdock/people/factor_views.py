"""One's own second factor: set up, confirmed, taken away, and asked for at the login."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.models import AuditEntry
from webdock.people import entering, factors
from webdock.people.rights import PUBLIC, before_factor, requires
from webdock.people.sessions import end_sessions
from webdock.people.throttle import WINDOW, failed, succeeded, throttled
from webdock.sealing import Unreadable


def _slow_down() -> str:
    return _("Too many attempts. Wait a few minutes and try again.")


def _lost() -> str:
    return _(
        "What your phone shows cannot be checked any more: the key it was kept with is gone. "
        "Use a recovery code, or ask an administrator to reset your second factor."
    )


def _write(request: HttpRequest, action: str, result: str = AuditEntry.Result.OK, detail: str = "") -> None:
    actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
    write(actor, action, kind="user", name=actor.username, result=result, detail=detail)


def _refused(request: HttpRequest, action: str, words: str, detail: str) -> HttpResponse:
    """Count the failure, write it down, and go back to the page with the words."""
    failed(request.user.get_username(), request_address(request))
    _write(request, action, AuditEntry.Result.REFUSED, detail)
    messages.error(request, words)
    return redirect("factor")


def _password_right(request: HttpRequest) -> bool:
    return bool(request.user.check_password(request.POST.get("password", "")))  # type: ignore[union-attr]


def _held_up(request: HttpRequest) -> HttpResponse | None:
    """The answer while this person's attempts are throttled."""
    if not throttled(request.user.get_username(), request_address(request)):
        return None
    messages.error(request, _slow_down())
    return redirect("factor")


def _page(request: HttpRequest, status: int = 200, **more: Any) -> HttpResponse:
    factor = factors.confirmed(request.user.pk)
    context: dict[str, Any] = {
        "factor": factor,
        "lost": factor is not None and not factors.readable(factor),
        "codes_left": factors.codes_left(request.user.pk),
        "has_password": request.user.has_usable_password(),  # type: ignore[union-attr]
        **more,
    }
    begun = factors.waiting(request.user.pk)
    if begun is not None:
        host = request.get_host().partition(":")[0]
        try:
            address, context["secret"] = factors.address_of(begun, request.user.get_username(), host)
            context["picture"] = factors.picture(address)
        except Unreadable:
            factors.remove(request.user.pk)
    return render(request, "people/factor.html", context, status=status)


@requires("view")
@before_factor
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def factor(request: HttpRequest) -> HttpResponse:
    """The page; posted: the first code, with which the second factor counts from now on."""
    if request.method != "POST":
        return _page(request)
    held_up = _held_up(request)
    if held_up is not None:
        return held_up
    codes = factors.confirm(request.user.pk, request.POST.get("code", ""))
    if codes is None:
        return _refused(request, "factor.on", _("That code is not right. Try the next one."), "wrong code")
    ended = end_sessions(request.user.pk, but=request.session.session_key)
    _write(request, "factor.on", detail=f"{ended} other sessions ended")
    return _page(request, codes=codes)


@requires("view")
@before_factor
@sensitive_post_parameters()
@require_POST
def factor_start(request: HttpRequest) -> HttpResponse:
    """Make a secret for a phone; the password first, so that an open browser is not enough."""
    held_up = _held_up(request)
    if held_up is not None:
        return held_up
    if not _password_right(request):
        return _refused(request, "factor.start", _("That is not your password."), "wrong password")
    if factors.begin(request.user):  # type: ignore[arg-type]
        _write(request, "factor.start")
    return redirect("factor")


@requires("view")
@sensitive_post_parameters()
@require_POST
def factor_off(request: HttpRequest) -> HttpResponse:
    """Take it away: password and a code."""
    held_up = _held_up(request)
    if held_up is not None:
        return held_up
    if not _password_right(request) or not factors.take(request.user.pk, request.POST.get("code", "")):
        words = _("Password or code is not right; nothing was changed.")
        return _refused(request, "factor.off", words, "wrong password or code")
    factors.remove(request.user.pk)
    succeeded(request.user.get_username(), request_address(request))
    ended = end_sessions(request.user.pk, but=request.session.session_key)
    _write(request, "factor.off", detail=f"{ended} other sessions ended")
    messages.success(request, _("Logging in takes your password alone again."))
    return redirect("factor")


@requires("view")
@never_cache
@sensitive_post_parameters()
@require_POST
def factor_codes(request: HttpRequest) -> HttpResponse:
    """New recovery codes for a code; they are on the answer's page, and never again anywhere."""
    held_up = _held_up(request)
    if held_up is not None:
        return held_up
    if not factors.take(request.user.pk, request.POST.get("code", "")):
        return _refused(request, "factor.codes", _("That code is not right. Try the next one."), "wrong code")
    _write(request, "factor.codes")
    return _page(request, codes=factors.new_recovery_codes(request.user.pk))


@requires(PUBLIC)
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def login_code(request: HttpRequest) -> HttpResponse:
    """The second step of a login; throttled like the first, by the same counters."""
    found = entering.pending(request)
    if found is None:
        return redirect("login")
    user, kept = found
    factor = factors.confirmed(user.pk)
    lost = factor is not None and not factors.readable(factor)
    if request.method != "POST":
        return render(request, "people/login_code.html", {"error": _lost() if lost else ""})
    name, address = user.get_username(), request_address(request)
    if throttled(name, address):
        detail = "second step: too many attempts"
        entering.note(name, request, user_id=user.pk, result=AuditEntry.Result.REFUSED, detail=detail)
        response = render(request, "people/login_code.html", {"error": _slow_down()}, status=429)
        response["Retry-After"] = str(int(WINDOW.total_seconds()))
        return response
    taken = factors.take(user.pk, request.POST.get("code", ""))
    if not taken:
        failed(name, address)
        entering.note(
            name, request, user_id=user.pk, result=AuditEntry.Result.REFUSED, detail="second step: wrong code"
        )
        words = _lost() if lost else _("That code is not right, or was used already. Try the next one.")
        return render(request, "people/login_code.html", {"error": words}, status=400)
    return entering.finish(request, user, kept["to"], provider=kept["provider"], second=taken)

"""Log in, log out, and the one-time link that makes the first administrator. Plain synchronous views."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth import login as start_session
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import NON_FIELD_ERRORS
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.models import AuditEntry
from webdock.people.entering import enter, note
from webdock.people.forms import THROTTLED, LoginForm, WelcomeForm
from webdock.people.models import SetupLink, token_digest
from webdock.people.rights import PUBLIC, requires, wants_json
from webdock.people.sessions import mark
from webdock.people.throttle import WINDOW, failed

SETUP_KEY = "webdock_setup"  # in the session: the digest of the link that was followed


class Login(LoginView):
    template_name = "people/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        first = not get_user_model().objects.filter(is_superuser=True, is_active=True).exists()
        return super().get_context_data(provider=settings.OIDC, first=first, **more)

    def form_valid(self, form: LoginForm) -> HttpResponse:
        return enter(self.request, form.get_user(), self.get_success_url())

    def form_invalid(self, form: LoginForm) -> HttpResponse:
        username, address = self.request.POST.get("username", ""), request_address(self.request)
        response = super().form_invalid(form)
        if form.has_error(NON_FIELD_ERRORS, THROTTLED):
            note(username, self.request, result=AuditEntry.Result.REFUSED, detail="too many attempts")
            response.status_code = 429
            response["Retry-After"] = str(int(WINDOW.total_seconds()))
            return response
        failed(username, address)
        note(username, self.request, result=AuditEntry.Result.REFUSED, detail="wrong name or password")
        response.status_code = 400
        return response


class Logout(LogoutView):
    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.user.is_authenticated:
            name = request.user.get_username()
            write(Actor(request.user.pk, name, request_address(request)), "logout", kind="user", name=name)
        return super().post(request, *args, **kwargs)


login = requires(PUBLIC)(Login.as_view())
logout = requires(PUBLIC)(Logout.as_view())


@requires(PUBLIC)
@never_cache
@require_GET
def welcome_link(request: HttpRequest, token: str) -> HttpResponse:
    """Keep the link in the session and go on without it in the address, where it could be seen or sent on."""
    link = SetupLink.usable(token_digest(token))
    if link is None:
        return render(request, "people/welcome_invalid.html", status=404)
    request.session.cycle_key()
    request.session[SETUP_KEY] = link.digest
    return redirect("welcome")


@requires(PUBLIC)
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest) -> HttpResponse:
    """Choose name and password of the administrator; the link is used up with it."""
    link = SetupLink.usable(request.session.get(SETUP_KEY, ""))
    if link is None:
        return render(request, "people/welcome_invalid.html", status=404)
    form = WelcomeForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "people/welcome.html", {"form": form}, status=400 if request.POST else 200)
    with transaction.atomic():
        if not link.claim():  # Race: the same link in two windows makes one administrator
            return render(request, "people/welcome_invalid.html", status=404)
        user = form.save()
        actor = Actor(user.pk, user.get_username(), request_address(request))
        write(
            actor,
            "user.create",
            kind="user",
            id=str(user.pk),
            name=user.get_username(),
            detail="first administrator",
        )
    del request.session[SETUP_KEY]
    start_session(request, user)
    mark(request)
    return redirect("overview")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What a request without the page's token gets: mostly a page that was open over a login."""
    message = _("This page is too old to be believed. Reload it and try again.")
    if wants_json(request):
        return JsonResponse({"ok": False, "message": message}, status=403)
    return render(request, "403.html", {"message": message}, status=403)

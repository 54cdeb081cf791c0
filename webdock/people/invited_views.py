"""What somebody with a one-time link sees: the form for a password, and nothing else."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from webdock.engines.audit import Actor, request_address, write
from webdock.people import invitations
from webdock.people.entering import enter
from webdock.people.models import token_digest
from webdock.people.rights import PUBLIC, requires

INVITED_KEY = "webdock_invited"  # in the session: the digest of the link that was followed


def _invalid(request: HttpRequest) -> HttpResponse:
    return render(request, "people/invited_invalid.html", status=404)


@requires(PUBLIC)
@never_cache
@require_GET
def invited_link(request: HttpRequest, token: str) -> HttpResponse:
    """Keep the link in a session of its own and go on without it in the address."""
    link = invitations.usable(token_digest(token))
    if link is None:
        return _invalid(request)
    request.session.flush()  # whoever else was logged in here is not whom the link is for
    request.session[INVITED_KEY] = link.digest
    return redirect("invited")


@requires(PUBLIC)
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invited(request: HttpRequest) -> HttpResponse:
    """Choose a password; the link is used up with it."""
    link = invitations.usable(request.session.get(INVITED_KEY, ""))
    if link is None:
        return _invalid(request)
    user = link.user or User(username=link.username)
    form = SetPasswordForm(user, request.POST or None)
    if request.method != "POST" or not form.is_valid():
        context = {"form": form, "link": link}
        return render(request, "people/invited.html", context, status=400 if request.POST else 200)
    user = form.save(commit=False)
    try:
        user = invitations.accept(link, user)
    except invitations.UsedUp:
        return _invalid(request)
    actor = Actor(user.pk, user.username, request_address(request))
    by = f"link of {link.made_by.username}"
    detail = by if link.user else f"{by}; {invitations.role_words(link.role, link.team)}"
    action = "password.set" if link.user else "user.create"
    write(actor, action, kind="user", id=str(user.pk), name=user.username, detail=detail)
    del request.session[INVITED_KEY]
    if link.user is not None:
        messages.success(request, _("You have a new password. Log in with it."))
        return redirect("login")
    return enter(request, user, "overview")

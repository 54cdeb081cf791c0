"""The people of this installation, for administrators: who has an account, and what helps one back in."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.pages import page
from webdock.people import factors, invitations, usage
from webdock.people.models import Team
from webdock.people.quotas import Sizes
from webdock.people.rights import requires
from webdock.people.sessions import end_sessions
from webdock.people.standing import OPERATORS

PEOPLE_MAX = 500  # shown; the administration has all of them, with a search


def actor_behind(request: HttpRequest) -> Actor:
    """The administrator who asks."""
    return Actor(request.user.pk, request.user.get_username(), request_address(request))


def found(person: int) -> User:
    """The account with this number. Raises: Http404."""
    user = User.objects.filter(pk=person).first()
    if user is None:
        raise Http404
    return user


def context(sizes: Sizes | None = None) -> dict[str, Any]:
    """Every account with its roles, what it uses and whether it has a second factor, and the links that still
    work."""
    users = User.objects.order_by("username").select_related("webdock_factor")
    users = users.prefetch_related("groups", "webdock_roles__team")[:PEOPLE_MAX]
    used = usage.of_people([user.pk for user in users], sizes)
    return {
        "people": [_row(user, used[user.pk]) for user in users],
        "measuring": sizes is None,
        "invitations": invitations.open_ones(),
        "team_choices": Team.objects.all(),
        "days": invitations.LIFETIME.days,
    }


def _row(user: User, gauges: list[usage.Gauge]) -> dict[str, Any]:
    factor = getattr(user, "webdock_factor", None)
    roles = [(role.get_role_display(), role.team) for role in user.webdock_roles.all()]  # type: ignore[attr-defined]
    if user.is_superuser or user.is_staff:
        roles = [(_("administrator"), None)]
    elif not any(team is None for _role, team in roles):
        operates = any(group.name == OPERATORS for group in user.groups.all())
        roles.insert(0, (_("operator") if operates else _("viewer"), None))
    counts = factor is not None and factor.confirmed_at is not None
    return {
        "user": user,
        "roles": roles,
        "factor": counts,
        "lost": counts and not factors.readable(factor),
        "usage": usage.Usage(user.username, gauges),
    }


@requires("admin")
@never_cache
@require_GET
async def people(request: HttpRequest) -> HttpResponse:
    found = await sync_to_async(context)(await usage.measured())
    return await page(request, "people/people.html", found)


@requires("admin")
@require_POST
def factor_reset(request: HttpRequest, person: int) -> HttpResponse:
    """Take a person's second factor away, for a lost phone; they are logged out everywhere."""
    user = found(person)
    if not factors.remove(user.pk):
        messages.error(request, _("%(name)s has no second factor.") % {"name": user.username})
        return redirect("people-list")
    own = request.session.session_key if user.pk == request.user.pk else None
    ended = end_sessions(user.pk, but=own)
    detail = f"{ended} sessions ended"
    write(
        actor_behind(request), "factor.reset", kind="user", id=str(user.pk), name=user.username, detail=detail
    )
    messages.success(request, _("%(name)s logs in with the password alone now.") % {"name": user.username})
    return redirect("people-list")


def _number(text: str) -> int:
    return int(text[:9]) if text.isascii() and text.isdigit() else 0


def _with_link(request: HttpRequest, token: str, name: str, days: int) -> HttpResponse:
    """The page with a link on it, which is shown only now."""
    path = reverse("invited-link", args=[token])
    public = settings.PUBLIC_URL
    link = public.origin + path if public else request.build_absolute_uri(path)
    more = {"link": link, "link_name": name, "link_days": days}
    return render(request, "people/people.html", {**context(), **more})


@requires("admin")
@never_cache
@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Make a link with which somebody makes the account of this name, with this role."""
    name, role = request.POST.get("name", "").strip(), request.POST.get("role", "")
    team = Team.objects.filter(pk=_number(request.POST.get("team", ""))).first()
    try:
        token = invitations.invite(request.user, name, role, team)  # type: ignore[arg-type]
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("people-list")
    write(
        actor_behind(request),
        "user.invite",
        kind="user",
        name=name,
        detail=invitations.role_words(role, team),
    )
    return _with_link(request, token, name, invitations.LIFETIME.days)


@requires("admin")
@require_POST
def revoke(request: HttpRequest, invitation: int) -> HttpResponse:
    """End a link before it is used."""
    name = invitations.revoke(invitation)
    if name is None:
        messages.error(request, _("There is no such link any more."))
    else:
        write(actor_behind(request), "invitation.revoke", kind="user", name=name)
        messages.success(request, _("The link for %(name)s works no more.") % {"name": name})
    return redirect("people-list")


@requires("admin")
@never_cache
@require_POST
def password_link(request: HttpRequest, person: int) -> HttpResponse:
    """Make a link with which somebody who forgot their password chooses a new one."""
    user = found(person)
    if not user.is_active:
        messages.error(request, _("%(name)s is disabled.") % {"name": user.username})
        return redirect("people-list")
    token = invitations.new_password(request.user, user)  # type: ignore[arg-type]
    write(actor_behind(request), "password.link", kind="user", id=str(user.pk), name=user.username)
    return _with_link(request, token, user.username, invitations.PASSWORD_LIFETIME.days)

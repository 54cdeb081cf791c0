"""The people of this installation, for administrators: who has an account, and what helps one back in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import Actor, request_address, write
from webdock.people import factors
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


def context() -> dict[str, Any]:
    """Every account with its roles, and whether it has a second factor."""
    users = User.objects.order_by("username").select_related("webdock_factor")
    users = users.prefetch_related("groups", "webdock_roles__team")[:PEOPLE_MAX]
    return {"people": [_row(user) for user in users]}


def _row(user: User) -> dict[str, Any]:
    factor = getattr(user, "webdock_factor", None)
    roles = [(role.get_role_display(), role.team) for role in user.webdock_roles.all()]  # type: ignore[attr-defined]
    if user.is_superuser or user.is_staff:
        roles = [(_("administrator"), None)]
    elif not any(team is None for _role, team in roles):
        operates = any(group.name == OPERATORS for group in user.groups.all())
        roles.insert(0, (_("operator") if operates else _("viewer"), None))
    return {"user": user, "roles": roles, "factor": factor is not None and factor.confirmed_at is not None}


@requires("admin")
@never_cache
@require_GET
def people(request: HttpRequest) -> HttpResponse:
    return render(request, "people/people.html", context())


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

"""Pages of teams, for who administers one: its members and their roles, what it uses, and its quota.

Only administrators of the machine make teams and set quotas: a team that sets its own has none.
"""

from __future__ import annotations

import math
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import actor_of, write
from webdock.engines.documents import storable_text
from webdock.engines.pages import answer, page
from webdock.people import quotas, usage
from webdock.people.models import Belonging, Quota, Role, Team
from webdock.people.rights import requires
from webdock.people.roles import ENGINE_WIDE, RIGHTS
from webdock.people.standing import Person, standing

NAME_MAX_CHARS = 64
MEMBERS_MAX = 1000  # shown
WHOLE_MAX = 2**31 - 1
GIVEN = [right for right in RIGHTS if right not in ENGINE_WIDE]  # what a team can give


def _administered(user: Person, team: int) -> Team:
    """The team, for who administers it. Raises: Http404 for everybody else."""
    who = standing(user)
    found = Team.objects.filter(pk=team).first()
    if found is None or not (who.admin or team in who.administers):
        raise Http404
    return found


def _use(team: Team) -> quotas.Use:
    return quotas.use_of(Belonging.objects.filter(kind="container", team=team))


@requires("view")
@require_GET
async def team_list(request: HttpRequest) -> HttpResponse:
    """The teams one administers."""

    def read() -> dict[str, Any]:
        who = standing(request.user)
        teams = Team.objects.all() if who.admin else Team.objects.filter(pk__in=who.administers)
        rows = [
            {
                "team": team,
                "members": Role.objects.filter(team=team).values("user").distinct().count(),
                "use": _use(team),
                "quota": Quota.objects.filter(team=team).first(),
            }
            for team in teams
        ]
        return {"rows": rows, "admin": who.admin}

    return await page(request, "people/teams.html", await sync_to_async(read)())


@requires("view")
@require_GET
async def team_detail(request: HttpRequest, team: int) -> HttpResponse:
    """Members, roles, use and quota of one team."""
    await sync_to_async(_administered)(request.user, team)
    sizes = await usage.measured()

    def read() -> dict[str, Any]:
        found = _administered(request.user, team)
        roles = Role.objects.filter(team=found).select_related("user", "engine")[:MEMBERS_MAX]
        belongings = Belonging.objects.filter(team=found)
        return {
            "team": found,
            "roles": [(role, belongings.filter(owner=role.user).count()) for role in roles],
            "choices": Role.Name.choices,
            "rights_offered": [(right, RIGHTS[right]) for right in GIVEN],
            "gauges": usage.of_team(found.pk, sizes),
            "measuring": sizes is None,
            "quota": Quota.objects.filter(team=found).first(),
            "admin": standing(request.user).admin,
        }

    return await page(request, "people/team.html", await sync_to_async(read)())


@requires("view")
@require_POST
async def team_member(request: HttpRequest, team: int) -> HttpResponse:
    """Give a person a role in the team (username=, role=, rights=), in place of an earlier one."""
    actor = await actor_of(request)

    def work() -> str:
        found = _administered(request.user, team)
        name, role = storable_text(request.POST.get("username", "")).strip(), request.POST.get("role", "")
        rights = [right for right in request.POST.getlist("rights") if right in GIVEN]
        user = get_user_model().objects.filter(username=name, is_active=True).first()
        if user is None:
            return _("There is no account called %(name)s.") % {"name": name}
        if role not in Role.Name.values:
            return _("Choose a role of the list.")
        if role == Role.Name.CUSTOM and not rights:
            return _("Tick at least one right.")
        listed = rights if role == Role.Name.CUSTOM else []
        with transaction.atomic():
            Role.objects.filter(team=found, user=user).delete()
            Role.objects.create(team=found, user=user, role=role, rights=listed)
            detail = f"{name}: {', '.join(listed) or role}"
            write(actor, "team.member.set", kind="team", id=str(team), name=found.name, detail=detail)
        return ""

    error = await sync_to_async(work)()
    words = error or _("The role was given.")
    return await answer(request, not error, words, reverse("team-detail", args=[team]), status=400)


@requires("view")
@require_POST
async def team_member_remove(request: HttpRequest, team: int) -> HttpResponse:
    """Take a person (username=) out of the team; what they own stays theirs."""
    actor = await actor_of(request)

    def work() -> bool:
        found = _administered(request.user, team)
        name = request.POST.get("username", "")
        gone, _kinds = Role.objects.filter(team=found, user__username=name).delete()
        if gone:
            write(actor, "team.member.remove", kind="team", id=str(team), name=found.name, detail=name)
        return bool(gone)

    removed = await sync_to_async(work)()
    words = _("The person is no longer in the team.") if removed else _("No such person in the team.")
    return await answer(request, removed, words, reverse("team-detail", args=[team]), status=404)


@requires("admin")
@require_POST
async def team_make(request: HttpRequest) -> HttpResponse:
    """Make a team (name=)."""
    actor = await actor_of(request)

    def work() -> str:
        name = " ".join(storable_text(request.POST.get("name", "")).split())
        if not name or len(name) > NAME_MAX_CHARS:
            return _("name: from 1 to %(n)d characters") % {"n": NAME_MAX_CHARS}
        made, new = Team.objects.get_or_create(name=name)
        if not new:
            return _("There is a team of this name already.")
        write(actor, "team.make", kind="team", id=str(made.pk), name=name)
        return ""

    error = await sync_to_async(work)()
    return await answer(request, not error, error or _("The team was made."), "team-list", status=400)


@requires("admin")
@require_POST
async def team_quota(request: HttpRequest, team: int) -> HttpResponse:
    """Set what the team may have (containers=, memory_mib=, cpus=, disk_mib=); empty: not counted."""
    actor = await actor_of(request)

    def work() -> str:
        found = _administered(request.user, team)
        try:
            values = quota_of(request.POST)
        except ValueError as error:
            return str(error)
        Quota.objects.update_or_create(team=found, defaults=values)
        detail = "; ".join(f"{key} {value}" for key, value in values.items() if value is not None)
        write(actor, "team.quota.set", kind="team", id=str(team), name=found.name, detail=detail or "none")
        return ""

    error = await sync_to_async(work)()
    words = error or _("The quota was set.")
    return await answer(request, not error, words, reverse("team-detail", args=[team]), status=400)


def quota_of(form: Any) -> dict[str, int | float | None]:
    """The fields of a quota from a form. Raises: ValueError naming the field."""
    values: dict[str, int | float | None] = {}
    for field in quotas.FIELDS:
        text = form.get(field, "").strip()
        try:
            number = float(text) if field == "cpus" else int(text)
        except ValueError:
            number = -1
        if text and not (math.isfinite(number) and 0 <= number <= WHOLE_MAX):
            raise ValueError(_("%(field)s: expected a number from 0 on, or nothing") % {"field": field})
        values[field] = number if text else None
    return values

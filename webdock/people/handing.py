"""Hands containers, networks and volumes from one owner and team to others: who may, and the change itself.

An administrator hands over anything. Its owner, and whoever administers its team, hand a thing over within
the teams they make things for. Never asks the engine. Asks the database; call it from a thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from runtime.api.errors import Conflict, Forbidden
from webdock.people import quotas, viewer
from webdock.people.models import Belonging, Role, Team
from webdock.people.standing import Standing

RIGHT = {"container": "operate", "network": "networks", "volume": "volumes"}  # over what is handed over
OFFERED_MAX = 1000  # people in the form's list


@dataclass(frozen=True)
class Thing:
    """Something that can be handed over, and whose it is now."""

    kind: str
    id: str
    name: str
    owner_id: int | None = None
    team_id: int | None = None
    row: int | None = None  # None: it belongs to nobody, so everybody sees it
    owner: str = ""
    team: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)  # HostConfig of a container, for the quotas
    label: str = ""  # a container's claim


def thing(kind: str, id: str, name: str, *, host: Mapping[str, Any] | None = None, label: str = "") -> Thing:
    """The thing with its owner and team of this moment."""
    row = Belonging.objects.select_related("owner", "team").filter(kind=kind, object_id=id).first()
    if row is None:
        return Thing(kind, id, name, host=host or {}, label=label)
    return Thing(
        kind,
        id,
        name,
        row.owner_id,
        row.team_id,
        row.pk,
        row.owner.get_username() if row.owner is not None else "",
        row.team.name if row.team is not None else "",
        host or {},
        label,
    )


def may_hand(who: Standing, one: Thing) -> bool:
    """Whether this person decides whose the thing is; pure."""
    if who.admin:
        return True
    decides = one.owner_id == who.user_id or one.team_id in who.administers
    return one.row is not None and decides and RIGHT[one.kind] in who.over(one.owner_id, one.team_id)


def refusal(
    who: Standing, one: Thing, owner_id: int | None, team_id: int | None, members: Collection[int]
) -> str:
    """Why this person may not hand the thing to this owner and team; "" when they may. Pure.

    ``members``: ids of the people in the new team.
    """
    if who.admin:
        return ""
    if not may_hand(who, one):
        return _("You do not have the right to do this.")
    if owner_id is None and team_id is None:
        return _("Only administrators leave a thing to nobody.")
    if team_id not in (None, one.team_id) and "operate" not in who.teams.get(team_id or 0, ()):
        return _("You make nothing for that team.")
    if owner_id not in (None, one.owner_id, who.user_id) and owner_id not in members:
        return _("The new owner has to be in the team.")
    return ""


def hand(who: Standing, one: Thing, owner_id: int | None, team_id: int | None) -> None:
    """Write the new owner and team down; neither: it belongs to nobody, and everybody sees it.

    Raises: Forbidden also where it does not fit the quotas of who gets it; Conflict when somebody else
    changed it meanwhile.
    """
    members = set(Role.objects.filter(team_id=team_id).values_list("user_id", flat=True)) if team_id else ()
    words = refusal(who, one, owner_id, team_id, members)
    if words:
        raise Forbidden(words)
    if one.kind == "container":
        quotas.check(
            owner_id if owner_id != one.owner_id else None,
            team_id if team_id != one.team_id else None,
            one.host,
        )
    rows = Belonging.objects.filter(kind=one.kind, object_id=one.id)
    if one.row is None:
        name = one.label if one.kind == "container" else one.name
        fields = {"owner_id": owner_id, "team_id": team_id, "name": name}
        if owner_id is None and team_id is None:
            return
        _row, changed = Belonging.objects.get_or_create(kind=one.kind, object_id=one.id, defaults=fields)
    else:
        # Race: two at once must not both believe that theirs holds.
        before = rows.filter(pk=one.row, owner_id=one.owner_id, team_id=one.team_id)
        if owner_id is None and team_id is None:
            changed = bool(before.delete()[0])
        else:
            changed = bool(before.update(owner_id=owner_id, team_id=team_id))
    if not changed:
        raise Conflict(_("Somebody else changed whose it is meanwhile. Look again."))


def offered(who: Standing) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(people, teams) this person can choose from."""
    people = get_user_model().objects.filter(is_active=True)
    teams = Team.objects.all()
    if not who.admin:
        making = [team for team, rights in who.teams.items() if "operate" in rights]
        teams = teams.filter(pk__in=making)
        ids = set(Role.objects.filter(team_id__in=making).values_list("user_id", flat=True))
        people = people.filter(pk__in=ids | {who.user_id})
    named = people.order_by("username").values_list("pk", "username")[:OFFERED_MAX]
    return list(named), list(teams.values_list("pk", "name"))


def whose(kind: str, id: str) -> dict[str, Any]:
    """{"owner", "team", "held", "may_hand"} of one thing, for its page and who looks at it."""
    now = viewer.current()
    one = thing(kind, id, "")
    may = now is not None and may_hand(now.standing, one)
    return {"owner": one.owner, "team": one.team, "held": one.row is not None, "may_hand": may}

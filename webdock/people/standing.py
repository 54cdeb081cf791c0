"""What one person may do: with the things everybody shares, with those of each team, and with their own.

Asks the database; call it from a thread. A person's standing is read once per request or socket check and
kept on the user object, which lives no longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q

from webdock.people.models import Role
from webdock.people.roles import ENGINE_WIDE, OPERATOR, VIEWER, complete, rights_in

OPERATORS = "operators"  # the group whose members may start, stop and open shells

Person = AbstractBaseUser | AnonymousUser
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Standing:
    """The rights of one person on the engine the pages show."""

    user_id: int | None = None
    site: frozenset[str] = NOTHING  # over what belongs to nobody, and over the engine itself
    teams: dict[int, frozenset[str]] = field(default_factory=dict)  # over what belongs to a team
    administers: frozenset[int] = frozenset()  # teams whose members they choose

    @property
    def admin(self) -> bool:
        return "admin" in self.site

    @property
    def anywhere(self) -> frozenset[str]:
        """What they may do to something at least: the door of every page."""
        return complete(self.site.union(*self.teams.values()))

    def over(self, owner_id: int | None, team_id: int | None) -> frozenset[str]:
        """The rights over a thing with this owner and team; empty: for this person it does not exist."""
        if self.admin:
            return complete(self.site)
        found = NOTHING
        if owner_id is not None and owner_id == self.user_id:
            found |= self.anywhere
        if team_id is not None:
            found |= self.teams.get(team_id, NOTHING)
        return complete(found)


def standing(user: Person) -> Standing:
    """Who this person is today: nobody when inactive or logged out."""
    if not user.is_authenticated or not user.is_active:
        return Standing()
    kept: Standing | None = getattr(user, "_webdock_standing", None)
    if kept is None:
        kept = _read(user)
        user._webdock_standing = kept  # type: ignore[union-attr]
    return kept


def _read(user: Person) -> Standing:
    if user.is_superuser or user.is_staff:  # type: ignore[union-attr]
        return Standing(user.pk, complete(rights_in("admin")))
    site: frozenset[str] | None = None
    teams: dict[int, frozenset[str]] = {}
    administers: set[int] = set()
    here = Q(engine=None) | Q(engine__alias=next(iter(settings.ENGINES)))
    for role in Role.objects.filter(here, user_id=user.pk):
        rights = rights_in(role.role, role.rights)
        if role.team_id is None:
            site = (site or NOTHING) | rights
        else:
            teams[role.team_id] = complete(teams.get(role.team_id, NOTHING) | (rights - ENGINE_WIDE))
            if "admin" in rights:
                administers.add(role.team_id)
    if site is None:  # no role was written down for them
        operates = user.groups.filter(name=OPERATORS).exists()  # type: ignore[union-attr]
        site = OPERATOR if operates else VIEWER
    return Standing(user.pk, complete(site), teams, frozenset(administers))

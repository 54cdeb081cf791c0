"""Gives an account a role: of the machine, or of a team. From a thread."""

from __future__ import annotations

from django.contrib.auth.models import Group, User

from webdock.people.models import Role, Team
from webdock.people.standing import OPERATORS


def give(user: User, role: str, team: Team | None = None) -> None:
    """Let a person be "viewer", "operator" or "admin" of the machine, or one of the former of a team."""
    if team is not None:
        Role.objects.update_or_create(
            user=user, team=team, engine=None, defaults={"role": role, "rights": []}
        )
    elif role == Role.Name.ADMIN:
        user.is_staff = user.is_superuser = True
        user.save(update_fields=["is_staff", "is_superuser"])
    elif role == Role.Name.OPERATOR:
        user.groups.add(Group.objects.get_or_create(name=OPERATORS)[0])

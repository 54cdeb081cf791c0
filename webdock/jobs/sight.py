"""Who may see and cancel a job: rights over what it works on.

What belongs to somebody is theirs; what is nobody's container, network or volume asks for rights over the
machine; anything else (an image, a registry) for the right over anything at all.
"""

from __future__ import annotations

from typing import Protocol

from django.db.models import Q

from webdock.people.belongings import KINDS
from webdock.people.standing import Standing


class Watched(Protocol):
    """What a running job and its row have in common here."""

    object_kind: str
    sees: str
    cancels: str
    owner_id: int | None
    team_id: int | None


def rights_over(who: Standing, job: Watched) -> frozenset[str]:
    """The rights of a person over what the job works on."""
    if job.owner_id is not None or job.team_id is not None:
        return who.over(job.owner_id, job.team_id)
    return who.site if job.object_kind in KINDS else who.anywhere


def sees(who: Standing, job: Watched) -> bool:
    return job.sees in rights_over(who, job)


def may_cancel(who: Standing, job: Watched) -> bool:
    return bool(job.cancels) and job.cancels in rights_over(who, job)


def seen_rows(who: Standing) -> Q:
    """``sees`` as a condition on rows."""
    if who.admin:
        return Q()
    nobodys = Q(owner_id=None, team_id=None)
    found = nobodys & ~Q(object_kind__in=KINDS) & Q(sees__in=who.anywhere)
    found |= nobodys & Q(object_kind__in=KINDS, sees__in=who.site)
    found |= Q(owner_id=who.user_id, sees__in=who.anywhere)
    for team_id, rights in who.teams.items():
        found |= Q(team_id=team_id, sees__in=rights)
    return found

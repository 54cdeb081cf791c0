"""Whose containers, networks and volumes are, and what follows: what a viewer sees and may do.

A thing without a row belongs to nobody and is everybody's, as far as their role for the machine goes. One
with a row is its owner's and its team's; for others it is not there. Rows are written here alone, never from
labels: anybody can write a label. Asks the database; call it from a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from runtime.api.errors import Forbidden
from webdock.people import quotas, viewer
from webdock.people.models import Belonging
from webdock.people.roles import NAMES
from webdock.people.standing import Person, Standing, standing

KINDS = ("container", "network", "volume")
PREDEFINED = ("bridge", "host", "none")  # networks that are always there, for everybody
CLAIM_LABEL = "webdock.claim"  # of a container: which row is about it
CLAIM = "claim:"

CLAIM_BYTES = 16
CLAIM_LIFETIME = timedelta(days=1)  # longer than an engine is away


def _own(who: Standing) -> Q:
    """Rows that this person sees."""
    seeing = [team for team, rights in who.teams.items() if "view" in rights]
    return Q(owner_id=who.user_id) | Q(team_id__in=seeing)


def unseen(kind: str, field: str) -> Q | None:
    """What to exclude so that only ids in ``field`` are left that the viewer sees; None: nothing."""
    now = viewer.current()
    if now is None or now.standing.admin:
        return None
    who = now.standing
    belongings = Belonging.objects.filter(kind=kind)
    if "view" in who.site:
        return Q(**{f"{field}__in": belongings.exclude(_own(who)).values("object_id")})
    return ~Q(**{f"{field}__in": belongings.filter(_own(who)).values("object_id")})


def seen(kind: str, rows: QuerySet[Any], field: str) -> QuerySet[Any]:
    """The rows whose id in ``field`` the viewer sees; all of them without a viewer."""
    others = unseen(kind, field)
    return rows if others is None else rows.exclude(others)


def sight(kind: str) -> Callable[[str], bool]:
    """Whether the viewer sees the thing with this id, for lists that are no rows."""
    now = viewer.current()
    if now is None or now.standing.admin:
        return lambda id: True
    who = now.standing
    belongings = Belonging.objects.filter(kind=kind)
    if "view" in who.site:
        hidden = set(belongings.exclude(_own(who)).values_list("object_id", flat=True))
        return lambda id: id not in hidden
    own = set(belongings.filter(_own(who)).values_list("object_id", flat=True))
    return lambda id: id in own


def others_among(kind: str, ids: set[str]) -> set[str]:
    """Which of these ids, or names, are not there for the viewer."""
    now = viewer.current()
    if now is None or now.standing.admin or not ids:
        return set()
    who = now.standing
    rows = Belonging.objects.filter(kind=kind)
    if "view" in who.site:
        named = rows.exclude(_own(who)).filter(Q(object_id__in=ids) | Q(name__in=ids))
        return ids & {text for row in named.values_list("object_id", "name") for text in row}
    named = rows.filter(_own(who)).filter(Q(object_id__in=ids) | Q(name__in=ids))
    return ids - {text for row in named.values_list("object_id", "name") for text in row}


def hidden(kind: str) -> int:
    """How many things of this kind belong to people the viewer has nothing to do with."""
    now = viewer.current()
    if now is None or now.standing.admin:
        return 0
    return Belonging.objects.filter(kind=kind).exclude(_own(now.standing)).count()


def owned(kind: str, name: str) -> QuerySet[Any, Any]:
    """Ids of the things of this kind that belong to the person or the team of this name."""
    rows = Belonging.objects.filter(Q(owner__username=name) | Q(team__name=name), kind=kind)
    return rows.values("object_id")


def owners(kind: str, most: int) -> list[str]:
    """Names of people and teams that own what the viewer sees of this kind, at most so many."""
    rows = Belonging.objects.filter(kind=kind)
    now = viewer.current()
    if now is not None and not now.standing.admin:
        rows = rows.filter(_own(now.standing))
    found: set[str] = set()
    for field in ("owner__username", "team__name"):
        found.update(filter(None, rows.order_by(field).values_list(field, flat=True).distinct()[:most]))
    return sorted(found)[:most]


def rights_over(user: Person, kind: str, id: str) -> frozenset[str]:
    """What this person may do to one thing; empty: it is not there for them."""
    who = standing(user)
    if who.admin:
        return NAMES
    row = Belonging.objects.filter(kind=kind, object_id=id).first()
    return who.site if row is None else who.over(row.owner_id, row.team_id)


def viewer_rights(kind: str, id: str) -> frozenset[str]:
    """``rights_over`` for who is looking; everything without a viewer."""
    now = viewer.current()
    return NAMES if now is None else rights_over(now.user, kind, id)


def ambiguous(kind: str, ref: str) -> bool:
    """Whether a network's name or the beginning of an id could mean one that belongs to somebody."""
    return Belonging.objects.filter(Q(name=ref) | Q(object_id__startswith=ref), kind=kind).exists()


def team_for(who: Standing, wanted: str) -> int | None:
    """The team of a new thing: the one asked for by name, or the one that lets this person make it.

    Raises: KeyError when they may make nothing for the team they name.
    """
    from webdock.people.models import Team

    making = [team for team, rights in who.teams.items() if "operate" in rights]
    if wanted:
        found = Team.objects.filter(name=wanted).values_list("pk", flat=True).first()
        if found is None or not (found in making or who.admin):
            raise KeyError(wanted)
        return found
    return None if "operate" in who.site or not making else min(making)


def claim(kind: str, owner_id: int | None, team_id: int | None, id: str, name: str = "") -> None:
    """Write down whose a thing is."""
    Belonging.objects.update_or_create(
        kind=kind, object_id=id, defaults={"owner_id": owner_id, "team_id": team_id, "name": name}
    )


def claim_container(
    user: Person, team_id: int | None, before: str, host: Mapping[str, Any], label: str = ""
) -> str:
    """Write down whose the container is that is about to be made; the label that will tell which it became.

    ``before``: the label of the one it is made after. Whoever may operate that one makes this one its
    owner's and team's as well, so a container that is made anew does not change hands. ``label``: what it
    shall be, for who wants to find the container again when nobody heard whether it was made.
    """
    owner_id = user.pk
    old = Belonging.objects.filter(kind="container", name=before[:64]).first() if before else None
    if old is not None and "operate" in rights_over(user, "container", old.object_id):
        owner_id, team_id = old.owner_id, old.team_id
    quotas.check(owner_id, team_id, host)
    return _claim_next(owner_id, team_id, host, label)


def claim_successor(user: Person, before_id: str, host: Mapping[str, Any]) -> str:
    """As ``claim_container``, for what takes the place of the container with this id and is whose that one
    is; "" when that is nobody's. In the quotas it counts in its place.

    Raises: Forbidden also for who may not operate that one.
    """
    if "operate" not in rights_over(user, "container", before_id):
        raise Forbidden(_("You do not have the right to do this."))
    old = Belonging.objects.filter(kind="container", object_id=before_id).first()
    if old is None:
        return ""
    quotas.check(old.owner_id, old.team_id, host, instead_of=before_id)
    return _claim_next(old.owner_id, old.team_id, host)


def claim_volume(id: str, label: str) -> None:
    """A volume that comes into being with the container that has this claim is whose that one is."""
    # Race: the projection may have seen the container already; the claim is its row's name before and after.
    row = Belonging.objects.filter(kind="container", name=label).first() if label else None
    if row is not None:
        claim("volume", row.owner_id, row.team_id, id)


def _claim_next(owner_id: int | None, team_id: int | None, host: Mapping[str, Any], label: str = "") -> str:
    label = label or secrets.token_hex(CLAIM_BYTES)
    quotas.promise(CLAIM + label, host)
    old_claims = Belonging.objects.filter(kind="container", object_id__startswith=CLAIM)
    old_claims.filter(made_at__lt=timezone.now() - CLAIM_LIFETIME).delete()  # of what never came to be
    claim("container", owner_id, team_id, CLAIM + label, label)
    return label


def check_update(id: str, host: Mapping[str, Any]) -> None:
    """Pass when a container with these new limits fits its owner's and team's quotas. Raises: Forbidden."""
    row = Belonging.objects.filter(kind="container", object_id=id).first()
    if row is not None:
        quotas.check_limits(row.owner_id, row.team_id, host, id)
        quotas.promise(id, host)


def settle(label: str, id: str) -> None:
    """A container with this claim in its labels was seen: the claim is about this id. Once only."""
    waiting = Belonging.objects.filter(kind="container", object_id=CLAIM + label[:64])
    if label and not Belonging.objects.filter(kind="container", object_id=id).exists():
        waiting.update(object_id=id)
        quotas.promised_is(CLAIM + label[:64], id)


def drop(kind: str, id: str) -> None:
    """The thing is gone, and its name may be anybody's again."""
    Belonging.objects.filter(kind=kind, object_id=id).delete()

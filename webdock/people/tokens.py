"""API tokens: made once shown once, kept as digests, looked up with every request. From a thread."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from webdock.people.models import ApiToken, token_digest
from webdock.people.roles import RIGHTS, complete
from webdock.people.standing import Standing, standing

PREFIX = "wdk_"  # so that scanners of leaked secrets can know one
TOKEN_BYTES = 32
START_CHARS = 8
DAYS_MAX = 366
PER_PERSON_MAX = 50
NOTED = timedelta(minutes=1)  # how exactly the last use is known


@dataclass(frozen=True)
class Bearer:
    """Who a request with a token is from, with no more rights than the token has."""

    user: AbstractBaseUser
    token_id: int
    name: str


def make(user: AbstractBaseUser, name: str, rights: list[str], days: int) -> str:
    """Write a token down and return it; it can never be shown again."""
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    ApiToken.objects.create(
        user=user,
        name=name,
        digest=token_digest(token),
        start=token[:START_CHARS],
        rights=sorted(set(rights) & set(RIGHTS)),
        expires_at=timezone.now() + timedelta(days=min(days, DAYS_MAX)),
    )
    return token


def limited(who: Standing, rights: frozenset[str]) -> Standing:
    """The same person, but only with these rights."""
    allowed = complete(rights)
    teams = {team: have & allowed for team, have in who.teams.items()}
    return Standing(who.user_id, who.site & allowed, teams)


def bearer(token: str, address: str) -> Bearer | None:
    """Who holds this token now; None when it is none, ran out, or its person is not active."""
    if not token.startswith(PREFIX):
        return None
    now = timezone.now()
    alive = ApiToken.objects.select_related("user").filter(expires_at__gt=now)
    row = alive.filter(digest=token_digest(token)).first()
    if row is None or not row.user.is_active:
        return None
    if row.used_at is None or now - row.used_at > NOTED or row.used_from != address:
        ApiToken.objects.filter(pk=row.pk).update(used_at=now, used_from=address[:64])
    who = standing(row.user)
    if row.rights:
        row.user._webdock_standing = limited(who, frozenset(row.rights))
    return Bearer(row.user, row.pk, row.name)

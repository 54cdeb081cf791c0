"""One-time links by which people choose a password themselves: invited, or having forgotten theirs.

Owns making, judging and using them up; a link is kept as a digest. It knows no request. From a thread.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from webdock.people.granting import give
from webdock.people.models import SETUP_TOKEN_BYTES, Invitation, Role, Team, token_digest
from webdock.people.sessions import end_sessions
from webdock.people.standing import standing

LIFETIME = timedelta(days=7)
PASSWORD_LIFETIME = timedelta(days=1)
OPEN_MAX = 200
ROLES = (Role.Name.VIEWER, Role.Name.OPERATOR, Role.Name.ADMIN)


class UsedUp(Exception):
    """Somebody was faster, or the name was taken meanwhile."""


def role_words(role: str, team: Team | None) -> str:
    """What is written down of a role: "operator of shop"."""
    return f"{role} of {team.name}" if team else role


def _open() -> list[Invitation]:
    alive = Invitation.objects.filter(used_at=None, expires_at__gt=timezone.now())
    return list(alive.select_related("user", "team", "made_by")[:OPEN_MAX])


def open_ones() -> list[Invitation]:
    """The links that work now, newest first."""
    return [link for link in _open() if _counts(link)]


def _counts(link: Invitation) -> bool:
    """Whether who made it is still an administrator, and whom it is for still active."""
    return standing(link.made_by).admin and (link.user is None or link.user.is_active)


def invite(by: User, name: str, role: str, team: Team | None) -> str:
    """Make a link for an account of this name; earlier ones for it end. The token, which is stored nowhere.

    Raises: ValidationError.
    """
    if role not in ROLES:
        raise ValidationError(_("role: choose one"))
    if team is not None and role == Role.Name.ADMIN:
        raise ValidationError(_("team: an administrator is one of the whole machine, not of a team"))
    User(username=name).clean_fields(exclude=["password"])
    if User.objects.filter(username__iexact=name).exists():
        raise ValidationError(_("name: there is an account %(name)s already"), params={"name": name})
    Invitation.objects.filter(user=None, username__iexact=name, used_at=None).delete()
    return _make(by, LIFETIME, username=name, role=role, team=team)


def new_password(by: User, user: User) -> str:
    """Make a link for a new password of this account; earlier ones end. The token."""
    Invitation.objects.filter(user=user, used_at=None).delete()
    return _make(by, PASSWORD_LIFETIME, username=user.username, user=user)


def _make(by: User, lifetime: timedelta, **fields: object) -> str:
    token = secrets.token_urlsafe(SETUP_TOKEN_BYTES)
    Invitation.objects.create(
        digest=token_digest(token), made_by=by, expires_at=timezone.now() + lifetime, **fields
    )
    return token


def revoke(number: int) -> str | None:
    """End a link; whom it was for, None when it was used or gone."""
    with transaction.atomic():
        link = Invitation.objects.filter(pk=number, used_at=None).first()
        if link is None or not Invitation.objects.filter(pk=number, used_at=None).delete()[0]:
            return None
    return link.username


def usable(digest: str) -> Invitation | None:
    """The link with this digest while it works."""
    link = Invitation.objects.select_related("user", "team", "made_by").filter(
        digest=digest, used_at=None, expires_at__gt=timezone.now()
    )
    found = link.first()
    return found if found is not None and _counts(found) else None


def accept(link: Invitation, user: User) -> User:
    """Use the link up for this account, whose password was set and not yet saved; the saved account.

    Raises: UsedUp, and nothing was changed.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            # Race: the same link in two windows, or revoked just now.
            if not Invitation.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(
                used_at=now
            ):
                raise UsedUp
            if link.user is not None:
                user.save(update_fields=["password"])
                end_sessions(user.pk)
            else:
                user.save(force_insert=True)
                give(user, link.role, link.team)
    except IntegrityError:
        raise UsedUp from None
    return user

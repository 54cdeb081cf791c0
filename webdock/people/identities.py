"""Whose account an identity of a provider is, and which roles its groups give. From a thread."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from webdock.oidc import Provider
from webdock.people.granting import give
from webdock.people.models import Identity, Role, Team
from webdock.people.standing import OPERATORS

Roles = list[tuple[str, str]]  # role, team or ""


class Refused(Exception):
    """Nobody comes in with this identity: words for the person, and for the audit log."""

    def __init__(self, words: str, detail: str) -> None:
        super().__init__(detail)
        self.words, self.detail = words, detail


def roles_of(provider: Provider, claims: dict[str, Any]) -> Roles:
    """What a person's groups give; without a table everybody is a viewer. Empty: no role at all."""
    if not provider.roles:
        return [("viewer", "")]
    groups = claims.get(provider.groups_claim)
    named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return sorted(
        {provider.roles[group] for group in named if isinstance(group, str) and group in provider.roles}
    )


def role_words(roles: Roles) -> str:
    """ "operator of shop, viewer"."""
    return ", ".join(f"{role} of {team}" if team else role for role, team in roles)


def account_of(provider: Provider, claims: dict[str, Any]) -> tuple[User, str]:
    """The account of who these claims are about, and what was changed for it ("" mostly). Raises: Refused."""
    known = Identity.objects.select_related("user").filter(issuer=provider.issuer, subject=claims["sub"])
    identity = known.first()
    if identity is None:
        return _made(provider, claims)
    user = identity.user
    if not user.is_active:
        raise Refused(_("This account is disabled."), f"{user.username}: disabled")
    if not identity.managed or not provider.roles:
        return user, ""
    roles = _strongest(_some(roles_of(provider, claims), user.username))
    with transaction.atomic():
        if _now(user) == roles:
            return user, ""
        _replace(user, roles)
    return user, f"roles: {role_words(roles) or 'viewer'}"


def connect(provider: Provider, claims: dict[str, Any], user: User) -> None:
    """Let an identity be this account's, which keeps its roles. Raises: Refused."""
    try:
        with transaction.atomic():
            Identity.objects.create(issuer=provider.issuer, subject=claims["sub"], user=user, managed=False)
    except IntegrityError:
        raise Refused(
            _("That identity belongs to an account already, or yours has one."),
            "identity or account is connected",
        ) from None


def _made(provider: Provider, claims: dict[str, Any]) -> tuple[User, str]:
    name = claims.get(provider.username_claim)
    name = name.strip() if isinstance(name, str) else ""
    if provider.unknown != "create":
        words = _(
            "Nobody here has this identity. Log in with your password and connect it under “Your account”."
        )
        raise Refused(words, f"unknown identity {name or claims['sub']!r}")
    roles = _strongest(_some(roles_of(provider, claims), name))
    user = User(username=name)
    user.set_unusable_password()
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError:
        raise Refused(_("The provider tells no name that an account can have."), f"name {name!r}") from None
    # An account of that name may be anybody's: names can be chosen at many providers.
    taken = Refused(_("The name %(name)s is taken here.") % {"name": name}, f"name {name!r} is taken")
    if User.objects.filter(username__iexact=name).exists():
        raise taken
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            Identity.objects.create(issuer=provider.issuer, subject=claims["sub"], user=user, managed=True)
            _replace(user, roles)
    except IntegrityError:  # Race: the same person in two windows
        raise taken from None
    return user, f"made; {role_words(roles) or 'viewer'}"


def _some(roles: Roles, name: str) -> Roles:
    if not roles:
        raise Refused(_("None of your groups has a role here."), f"{name}: no group has a role")
    return roles


def _strongest(roles: Roles) -> Roles:
    """One for the machine and one for each team; everybody views, and an administrator needs nothing else."""
    rank = {
        role: number for number, role in enumerate((Role.Name.VIEWER, Role.Name.OPERATOR, Role.Name.ADMIN))
    }
    best: dict[str, str] = {}
    for role, team in sorted(roles, key=lambda one: rank.get(one[0], 0)):
        best[team] = role
    if best.get("") == Role.Name.ADMIN:
        return [("admin", "")]
    return sorted((role, team) for team, role in best.items() if team or role != Role.Name.VIEWER)


def _now(user: User) -> Roles:
    """The roles as they are written down."""
    if user.is_superuser or user.is_staff:
        return [("admin", "")]
    rows = Role.objects.filter(user=user).select_related("team")
    found = {(role.role, role.team.name if role.team else "") for role in rows}
    if user.groups.filter(name=OPERATORS).exists():
        found.add(("operator", ""))
    return sorted(found)


def _replace(user: User, roles: Roles) -> None:
    """Exactly these roles."""
    Role.objects.filter(user=user).delete()
    user.groups.remove(*Group.objects.filter(name=OPERATORS))
    user.is_staff = user.is_superuser = False
    user.save(update_fields=["is_staff", "is_superuser"])
    for role, team in roles:
        give(user, role, Team.objects.get_or_create(name=team)[0] if team else None)

"""Teams and roles, one-time links for the first administrator, and failed logins for the throttle.

Users, groups and sessions are Django's own.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

SETUP_LINK_LIFETIME = timedelta(hours=1)
SETUP_TOKEN_BYTES = 32


def token_digest(token: str) -> str:
    """What is stored of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


class Team(models.Model):
    """People who share containers, networks and volumes."""

    name = models.CharField(_("name"), max_length=64, unique=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("team")
        verbose_name_plural = _("teams")

    def __str__(self) -> str:
        return self.name


class Role(models.Model):
    """What one person may do with a team's things, or without a team with those that belong to nobody.

    A person without a role of the second kind operates when in the group "operators", and else views.
    """

    class Name(models.TextChoices):
        VIEWER = "viewer", _("viewer")
        OPERATOR = "operator", _("operator")
        ADMIN = "admin", _("administrator")
        CUSTOM = "custom", _("only the rights listed")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="webdock_roles",
        verbose_name=_("person"),
    )
    team = models.ForeignKey(
        Team, null=True, blank=True, on_delete=models.CASCADE, related_name="roles", verbose_name=_("team")
    )  # None: what belongs to nobody, and the engine itself
    engine = models.ForeignKey(
        "engines.Engine",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("engine"),
    )  # None: every engine
    role = models.CharField(_("role"), max_length=16, choices=Name.choices, default=Name.VIEWER)
    rights = models.JSONField(_("rights"), default=list, blank=True)  # of "custom": ["view", "logs"]

    class Meta:
        ordering = ["user__username", "team__name"]
        verbose_name = _("role")
        verbose_name_plural = _("roles")

    def __str__(self) -> str:
        return f"{self.user}: {self.role}"


class Belonging(models.Model):
    """Whose a container, network or volume is. Neither owner nor team: administrators alone see it."""

    kind = models.CharField(max_length=16)
    object_id = models.CharField(max_length=255)  # of a volume its name; "claim:…" while it is being made
    name = models.CharField(max_length=255, blank=True, default="")  # of a network: it is called by both
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "object_id"], name="one_belonging")]
        indexes = [
            models.Index(fields=["kind", "name"], name="belonging_name"),  # a network called by its name
            models.Index(fields=["owner", "kind"], name="belonging_owner"),  # what is one person's
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.object_id[:12]}"


class SetupLink(models.Model):
    """A link that lets its holder make one administrator account, once, for an hour."""

    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    @classmethod
    def issue(cls) -> str:
        """Make a link, end all earlier unused ones, and return the token (it is stored nowhere)."""
        now = timezone.now()
        cls.objects.filter(used_at=None, expires_at__gt=now).update(expires_at=now)
        token = secrets.token_urlsafe(SETUP_TOKEN_BYTES)
        cls.objects.create(digest=token_digest(token), expires_at=now + SETUP_LINK_LIFETIME)
        return token

    @classmethod
    def usable(cls, digest: str) -> SetupLink | None:
        """The link with this digest while it is unused and not expired."""
        return cls.objects.filter(digest=digest, used_at=None, expires_at__gt=timezone.now()).first()

    def claim(self) -> bool:
        """Use the link up; False when somebody else was faster or it expired meanwhile."""
        now = timezone.now()
        return bool(
            SetupLink.objects.filter(pk=self.pk, used_at=None, expires_at__gt=now).update(used_at=now)
        )


class Invitation(models.Model):
    """A link that lets its holder choose a password once: of a new account, or a new one of an old one."""

    digest = models.CharField(max_length=64, unique=True)
    username = models.CharField(max_length=150)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )  # whose password is forgotten; None: the account is still to be made
    role = models.CharField(max_length=16, blank=True, default="")  # of the new account
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"link for {self.username}"


class FailedLogin(models.Model):
    """One failed attempt, kept as long as the longest window of the throttle."""

    at = models.DateTimeField(auto_now_add=True)
    username = models.CharField(max_length=150)
    address = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["username", "at"], name="failed_login_user"),  # throttle by account
            models.Index(fields=["address", "at"], name="failed_login_address"),  # throttle by address
        ]


class SecondFactor(models.Model):
    """What a person's phone computes codes from; it counts once a first code was typed."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webdock_factor"
    )
    sealed = models.BinaryField()  # the shared secret; sealing.py opens it
    made_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0)  # of the newest code that was taken: none is taken twice

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class RecoveryCode(models.Model):
    """One of the codes that stand in for a lost phone, each once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    used_at = models.DateTimeField(null=True, blank=True)


class Identity(models.Model):
    """Whose account somebody at an identity provider has here."""

    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)  # "sub": never given to anybody else there
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webdock_identity"
    )
    managed = models.BooleanField(default=False)  # made by the provider's word, which also gives the roles
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="one_identity")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class ApiToken(models.Model):
    """A person's key to the Engine API over the web port: theirs, or less, until a day."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webdock_tokens"
    )
    name = models.CharField(_("name"), max_length=64)
    digest = models.CharField(max_length=64, unique=True)
    start = models.CharField(max_length=12)  # shown, so that people know which is which
    rights = models.JSONField(default=list, blank=True)  # empty: all its person has
    made_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_from = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return f"{self.start}… {self.name}"


class Quota(models.Model):
    """How much one person, or one team, may have made at a time; empty: as much as the engine takes."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="webdock_quota",
        verbose_name=_("person"),
    )
    team = models.OneToOneField(
        Team, null=True, blank=True, on_delete=models.CASCADE, related_name="quota", verbose_name=_("team")
    )
    containers = models.PositiveIntegerField(_("containers"), null=True, blank=True)
    memory_mib = models.PositiveIntegerField(_("memory in MiB"), null=True, blank=True)  # limits added up
    cpus = models.FloatField(_("CPUs"), null=True, blank=True)  # limits added up
    disk_mib = models.PositiveIntegerField(_("disk in MiB"), null=True, blank=True)  # what is written

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        constraints = [
            models.CheckConstraint(condition=models.Q(user=None) ^ models.Q(team=None), name="quota_of_one")
        ]

    def __str__(self) -> str:
        return f"{self.user or self.team}"

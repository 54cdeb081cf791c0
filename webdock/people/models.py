"""One-time links for the first administrator, and failed logins for the throttle.

Users, groups and sessions are Django's own.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import models
from django.utils import timezone

SETUP_LINK_LIFETIME = timedelta(hours=1)
SETUP_TOKEN_BYTES = 32


def token_digest(token: str) -> str:
    """What is stored of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


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

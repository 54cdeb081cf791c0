"""Which engines there are, what was asked of them (audit), and the counter that orders what was seen.

Nothing about containers or images. Addresses of engines are settings (ENGINES), never rows.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _


class Engine(models.Model):
    """One Engine API endpoint and what the sync last saw of it."""

    class Kind(models.TextChoices):
        NATIVE = "native", _("webdock")
        DOCKER = "docker", _("Docker Engine API")

    # ours
    alias = models.SlugField(unique=True)
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)  # Info.ID is copied with a clone
    # observed
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.NATIVE)
    connected = models.BooleanField(default=False)
    last_seen = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")  # why it is not connected, for people
    version = models.CharField(max_length=64, blank=True, default="")
    network_count = models.PositiveIntegerField(default=0)
    volume_count = models.PositiveIntegerField(default=0)
    info = models.JSONField(default=dict, blank=True)  # GET /info at the last connect

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.alias


def current_engine() -> Engine:
    """The engine pages show: the first of ENGINES; its row is made when it is not there yet."""
    engine, _made = Engine.objects.get_or_create(alias=next(iter(settings.ENGINES)))
    return engine


class Revision(models.Model):
    """One growing number per kind of row; ``next_revision`` hands them out in commit order."""

    kind = models.CharField(max_length=32, unique=True)
    value = models.BigIntegerField(default=0)


def next_revision(kind: str, count: int = 1) -> int:
    """The next number for rows of this kind; with ``count`` the last of that many in a row.

    Race: the counter's row stays locked until the caller's transaction ends, so numbers become visible in
    order and a cursor never jumps over one that is committed later.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("next_revision: expected to be called inside a transaction")
    counter = Revision.objects.filter(kind=kind)
    if not counter.update(value=F("value") + count):
        Revision.objects.get_or_create(kind=kind)
        counter.update(value=F("value") + count)
    return counter.values_list("value", flat=True).get()


def last_revision(kind: str) -> int:
    """The newest number given out for this kind, 0 before the first."""
    return Revision.objects.filter(kind=kind).values_list("value", flat=True).first() or 0


class AuditEntry(models.Model):
    """One thing somebody asked for: written before the call, completed after it."""

    class Result(models.TextChoices):
        ASKED = "asked", _("asked")  # the answer is not known (yet)
        OK = "ok", _("done")
        REFUSED = "refused", _("refused")  # 4xx: state, name, policy or rights stood against it
        FAILED = "failed", _("failed")  # 5xx or no answer

    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    username = models.CharField(max_length=150, blank=True, default="")  # outlives the account
    address = models.CharField(max_length=64, blank=True, default="")
    engine = models.CharField(max_length=50, blank=True, default="")
    action = models.CharField(max_length=64)  # "container.stop"
    object_kind = models.CharField(max_length=32, blank=True, default="")
    object_id = models.CharField(max_length=128, blank=True, default="")
    object_name = models.CharField(max_length=255, blank=True, default="")
    result = models.CharField(max_length=16, choices=Result.choices, default=Result.ASKED)
    detail = models.TextField(blank=True, default="")  # arguments without secrets, then the refusal's words
    duration_ms = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        indexes = [
            models.Index(fields=["object_id", "-id"], name="audit_object"),  # one container's history
            models.Index(fields=["username", "-id"], name="audit_user"),  # the page's user filter
            models.Index(fields=["action", "-id"], name="audit_action"),  # the page's action filter
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name or self.object_id[:12]}"

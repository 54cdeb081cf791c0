"""Forgets what has run out: sessions, setup links, old rows of the audit trail."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from webdock.engines.models import AuditEntry
from webdock.engines.threads import in_thread
from webdock.people.models import ApiToken, Belonging, Invitation, SetupLink

CLEAN_S = 6 * 3600.0
RAN_OUT_SHOWN = timedelta(days=30)  # so that people see which token it was that stopped working


async def clean() -> None:
    """A few times a day until cancelled."""
    while True:
        await forget()
        await asyncio.sleep(CLEAN_S)


@in_thread
def forget() -> None:
    """Once, now."""
    now = timezone.now()
    Session.objects.filter(expire_date__lt=now).delete()
    SetupLink.objects.filter(expires_at__lt=now - timedelta(days=1)).delete()
    Invitation.objects.filter(expires_at__lt=now - timedelta(days=1)).delete()
    ApiToken.objects.filter(expires_at__lt=now - RAN_OUT_SHOWN).delete()
    # Events and audit rows about a container that is gone stay its owner's alone for as long as they last.
    old = Belonging.objects.filter(kind="container", made_at__lt=now - timedelta(days=settings.AUDIT_DAYS))
    there = apps.get_model("containers_app", "Container").everything.values("container_id")
    old.exclude(object_id__in=there).delete()
    AuditEntry.objects.filter(at__lt=now - timedelta(days=settings.AUDIT_DAYS)).delete()

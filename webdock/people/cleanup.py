"""Forgets what has run out: sessions, setup links, old rows of the audit trail."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from webdock.engines.models import AuditEntry
from webdock.engines.threads import in_thread
from webdock.people.models import SetupLink

CLEAN_S = 6 * 3600.0


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
    AuditEntry.objects.filter(at__lt=now - timedelta(days=settings.AUDIT_DAYS)).delete()

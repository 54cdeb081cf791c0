"""The audit log's rows of a span of time as JSON lines: `webdock audit compare` runs this as the web user."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db.models import Q

from webdock.engines.audit_views import row_of
from webdock.engines.models import AuditEntry

BEFORE_S = 86400.0  # what began then may still have asked within the span
OPENINGS = ("container.shell", "container.attach", "container.exec", "container.exec.start")
BATCH_ROWS = 1000


class Command(BaseCommand):
    help = "Print the audit log's rows of the engine of this machine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=float, required=True)  # seconds since 1970
        parser.add_argument("--until", type=float, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """First how many days are kept, then the rows, the oldest first; terminals also from long before."""
        since = datetime.fromtimestamp(max(0.0, options["since"] - BEFORE_S), UTC)
        until = datetime.fromtimestamp(options["until"], UTC)
        self.stdout.write(json.dumps({"days": settings.AUDIT_DAYS}))
        own = f"unix://{settings.WEBDOCK_RUN}/web.sock"
        aliases = [alias for alias, url in settings.ENGINES.items() if url == own]
        rows = AuditEntry.objects.filter(engine__in=[*aliases, ""], at__lte=until).order_by("pk")
        rows = rows.filter(Q(at__gte=since) | Q(action__in=OPENINGS))
        for entry in rows.iterator(chunk_size=BATCH_ROWS):
            self.stdout.write(json.dumps(row_of(entry), separators=(",", ":")))

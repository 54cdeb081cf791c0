"""The audit trail as a page and as a file: filtered by who, what, on what, with which result, and when."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from io import StringIO
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from webdock.engines.audit import actor_of, write
from webdock.engines.documents import storable_text
from webdock.engines.models import AuditEntry
from webdock.engines.pages import page
from webdock.people.rights import requires

PAGE_ROWS = 100
TEXT_MAX_CHARS = 200
EXPORT_BATCH = 1000  # rows read at once
EXPORT_MAX_ROWS = 1_000_000
KINDS = ("container", "image", "network", "volume", "user", "team", "registry")
COLUMNS = (
    *("at", "username", "address", "engine", "action", "object_kind", "object_id", "object_name", "result"),
    *("duration_ms", "detail"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


@dataclass(frozen=True)
class Filters:
    """What the trail is narrowed to; what is not understood is ignored."""

    q: str = ""
    user: str = ""
    action: str = ""
    kind: str = ""
    result: str = ""
    since: str = ""  # dates, both included
    until: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> Filters:
        def text(key: str) -> str:
            return storable_text(query.get(key, "")).strip()[:TEXT_MAX_CHARS]

        def day(key: str) -> str:
            return text(key) if _day(text(key)) is not None else ""

        return cls(
            q=text("q"),
            user=text("user"),
            action=text("action"),
            kind=text("kind") if text("kind") in KINDS else "",
            result=text("result") if text("result") in AuditEntry.Result.values else "",
            since=day("since"),
            until=day("until"),
        )

    @property
    def narrows(self) -> bool:
        return any(asdict(self).values())


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def select(filters: Filters) -> QuerySet[AuditEntry]:
    """The entries that fit, newest first."""
    entries: QuerySet[AuditEntry] = AuditEntry.objects.order_by("-pk")
    if filters.user:
        entries = entries.filter(username=filters.user)
    if filters.action:  # "container" finds container.start and its like
        entries = entries.filter(Q(action=filters.action) | Q(action__startswith=f"{filters.action}."))
    if filters.kind:
        entries = entries.filter(object_kind=filters.kind)
    if filters.result:
        entries = entries.filter(result=filters.result)
    if (first := _day(filters.since)) is not None:
        entries = entries.filter(at__gte=_midnight(first))
    if (last := _day(filters.until)) is not None and last < date.max:
        entries = entries.filter(at__lt=_midnight(last + timedelta(days=1)))
    for word in filters.q.split():
        entries = entries.filter(
            Q(username__icontains=word)
            | Q(action__icontains=word)
            | Q(object_name__icontains=word)
            | Q(detail__icontains=word)
            | Q(object_id__startswith=word)
            | Q(address=word)
            | Q(result=word)
        )
    return entries


@requires("admin")
@require_GET
async def audit_list(request: HttpRequest) -> HttpResponse:
    filters = Filters.of(request.GET)

    def read() -> dict[str, Any]:
        found = Paginator(select(filters), PAGE_ROWS).get_page(request.GET.get("page"))
        found.object_list = list(found.object_list)
        return {
            "page": found,
            "filters": filters,
            "kinds": KINDS,
            "results": AuditEntry.Result.choices,
            "days": settings.AUDIT_DAYS,
        }

    return await page(request, "audit/list.html", await sync_to_async(read)())


@requires("admin")
@require_GET
async def audit_export(request: HttpRequest) -> HttpResponseBase:
    """The entries that fit, all of them, as CSV or JSON lines (format=csv|jsonl); leaves a row itself."""
    filters = Filters.of(request.GET)
    kind = "jsonl" if request.GET.get("format") == "jsonl" else "csv"
    shown = " ".join(f"{key}={value}" for key, value in asdict(filters).items() if value)
    await sync_to_async(write)(await actor_of(request), "audit.export", detail=f"{kind} {shown}".strip())
    name = f"webdock-audit-{timezone.now():%Y-%m-%d}.{kind}"
    return StreamingHttpResponse(
        _pieces(filters, _json_lines if kind == "jsonl" else _csv),
        headers={
            "Content-Type": "application/x-ndjson" if kind == "jsonl" else "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


async def _pieces(filters: Filters, form: Any) -> AsyncIterator[bytes]:
    """In lots, each from where the last ended: no long reader holds up the database's writers."""
    below, rows = 2**62, 0
    head: str | None = ",".join(COLUMNS) + "\r\n" if form is _csv else None
    while rows < EXPORT_MAX_ROWS:
        lot = await sync_to_async(lambda at=below: list(select(filters).filter(pk__lt=at)[:EXPORT_BATCH]))()
        text = (head or "") + "".join(form(lot))
        head = None
        if text:
            yield text.encode()
        if len(lot) < EXPORT_BATCH:
            return
        below, rows = lot[-1].pk, rows + len(lot)


def row_of(entry: AuditEntry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in COLUMNS}
    return {**row, "at": entry.at.isoformat()}


def _json_lines(entries: list[AuditEntry]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(row_of(entry), ensure_ascii=False, separators=(",", ":")) + "\n"


def _csv(entries: list[AuditEntry]) -> Iterator[str]:
    """Names of containers and users come from anybody: none of them becomes a formula."""
    out = StringIO()
    writer = csv.writer(out)
    for entry in entries:
        row = ["" if value is None else str(value) for value in row_of(entry).values()]
        writer.writerow([f"'{text}" if text.startswith(FORMULA) else text for text in row])
    yield out.getvalue()

"""The first page: how many of what, what needs attention, what happened last."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Exists, OuterRef, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from containers_app.listing import counts
from containers_app.models import Container, listed
from containers_app.projection import KIND
from images_app.models import Image
from webdock.engines.audit import LOOKS
from webdock.engines.host import engine_is_here, host
from webdock.engines.models import AuditEntry, current_engine, last_revision
from webdock.engines.pages import page
from webdock.engines.timeline import latest
from webdock.people.belongings import KINDS, unseen
from webdock.people.rights import allowed, requires
from webdock.people.standing import Person

RECENT_ROWS = 10
EVENT_ROWS = 12
ATTENTION_ROWS = 20
DISK_FULL_PERCENT = 90
MEMORY_FULL_PERCENT = 95


@requires("view")
@require_GET
async def overview(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    context = await sync_to_async(_context)(user)
    context["events"] = await latest(context["alias"], EVENT_ROWS)
    return await page(request, "overview.html", context)


def _context(user: Person) -> dict[str, Any]:
    engine = current_engine()
    numbers = host.latest() if engine_is_here() else None
    images = Image.objects.filter(removed_at=None)
    recent = AuditEntry.objects.exclude(action__in=LOOKS)
    if not allowed(user, "admin"):  # who logs in, and from where, is the administrators' business
        recent = recent.exclude(object_kind__in=("", "user", "team", "token"))
        for kind in KINDS:
            if (others := unseen(kind, "object_id")) is not None:
                recent = recent.exclude(others, object_kind=kind)
    return {
        "alias": engine.alias,
        "cursor": last_revision(KIND),
        "counts": counts(),
        "images_count": images.count(),
        "images_size": images.aggregate(total=Sum("size_bytes"))["total"] or 0,
        "info": engine.info or None,
        "recent": list(recent[:RECENT_ROWS]),
        "attention": attention(numbers),
        "host": numbers,
    }


def attention(numbers: dict[str, Any] | None) -> list[dict[str, str]]:
    """[{"level": "error" | "warning" | "info", "text", "url"}], the worst first."""
    found: list[dict[str, str]] = []
    if numbers is not None:
        disk = 100 * numbers["disk_used"] / max(1, numbers["disk_total"])
        memory = 100 * numbers["memory_used"] / max(1, numbers["memory_total"])
        if disk >= DISK_FULL_PERCENT:
            found.append(_item("error", _("The disk is %(n)d %% full.") % {"n": disk}, reverse("image-list")))
        if memory >= MEMORY_FULL_PERCENT:
            found.append(_item("error", _("The memory is %(n)d %% full.") % {"n": memory}, ""))
    troubled = (
        (
            listed().filter(oom_killed=True, state="exited"),
            "error",
            _("%(name)s was killed for want of memory."),
        ),
        (listed().filter(state="running", health="unhealthy"), "error", _("%(name)s is unhealthy.")),
        (listed().filter(state="restarting"), "warning", _("%(name)s restarts again and again.")),
        (listed().filter(state="dead"), "warning", _("%(name)s is dead and could not be removed.")),
        (listed().filter(state="created").exclude(error=""), "warning", _("%(name)s could not be started.")),
    )
    for rows, level, text in troubled:
        for container in rows.order_by("name")[:ATTENTION_ROWS]:
            found.append(_item(level, text % {"name": container.name}, container.get_absolute_url()))
    users = Container.everything.filter(removed_at=None, image_id=OuterRef("image_id"))
    unused = Image.objects.filter(~Exists(users), removed_at=None, tag_rows=None)
    number = unused.count()
    if number:
        text = ngettext(
            "%(n)d image has no tag and no container.", "%(n)d images have no tag and no container.", number
        )
        found.append(_item("info", text % {"n": number}, reverse("image-list")))
    return found[:ATTENTION_ROWS]


def _item(level: str, text: str, url: str) -> dict[str, str]:
    return {"level": level, "text": text, "url": url}

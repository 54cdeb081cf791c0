"""Which images a list shows: filter, sort and page from its query string. For the page and its live rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import QueryDict

from images_app.models import Image, ImageTag, listed
from webdock.engines.documents import storable_text

PAGE_ROWS = 50
TEXT_MAX_CHARS = 200
DEFAULT_SORT = "-created"
SORTS = {"name": "first_tag", "size": "size_bytes", "created": "created_at"}
SHOWN = ("used", "unused", "untagged")


@dataclass(frozen=True)
class Filters:
    """What the list is narrowed to, as the templates show it."""

    q: str
    label: str  # "team" or "team=shop"
    show: str  # one of SHOWN, "" for all
    sort: str

    @classmethod
    def of(cls, query: QueryDict) -> Filters:
        sort, show = query.get("sort", ""), query.get("show", "")
        return cls(
            q=_text(query, "q"),
            label=_text(query, "label"),
            show=show if show in SHOWN else "",
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
        )

    @property
    def any(self) -> bool:
        return bool(self.q or self.label or self.show)


def _text(query: QueryDict, key: str) -> str:
    return storable_text(query.get(key, "")).strip()[:TEXT_MAX_CHARS]


def select(filters: Filters) -> QuerySet[Image]:
    """The rows of all pages, sorted."""
    rows = listed()
    if filters.q:
        tagged = ImageTag.objects.filter(image=OuterRef("pk"), name__icontains=filters.q)
        short = filters.q.lower().removeprefix("sha256:")
        rows = rows.filter(Q(Exists(tagged)) | Q(image_id__startswith=f"sha256:{short}"))
    if filters.label:
        key, equals, value = filters.label.partition("=")
        rows = rows.filter(labels__has_key=key)
        if equals:
            text = Cast(KeyTextTransform(key, "labels"), TextField())
            rows = rows.annotate(label_value=text).filter(label_value=value)
    if filters.show == "untagged":
        rows = rows.filter(~Exists(ImageTag.objects.filter(image=OuterRef("pk"))))
    elif filters.show:
        used = Exists(containers().filter(image_id=OuterRef("image_id"), engine=OuterRef("engine")))
        rows = rows.filter(used if filters.show == "used" else ~used)
    key = SORTS[filters.sort.removeprefix("-")]
    if key == "first_tag":
        rows = rows.annotate(first_tag=Min("tag_rows__name"))
    return rows.order_by(f"-{key}" if filters.sort.startswith("-") else key, "pk")


def page_of(query: QueryDict) -> tuple[Page[Image], Filters]:
    """The page the query asks for, each image with ``containers_count``."""
    filters = Filters.of(query)
    page = Paginator(select(filters), PAGE_ROWS).get_page(query.get("page"))
    page.object_list = count_containers(list(page.object_list))
    return page, filters


def containers() -> Any:
    """The rows of the containers app. Imports go the other way, so it is asked for by name."""
    return apps.get_model("containers_app", "Container").objects.filter(removed_at=None)


def count_containers(images: list[Image]) -> list[Image]:
    """Give each image ``containers_count``, with one query for all."""
    ids = [image.image_id for image in images]
    found = dict(
        containers().filter(image_id__in=ids).order_by().values_list("image_id").annotate(Count("pk"))
    )
    for image in images:
        image.containers_count = found.get(image.image_id, 0)  # type: ignore[attr-defined]
    return images


def counts() -> dict[str, int]:
    """How many images there are, in all and by what the list can be narrowed to."""
    rows = Image.objects.filter(removed_at=None)
    used = Exists(containers().filter(image_id=OuterRef("image_id"), engine=OuterRef("engine")))
    total, in_use = rows.count(), rows.filter(used).count()
    untagged = rows.filter(~Exists(ImageTag.objects.filter(image=OuterRef("pk")))).count()
    return {"total": total, "used": in_use, "unused": total - in_use, "untagged": untagged}


def context_of(query: QueryDict) -> dict[str, Any]:
    """Everything the list's template needs but the cursor and the pulls."""
    page, filters = page_of(query)
    return {"rows": list(page.object_list), "page": page, "filters": filters, "counts": counts()}

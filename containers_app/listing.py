"""Which containers a list shows: filters, sort and page from its query string, for the page and live rows.

Every value comes from the address bar: what is not understood is ignored, never an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import QueryDict

from containers_app.models import Container, listed
from containers_app.rendering import row_html
from webdock.engines.documents import storable_text
from webdock.people import belongings

PAGE_ROWS = 50
TEXT_MAX_CHARS = 200
OFFERED_MAX = 100  # images, and owners, that the filter's inputs complete
STOPPED = ("exited", "created", "dead")
DEFAULT_SORT = "-created"
SORTS = {
    "name": ("name",),
    "state": ("state", "name"),
    "image": ("image", "name"),
    "created": ("created_at",),
    "status": ("state", "started_at"),
}


@dataclass(frozen=True)
class Filters:
    """What the list is narrowed to, as the templates show it."""

    state: str
    q: str
    image: str
    label: str
    network: str
    owner: str  # a person's or a team's name
    sort: str

    @classmethod
    def of(cls, query: QueryDict) -> Filters:
        sort = query.get("sort", "")
        return cls(
            state=query.get("state", "") if _known_state(query.get("state", "")) else "",
            q=_text(query, "q"),
            image=_text(query, "image"),
            label=_text(query, "label"),
            network=_text(query, "network"),
            owner=_text(query, "owner"),
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
        )

    @property
    def chosen(self) -> int:
        """How many of the four that have an input of their own are set."""
        return sum(map(bool, (self.image, self.label, self.network, self.owner)))

    @property
    def narrows(self) -> bool:
        return bool(self.state or self.q or self.chosen)


def _text(query: QueryDict, key: str) -> str:
    return storable_text(query.get(key, "")).strip()[:TEXT_MAX_CHARS]


def _known_state(state: str) -> bool:
    return state in Container.State.values or state in ("stopped", "unhealthy")


def select(filters: Filters) -> QuerySet[Container]:
    """The rows of all pages, sorted."""
    rows: QuerySet[Container] = listed()
    if filters.state == "stopped":
        rows = rows.filter(state__in=STOPPED)
    elif filters.state == "unhealthy":
        rows = rows.filter(health="unhealthy", state="running")
    elif filters.state:
        rows = rows.filter(state=filters.state)
    if filters.q:
        rows = rows.filter(
            Q(name__icontains=filters.q)
            | Q(image__icontains=filters.q)
            | Q(command__icontains=filters.q)
            | Q(container_id__startswith=filters.q.lower())
        )
    if filters.image:
        rows = rows.filter(Q(image=filters.image) | Q(image_id=filters.image))
    if filters.label:
        key, equals, value = filters.label.partition("=")
        rows = rows.filter(labels__has_key=key)
        if equals:
            text = Cast(KeyTextTransform(key, "labels"), TextField())
            rows = rows.annotate(label_value=text).filter(label_value=value)
    if filters.network:
        text = Cast("networks", TextField())
        needle = json.dumps({"name": filters.network})[1:-1]
        rows = rows.annotate(networks_text=text).filter(networks_text__contains=needle)
    if filters.owner:
        rows = rows.filter(container_id__in=belongings.owned("container", filters.owner))
    down = filters.sort.startswith("-")
    keys = SORTS[filters.sort.removeprefix("-")]
    return rows.order_by(*(f"-{key}" if down else key for key in keys), "pk")


def counts() -> dict[str, int]:
    """How many containers there are, in all and by state."""
    by_state = dict(
        Container.objects.filter(removed_at=None).order_by().values_list("state").annotate(Count("pk"))
    )
    found = {state: by_state.get(state, 0) for state in Container.State.values}
    return {
        **found,
        "stopped": sum(by_state.get(state, 0) for state in STOPPED),
        "total": sum(by_state.values()),
    }


def page_of(query: QueryDict) -> tuple[Page[Container], Filters]:
    """The page the query asks for; a number that is none, or too big, gives the nearest."""
    filters = Filters.of(query)
    return Paginator(select(filters), PAGE_ROWS).get_page(query.get("page")), filters


def revisions_of(query: QueryDict) -> list[tuple[str, int]]:
    """(id, revision) of the rows on the page the query asks for, or of the one container it names ("id=…").

    What live rows ask at every hint: it must cost little when nothing on this page changed.
    """
    if single := query.get("id", ""):
        rows: Any = listed().filter(container_id=single).order_by("pk")
        return list(rows.values_list("container_id", "revision"))
    rows = select(Filters.of(query)).values_list("container_id", "revision")
    return list(Paginator(rows, PAGE_ROWS).get_page(query.get("page")).object_list)


def context_of(query: QueryDict) -> dict[str, Any]:
    """Everything the list's template needs but the cursor."""
    page, filters = page_of(query)
    rows = list(page.object_list)
    images = (
        Container.objects.filter(removed_at=None).order_by("image").values_list("image", flat=True).distinct()
    )
    return {
        "rows": rows,
        "rendered": [row_html(row) for row in rows],
        "page": page,
        "filters": filters,
        "counts": counts(),
        "images_offered": list(images[:OFFERED_MAX]),
        "owners_offered": belongings.owners("container", OFFERED_MAX),
    }

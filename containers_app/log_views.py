"""A container's log as a file: all of it, or between two moments, or its end; and several logs as a page."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from posixpath import basename

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from containers_app.detail import find
from containers_app.merged_logs import asked_for, logs_of
from containers_app.models import Container, listed
from runtime.api.errors import EngineError, InvalidArgument
from runtime.api.streams import LogStream
from webdock.engines.audit import actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.pages import answer, page
from webdock.engines.wording import explain
from webdock.people.rights import requires

PIECE_BYTES = 64 << 10  # the engine's frames may be a line each: they are sent in company
SECONDS_MAX = 1 << 40
CHOICE_MAX = 200  # containers offered beside the merged logs
NAME_MAX_CHARS = 80  # of the file the lines are saved as
DIGITS_MAX = 12  # of a number of lines


@requires("logs")
@require_GET
async def container_log_download(request: HttpRequest, container_id: str) -> HttpResponseBase:
    """The log as the container wrote it; ``timestamps=1``, ``since``, ``until``, ``tail`` as in the API.

    Read as fast as the browser takes it; leaves an audit row.
    """
    container = await find(container_id)
    try:
        since, until = _seconds(request.GET, "since"), _seconds(request.GET, "until")
        tail = _lines(request.GET)
        async with audited(
            await actor_of(request),
            "container.log.read",
            **container.audit_object,
        ):
            log = client_of(container.engine.alias).container_logs(
                container_id,
                timestamps=request.GET.get("timestamps") == "1",
                since=since,
                until=until,
                tail=tail,
                tty=container.tty,
            )
            await log.open()
    except EngineError as error:
        to = reverse("container-logs", args=[container_id])
        return await answer(request, False, explain(error), to, status=error.status)
    name = basename(container.name) or container_id[:12]
    return StreamingHttpResponse(
        pieces(log),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": content_disposition_header(True, f"{name}.log"),
        },
    )


@requires("logs")
@require_GET
async def merged_logs(request: HttpRequest) -> HttpResponse:
    """Several containers' logs as one; which ones stands in the address."""
    ids = asked_for(request.GET.getlist("container"))
    rows = await logs_of(ids)

    def choice() -> list[Container]:
        return list(listed().order_by("name")[:CHOICE_MAX])

    query = urlencode([("container", id) for id in ids])
    context = {
        "containers": [{"container": one, "number": ids.index(one.container_id)} for one in rows],
        "choice": await sync_to_async(choice)(),
        "chosen": ids,
        "socket": f"ws/logs/?{query}",
        "sources": {str(ids.index(one.container_id)): one.name for one in rows},
        "log_name": "-".join(basename(one.name) for one in rows)[:NAME_MAX_CHARS],
    }
    return await page(request, "containers/merged_logs.html", context)


async def pieces(log: LogStream) -> AsyncIterator[bytes]:
    """The log's bytes, in pieces of about PIECE_BYTES; the engine's answer is let go of at any end."""
    held = bytearray()
    try:
        async for _stream, data in log:
            held += data
            if len(held) >= PIECE_BYTES:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)
    finally:
        log.close()


def _seconds(query: QueryDict, field: str) -> float | None:
    """Raises: InvalidArgument when it is given and no moment in seconds since 1970."""
    if not (text := query.get(field, "")):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < SECONDS_MAX:  # also not a number
        raise InvalidArgument(_("%(field)s: expected seconds since 1970") % {"field": field})
    return value


def _lines(query: QueryDict) -> int | None:
    """Raises: InvalidArgument when ``tail`` is given and neither "all" nor a number of lines."""
    text = query.get("tail", "")
    if text in ("", "all"):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise InvalidArgument(_("tail: expected a number of lines, or all"))
    return int(text)

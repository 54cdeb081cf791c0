"""The Files tab: a directory and what differs from the image, one file downloaded, one brought in."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename, dirname
from typing import Any
from urllib.parse import urlencode

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_GET, require_POST

from containers_app.detail import find, tab_context
from containers_app.file_comparison import ADDED, CHANGED, DELETED, compared
from containers_app.files import bring_in, directory_context, open_file
from containers_app.models import Container
from containers_app.small_texts import TEXT_MAX_BYTES
from runtime.api.errors import EngineError, InvalidArgument, NotFound
from runtime.api.types import Change
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.filepaths import clean_path
from webdock.engines.pages import answer, page
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires

CHANGES_MAX = 5000
CHANGE_WORDS = {CHANGED: _lazy("changed"), ADDED: _lazy("added"), DELETED: _lazy("deleted")}


@requires("view")
@require_GET
async def container_files(request: HttpRequest, container_id: str) -> HttpResponse:
    """A directory of a running container, with an audit row, and what differs from the image."""
    container = await find(container_id)
    context = await tab_context(container, "files")
    if container.state == "running" and "files" in context["rights"]:
        try:
            path = clean_path(request.GET.get("path", "/"))
        except InvalidArgument:
            raise Http404 from None
        async with audited(
            await actor_of(request),
            "container.file.list",
            **container.audit_object,
            detail=path,
        ):
            client = client_of(container.engine.alias)
            shown = await directory_context(client, container_id, path, _page_number(request))
        if isinstance(shown["files_error"], NotFound) and path != "/":
            read = reverse("container-file-read", args=[container_id])
            return redirect(f"{read}?{urlencode({'path': path})}")  # a link to a file, or nothing: it says so
        if shown["files_error"] is not None:
            shown["files_error"] = explain(shown["files_error"])
        context |= {**shown, "text_max": TEXT_MAX_BYTES}
    try:
        changes = await client_of(container.engine.alias).container_changes(container_id)
    except EngineError as error:
        context["error"] = explain(error)
    else:
        context["changes"] = list(_changes(changes[:CHANGES_MAX]))
    return await page(request, "containers/files.html", context)


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _changes(changes: list[Change]) -> Iterator[dict[str, Any]]:
    """As rows; those that can only be directories cannot be compared, nor what an address cannot carry."""
    directories = {dirname(str(one.get("Path", ""))) for one in changes}
    for one in changes:
        path = str(one.get("Path", ""))
        shown = path.encode("utf-8", "replace").decode()
        yield {
            "kind": CHANGE_WORDS.get(one.get("Kind", -1), ""),
            "path": shown,
            "compared": path == shown and "\ufffd" not in path and path not in directories,
        }


@requires("files")
@require_GET
async def container_file_compare(request: HttpRequest, container_id: str) -> HttpResponse:
    """A changed file beside what the image has in its place, line by line; leaves an audit row."""
    container = await find(container_id)
    back = reverse("container-files", args=[container_id])
    path = ""
    try:
        path = clean_path(request.GET.get("path", ""))
        async with audited(
            await actor_of(request),
            "container.file.read",
            **container.audit_object,
            detail=path,
        ):
            file = await compared(client_of(container.engine.alias), container_id, path)
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    context = await tab_context(container, "files")
    context |= {"file": file, "kind": CHANGE_WORDS[file.kind], "gone": file.kind == DELETED}
    context |= {"name": basename(path), "back": back}
    return await page(request, "containers/file_compare.html", context)


@requires("files")
@require_GET
async def container_file_read(request: HttpRequest, container_id: str) -> HttpResponseBase:
    """Download one file; leaves an audit row."""
    container = await find(container_id)
    path = ""
    try:
        path = clean_path(request.GET.get("path", ""))
        async with audited(
            await actor_of(request),
            "container.file.read",
            **container.audit_object,
            detail=path,
        ):
            size, content = await open_file(client_of(container.engine.alias), container_id, path)
    except EngineError as error:
        to = f"{reverse('container-files', args=[container_id])}?{urlencode({'path': dirname(path) or '/'})}"
        return await answer(request, False, explain(error), to, status=error.status)
    return StreamingHttpResponse(
        content,
        headers={
            "Content-Type": "application/octet-stream",  # never shown as a page of ours
            "Content-Length": str(size),
            "Content-Disposition": content_disposition_header(True, basename(path)),
        },
    )


@requires("files", "operate")
@require_POST
async def container_file_write(request: HttpRequest, container_id: str) -> HttpResponse:
    """Bring a file into a directory; leaves an audit row."""
    container = await find(container_id)
    upload = request.FILES.get("file")
    back = reverse("container-files", args=[container_id])
    try:
        directory = clean_path(request.POST.get("path", "/"))
        back += f"?{urlencode({'path': directory})}"
        if upload is None:
            raise InvalidArgument(_("file: choose one"))
        path = await carried_out(
            _bring_in(await actor_of(request), container, directory, upload), name="upload"
        )
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    return await answer(request, True, _("%(path)s was brought in.") % {"path": path}, back)


async def _bring_in(actor: Actor, container: Container, directory: str, upload: UploadedFile) -> str:
    async with audited(
        actor,
        "container.file.write",
        **container.audit_object,
        detail=f"{directory} {upload.name} {upload.size} bytes",
    ):
        client = client_of(container.engine.alias)
        return await bring_in(client, container.container_id, directory, upload)

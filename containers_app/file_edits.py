"""Changing files of a container: a small text edited, a directory made, something removed; each audited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from posixpath import basename, dirname
from typing import TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from containers_app.detail import find, tab_context
from containers_app.models import Container
from containers_app.small_texts import make_directory, read_text, remove_path, write_text
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.filepaths import clean_path
from webdock.engines.pages import answer, page
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires

T = TypeVar("T")


def _directory(container_id: str, path: str) -> str:
    return f"{reverse('container-files', args=[container_id])}?{urlencode({'path': path or '/'})}"


async def _audited(
    actor: Actor, container: Container, what: str, path: str, work: Callable[[EngineClient], Awaitable[T]]
) -> T:
    async with audited(
        actor,
        f"container.file.{what}",
        **container.audit_object,
        detail=path,
    ):
        return await work(client_of(container.engine.alias))


async def _change(
    request: HttpRequest,
    container: Container,
    what: str,
    path: str,
    work: Callable[[EngineClient], Awaitable[T]],
) -> T:
    """Do what was asked to its end, whether its asker waits or not."""
    asked = _audited(await actor_of(request), container, what, path, work)
    return await carried_out(asked, name=f"container.file.{what}")


@requires("files", "operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_file_edit(request: HttpRequest, container_id: str) -> HttpResponse:
    """A small text file in a box; posted, it is written back, unless it changed meanwhile."""
    container = await find(container_id)
    asked = request.POST if request.method == "POST" else request.GET
    back = _directory(container_id, "/")
    try:
        path = clean_path(asked.get("path", ""))
        back = _directory(container_id, dirname(path))
        if request.method != "POST":
            actor = await actor_of(request)
            file = await _audited(
                actor, container, "read", path, lambda client: read_text(client, container_id, path)
            )
            context = await tab_context(container, "files")
            context |= {"file": file, "name": basename(path), "back": back}
            return await page(request, "containers/file_edit.html", context)
        text, mark = request.POST.get("text", ""), request.POST.get("mark", "")
        await _change(
            request,
            container,
            "write",
            path,
            lambda client: write_text(client, container_id, path, text, mark),
        )
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    return await answer(request, True, _("%(path)s was saved.") % {"path": path}, back)


@requires("files", "operate")
@require_POST
async def container_directory_make(request: HttpRequest, container_id: str) -> HttpResponse:
    """A directory with this name in the one shown."""
    container = await find(container_id)
    back = _directory(container_id, "/")
    try:
        parent = clean_path(request.POST.get("path", "/"))
        back = _directory(container_id, parent)
        name = request.POST.get("name", "")
        path = await _change(
            request,
            container,
            "mkdir",
            f"{parent} {name}",
            lambda client: make_directory(client, container_id, parent, name),
        )
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    return await answer(request, True, _("%(path)s was made.") % {"path": path}, back)


@requires("files", "operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_file_remove(request: HttpRequest, container_id: str) -> HttpResponse:
    """Asks, naming what will be lost; posted, it is removed."""
    container = await find(container_id)
    asked = request.POST if request.method == "POST" else request.GET
    back = _directory(container_id, "/")
    try:
        path = clean_path(asked.get("path", ""))
        back = _directory(container_id, dirname(path))
        if request.method != "POST":
            context = await tab_context(container, "files")
            directory = request.GET.get("directory") == "1"
            context |= {"path": path, "back": back, "directory": directory}
            return await page(request, "containers/file_remove.html", context)
        await _change(
            request, container, "remove", path, lambda client: remove_path(client, container_id, path)
        )
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    return await answer(request, True, _("%(path)s was removed.") % {"path": path}, back)

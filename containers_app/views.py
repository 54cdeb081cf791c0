"""Pages of containers: the list, one container's tabs, the Run form, verbs, terminals.

Guard, ask, answer. Never writes an observed field; a container the sync has not reported yet is looked at
through the projection.
"""

from __future__ import annotations

import asyncio
import shlex
from posixpath import basename, dirname
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from containers_app import listing
from containers_app.files import bring_in, clean_path, directory_context, open_file
from containers_app.forms import RunForm
from containers_app.loglines import LogLines, plain
from containers_app.models import Container, TerminalSession
from containers_app.projection import KIND, ContainerProjection
from containers_app.runspec import initial_of, parse_words
from containers_app.shells import NoShell, find_shell
from containers_app.terminal import SIZE_MAX
from containers_app.verbs import BULK_VERBS, VERBS, parse_options, perform, perform_many
from containers_app.why import why_not_running
from images_app.models import Image, ImageTag
from runtime.api.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotModified,
)
from webdock.engines.audit import Actor, actor_of, audited, request_address
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import whole
from webdock.engines.models import AuditEntry, current_engine, last_revision
from webdock.engines.pages import answer, page
from webdock.engines.secrets import environment, masked
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires, rights_of

BULK_MAX = 500
MISSING = "missing"  # the error's code when the image is not here
IMAGE_NAMES_MAX = 1000  # offered as completion
HISTORY_ROWS = 10
LAST_LINES = 12  # of the log, on the card that says why it stopped
LAST_LINES_TIMEOUT_S = 1.0
CHANGES_MAX = 5000
COMMAND_MAX_CHARS = 4096
CHANGE_WORDS = {0: _lazy("changed"), 1: _lazy("added"), 2: _lazy("deleted")}


@requires("view")
@require_GET
async def container_list(request: HttpRequest) -> HttpResponse:
    """One page of containers, filtered and sorted as the address says."""

    def read() -> dict[str, Any]:
        cursor = last_revision(KIND)  # before the rows: what changes in between is sent again, not lost
        return {**listing.context_of(request.GET), "cursor": cursor}

    return await page(request, "containers/list.html", await sync_to_async(read)())


@requires("operate")
@require_http_methods(["GET", "HEAD", "POST"])
async def container_run(request: HttpRequest) -> HttpResponse:
    """The Run form; posted, it makes the container, starts it and goes to its page."""
    if request.method != "POST":
        like = request.GET.get("from", "")
        initial = await _like(like) if like else {"image": request.GET.get("image", ""), "restart": "no"}
        return await _run_page(request, RunForm(initial=initial))
    form = RunForm(request.POST)
    if not form.is_valid():
        return await _run_page(request, form, status=400)
    made = await carried_out(_make(await actor_of(request), form), name="run")
    if made is None:
        return await _run_page(request, form, status=400)
    container_id, warnings, error = made
    for warning in warnings:
        await sync_to_async(messages.warning)(request, warning)
    if error:
        await sync_to_async(messages.error)(
            request, _("The container was made but did not start. %(why)s") % {"why": error}
        )
    return redirect("container-detail", container_id)


async def _like(container_id: str) -> dict[str, Any]:
    """The form's fields of a container that is there, for one more like it."""
    container = await find(container_id, removed=True)
    image = await Image.objects.filter(engine=container.engine, image_id=container.image_id).afirst()
    return initial_of(container.inspect, image.inspect if image else {})


async def _run_page(request: HttpRequest, form: RunForm, *, status: int = 200) -> HttpResponse:
    def names() -> list[str]:
        return list(ImageTag.objects.order_by("name").values_list("name", flat=True)[:IMAGE_NAMES_MAX])

    context: dict[str, Any] = {"form": form, "images": await sync_to_async(names)()}
    if form.is_bound and form.has_error("image", MISSING):
        context["missing_image"] = form.data.get("image", "")
    return await page(request, "containers/run.html", context, status=status)


async def _make(actor: Actor, form: RunForm) -> tuple[str, list[str], str] | None:
    """Create and start: (id, warnings, why it did not start); None when not made: the form says why."""
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    body, name = form.body(), form.cleaned_data["name"]
    try:
        async with audited(
            actor, "container.create", engine=engine.alias, kind="container", name=name, detail=body["Image"]
        ) as entry:
            made = await client.container_create(body, name=name or None)
            id = entry.object_id = str(made["Id"])
            if not name:  # the engine chose one
                name = str((await client.container_inspect(id))["Name"]).removeprefix("/")
                entry.object_name = name
    except EngineError as error:
        field = _field_of(error)
        code = MISSING if field == "image" and isinstance(error, NotFound) else "refused"
        form.add_error(field, ValidationError(explain(error), code=code))
        return None
    why = ""
    try:
        async with audited(actor, "container.start", engine=engine.alias, kind="container", id=id, name=name):
            await client.container_start(id)
    except NotModified:
        pass
    except EngineError as error:
        why = explain(error)
    await ContainerProjection().look(engine, client, [id])
    return id, [str(one) for one in made.get("Warnings") or ()], why


def _field_of(error: EngineError) -> str | None:
    """The field of the Run form an engine's refusal is about, None when it does not say."""
    words = error.message.lower()
    if isinstance(error, NotFound):
        return "network" if "network" in words else "image"
    if isinstance(error, Conflict) and "name" in words:
        return "name"
    if isinstance(error, InvalidArgument | Forbidden):
        for sign, field in (
            ("invalid container name", "name"),
            ("invalid reference", "image"),
            ("memory", "memory"),
            ("cpu", "cpus"),
            ("port", "ports"),
            ("volume", "volumes"),
            ("mount", "volumes"),
            ("bind", "volumes"),
            ("user", "user"),
        ):
            if sign in words:
                return field
    return None


async def find(container_id: str, *, removed: bool = False) -> Container:
    """The row of a container; one the sync has not reported yet is looked at first.

    ``removed``: one that is gone is still shown, as it was last known.
    Raises: Http404.
    """
    rows = Container.objects.select_related("engine").filter(container_id=container_id)
    container = await rows.afirst()
    if container is None:
        engine = await sync_to_async(current_engine)()
        try:
            await ContainerProjection().look(engine, client_of(engine.alias), [container_id])
        except EngineError:
            raise Http404 from None
        container = await rows.afirst()
    if container is None or (container.removed_at is not None and not removed):
        raise Http404
    return container


@requires("view")
@require_GET
async def container_detail(request: HttpRequest, container_id: str) -> HttpResponse:
    """What it is, how it was set up, and why it is not running."""
    container = await find(container_id, removed=True)
    inspect = container.inspect
    history = AuditEntry.objects.filter(object_id=container_id).order_by("-pk")[:HISTORY_ROWS]
    why = why_not_running(container)
    if why is not None and why["tone"] == "bad" and container.started_at is not None:
        why["log"] = await _last_lines(container)
    context = await _tab(container, "overview")
    context |= {
        "facts": facts_of(container),
        "env": environment((inspect.get("Config") or {}).get("Env")),
        "mounts": [_mount(mount) for mount in inspect.get("Mounts") or () if isinstance(mount, dict)],
        "networks": container.networks,
        "why": why,
        "history": [entry async for entry in history],
    }
    return await page(request, "containers/detail.html", context)


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    return {
        "destination": mount.get("Destination", ""),
        "source": mount.get("Name") or mount.get("Source", ""),
        "type": mount.get("Type", ""),
        "rw": mount.get("RW", True),
    }


async def _last_lines(container: Container) -> list[str]:
    """The end of its log; empty when the engine cannot say in time, as the page matters more."""
    lines = LogLines()
    found: list[str] = []
    try:
        async with asyncio.timeout(LAST_LINES_TIMEOUT_S):
            client = client_of(container.engine.alias)
            async with client.container_logs(
                container.container_id, tail=LAST_LINES, tty=container.tty
            ) as log:
                async for stream, data in log:
                    found += [text for _stream, text, _time in lines.feed(stream, data)]
    except (EngineError, TimeoutError):
        return []
    found += [text for _stream, text, _time in lines.end()]
    return [plain(text) for text in found[-LAST_LINES:]]


async def _tab(container: Container, tab: str) -> dict[str, Any]:
    return {"container": container, "tab": tab, "cursor": await sync_to_async(last_revision)(KIND)}


def facts_of(container: Container) -> list[tuple[str, str]]:
    """(label, value) pairs of the overview; empty ones are left out."""
    inspect = container.inspect
    config, host = inspect.get("Config") or {}, inspect.get("HostConfig") or {}
    policy = host.get("RestartPolicy") or {}
    restart = str(policy.get("Name") or "no")
    if restart == "on-failure" and policy.get("MaximumRetryCount"):
        restart += f":{policy['MaximumRetryCount']}"
    memory, cpus = int(host.get("Memory") or 0), int(host.get("NanoCpus") or 0)
    facts = [
        (_("ID"), container.container_id),
        (_("Image"), container.image),
        (_("Image ID"), container.image_id),
        (_("Command"), container.command),
        (_("Working directory"), str(config.get("WorkingDir") or "/")),
        (_("User"), str(config.get("User") or "root")),
        (_("Host name"), str(config.get("Hostname") or "")),
        (_("Network mode"), str(host.get("NetworkMode") or "")),
        (_("Restart policy"), restart),
        (_("Memory limit"), f"{memory / (1 << 20):g} MiB" if memory else _("none")),
        (_("CPU limit"), f"{cpus / 1e9:g}" if cpus else _("none")),
        (_("Process limit"), str(host.get("PidsLimit") or _("none"))),
        (_("Runtime"), str(host.get("Runtime") or "")),
        (_("Main process"), str((inspect.get("State") or {}).get("Pid") or "")),
    ]
    return [(label, value) for label, value in facts if value]


@requires("view")
@require_GET
async def container_logs(request: HttpRequest, container_id: str) -> HttpResponse:
    return await page(
        request, "containers/logs.html", await _tab(await find(container_id, removed=True), "logs")
    )


@requires("shell")
@require_GET
async def container_terminal(request: HttpRequest, container_id: str) -> HttpResponse:
    """The terminal tab, with the person's sessions that can be taken up again."""
    container = await find(container_id)
    user = await request.auser()
    sessions = TerminalSession.objects.filter(container_id=container_id, user_id=user.pk, ended_at=None)
    context = await _tab(container, "terminal")
    context["sessions"] = [session async for session in sessions]
    asked = request.GET.get("session")
    context["taken_up"] = next((one for one in context["sessions"] if str(one.pk) == asked), None)
    return await page(request, "containers/terminal.html", context)


@requires("view")
@require_GET
async def container_stats(request: HttpRequest, container_id: str) -> HttpResponse:
    return await page(
        request, "containers/stats.html", await _tab(await find(container_id, removed=True), "stats")
    )


@requires("view")
@require_GET
async def container_inspect(request: HttpRequest, container_id: str) -> HttpResponse:
    """The whole document, secrets masked for people who may only look."""
    container = await find(container_id, removed=True)
    user = await request.auser()
    context = await _tab(container, "inspect")
    reveal = "operate" in await sync_to_async(rights_of)(user)
    context["inspect"] = container.inspect if reveal else masked(container.inspect)
    return await page(request, "containers/inspect.html", context)


@requires("view")
@require_GET
async def container_files(request: HttpRequest, container_id: str) -> HttpResponse:
    """A directory of a running container, for people who operate it, and what differs from the image."""
    container = await find(container_id)
    context = await _tab(container, "files")
    if container.state == "running" and "operate" in await sync_to_async(rights_of)(await request.auser()):
        try:
            path = clean_path(request.GET.get("path", "/"))
        except InvalidArgument:
            raise Http404 from None
        shown = await directory_context(client_of(container.engine.alias), container_id, path)
        if isinstance(shown["files_error"], NotFound) and path != "/":
            read = reverse("container-file-read", args=[container_id])
            return redirect(f"{read}?{urlencode({'path': path})}")  # a link to a file, or nothing: it says so
        if shown["files_error"] is not None:
            shown["files_error"] = explain(shown["files_error"])
        context |= shown
    try:
        changes = await client_of(container.engine.alias).container_changes(container_id)
    except EngineError as error:
        context["error"] = explain(error)
    else:
        context["changes"] = [
            {"kind": CHANGE_WORDS.get(one.get("Kind"), ""), "path": one.get("Path", "")}
            for one in changes[:CHANGES_MAX]
        ]
    return await page(request, "containers/files.html", context)


@requires("operate")
@require_POST
async def container_verb(request: HttpRequest, container_id: str, verb: str) -> HttpResponse:
    """start, stop, restart, kill, pause, unpause, remove, rename: ask, and answer with the outcome."""
    if verb not in VERBS:
        raise Http404
    container = await find(container_id)
    try:
        options = parse_options(verb, request.POST)
    except InvalidArgument as error:
        return await answer(request, False, error.message, container, status=error.status)
    outcome = await perform(await actor_of(request), container, verb, options)
    to: Any = "container-list" if verb == "remove" and outcome.ok else container
    return await answer(request, outcome.ok, outcome.message, to, status=outcome.status)


@requires("operate")
@require_POST
async def container_bulk(request: HttpRequest) -> JsonResponse:
    """One verb for many, side by side: a result for each, in the order asked."""
    ids, verb = request.POST.getlist("ids") or request.POST.getlist("ids[]"), request.POST.get("verb", "")
    if verb not in BULK_VERBS:
        return JsonResponse({"ok": False, "message": _("verb: not one of those for many")}, status=400)
    if not ids or len(ids) > BULK_MAX:
        return JsonResponse({"ok": False, "message": _("ids: choose from 1 to 500 containers")}, status=400)
    try:
        options = parse_options(verb, request.POST)
    except InvalidArgument as error:
        return JsonResponse({"ok": False, "message": error.message}, status=400)
    rows = Container.objects.defer("inspect").select_related("engine").filter(removed_at=None)
    found = {row.container_id: row async for row in rows.filter(container_id__in=ids)}
    asked = [found[id] for id in dict.fromkeys(ids) if id in found]
    outcomes = {
        container.container_id: (container.name, outcome)
        for container, outcome in await perform_many(await actor_of(request), asked, verb, options)
    }
    results = []
    for id in dict.fromkeys(ids):
        if id in outcomes:
            name, outcome = outcomes[id]
            results.append({"id": id, "name": name, "ok": outcome.ok, "message": outcome.message})
        else:
            results.append({"id": id, "name": id[:12], "ok": False, "message": _("No such container.")})
    return JsonResponse({"ok": all(one["ok"] for one in results), "results": results})


@requires("operate")
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
            engine=container.engine.alias,
            kind="container",
            id=container_id,
            name=container.name,
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


@requires("operate")
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
        engine=container.engine.alias,
        kind="container",
        id=container.container_id,
        name=container.name,
        detail=f"{directory} {upload.name} {upload.size} bytes",
    ):
        client = client_of(container.engine.alias)
        return await bring_in(client, container.container_id, directory, upload)


@requires("operate")
@require_POST
async def container_prune(request: HttpRequest) -> HttpResponse:
    """Remove every container that is not running."""
    engine = await sync_to_async(current_engine)()
    try:
        message = await carried_out(_prune(await actor_of(request), engine.alias), name="prune")
    except EngineError as error:
        return await answer(request, False, explain(error), "container-list", status=error.status)
    return await answer(request, True, message, "container-list")


async def _prune(actor: Actor, alias: str) -> str:
    async with audited(actor, "container.prune", engine=alias, kind="container") as entry:
        found = (await client_of(alias).container_prune()).get("ContainersDeleted") or []
        entry.detail = " ".join(id[:12] for id in found)
    return ngettext("%(n)d container was removed.", "%(n)d containers were removed.", len(found)) % {
        "n": len(found)
    }


@requires("view")
@require_GET
async def container_processes(request: HttpRequest, container_id: str) -> JsonResponse:
    """What runs inside: {"titles": [...], "processes": [[...]]}."""
    container = await find(container_id)
    try:
        found = await client_of(container.engine.alias).container_top(
            container_id, ps_args="-eo pid,user:16,pcpu,rss,etime,args"
        )
    except EngineError as error:
        return JsonResponse({"ok": False, "message": explain(error)}, status=max(error.status, 400))
    return JsonResponse(
        {"ok": True, "titles": found.get("Titles") or [], "processes": found.get("Processes") or []}
    )


@requires("shell")
@require_POST
async def terminal_open(request: HttpRequest, container_id: str) -> JsonResponse:
    """Prepare a terminal: a shell found in the container, a command, or the main process (kind=attach)."""
    container = await find(container_id)
    kind = request.POST.get("kind", TerminalSession.Kind.SHELL)
    if kind not in TerminalSession.Kind.values:
        return JsonResponse({"ok": False, "message": _("kind: expected shell or attach")}, status=400)
    try:
        command = parse_words(request.POST.get("command", "")[:COMMAND_MAX_CHARS])
    except ValueError as error:
        return JsonResponse({"ok": False, "message": _("command: %(why)s") % {"why": error}}, status=400)
    session = TerminalSession(
        engine=container.engine,
        container_id=container_id,
        user=await request.auser(),
        kind=kind,
        columns=whole(request.POST.get("cols"), 1, SIZE_MAX, 80),
        rows=whole(request.POST.get("rows"), 1, SIZE_MAX, 24),
        address=request_address(request),
    )
    try:
        await carried_out(_open(await actor_of(request), container, session, command), name="terminal")
    except NoShell as error:
        return JsonResponse(
            {"ok": False, "message": error.message, "programs": list(error.programs)}, status=409
        )
    except EngineError as error:
        return JsonResponse({"ok": False, "message": explain(error)}, status=max(error.status, 400))
    return JsonResponse(
        {
            "ok": True,
            "session": str(session.pk),
            "websocket": f"/ws/terminal/{session.pk}/",
            "title": session.title,
        }
    )


async def _open(actor: Actor, container: Container, session: TerminalSession, command: list[str]) -> None:
    """Make the exec, or check that there is something to attach to, and save the session.

    Raises: NoShell, EngineError.
    """
    client = client_of(container.engine.alias)
    attach = session.kind == TerminalSession.Kind.ATTACH
    async with audited(
        actor,
        "container.attach" if attach else "container.shell",
        engine=container.engine.alias,
        kind="container",
        id=container.container_id,
        name=container.name,
        detail=shlex.join(command),
    ):
        inspect = await client.container_inspect(container.container_id)
        state = inspect.get("State") or {}
        if not state.get("Running"):
            raise Conflict(_("%(name)s is not running: start it first") % {"name": container.name})
        if state.get("Paused"):
            raise Conflict(_("%(name)s is paused: continue it first") % {"name": container.name})
        if attach:
            session.title = str(inspect.get("Path") or container.name)[:255]
            session.tty = bool((inspect.get("Config") or {}).get("Tty"))
        else:
            words = command or await find_shell(client, inspect)
            session.title = (command or [words[-1].rsplit("/", 1)[-1]])[0][:255]
            session.exec_id = await client.exec_create(
                container.container_id,
                {
                    "Cmd": words,
                    "Tty": True,
                    "AttachStdin": True,
                    "AttachStdout": True,
                    "AttachStderr": True,
                    "ConsoleSize": [session.rows, session.columns],
                    "Env": ["TERM=xterm-256color"],
                },
            )
        await session.asave()

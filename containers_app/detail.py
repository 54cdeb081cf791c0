"""One container's tabs: what it is, why it is not running, logs, statistics, inspect; and finding its row.

A container the sync has not reported yet is looked at through the projection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from containers_app.loglines import LogLines, plain
from containers_app.models import Container
from containers_app.projection import KIND, ContainerProjection
from containers_app.why import why_not_running
from runtime.api.errors import EngineError
from webdock.engines import secrets
from webdock.engines.audit import LOOKS, actor_of, write
from webdock.engines.clients import client as client_of
from webdock.engines.models import AuditEntry, current_engine, last_revision
from webdock.engines.pages import page
from webdock.engines.secrets import environment, masked
from webdock.engines.timeline import of_container
from webdock.engines.wording import explain
from webdock.people.belongings import viewer_rights
from webdock.people.handing import whose
from webdock.people.rights import requires

HISTORY_ROWS = 10
CHANGING = ("create", "start", "stop", "restart", "kill", "pause", "unpause", "recreate")  # of its state
SHOWN_MAX = 200  # of its environment, and of its labels; the inspect document has all
LAST_LINES = 12  # of the log, on the card that says why it stopped
LAST_LINES_TIMEOUT_S = 1.0


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
async def container_named(request: HttpRequest, ref: str) -> HttpResponse:
    """From a name or the beginning of an ID to the page: after an edit the ID is another, the name is not."""
    rows = Container.objects.filter(engine=await sync_to_async(current_engine)(), removed_at=None)
    for named in ({"name": ref}, {"container_id__startswith": ref}):
        found = [id async for id in rows.filter(**named).values_list("container_id", flat=True)[:2]]
        if len(found) == 1:
            return redirect("container-detail", found[0])
    raise Http404


async def tab_context(container: Container, tab: str) -> dict[str, Any]:
    return {
        "container": container,
        "tab": tab,
        "cursor": await sync_to_async(last_revision)(KIND),
        "rights": await rights_here(container),
    }


async def rights_here(container: Container) -> frozenset[str]:
    """What the person who looks may do to this container."""
    return await sync_to_async(viewer_rights)("container", container.container_id)


@requires("view")
@require_GET
async def container_detail(request: HttpRequest, container_id: str) -> HttpResponse:
    """What it is, how it was set up, and why it is not running."""
    container = await find(container_id, removed=True)
    inspect = container.inspect
    found = AuditEntry.objects.filter(object_id=container_id).exclude(action__in=LOOKS).order_by("-pk")
    history = [entry async for entry in found[:HISTORY_ROWS]]
    why = why_not_running(container)
    if why is not None:
        changing = (entry for entry in history if entry.action.removeprefix("container.") in CHANGING)
        why["asked"] = next(changing, None)
    context = await tab_context(container, "overview")
    ended_badly = why is not None and why["tone"] == "bad" and container.started_at is not None
    if why is not None and ended_badly and "logs" in context["rights"]:
        last = await _last_lines(container)
        shown = last if "reveal" in context["rights"] else [secrets.line(text) for text in last]
        why["log"] = "\n".join(shown)
    labels = secrets.pairs(container.labels)
    context |= {
        "facts": facts_of(container),
        "whose": await sync_to_async(whose)("container", container_id),
        "env": environment((inspect.get("Config") or {}).get("Env")),
        "mounts": [_mount(mount) for mount in inspect.get("Mounts") or () if isinstance(mount, dict)],
        "networks": container.networks,
        "why": why,
        "labels": labels,
        "labels_shown": list(labels.items())[:SHOWN_MAX],
        "shown_max": SHOWN_MAX,
        "shown_slice": f":{SHOWN_MAX}",
        "history": history,
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
        (_("Command"), secrets.line(container.command)),
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


@requires("logs")
@require_GET
async def container_logs(request: HttpRequest, container_id: str) -> HttpResponse:
    container = await find(container_id, removed=True)
    context = await tab_context(container, "logs")
    context |= {"socket": f"ws/logs/{container_id}/", "log_name": container.name}
    return await page(request, "containers/logs.html", context)


@requires("view")
@require_GET
async def container_stats(request: HttpRequest, container_id: str) -> HttpResponse:
    return await page(
        request, "containers/stats.html", await tab_context(await find(container_id, removed=True), "stats")
    )


@requires("view")
@require_GET
async def container_events(request: HttpRequest, container_id: str) -> HttpResponse:
    """What the engine remembers of it; the page looks again when there is more."""
    container = await find(container_id, removed=True)
    context = await tab_context(container, "events")
    context["rows"], context["error"] = await of_container(container.engine.alias, container_id)
    return await page(request, "containers/events.html", context)


@requires("view")
@require_GET
async def container_inspect(request: HttpRequest, container_id: str) -> HttpResponse:
    """The whole document, secrets masked for people who may only look."""
    container = await find(container_id, removed=True)
    context = await tab_context(container, "inspect")
    reveal = "reveal" in context["rights"]
    if reveal:
        await sync_to_async(write)(
            await actor_of(request),
            "container.reveal",
            **container.audit_object,
        )
    context["inspect"] = container.inspect if reveal else masked(container.inspect)
    return await page(request, "containers/inspect.html", context)


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

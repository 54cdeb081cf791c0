"""Pages about engines: networks, volumes, the engines themselves, the audit trail, healthz."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable
from webdock import __version__
from webdock.engines.clients import client as client_of
from webdock.engines.drawing import draw
from webdock.engines.models import Engine, current_engine
from webdock.engines.moments import moment
from webdock.engines.pages import page
from webdock.engines.wording import explain
from webdock.people.rights import PUBLIC, requires

LIST_TIMEOUT_S = 10.0
AUDIT_PAGE_ROWS = 100
TEXT_MAX_CHARS = 200
PREDEFINED = ("bridge", "host", "none")  # networks that are always there
ON_NETWORKS = ("running", "paused", "restarting")  # states in which a container holds its addresses
ANONYMOUS = "com.docker.volume.anonymous"  # label of volumes made without a name


async def _asked(what: Any) -> tuple[Any, str]:
    """An answer of the current engine, or the reason there is none."""
    engine = await sync_to_async(current_engine)()
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            return await what(client_of(engine.alias)), ""
    except EngineError as error:
        return None, explain(error)
    except TimeoutError:
        return None, explain(EngineUnreachable(""))


@requires("view")
@require_GET
async def network_list(request: HttpRequest) -> HttpResponse:
    answer, error = await _asked(lambda client: client.network_list())
    used = await sync_to_async(_containers_by_network)()
    rows = sorted((_network(one, used) for one in answer or ()), key=lambda row: str(row["name"]))
    context = {"rows": rows, "error": error, "drawing": draw(rows)}
    return await page(request, "networks/list.html", context)


def _network(body: dict[str, Any], used: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    config = ((body.get("IPAM") or {}).get("Config") or [{}])[0]
    name = str(body.get("Name", ""))
    members = used.get(name, [])
    return {
        "name": name,
        "id": body.get("Id", ""),
        "driver": body.get("Driver", ""),
        "scope": body.get("Scope", ""),
        "internal": bool(body.get("Internal")),
        "subnet": config.get("Subnet", ""),
        "gateway": config.get("Gateway", ""),
        "predefined": name in PREDEFINED,
        "containers": len(members),
        "members": members,
        "unused": name not in PREDEFINED and not any(one["state"] in ON_NETWORKS for one in members),
        "created": moment(body.get("Created")),
    }


def _containers_by_network() -> dict[str, list[dict[str, str]]]:
    """Who is on which network: {"shop": [{"container_id", "name", "state", "ip"}, ...]}."""
    found: dict[str, list[dict[str, str]]] = {}
    rows = apps.get_model("containers_app", "Container").objects.filter(removed_at=None).order_by("name")
    for id, name, state, networks in rows.values_list("container_id", "name", "state", "networks"):
        for network in networks:
            member = {"container_id": id, "name": name, "state": state, "ip": network.get("ip") or ""}
            found.setdefault(network["name"], []).append(member)
    return found


@requires("view")
@require_GET
async def volume_list(request: HttpRequest) -> HttpResponse:
    async def ask(client: EngineClient) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        volumes = await client.volume_list()
        return volumes.get("Volumes") or [], await client.container_list(all=True)

    answer, error = await _asked(ask)
    volumes, containers = answer or ([], [])
    users: dict[str, list[dict[str, str]]] = {}
    for container in containers:
        name = str((container.get("Names") or [""])[0]).removeprefix("/")
        for mount in container.get("Mounts") or ():
            if mount.get("Type") == "volume" and mount.get("Name"):
                users.setdefault(mount["Name"], []).append({"container_id": container["Id"], "name": name})
    rows = [
        {
            "name": volume.get("Name", ""),
            "driver": volume.get("Driver", ""),
            "mountpoint": volume.get("Mountpoint", ""),
            "created": moment(volume.get("CreatedAt")),
            "labels": volume.get("Labels") or {},
            "anonymous": ANONYMOUS in (volume.get("Labels") or {}),
            "used_by": users.get(volume.get("Name", ""), []),
        }
        for volume in sorted(volumes, key=lambda one: str(one.get("Name", "")))
    ]
    return await page(request, "volumes/list.html", {"rows": rows, "error": error})


@requires("view")
@require_GET
async def engine_list(request: HttpRequest) -> HttpResponse:
    return await page(
        request, "engines/list.html", {"rows": [engine async for engine in Engine.objects.all()]}
    )


@requires(PUBLIC)
@require_GET
async def healthz(request: HttpRequest) -> JsonResponse:
    """Whether this process can answer; 503 without its database. Engines that are away are only named."""
    try:
        engines = {engine.alias: engine.connected async for engine in Engine.objects.all()}
    except DatabaseError:
        return JsonResponse({"status": "no database", "version": __version__}, status=503)
    return JsonResponse({"status": "ok", "version": __version__, "engines": engines})

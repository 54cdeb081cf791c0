"""The page of one volume: its files, what it is, who uses it; how much all of them take."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from posixpath import join
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_GET

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument, NotFound
from runtime.api.types import VolumeEntry
from webdock.engines.audit import actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.filepaths import clean_path, crumbs
from webdock.engines.models import current_engine
from webdock.engines.moments import moment
from webdock.engines.pages import page
from webdock.engines.views import ANONYMOUS
from webdock.engines.wording import explain
from webdock.people.handing import whose
from webdock.people.rights import requires

SIZE_WAIT_S = 2.0  # the page does not wait longer for a volume to be measured
SIZES_TIMEOUT_S = 60.0  # of all of them, for the list
LOST_MAX = 50  # names the question before a removal is given

FOREIGN = _lazy(
    "This engine tells that the volume is there, not what is in it: files of volumes can be listed, "
    "downloaded, uploaded and cloned on webdock's own engine only. "
    "Run a container with the volume and use its Files tab."
)
NO_FILE = "Could not find the file"  # the engine's words for a path that is not there
KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}

Body = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One name in a directory of a volume."""

    name: str
    path: str  # "" when its name is not UTF-8: an address cannot carry it
    kind: str  # directory, file, link, other
    size: int
    mode: str  # "drwxr-xr-x"
    mtime: datetime | None
    owner: str  # "0:0"
    target: str  # of a link


def entry_of(found: VolumeEntry, directory: str) -> Entry:
    """The engine's words about one name, for the page."""
    seen = moment(found["mtime"])
    return Entry(
        name=found["name"],
        path=join(directory, found["name"]) if found["exact"] else "",
        kind=KINDS.get(stat.S_IFMT(found["mode"]), "other"),
        size=found["size"],
        mode=stat.filemode(found["mode"]),
        mtime=seen.astimezone(UTC) if isinstance(seen, datetime) else None,
        owner=f"{found['uid']}:{found['gid']}",
        target=found["linkTarget"],
    )


@requires("view")
@require_GET
async def volume_detail(request: HttpRequest, name: str) -> HttpResponse:
    """What the volume is and who uses it; its files for people who may read files."""
    engine = await sync_to_async(current_engine)()
    client = client_of(engine.alias)
    try:
        path = clean_path(request.GET.get("path", "/"))
        document = await client.volume_inspect(name)
        users = await users_of(client, name)
    except (NotFound, InvalidArgument):
        raise Http404 from None
    except EngineError as error:
        return await page(request, "volumes/detail.html", {"name": name, "error": explain(error)})
    labels = document.get("Labels") or {}
    context: Body = {
        "name": name,
        "volume": document,
        "whose": await sync_to_async(whose)("volume", name),
        "anonymous": ANONYMOUS in labels,
        "labels": {key: value for key, value in labels.items() if key != ANONYMOUS},
        "created": moment(document.get("CreatedAt")),
        "used_by": users,
        "size": await _size_soon(client, name),
        "document": document,
    }
    if "files" in await client.rights_over("volume", name):
        try:
            async with audited(
                await actor_of(request),
                "volume.file.list",
                engine=engine.alias,
                kind="volume",
                id=name,
                name=name,
                detail=path,
            ):
                context |= await _files(client, name, path)
        except InvalidArgument:  # a file, perhaps by way of a link: its own page says what is wrong otherwise
            return redirect(f"{reverse('volume-file-view', args=[name])}?{urlencode({'path': path})}")
    return await page(request, "volumes/detail.html", context)


async def users_of(client: EngineClient, name: str) -> list[Body]:
    """Containers that were made with the volume: [{"container_id", "name", "state"}, ...]."""
    found = await client.container_list(all=True, filters={"volume": [name]})
    return [
        {
            "container_id": container["Id"],
            "name": str((container.get("Names") or [""])[0]).removeprefix("/"),
            "state": container.get("State", ""),
        }
        for container in found
    ]


async def _files(client: EngineClient, name: str, path: str) -> Body:
    """A directory, what the whole volume would lose, or why neither is known.

    Raises: InvalidArgument when it is no directory.
    """
    context: Body = {"path": path, "crumbs": crumbs(path), "browses": True}
    try:
        listing = await client.volume_files(name, path)
        top = listing if path == "/" else await client.volume_files(name, "/")
    except InvalidArgument:
        raise
    except EngineError as error:
        if isinstance(error, NotFound) and NO_FILE not in error.message:  # it knows no such question
            return context | {"browses": False, "files_error": FOREIGN}
        return context | {"files_error": explain(error)}
    entries = [entry_of(one, listing["Path"]) for one in listing["Entries"]]
    entries.sort(key=lambda one: (one.kind != "directory", one.name.lower()))
    return context | {
        "path": listing["Path"],
        "crumbs": crumbs(listing["Path"]),
        "entries": entries,
        "left_out": listing["Total"] - len(entries),
        "lost": [one["name"] for one in top["Entries"][:LOST_MAX]],
    }


async def _size_soon(client: EngineClient, name: str) -> int | None:
    """Bytes the volume takes; -1 when they are not the engine's to count, None when it takes too long."""
    try:
        async with asyncio.timeout(SIZE_WAIT_S):
            measured = await client.volume_inspect(name, size=True)
            if "UsageData" not in measured:
                return (await _sizes(client)).get(name, -1)
    except (EngineError, TimeoutError):
        return None
    return int((measured["UsageData"] or {}).get("Size", -1))


async def _sizes(client: EngineClient) -> dict[str, int]:
    found = (await client.system_df(types=["volume"])).get("Volumes") or []
    return {str(one.get("Name")): int((one.get("UsageData") or {}).get("Size", -1)) for one in found}


@requires("view")
@require_GET
async def volume_sizes(request: HttpRequest) -> JsonResponse:
    """{"sizes": {"data": 4096}}: measuring takes a while, so the list asks once it is shown."""
    engine = await sync_to_async(current_engine)()
    try:
        async with asyncio.timeout(SIZES_TIMEOUT_S):
            return JsonResponse({"sizes": await _sizes(client_of(engine.alias))})
    except EngineError as error:
        return JsonResponse({"sizes": {}, "message": explain(error)}, status=503)
    except TimeoutError:
        return JsonResponse({"sizes": {}, "message": _("Measuring takes too long.")}, status=503)

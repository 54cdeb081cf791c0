"""Endpoints of a container's files: changes, export, archives (docker cp), commit."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web

from runtime.api.errors import InvalidArgument
from runtime.server.answer import TAR, byte_stream, empty_answer, json_answer
from runtime.server.call import Call

OCTETS = "application/octet-stream"


async def container_changes(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.containers.changes(call.ref))


async def container_export(call: Call) -> web.StreamResponse:
    chunks = await call.engine.containers.export(call.ref)
    return await byte_stream(call, chunks, OCTETS)


async def container_shells(call: Call) -> web.StreamResponse:
    return json_answer({"Shells": await call.engine.containers.shells(call.ref)})


async def container_archive_stat(call: Call) -> web.StreamResponse:
    stat = await call.engine.containers.archive_head(call.ref, path_of(call))
    return web.Response(headers=stat_header(stat))


async def container_archive(call: Call) -> web.StreamResponse:
    stat, chunks = await call.engine.containers.archive_get(call.ref, path_of(call))
    return await byte_stream(call, chunks, TAR, stat_header(stat))


async def container_image_archive(call: Call) -> web.StreamResponse:
    stat, chunks = await call.engine.containers.image_archive(call.ref, path_of(call))
    return await byte_stream(call, chunks, TAR, stat_header(stat))


async def container_archive_put(call: Call) -> web.StreamResponse:
    await call.engine.containers.archive_put(
        call.ref,
        path_of(call),
        call.upload(),
        no_overwrite_dir_non_dir=call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid=call.query.flag("copyUIDGID"),
    )
    return empty_answer(200)


async def container_commit(call: Call) -> web.StreamResponse:
    query = call.query
    image = await call.engine.containers.commit(
        query.text("container"),
        repo=query.text("repo"),
        tag=query.text("tag"),
        comment=query.text("comment"),
        author=query.text("author"),
        pause=query.flag("pause", True),
        changes=query.texts("changes"),
        config=call.body,
    )
    return json_answer({"Id": image}, 201)


def path_of(call: Call) -> str:
    """The path inside that is asked for. Raises: InvalidArgument."""
    path = call.query.text("path")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    return path


def stat_header(stat: Any) -> dict[str, str]:
    """How Docker says what stands at a path."""
    return {"X-Docker-Container-Path-Stat": base64.b64encode(json.dumps(stat).encode()).decode()}

"""Endpoints of volumes, and our own ones of the files in them."""

from __future__ import annotations

from aiohttp import web

from runtime.server.answer import TAR, byte_stream, empty_answer, json_answer
from runtime.server.call import Call
from runtime.server.handlers.files import path_of, stat_header

ANONYMOUS_ONLY_VERSION = (1, 42)  # before, pruning took named volumes, too


async def volume_list(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volumes.list(call.query.filters()))


async def volume_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volumes.inspect(call.ref, size=call.query.flag("size")))


async def volume_create(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volumes.create(call.body), 201)


async def volume_remove(call: Call) -> web.StreamResponse:
    await call.engine.volumes.remove(call.ref, force=call.query.flag("force"))
    return empty_answer()


async def volume_prune(call: Call) -> web.StreamResponse:
    filters = call.query.filters()
    if call.version < ANONYMOUS_ONLY_VERSION:
        filters.setdefault("all", ["true"])
    return json_answer(await call.engine.volumes.prune(filters))


async def volume_files(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volume_files.list(call.ref, call.query.text("path", "/")))


async def volume_archive_stat(call: Call) -> web.StreamResponse:
    return web.Response(headers=stat_header(await call.engine.volume_files.stat(call.ref, path_of(call))))


async def volume_archive(call: Call) -> web.StreamResponse:
    stat, chunks = await call.engine.volume_files.get(call.ref, path_of(call))
    return await byte_stream(call, chunks, TAR, stat_header(stat))


async def volume_archive_put(call: Call) -> web.StreamResponse:
    careful = call.query.flag("noOverwriteDirNonDir")
    await call.engine.volume_files.put(call.ref, path_of(call), call.upload(), careful=careful)
    return empty_answer(200)


async def volume_clone(call: Call) -> web.StreamResponse:
    name = call.body.get("Name", "")
    return json_answer(await call.engine.volume_files.clone(call.ref, name, call.body.get("Labels")), 201)

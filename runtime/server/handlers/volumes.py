"""Endpoints of volumes."""

from __future__ import annotations

from aiohttp import web

from runtime.server.answer import empty_answer, json_answer
from runtime.server.call import Call

ANONYMOUS_ONLY_VERSION = (1, 42)  # before, pruning took named volumes, too


async def volume_list(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volumes.list(call.query.filters()))


async def volume_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.volumes.inspect(call.ref))


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

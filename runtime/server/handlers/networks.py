"""Endpoints of networks."""

from __future__ import annotations

from aiohttp import web

from runtime.server.answer import empty_answer, json_answer
from runtime.server.call import Call


async def network_list(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.networks.list(call.query.filters()))


async def network_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.networks.inspect(call.ref))


async def network_create(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.networks.create(call.body), 201)


async def network_connect(call: Call) -> web.StreamResponse:
    await call.engine.networks.connect(call.ref, call.body)
    return empty_answer(200)


async def network_disconnect(call: Call) -> web.StreamResponse:
    await call.engine.networks.disconnect(call.ref, call.body)
    return empty_answer(200)


async def network_remove(call: Call) -> web.StreamResponse:
    await call.engine.networks.remove(call.ref)
    return empty_answer()


async def network_prune(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.networks.prune(call.query.filters()))

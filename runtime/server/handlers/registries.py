"""Endpoints of registries: how each is spoken to, and trying one; webdock's own."""

from __future__ import annotations

from typing import cast

from aiohttp import web

from runtime.api.errors import InvalidArgument
from runtime.api.types import RegistryBody
from runtime.server.answer import empty_answer, json_answer
from runtime.server.call import Call
from runtime.server.handlers.images import registry_auth


async def registry_list(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.images.registries.rows())


async def registry_set(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.images.registries.set(call.ref, call.body))


async def registry_forget(call: Call) -> web.StreamResponse:
    await call.engine.images.registries.forget(call.ref)
    return empty_answer(204)


async def registry_test(call: Call) -> web.StreamResponse:
    changes = {**call.body}
    host = changes.pop("Host", "")
    if not host:
        raise InvalidArgument("registry test takes the Host to try")
    return json_answer(
        await call.engine.images.try_registry(host, cast(RegistryBody, changes), registry_auth(call))
    )

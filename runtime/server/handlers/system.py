"""Endpoints about the engine itself: ping, version, info, disk usage, events, registry credentials."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from runtime.api.errors import InvalidArgument, Unavailable
from runtime.server.answer import json_answer, json_stream
from runtime.server.call import Call

_MOMENT = re.compile(r"^(-?\d{1,18})(?:\.(\d{1,9}))?$")
_DF_TYPES = {"container": "Containers", "image": "Images", "volume": "Volumes", "build-cache": "BuildCache"}


async def ping(call: Call) -> web.StreamResponse:
    return web.Response(
        text="OK",
        headers={
            "Builder-Version": "1",
            "Swarm": "inactive",
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
        },
    )


async def version(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.version())


async def info(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.info())


async def system_df(call: Call) -> web.StreamResponse:
    wanted = call.query.texts("type")
    for kind in wanted:
        if kind not in _DF_TYPES:
            raise InvalidArgument(f"unknown object type: {kind[:40]}")
    usage = dict(await call.engine.disk_usage())
    if wanted:
        hidden = {_DF_TYPES[kind] for kind in _DF_TYPES if kind not in wanted}
        usage = {key: value for key, value in usage.items() if key not in hidden}
        if "image" not in wanted:
            usage.pop("LayersSize", None)
    return json_answer(usage)


async def auth(call: Call) -> web.StreamResponse:
    address = str((call.body or {}).get("serveraddress") or "")
    host = (address.partition("://")[2] or address).partition("/")[0]
    call.engine.images.registries.reach(host, confined=call.confined)
    return json_answer(await call.engine.images.authenticate(call.body))


async def build_prune(call: Call) -> web.StreamResponse:
    """There is no build cache, so nothing is freed; `docker system prune` asks."""
    return json_answer({"CachesDeleted": None, "SpaceReclaimed": 0})


async def plugin_list(call: Call) -> web.StreamResponse:
    return json_answer([])


async def events(call: Call) -> web.StreamResponse:
    since, until = moment(call, "since"), moment(call, "until")
    if since is not None and until is not None and since > until:
        raise InvalidArgument(
            f"`since` time ({call.query.text('since')}) cannot be after "
            f"`until` time ({call.query.text('until')})"
        )
    subscription = call.engine.events.subscribe(since=since, until=until, filters=call.query.filters())

    async def follow() -> AsyncGenerator[Any, None]:
        try:
            async for event in subscription:
                yield event
            if subscription.overrun:
                raise Unavailable("events came faster than this client read them")
        finally:
            subscription.close()

    return await json_stream(call, follow(), wait_for_first=False)


def moment(call: Call, key: str) -> float | None:
    """A point in time in seconds ("1700000000", "1700000000.123456789"); None when absent.

    Raises: InvalidArgument.
    """
    text = call.query.text(key)
    if not text:
        return None
    found = _MOMENT.match(text)
    if found is None:
        raise InvalidArgument(f"invalid value for {key}: {text[:40]!r} is not a time in seconds")
    return float(text)

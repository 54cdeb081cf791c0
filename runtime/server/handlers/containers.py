"""Endpoints of containers: the verbs, list and inspect."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runtime.api.errors import InvalidArgument
from runtime.server.answer import empty_answer, json_answer, later
from runtime.server.call import Call

WAIT_CONDITIONS = ("not-running", "next-exit", "removed")
START_BODY_BYTES = 7  # Docker lets "null" and "{}" pass
SIGNAL_VERSION = (1, 42)  # stop and restart take a signal from here on
PRIVATE_IPC_VERSION = (1, 40)  # up to here clients that say nothing of IPC expect it to be shareable


async def container_list(call: Call) -> web.StreamResponse:
    query = call.query
    limit = query.integer("limit")
    return json_answer(
        await call.engine.containers.list(
            all=query.flag("all"),
            limit=limit if limit and limit > 0 else None,
            size=query.flag("size"),
            filters=query.filters(),
        )
    )


async def container_create(call: Call) -> web.StreamResponse:
    if not call.body:
        raise InvalidArgument("config cannot be empty in order to create a container")
    created, warnings = await call.engine.containers.create(
        call.query.text("name") or None, _of_its_version(call), call.query.text("platform") or None
    )
    return json_answer({"Id": created, "Warnings": warnings}, 201)


def _of_its_version(call: Call) -> dict[str, Any]:
    """The body, with what its version means by no IpcMode; docker-compose 1 counts on it."""
    body: dict[str, Any] = call.body
    host = body.get("HostConfig")
    if call.confined or call.version >= PRIVATE_IPC_VERSION or not host or host.get("IpcMode"):
        return body
    return {**body, "HostConfig": {**host, "IpcMode": "shareable"}}


async def container_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.containers.inspect(call.ref, size=call.query.flag("size")))


async def container_top(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.containers.top(call.ref, call.query.text("ps_args", "-ef")))


async def container_start(call: Call) -> web.StreamResponse:
    length = call.request.content_length
    if length is not None and length > START_BODY_BYTES:
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    await call.engine.containers.start(call.ref, call.query.text("detachKeys") or None)
    return empty_answer()


async def container_stop(call: Call) -> web.StreamResponse:
    await call.engine.containers.stop(call.ref, call.query.integer("t"), _stop_signal(call))
    return empty_answer()


async def container_restart(call: Call) -> web.StreamResponse:
    await call.engine.containers.restart(call.ref, call.query.integer("t"), _stop_signal(call))
    return empty_answer()


def _stop_signal(call: Call) -> str | None:
    return call.query.text("signal") or None if call.version >= SIGNAL_VERSION else None


async def container_kill(call: Call) -> web.StreamResponse:
    await call.engine.containers.kill(call.ref, call.query.text("signal", "KILL"))
    return empty_answer()


async def container_pause(call: Call) -> web.StreamResponse:
    await call.engine.containers.pause(call.ref)
    return empty_answer()


async def container_unpause(call: Call) -> web.StreamResponse:
    await call.engine.containers.unpause(call.ref)
    return empty_answer()


async def container_rename(call: Call) -> web.StreamResponse:
    await call.engine.containers.rename(call.ref, call.query.text("name"))
    return empty_answer()


async def container_update(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.containers.update(call.ref, call.body))


async def container_wait(call: Call) -> web.StreamResponse:
    condition = call.query.text("condition", "not-running") if call.version >= (1, 30) else "not-running"
    if condition not in WAIT_CONDITIONS:
        raise InvalidArgument(f'invalid condition: "{condition[:40]}"')
    result = call.engine.containers.wait(call.ref, condition)
    return await later(
        call, result, lambda done: {key: value for key, value in done.items() if value is not None}
    )


async def container_resize(call: Call) -> web.StreamResponse:
    await call.engine.containers.resize(call.ref, *terminal_size(call))
    return empty_answer(200)


async def container_remove(call: Call) -> web.StreamResponse:
    query = call.query
    await call.engine.containers.remove(
        call.ref, force=query.flag("force"), volumes=query.flag("v"), link=query.flag("link")
    )
    return empty_answer()


async def container_prune(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.containers.prune(call.query.filters()))


def terminal_size(call: Call) -> tuple[int, int]:
    """(height, width).

    Raises: InvalidArgument.
    """
    size = []
    for key in ("h", "w"):
        value = call.query.integer(key)
        if value is None or not 0 <= value <= 65535:
            raise InvalidArgument(f"invalid resize: {key} is a number from 0 to 65535")
        size.append(value)
    return size[0], size[1]

"""The hubs of one session at several web processes: who is there, who typed last, the sizes of their windows.

Each tells the others over the channel layer, at every change and every few seconds; one that is not heard of
for a while is gone. Nothing that is typed or shown goes this way. One web process has nobody to tell.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.conf import settings
from django.utils.translation import gettext as _

from containers_app.terminal_hub import Hub
from webdock.engines.consumers import CLOSE_FORBIDDEN
from webdock.engines.hints import LAYER_ERRORS

BEAT_S = 5.0
GONE_S = 15.0  # since a hub was heard of
GATHER_S = 0.05  # changes that close together are told at once
RETRY_S = 2.0  # after the layer failed
PEOPLE_MAX = 100

logger = logging.getLogger("containers_app")


def group(session_id: UUID) -> str:
    return f"terminal.{session_id}"


async def meet(hub: Hub) -> None:
    """Tell and hear until cancelled; a layer that is down is logged and tried again."""
    if not settings.REDIS_URL:
        return
    while True:
        try:
            await _converse(hub)
        except* LAYER_ERRORS as errors:
            logger.warning("terminal %s hears nothing of other processes: %s", hub.session.pk, errors)
        await asyncio.sleep(RETRY_S)


async def _converse(hub: Hub) -> None:
    layer, name = get_channel_layer(), ""
    try:
        name = await layer.new_channel()
        await layer.group_add(group(hub.session.pk), name)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_tell(hub, layer), name="terminal tells")
            tasks.create_task(_hear(hub, layer, name), name="terminal hears")
    finally:
        hub.elsewhere.clear()
        if name:
            await layer.group_discard(group(hub.session.pk), name)


async def _tell(hub: Hub, layer: Any) -> None:
    first, told = True, False
    while True:
        hub.changed.clear()
        if hub.viewers or told or first:
            await layer.group_send(group(hub.session.pk), _news(hub, first))
        first, told = False, bool(hub.viewers)
        try:
            async with asyncio.timeout(BEAT_S):
                await hub.changed.wait()
        except TimeoutError:
            pass
        _forget(hub)
        await asyncio.sleep(GATHER_S)


def _news(hub: Hub, first: bool) -> dict[str, Any]:
    """``first``: the others are to tell theirs."""
    people = [
        {"name": viewer.name, "types": viewer.types, "size": viewer.size}
        for viewer in hub.viewers[:PEOPLE_MAX]
    ]
    typed = [hub.typed_at, hub.typist]
    return {"type": "terminal", "from": hub.id, "first": first, "people": people, "typed": typed}


async def _hear(hub: Hub, layer: Any, name: str) -> None:
    while True:
        message = await layer.receive(name)
        if "guest" in message:
            _change_guest(hub, message)
        elif message["from"] != hub.id:
            _learn(hub, message)


def _learn(hub: Hub, message: dict[str, Any]) -> None:
    now, id = asyncio.get_running_loop().time(), message["from"]
    people, (typed_at, typist) = message["people"], message["typed"]
    news = hub.elsewhere.pop(id, (now, []))[1] != people
    if people:
        hub.elsewhere[id] = (now, people)
    if message["first"]:
        hub.changed.set()
    if typed_at > hub.typed_at:
        news, hub.typist, hub.typed_at = True, typist, typed_at
    if news:
        hub.show_people()


def _forget(hub: Hub) -> None:
    """Those of a process that was killed, or is out of reach."""
    now = asyncio.get_running_loop().time()
    gone = [id for id, (at, _people) in hub.elsewhere.items() if now - at > GONE_S]
    for id in gone:
        del hub.elsewhere[id]
    if gone:
        hub.show_people()


def _change_guest(hub: Hub, message: dict[str, Any]) -> None:
    if message["types"] is None:
        words = _("This terminal is not shared with you any more.")
        hub.expel(message["guest"], CLOSE_FORBIDDEN, words)
    else:
        hub.allow(message["guest"], types=message["types"])


async def tell_guest(session_id: UUID, user_id: int, *, types: bool | None) -> None:
    """A guest may type, or look on, or (None) has to go: at the other processes, too.

    When the layer is down it takes effect at their next look at who is invited.
    """
    if not settings.REDIS_URL:
        return
    try:
        message = {"type": "terminal", "from": "", "guest": user_id, "types": types}
        await get_channel_layer().group_send(group(session_id), message)
    except LAYER_ERRORS as error:
        logger.warning("terminal %s: other processes were not told of a guest: %s", session_id, error)

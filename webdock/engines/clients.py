"""alias -> one EngineClient per process (per event loop, as its connections belong to one)."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from django.conf import settings

from runtime.api.client import EngineClient
from runtime.api.errors import NotFound

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, EngineClient]] = WeakKeyDictionary()


def client(alias: str) -> EngineClient:
    """The client of an engine; made at the first call.

    Raises: NotFound when the settings name no such engine.
    """
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    if alias not in of_loop:
        if alias not in settings.ENGINES:
            raise NotFound(f"no engine is called {alias!r}")
        of_loop[alias] = EngineClient(settings.ENGINES[alias])
    return of_loop[alias]


async def close_clients() -> None:
    """Close the clients of this loop; the process is going."""
    for one in _clients.pop(asyncio.get_running_loop(), {}).values():
        await one.close()

"""alias -> one EngineClient per process (per event loop, as its connections belong to one)."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from django.conf import settings

from runtime.api.errors import NotFound
from webdock.people.guarded import GuardedClient

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, GuardedClient]] = WeakKeyDictionary()


def client(alias: str) -> GuardedClient:
    """The client of an engine; made at the first call.

    Raises: NotFound when the settings name no such engine.
    """
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    if alias not in of_loop:
        if alias not in settings.ENGINES:
            raise NotFound(f"no engine is called {alias!r}")
        of_loop[alias] = GuardedClient(settings.ENGINES[alias])
    return of_loop[alias]


async def close_clients() -> None:
    """Close the clients of this loop; the process is going."""
    for one in _clients.pop(asyncio.get_running_loop(), {}).values():
        await one.close()

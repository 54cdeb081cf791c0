"""How many networks and volumes an engine has, for the side bar. Their pages ask the engine itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.api.client import EngineClient
from webdock.engines.models import Engine
from webdock.engines.threads import in_thread

ALL = "*"  # any event means: count again


class NetworkTally:
    kind = "network"
    types = frozenset({"network"})
    actions = frozenset({"create", "destroy", "remove", "connect", "disconnect"})

    def ids_in(self, event: dict[str, Any]) -> Iterable[str]:
        return [ALL] if event.get("Type") == "network" and event.get("Action") in self.actions else []

    async def relist(self, engine: Engine, client: EngineClient, *, full: bool) -> bool:
        # After an engine was away its pages look again, whatever the count is.
        return await _counted(engine, "network_count", len(await client.network_list())) or full

    async def look(self, engine: Engine, client: EngineClient, ids: list[str]) -> bool:
        await self.relist(engine, client, full=False)
        return True  # also with as many as before: somebody joined, or one came as another went


class VolumeTally:
    kind = "volume"
    types = frozenset({"volume"})
    actions = frozenset({"create", "destroy"})

    def ids_in(self, event: dict[str, Any]) -> Iterable[str]:
        return [ALL] if event.get("Type") == "volume" and event.get("Action") in self.actions else []

    async def relist(self, engine: Engine, client: EngineClient, *, full: bool) -> bool:
        listed = await client.volume_list()
        return await _counted(engine, "volume_count", len(listed.get("Volumes") or ())) or full

    async def look(self, engine: Engine, client: EngineClient, ids: list[str]) -> bool:
        await self.relist(engine, client, full=False)
        return True


@in_thread
def _counted(engine: Engine, field: str, number: int) -> bool:
    return bool(Engine.objects.filter(pk=engine.pk).exclude(**{field: number}).update(**{field: number}))

"""The engine client of the web side: every call on behalf of a person sees and changes only what is theirs.

Views check rights by name; this is the second look, at the one place all calls pass: a thing that belongs to
others is "No such …" by whatever name it is called, lists leave it out, and what is made is written down as
the maker's. Without a viewer (the sync) it is a plain client.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from django.utils.translation import gettext as _

from runtime.api.client import Body, ContainerCreated, EngineClient, Filters
from runtime.api.errors import (
    Conflict,
    EngineError,
    EngineUnreachable,
    Forbidden,
    InvalidArgument,
    NotFound,
)
from runtime.api.streams import ClientStream, JsonStream
from webdock.engines.threads import in_thread
from webdock.people import belongings, quotas, viewer
from webdock.people.belongings import CLAIM, CLAIM_LABEL, PREDEFINED
from webdock.people.references import references
from webdock.people.roles import NAMES
from webdock.people.seen_events import SeenEvents

ACTOR_HEADER = "X-Webdock-Actor"
TEAM_LABEL = "webdock.team"
ANONYMOUS = "com.docker.volume.anonymous"  # label of volumes made without a name
_NAMED = re.compile(r"^/(container|network|volume)s/([^/?]+)(?:/([a-z]+))?")
_NO_NAMES = ("json", "create", "prune")
_CHANGING = (
    "start", "stop", "restart", "kill", "pause", "unpause", "rename", "update", "connect", "disconnect"
)  # fmt: skip
_RIGHT = {"container": "operate", "network": "networks", "volume": "volumes"}
_FULL_ID = re.compile(r"[0-9a-f]{64}")
TRUE_WORDS = ("1", "true", "on", "yes")

_sight = in_thread(belongings.sight)
_rights = in_thread(belongings.viewer_rights)
_ambiguous = in_thread(belongings.ambiguous)
_claim = in_thread(belongings.claim)
_claim_container = in_thread(belongings.claim_container)
_claim_successor = in_thread(belongings.claim_successor)
_claim_volume = in_thread(belongings.claim_volume)
_check_update = in_thread(belongings.check_update)
_settle = in_thread(belongings.settle)
_drop = in_thread(belongings.drop)
_counts_disk = in_thread(quotas.counts_disk)
_check_disk = in_thread(quotas.check_disk)
_check_disk_of = in_thread(quotas.check_disk_of)


def _watched() -> bool:
    """Whether somebody looks from whom something could be hidden."""
    now = viewer.current()
    return now is not None and not now.standing.admin


def _table(body: Body, key: str) -> Body:
    """A field that is an object, or not there; a token's call may say anything. Raises: InvalidArgument."""
    value = body.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"invalid JSON: {key}: expected an object")
    return value


class GuardedClient(EngineClient):
    """EngineClient with the eyes of whoever is looking."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._making = asyncio.Lock()

    async def _send(self, method: str, path: str, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        await self._guard(method, path)
        return await super()._send(method, path, *args, **kwargs)

    async def _upgrade(self, path: str, *args: Any, **kwargs: Any) -> ClientStream:
        await self._guard("POST", path)
        return await super()._upgrade(path, *args, **kwargs)

    def own_headers(self) -> dict[str, str]:
        """Who asks, for the engine's own log."""
        now = viewer.current()
        return {} if now is None else {ACTOR_HEADER: quote(now.user.get_username())}

    async def _guard(self, method: str, path: str) -> None:
        found = _NAMED.match(path) if _watched() else None
        if found is None or found[2] in _NO_NAMES:
            return
        kind, ref, verb = found[1], unquote(found[2]), found[3]
        changing = method in ("DELETE", "PUT") or (method == "POST" and verb in _CHANGING)
        await self.demand(kind, ref, _RIGHT[kind] if changing else "view")

    async def demand(self, kind: str, ref: str, right: str) -> None:
        """Pass when the viewer has the right over this thing.

        Raises: NotFound, as the engine says it, when it is not there for them; Forbidden.
        """
        rights = await self.rights_over(kind, ref)
        if "view" not in rights:
            raise NotFound(f"No such {kind}: {ref}" if kind != "network" else f"network {ref} not found")
        if right not in rights:
            raise Forbidden(_("You do not have the right to do this."))

    async def rights_over(self, kind: str, ref: str) -> frozenset[str]:
        """What the viewer may do to the thing called so; empty: it is not there for them."""
        if not _watched():
            return NAMES
        rights = await _rights(kind, await self._id(kind, ref))
        return rights | {"view"} if kind == "network" and ref in PREDEFINED else rights

    async def _id(self, kind: str, ref: str) -> str:
        """The id behind a name; the name itself where the engine knows nothing, or nothing is hidden."""
        if kind == "volume" or _FULL_ID.fullmatch(ref):
            return ref
        if kind == "network" and not await _ambiguous(kind, ref):
            return ref
        segment = quote(ref, safe="")
        path = f"/containers/{segment}/json" if kind == "container" else f"/networks/{segment}"
        try:
            async with await super()._send("GET", path) as response:
                return str((await response.json()).get("Id", ref))
        except NotFound:
            return ref

    def events(
        self, *, since: float | None = None, until: float | None = None, filters: Filters | None = None
    ) -> JsonStream:
        plain = super().events(since=since, until=until, filters=filters)
        return plain if viewer.current() is None else SeenEvents(plain.start)

    def seen(self, response: aiohttp.ClientResponse) -> SeenEvents:
        """The events of an answer that is open already."""

        async def opened() -> aiohttp.ClientResponse:
            return response

        return SeenEvents(opened)

    # Lists leave out what is not there for the viewer

    async def container_list(self, **options: Any) -> list[dict[str, Any]]:
        found = await super().container_list(**options)
        return await self._only("container", found, "Id")

    async def network_list(self, *, filters: Filters | None = None) -> list[dict[str, Any]]:
        found = await super().network_list(filters=filters)
        return await self._only("network", found, "Id")

    async def network_inspect(self, *args: Any, **options: Any) -> dict[str, Any]:
        document = await super().network_inspect(*args, **options)
        if _watched() and document.get("Containers"):
            sees = await _sight("container")
            document["Containers"] = {id: one for id, one in document["Containers"].items() if sees(id)}
        return document

    async def volume_list(self, *, filters: Filters | None = None) -> dict[str, Any]:
        answer = await super().volume_list(filters=filters)
        return {**answer, "Volumes": await self._only("volume", answer.get("Volumes") or [], "Name")}

    async def system_df(self, types: list[str] | None = None) -> dict[str, Any]:
        answer = await super().system_df(types)
        for kind, key, field in (("container", "Containers", "Id"), ("volume", "Volumes", "Name")):
            if answer.get(key):
                answer[key] = await self._only(kind, answer[key], field)
        return answer

    async def disk_sizes(self) -> dict[tuple[str, str], int]:
        """What each container's own files and each volume take, whoever asks: for quotas."""
        answer = await super().system_df(["container", "volume"])
        sizes = {
            ("container", str(one.get("Id"))): int(one.get("SizeRw") or 0)
            for one in answer.get("Containers") or ()
        }
        for one in answer.get("Volumes") or ():
            sizes["volume", str(one.get("Name"))] = max(0, int((one.get("UsageData") or {}).get("Size") or 0))
        return sizes

    async def _only(self, kind: str, rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
        if not _watched():
            return rows
        sees = await _sight(kind)
        return [
            row
            for row in rows
            if sees(str(row.get(field, ""))) or (kind == "network" and row.get("Name") in PREDEFINED)
        ]

    # What is made is the maker's

    async def container_create(
        self, body: Body, *, name: str | None = None, platform: str | None = None
    ) -> ContainerCreated:
        now = viewer.current()
        if now is None:
            return await super().container_create(body, name=name, platform=platform)
        labels, host = dict(_table(body, "Labels")), _table(body, "HostConfig")
        team = None if now.succeeds else await self._team(labels)
        fresh = []
        for kind, ref in references(body):
            await self.demand(kind, ref, "operate")
            if kind == "volume" and await self._is_new_volume(ref):
                fresh.append(ref)
        # Race: two that are made at once could each find room for one.
        async with self._making:
            label = await self._claimed(now, team, labels.pop(CLAIM_LABEL, ""), host)
        if label:
            labels[CLAIM_LABEL] = label
        try:
            if not now.succeeds and await _counts_disk():
                await _check_disk_of("container", CLAIM + label, await self.disk_sizes())
            for volume in fresh:
                await _claim_volume(volume, label)
            made = await super().container_create({**body, "Labels": labels}, name=name, platform=platform)
        except EngineError as error:
            if isinstance(error, EngineUnreachable) and error.asked:
                raise  # Race: it may have been made all the same, and is its maker's when it is seen
            await _drop("container", CLAIM + label)
            for volume in fresh:
                if await self._is_new_volume(volume):
                    await _drop("volume", volume)
            raise
        await self._claim_anonymous(str(made["Id"]), body, label)
        await _settle(label, str(made["Id"]))
        return made

    async def _claim_anonymous(self, id: str, body: Body, label: str) -> None:
        """Volumes without a name come into being with a container, and are whose it is; not those it takes
        over from another one."""
        host = _table(body, "HostConfig")
        known = {ref for kind, ref in references(body) if kind == "volume"}
        for source in host.get("VolumesFrom") or ():
            known |= await self._volumes_of(str(source).partition(":")[0])
        for volume in await self._volumes_of(id) - known:
            await _claim_volume(volume, label)

    async def _volumes_of(self, ref: str) -> set[str]:
        """Names of the volumes a container mounts; none of one that is gone."""
        try:
            found = await super().container_inspect(ref)
        except NotFound:
            return set()
        mounts = found.get("Mounts") or ()
        return {str(one["Name"]) for one in mounts if one.get("Type") == "volume" and one.get("Name")}

    @staticmethod
    async def _claimed(now: viewer.Viewer, team: int | None, before: object, host: dict[str, Any]) -> str:
        if now.succeeds:
            return await _claim_successor(now.user, now.succeeds, host)
        return await _claim_container(now.user, team, str(before), host, now.claims)

    async def container_update(self, ref: str, body: Body) -> dict[str, Any]:
        """Raises: Forbidden when the new limits do not fit the quotas of its owner and team."""
        if viewer.current() is not None:
            before = await self.container_inspect(ref)
            asks = {key: value for key, value in body.items() if value}
            async with self._making:
                await _check_update(str(before["Id"]), {**(before.get("HostConfig") or {}), **asks})
        return await super().container_update(ref, body)

    async def network_create(self, body: Body) -> dict[str, Any]:
        made = await super().network_create(body)
        now = viewer.current()
        if now is not None:
            team = await self._team(_table(body, "Labels"))
            await _claim("network", now.user.pk, team, str(made["Id"]), str(body.get("Name", "")))
        return made

    async def network_connect(self, ref: str, body: Body) -> None:
        await self.demand("container", str(body.get("Container", "")), "operate")
        await super().network_connect(ref, body)

    async def network_disconnect(self, ref: str, body: Body) -> None:
        await self.demand("container", str(body.get("Container", "")), "operate")
        await super().network_disconnect(ref, body)

    async def volume_create(self, body: Body) -> dict[str, Any]:
        """Raises: Conflict when the name is taken by something this person does not see."""
        now, name = viewer.current(), str(body.get("Name", ""))
        if now is None:
            return await super().volume_create(body)
        team = await self._team(_table(body, "Labels"))
        try:
            await self.demand("volume", name, "view")
        except NotFound:
            raise Conflict(_("volume: the name %(name)s is taken") % {"name": name}) from None
        fresh = not name or await self._is_new_volume(name)
        if fresh and await _counts_disk():
            await _check_disk(now.user.pk, team, await self.disk_sizes())
        made = await super().volume_create(body)
        if fresh:
            await _claim("volume", now.user.pk, team, str(made["Name"]))
        return made

    async def volume_clone(self, name: str, body: Body) -> dict[str, Any]:
        now = viewer.current()
        team = await self._team(_table(body, "Labels"))
        if now is not None and await _counts_disk():
            await _check_disk(now.user.pk, team, await self.disk_sizes())
        made = await super().volume_clone(name, body)
        if now is not None:
            await _claim("volume", now.user.pk, team, str(made["Name"]))
        return made

    async def volume_remove(self, name: str, *, force: bool = False) -> None:
        await super().volume_remove(name, force=force)
        await _drop("volume", name)

    async def _is_new_volume(self, name: str) -> bool:
        try:
            async with await super()._send("GET", f"/volumes/{quote(name, safe='')}"):
                return False
        except NotFound:
            return True

    async def _team(self, labels: Body) -> int | None:
        """The team of what is being made. Raises: Forbidden for one this person makes nothing for."""
        now = viewer.current()
        if now is None:
            return None
        wanted = str(labels.get(TEAM_LABEL, ""))
        try:
            return await in_thread(belongings.team_for)(now.standing, wanted)
        except KeyError:
            raise Forbidden(_("You make nothing for the team %(team)s.") % {"team": wanted}) from None

    # Removing what is unused: each thing by itself, as the engine would also take what is not theirs

    async def container_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        if not _watched():
            return await super().container_prune(filters=filters)
        states = {"status": ["created", "exited", "dead"]}
        rows = await self.container_list(all=True, filters=states)
        gone = [str(row["Id"]) for row in rows if await self._removed(self.container_remove, str(row["Id"]))]
        return {"ContainersDeleted": gone, "SpaceReclaimed": 0}

    async def network_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        if not _watched():
            return await super().network_prune(filters=filters)
        rows = await self.network_list(filters={"dangling": ["true"]})
        names = [str(row["Name"]) for row in rows if row["Name"] not in PREDEFINED]
        return {"NetworksDeleted": [name for name in names if await self._removed(self.network_remove, name)]}

    async def volume_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        if not _watched():
            return await super().volume_prune(filters=filters)
        named = any(str(word).lower() in TRUE_WORDS for word in (filters or {}).get("all", ()))
        rows = (await self.volume_list(filters={"dangling": ["true"]}))["Volumes"]
        names = [str(row["Name"]) for row in rows if named or ANONYMOUS in (row.get("Labels") or {})]
        gone = [name for name in names if await self._removed(self.volume_remove, name)]
        return {"VolumesDeleted": gone, "SpaceReclaimed": 0}

    @staticmethod
    async def _removed(remove: Any, ref: str) -> bool:
        try:
            await remove(ref)
        except (Conflict, Forbidden, NotFound):  # used again, or gone, meanwhile
            return False
        return True

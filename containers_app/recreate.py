"""The transaction that puts one container in the place of another: forward step by step, or all the way back.

Every step looks before it acts, so it can be done again after a crash of this process or of the engine; the
record says how far it came. The old container is renamed and kept until the new one is up. Nothing of it is
lost on the way: its volumes are never removed.

Spec: Docker API 1.47; uses nothing that Docker 20.10 does not have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from django.utils.translation import gettext as _

from containers_app.loglines import LogLines, plain
from containers_app.why import exit_meaning
from runtime.api.client import EngineClient
from runtime.api.errors import (
    Conflict,
    EngineError,
    EngineUnreachable,
    Internal,
    NotFound,
    NotModified,
    Unavailable,
)
from webdock.engines import secrets
from webdock.engines.wording import explain

STEPS = ("asked", "renamed", "creating", "created", "connected", "stopped", "started", "up", "removed")
ALIVE = ("running", "paused", "restarting")
UP_S = 3.0  # a program that still runs after this has started
HEALTH_MAX_S = 300.0
HEALTH_SPARE_S = 10.0
LOOK_EVERY_S = 0.25
ENGINE_WAIT_S = 120.0  # for an engine that restarts in the middle
RETRY_S = 0.5
LAST_LINES, LAST_CHARS, LAST_WORDS_S = 5, 800, 3.0
SECOND_NS = 10**9


class Record(Protocol):
    """What is kept of one recreation, so that it can be gone on with."""

    old_id: str
    new_id: str  # "" until it was made
    name: str  # of the new one
    old_name: str
    kept_name: str  # of the old one while both are there
    body: Any  # of POST /containers/create
    networks: Any  # [[name, endpoint settings], ...] to connect after it
    was: str  # the old one's state
    start: bool
    step: str  # the last one that was finished
    failure: str  # why it goes back, "" while it goes forward
    warning: str
    outcome: str  # "", done, undone, stuck

    async def keep(self, *fields: str) -> None:
        """Write these fields down before anything else is done."""


class Recreate:
    """One transaction over one engine."""

    def __init__(self, client: EngineClient, record: Record, *, up_s: float | None = None) -> None:
        self._client = client
        self._record = record
        self._up_s = UP_S if up_s is None else up_s

    async def run(self) -> None:
        """Until there is an outcome: ``done``, ``undone`` or ``stuck``.

        Raises: EngineUnreachable, Unavailable when the engine stays away: to be run again later.
        """
        record = self._record
        if not record.failure:
            try:
                await self._forward()
                return
            except (EngineUnreachable, Unavailable):
                raise
            except EngineError as error:
                record.failure = explain(error)
                await record.keep("failure")
        try:
            await self._back()
        except (EngineUnreachable, Unavailable):
            raise
        except EngineError as error:
            record.warning = explain(error)
            await self._end("stuck")

    async def _forward(self) -> None:
        for step, work in (
            ("renamed", self._rename),
            ("created", self._create),
            ("connected", self._connect),
            ("stopped", self._stop),
            ("started", self._start),
            ("up", self._wait_up),
        ):
            if STEPS.index(self._record.step) < STEPS.index(step):
                await self._patiently(work)
                self._record.step = step
                await self._record.keep("step")
        try:
            await self._patiently(self._remove_old)
            self._record.step = "removed"
        except (EngineUnreachable, Unavailable):
            raise
        except EngineError as error:
            self._record.warning = _(
                "The old container could not be removed and is kept as %(name)s: %(why)s"
            ) % {
                "name": self._record.kept_name,
                "why": explain(error),
            }
        await self._end("done")

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """A step, tried again while the engine is away."""
        until = time.monotonic() + ENGINE_WAIT_S
        while True:
            try:
                await work()
                return
            except (EngineUnreachable, Unavailable):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(RETRY_S)

    async def _end(self, outcome: str) -> None:
        self._record.outcome = outcome
        await self._record.keep("step", "warning", "outcome")

    # Forward

    async def _rename(self) -> None:
        record = self._record
        old = await self._client.container_inspect(record.old_id)
        if not record.was:
            record.was = status_of(old)
            await record.keep("was")
        if name_of(old) != record.kept_name:
            await self._client.container_rename(record.old_id, record.kept_name)

    async def _create(self) -> None:
        record = self._record
        if record.step == "creating" and (found := await self._made()) is not None:
            record.new_id = str(found["Id"])
        else:
            if record.step != "creating":
                record.step = "creating"
                await record.keep("step")
            made = await self._client.container_create(record.body, name=record.name)
            record.new_id = str(made["Id"])
        await record.keep("new_id")

    async def _made(self) -> dict[str, Any] | None:
        """The new container when its creation was asked for and the answer never came.

        Race: the name was free only for that creation; one that has run, or is of another image, is not ours.
        """
        try:
            found = await self._client.container_inspect(self._record.name)
        except NotFound:
            return None
        same = (found.get("Config") or {}).get("Image") == self._record.body.get("Image")
        ours = same and status_of(found) == "created" and found["Id"] != self._record.old_id
        return found if ours else None

    async def _connect(self) -> None:
        new = await self._client.container_inspect(self._record.new_id)
        there = (new.get("NetworkSettings") or {}).get("Networks") or {}
        for name, settings in self._record.networks:
            if name not in there:
                body = {"Container": self._record.new_id, "EndpointConfig": settings}
                await self._client.network_connect(name, body)

    async def _stop(self) -> None:
        """Only when the new one takes over: two may not have one port, one volume or one address."""
        if not self._record.start:
            return
        status = status_of(await self._client.container_inspect(self._record.old_id))
        if status == "paused":
            await self._client.container_unpause(self._record.old_id)
        if status in ALIVE:
            try:
                await self._client.container_stop(self._record.old_id)
            except NotModified:
                pass

    async def _start(self) -> None:
        if not self._record.start:
            return
        new = await self._client.container_inspect(self._record.new_id)
        if status_of(new) == "created":
            try:
                await self._client.container_start(self._record.new_id)
            except NotModified:
                pass

    async def _wait_up(self) -> None:
        """Raises: Internal when it ends or is not healthy in time."""
        if not self._record.start:
            return
        began = time.monotonic()
        while True:
            new = await self._client.container_inspect(self._record.new_id)
            state = new.get("State") or {}
            status, code = status_of(new), int(state.get("ExitCode") or 0)
            if status == "exited" and code == 0 and not new.get("RestartCount"):
                return  # it had little to do and did it
            if status != "running" or new.get("RestartCount"):
                words = _("The new container started and ended with exit code %(code)d. %(meaning)s")
                said = words % {"code": code, "meaning": exit_meaning(code)}
                if last := await self._last_words():
                    said += " " + _("Its last output: %(text)s") % {"text": last}
                raise Internal(said)
            health = str((state.get("Health") or {}).get("Status") or "none")
            passed = time.monotonic() - began
            if health == "healthy" or (health == "none" and passed >= self._up_s):
                return
            if health == "unhealthy":
                raise Internal(_("The new container is not healthy: %(why)s") % {"why": last_output(state)})
            if health == "starting" and passed > health_wait_s(new):
                raise Internal(
                    _("The new container did not become healthy within %(n)d seconds") % {"n": passed}
                )
            await asyncio.sleep(LOOK_EVERY_S)

    async def _last_words(self) -> str:
        """The end of the new container's log, which goes with it; "" when the engine cannot say in time."""
        lines = LogLines()
        found = []
        try:
            async with (
                asyncio.timeout(LAST_WORDS_S),
                self._client.container_logs(self._record.new_id, tail=LAST_LINES) as log,
            ):
                async for stream, data in log:
                    found += lines.feed(stream, data)
        except (EngineError, TimeoutError):
            return ""
        texts = (secrets.line(plain(text)) for _stream, text, _time in [*found, *lines.end()])
        return "\n".join(texts).strip()[-LAST_CHARS:]

    async def _remove_old(self) -> None:
        try:
            await self._client.container_remove(self._record.old_id, force=True)
        except NotFound:
            pass

    # Back

    async def _back(self) -> None:
        await self._patiently(self._look_for_old)
        await self._patiently(self._remove_new)
        await self._patiently(self._rename_back)
        await self._patiently(self._as_before)
        await self._end("undone")

    async def _look_for_old(self) -> None:
        try:
            await self._client.container_inspect(self._record.old_id)
        except NotFound:
            # Going on would leave nothing at all.
            raise Conflict(
                _("the old container was removed meanwhile; the new one is left as it is")
            ) from None

    async def _remove_new(self) -> None:
        record = self._record
        try:
            if record.new_id:
                new = await self._client.container_inspect(record.new_id)
            elif record.step == "creating" and (found := await self._made()) is not None:
                new = found
            else:
                return
        except NotFound:
            return
        strays = await self._own_volumes(new)
        await self._client.container_remove(str(new["Id"]), force=True)
        for name in strays:
            try:
                await self._client.volume_remove(name)
            except (EngineUnreachable, Unavailable):
                raise
            except EngineError:
                pass  # a volume too many is no loss

    async def _own_volumes(self, new: dict[str, Any]) -> list[str]:
        """Volumes that came into being with the new container: no name of them was ever asked for."""
        old = await self._client.container_inspect(self._record.old_id)
        asked = str(self._record.body.get("HostConfig") or {})
        theirs = {mount.get("Name") for mount in old.get("Mounts") or ()}
        names = (
            str(mount.get("Name") or "") for mount in new.get("Mounts") or () if mount.get("Type") == "volume"
        )
        return [name for name in names if len(name) == 64 and name not in theirs and name not in asked]

    async def _rename_back(self) -> None:
        old = await self._client.container_inspect(self._record.old_id)
        if name_of(old) == self._record.kept_name:
            await self._client.container_rename(self._record.old_id, self._record.old_name)

    async def _as_before(self) -> None:
        record = self._record
        status = status_of(await self._client.container_inspect(record.old_id))
        if record.was in ALIVE and status not in ALIVE:
            try:
                await self._client.container_start(record.old_id)
            except NotModified:
                pass
            status = "running"
        if record.was == "paused" and status == "running":
            await self._client.container_pause(record.old_id)


def name_of(inspect: dict[str, Any]) -> str:
    return str(inspect.get("Name") or "").removeprefix("/")


def status_of(inspect: dict[str, Any]) -> str:
    return str((inspect.get("State") or {}).get("Status") or "")


def last_output(state: dict[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or []
    return str(log[-1].get("Output") or "").strip()[:500] if log else _("its check said nothing")


def health_wait_s(inspect: dict[str, Any]) -> float:
    """How long its health check may take to come to a verdict, with a bound."""
    check = (inspect.get("Config") or {}).get("Healthcheck") or {}
    start, interval, timeout = (
        (check.get(key) or default) / SECOND_NS
        for key, default in (("StartPeriod", 0), ("Interval", 30 * SECOND_NS), ("Timeout", 30 * SECOND_NS))
    )
    tries = int(check.get("Retries") or 3)
    return float(min(HEALTH_MAX_S, start + tries * (interval + timeout) + HEALTH_SPARE_S))

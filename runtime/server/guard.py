"""Brings a confined request before the policy: gathers the facts, asks, pins what was judged.

Owns the look-ups in the engine's rooms. Never judges.
"""

from __future__ import annotations

import asyncio
import functools
import os
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from runtime import cgroups
from runtime.api.errors import EngineError, Forbidden, InvalidArgument, NotFound
from runtime.server import confinement, references, totals
from runtime.server.confined_mounts import bind_sources, volumes_of
from runtime.server.policy import Asked, Facts, Policy

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.server.call import Call

CONTAINERS_MAX = 64  # looked at for one request
COUNTED = ("container_create", "container_update")  # what totals are about


class Turns:
    """Lets what is counted happen one after the other: two together could each find room for one."""

    def __init__(self, rules: Policy) -> None:
        self._counts = totals.counts(rules.config)
        self._lock = asyncio.Lock()

    def of(self, operation: str) -> AbstractAsyncContextManager[object]:
        return self._lock if self._counts and operation in COUNTED else nullcontext()


async def check(call: Call, rules: Policy) -> None:
    """Pass, and leave ``call`` with ids instead of names, and what it is about; or refuse.

    Raises: Forbidden; NotFound and InvalidArgument for a reference that leads nowhere.
    """
    asked = Asked(call.operation, call.params, call.query, call.body or {})
    facts = await _gather(call.engine, asked, count=totals.counts(rules.config))
    ids = {ref: str(found["Id"]) for ref, found in facts.containers.items()}
    call.about = _about(asked, facts, ids)
    rules.check(asked, facts)
    if call.operation == "container_create":
        await asyncio.to_thread(_refuse_links, bind_sources(call.body), rules)
    if call.operation == "container_create":
        references.pin(call.body, ids)
    elif call.params.get("ref") in ids:
        call.params["ref"] = ids[call.params["ref"]]
    elif call.operation == "container_commit":
        call.query.replace("container", ids.get(call.query.text("container"), ""))


def _about(asked: Asked, facts: Facts, ids: dict[str, str]) -> str:
    """The container whose own call this is, also when it names an exec session of it; "" for the others."""
    ref = asked.params.get("ref", "")
    return ids.get(str(facts.execs[ref]["ContainerID"]) if ref in facts.execs else ref, "")


def _refuse_links(sources: list[str], rules: Policy) -> None:
    """A directory below an allowed one may be bound; a link that lies there may lead anywhere.

    Blocks on the file systems. Race: below a read-only rule only the machine's own people can exchange one.
    Raises: Forbidden.
    """
    allowed = [str(rule.path) for rule in rules.config.allowed_binds]
    for source in sources:
        path = "/" + os.path.normpath(source).lstrip("/")
        above = [rule for rule in allowed if path.startswith(rule.rstrip("/") + "/")]
        if path in allowed or not above:
            continue
        if not any(
            os.path.realpath(path) == os.path.join(os.path.realpath(rule), os.path.relpath(path, rule))
            for rule in above
        ):
            raise Forbidden(f"not allowed on this socket: host path {path[:120]} leads through a link")


async def _gather(engine: Engine, asked: Asked, *, count: bool) -> Facts:
    facts = Facts()
    waiting = references.containers(asked)
    for ref in references.execs(asked):
        session = await engine.execs.inspect(ref)
        facts.execs[ref] = session
        waiting.append(session["ContainerID"])
    volumes, networks = references.volumes(asked), references.networks(asked)
    looked = 0
    while waiting:
        ref = waiting.pop()
        if ref in facts.containers:
            continue
        looked += 1
        if looked > CONTAINERS_MAX:
            raise Forbidden("not allowed on this socket: too many containers are involved")
        found = as_judged(await engine.containers.inspect(ref))
        facts.containers[ref] = found
        waiting += references.shared(found["HostConfig"])
        volumes += [mount["Name"] for mount in found.get("Mounts") or () if mount.get("Type") == "volume"]
        volumes += volumes_of(found["HostConfig"])
        networks += confinement.networks_of(found["HostConfig"], {})
    if asked.operation in ("registry_set", "registry_test"):
        known = engine.images.registries.rows()
        facts.local_registries = frozenset(one["Host"] for one in known if one["Local"])
    for name in volumes:
        described = await _maybe(engine.volumes.inspect(name))
        if described is not None:
            facts.volumes[name] = described
    for name in networks:
        described = await _maybe(engine.networks.inspect(name))
        if described is not None:
            facts.networks[name] = described
    if count and asked.operation in COUNTED:
        rows = await engine.containers.list(all=True, limit=None, size=False, filters={})
        facts.container_count = len(rows)
        own = {str(found["Id"]) for found in facts.containers.values()}
        others = [await _maybe(engine.containers.inspect(row["Id"])) for row in rows if row["Id"] not in own]
        facts.others = totals.added(found["HostConfig"] for found in others if found is not None)
    return facts


def as_judged(found: dict[str, Any]) -> dict[str, Any]:
    """An inspect document of this machine as the policy takes it."""
    return confinement.on_cgroup_v1(found) if _cgroup_version() == 1 else found


@functools.cache
def _cgroup_version() -> int:
    return cgroups.detect().version


async def _maybe(look_up: Any) -> dict[str, Any] | None:
    """What was found; None when there is nothing of that name. Other failures pass: no facts, no consent."""
    try:
        found: dict[str, Any] = await look_up
    except (NotFound, InvalidArgument):
        return None
    except EngineError:
        raise
    return found

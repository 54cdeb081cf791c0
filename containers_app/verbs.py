"""What can be asked of a container, and how: one way for buttons, bulk actions and the admin.

Guard, audit row, engine call, answer. Never writes an observed field: rows change when the change was seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.models import Container
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument, NotModified
from webdock.engines.audit import Actor, audited
from webdock.engines.clients import client as client_of
from webdock.engines.outcomes import Outcome
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain

VERBS = ("start", "stop", "restart", "kill", "pause", "unpause", "remove", "rename")
BULK_VERBS = ("start", "stop", "restart", "kill", "pause", "unpause", "remove")
BULK_AT_ONCE = 16
STOP_TIMEOUT_MAX_S = 3600
TRUE_WORDS = ("1", "true", "on", "yes")


def parse_options(verb: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a verb from form data.

    Raises: InvalidArgument naming the field.
    """
    options: dict[str, Any] = {}
    if verb in ("stop", "restart"):
        text = str(data.get("timeout", "")).strip()
        if text:
            if not text.isdigit() or int(text) > STOP_TIMEOUT_MAX_S:
                raise InvalidArgument(_("timeout: expected seconds from 0 to 3600"))
            options["timeout_s"] = int(text)
    if verb == "kill":
        signal = str(data.get("signal", "")).strip().upper().removeprefix("SIG") or "KILL"
        if not signal.replace("+", "").replace("-", "").isalnum() or len(signal) > 12:
            raise InvalidArgument(_("signal: expected a name such as TERM or HUP"))
        options["signal"] = signal
    if verb == "remove":
        options["force"] = str(data.get("force", "")).lower() in TRUE_WORDS
        options["volumes"] = str(data.get("volumes", "")).lower() in TRUE_WORDS
    if verb == "rename":
        name = str(data.get("name", "")).strip()
        if not name:
            raise InvalidArgument(_("name: a container needs one"))
        options["name"] = name
    return options


async def perform(actor: Actor, container: Container, verb: str, options: Mapping[str, Any]) -> Outcome:
    """Ask the engine, leave an audit row, answer in words. Finished even when the asker leaves."""
    if verb not in VERBS:
        raise RuntimeError(f"unknown verb: expected one of {VERBS}, got {verb!r}")
    return await carried_out(_perform(actor, container, verb, options), name=f"{verb} {container.short_id}")


async def _perform(actor: Actor, container: Container, verb: str, options: Mapping[str, Any]) -> Outcome:
    detail = " ".join(f"{key}={value}" for key, value in options.items() if value not in (None, False))
    try:
        async with audited(
            actor,
            f"container.{verb}",
            **container.audit_object,
            detail=detail,
        ):
            await _call(client_of(container.engine.alias), container.container_id, verb, options)
    except NotModified:
        return Outcome(True, _already(verb, container.name))
    except EngineError as error:
        return Outcome(False, explain(error), error.status)
    return Outcome(True, _done(verb, container.name))


async def _call(client: EngineClient, id: str, verb: str, options: Mapping[str, Any]) -> None:
    if verb == "start":
        await client.container_start(id)
    elif verb == "stop":
        await client.container_stop(id, timeout_s=options.get("timeout_s"))
    elif verb == "restart":
        await client.container_restart(id, timeout_s=options.get("timeout_s"))
    elif verb == "kill":
        await client.container_kill(id, signal=options.get("signal", "KILL"))
    elif verb == "pause":
        await client.container_pause(id)
    elif verb == "unpause":
        await client.container_unpause(id)
    elif verb == "remove":
        await client.container_remove(
            id, force=bool(options.get("force")), volumes=bool(options.get("volumes"))
        )
    else:
        await client.container_rename(id, options["name"])


async def perform_many(
    actor: Actor, containers: Iterable[Container], verb: str, options: Mapping[str, Any]
) -> list[tuple[Container, Outcome]]:
    """The same verb for several, side by side; one refusal stops nothing. Answers in the order given."""
    limit = asyncio.Semaphore(BULK_AT_ONCE)

    async def one(container: Container) -> tuple[Container, Outcome]:
        async with limit:
            return container, await perform(actor, container, verb, options)

    return list(await asyncio.gather(*(one(container) for container in containers)))


def _done(verb: str, name: str) -> str:
    words = {
        "start": _("%(name)s was started."),
        "stop": _("%(name)s was stopped."),
        "restart": _("%(name)s was restarted."),
        "kill": _("%(name)s was sent the signal."),
        "pause": _("%(name)s was paused."),
        "unpause": _("%(name)s goes on."),
        "remove": _("%(name)s was removed."),
        "rename": _("%(name)s was renamed."),
    }
    return words[verb] % {"name": name}


def _already(verb: str, name: str) -> str:
    if verb == "start":
        return _("%(name)s is running already.") % {"name": name}
    if verb == "stop":
        return _("%(name)s is stopped already.") % {"name": name}
    return _("%(name)s: it is already so.") % {"name": name}

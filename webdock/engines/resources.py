"""Verbs on networks and volumes, which have no rows here: ask the engine, leave an audit row, answer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.outcomes import Outcome
from webdock.engines.pages import answer
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
DRIVERS = ("bridge",)
TRUE_WORDS = ("1", "true", "on", "yes")

Ask = Callable[[EngineClient], Awaitable[str]]  # asks; answers with the sentence for the person


async def _perform(actor: Actor, action: str, kind: str, name: str, ask: Ask, detail: str) -> Outcome:
    engine = await sync_to_async(current_engine)()
    try:
        async with audited(
            actor, action, engine=engine.alias, kind=kind, id=name, name=name, detail=detail
        ) as entry:
            message = await ask(client_of(engine.alias))
            entry.detail = message if action.endswith("prune") else entry.detail
    except EngineError as error:
        return Outcome(False, explain(error), error.status)
    return Outcome(True, message)


async def perform_on(
    request: HttpRequest, action: str, kind: str, name: str, ask: Ask, *, detail: str = ""
) -> HttpResponse:
    """Ask, with an audit row, and answer; a closed request does not cancel it."""
    actor = await actor_of(request)
    outcome = await carried_out(_perform(actor, action, kind, name, ask, detail), name=action)
    return await answer(request, outcome.ok, outcome.message, f"{kind}-list", status=outcome.status)


@requires("networks")
@require_POST
async def network_create(request: HttpRequest) -> HttpResponse:
    """A network of containers that reach each other by name; the subnet is chosen when none is given."""
    try:
        body = network_body(request.POST)
    except InvalidArgument as error:
        return await answer(request, False, error.message, "network-list", status=400)

    async def ask(client: EngineClient) -> str:
        await client.network_create(body)
        return _("The network %(name)s was made.") % {"name": body["Name"]}

    return await perform_on(request, "network.create", "network", body["Name"], ask)


def network_body(data: Any) -> dict[str, Any]:
    """The body of POST /networks/create from a form: name, subnet, gateway, internal.

    Raises: InvalidArgument naming the field.
    """
    name = data.get("name", "").strip()
    if NAME.fullmatch(name) is None:
        raise InvalidArgument(_("name: letters, digits, _ . and -, the first one a letter or digit"))
    driver = data.get("driver", "").strip() or "bridge"
    if driver not in DRIVERS:
        raise InvalidArgument(_("driver: this page makes bridge networks"))
    body: dict[str, Any] = {
        "Name": name,
        "Driver": driver,
        "Internal": data.get("internal", "") in TRUE_WORDS,
        "EnableIPv6": data.get("ipv6", "") in TRUE_WORDS,
        "Labels": labels_of(data.get("labels", "")),
    }
    if config := _pool(data):
        body["IPAM"] = {"Config": [config]}
    return body


def _pool(data: Any) -> dict[str, str]:
    """Subnet, gateway and the range addresses are given from. Raises: InvalidArgument naming the field."""
    config: dict[str, str] = {}
    subnet, gateway = data.get("subnet", "").strip(), data.get("gateway", "").strip()
    range_ = data.get("range", "").strip()
    try:
        if subnet:
            config["Subnet"] = str(ipaddress.ip_network(subnet))
    except ValueError:
        raise InvalidArgument(_("subnet: expected something like 172.30.0.0/24")) from None
    try:
        if gateway:
            config["Gateway"] = str(ipaddress.ip_address(gateway))
    except ValueError:
        raise InvalidArgument(_("gateway: expected an address")) from None
    try:
        if range_:
            config["IPRange"] = str(ipaddress.ip_network(range_))
    except ValueError:
        raise InvalidArgument(_("range: expected something like 172.30.0.128/25")) from None
    if gateway and not subnet:
        raise InvalidArgument(_("gateway: it needs a subnet"))
    if range_ and not subnet:
        raise InvalidArgument(_("range: it needs a subnet"))
    return config


def labels_of(text: str, field: str = "labels") -> dict[str, str]:
    """{"team": "shop"} of lines such as ``team=shop``. Raises: InvalidArgument naming the field."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _equals, value = line.strip().partition("=")
        if key:
            found[key] = value
        elif value:
            raise InvalidArgument(_("%(field)s: expected one key=value a line") % {"field": field})
    return found


@requires("networks")
@require_POST
async def network_remove(request: HttpRequest, name: str) -> HttpResponse:
    async def ask(client: EngineClient) -> str:
        await client.network_remove(name)
        return _("The network %(name)s was removed.") % {"name": name}

    return await perform_on(request, "network.remove", "network", name, ask)


@requires("prune", "networks")
@require_POST
async def network_prune(request: HttpRequest) -> HttpResponse:
    async def ask(client: EngineClient) -> str:
        found = (await client.network_prune()).get("NetworksDeleted") or []
        return _("Removed: %(names)s.") % {"names": ", ".join(found) or _("nothing")}

    return await perform_on(request, "network.prune", "network", "", ask)


@requires("volumes")
@require_POST
async def volume_create(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "").strip()
    if NAME.fullmatch(name) is None:
        message = _("name: letters, digits, _ . and -, the first one a letter or digit")
        return await answer(request, False, message, "volume-list", status=400)
    try:
        body = {
            "Name": name,
            "DriverOpts": labels_of(request.POST.get("options", ""), "options"),
            "Labels": labels_of(request.POST.get("labels", "")),
        }
    except InvalidArgument as error:
        return await answer(request, False, error.message, "volume-list", status=400)

    async def ask(client: EngineClient) -> str:
        await client.volume_create(body)
        return _("The volume %(name)s was made.") % {"name": name}

    return await perform_on(request, "volume.create", "volume", name, ask)


@requires("volumes")
@require_POST
async def volume_remove(request: HttpRequest, name: str) -> HttpResponse:
    async def ask(client: EngineClient) -> str:
        await client.volume_remove(name)
        return _("The volume %(name)s was removed.") % {"name": name}

    return await perform_on(request, "volume.remove", "volume", name, ask)


@requires("prune", "volumes")
@require_POST
async def volume_prune(request: HttpRequest) -> HttpResponse:
    """Remove anonymous volumes nobody uses; with ``all`` named ones as well."""
    filters = {"all": ["true"]} if request.POST.get("all", "") in TRUE_WORDS else None

    async def ask(client: EngineClient) -> str:
        found = (await client.volume_prune(filters=filters)).get("VolumesDeleted") or []
        return _("Removed: %(names)s.") % {"names": ", ".join(found) or _("nothing")}

    return await perform_on(request, "volume.prune", "volume", "", ask)

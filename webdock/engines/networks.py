"""The page of one network: who is on it, and the verbs that put containers on it and take them off."""

from __future__ import annotations

import ipaddress
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument, NotFound
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.moments import moment
from webdock.engines.pages import answer, page
from webdock.engines.resources import perform_on
from webdock.engines.views import ON_NETWORKS, PREDEFINED
from webdock.engines.wording import explain
from webdock.people.handing import whose
from webdock.people.rights import requires

ALIASES_MAX = 64
ALIAS_CHARS = 255
JOINABLE_MAX = 1000  # containers offered by the form

Body = dict[str, Any]


@requires("view")
@require_GET
async def network_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Its members with their addresses, how it was made, and the engine's own document."""
    engine = await sync_to_async(current_engine)()
    try:
        document = await client_of(engine.alias).network_inspect(name)
    except NotFound:
        raise Http404 from None
    except EngineError as error:
        return await page(request, "networks/detail.html", {"name": name, "error": explain(error)})
    members, others = await sync_to_async(_members)(document)
    context = {
        "name": str(document.get("Name", "")),
        "network": document,
        "created": moment(document.get("Created")),
        "pools": (document.get("IPAM") or {}).get("Config") or [],
        "whose": await sync_to_async(whose)("network", str(document.get("Id", ""))),
        "predefined": document.get("Name") in PREDEFINED,
        "joins": document.get("Driver") == "bridge",
        "members": members,
        "others": others,
        "document": document,
    }
    return await page(request, "networks/detail.html", context)


def _members(document: Body) -> tuple[list[Body], list[str]]:
    """(who is set up for the network, names of the other containers)."""
    name, wired = str(document.get("Name", "")), document.get("Containers") or {}
    members: list[Body] = []
    others: list[str] = []
    rows = apps.get_model("containers_app", "Container").objects.filter(removed_at=None).order_by("name")
    for row in rows.defer("inspect"):
        endpoints = {one["name"]: one for one in row.networks}
        # Of a running one the engine knows; its row may be older than the answer.
        joined = row.container_id in wired or (row.state not in ON_NETWORKS and name in endpoints)
        if not joined:
            if len(others) < JOINABLE_MAX:
                others.append(row.name)
            continue
        endpoint, seen = endpoints.get(name) or {}, wired.get(row.container_id) or {}
        addresses = (seen.get("IPv4Address"), seen.get("IPv6Address"))
        members.append(
            {
                "row": row,
                "addresses": [address for address in addresses if address],
                "mac": seen.get("MacAddress") or endpoint.get("mac") or "",
                "aliases": endpoint.get("aliases") or [],
            }
        )
    return members, others


@requires("networks")
@require_POST
async def network_connect(request: HttpRequest, name: str) -> HttpResponse:
    """Put a container on the network, with more names and addresses of its own when some are given."""
    try:
        body = connect_body(request.POST)
    except InvalidArgument as error:
        return await answer(request, False, error.message, "network-list", status=400)

    async def ask(client: EngineClient) -> str:
        await client.network_connect(name, body)
        return _("%(container)s is on the network now.") % {"container": body["Container"]}

    return await perform_on(request, "network.connect", "network", name, ask, detail=body["Container"])


def connect_body(data: Any) -> Body:
    """The body of POST /networks/{id}/connect from a form: container, aliases, ip, ip6.

    Raises: InvalidArgument naming the field.
    """
    container = data.get("container", "").strip()
    if not container:
        raise InvalidArgument(_("container: choose one"))
    aliases = list(dict.fromkeys(data.get("aliases", "").replace(",", " ").split()))
    if len(aliases) > ALIASES_MAX or any(len(alias) > ALIAS_CHARS for alias in aliases):
        raise InvalidArgument(_("aliases: too many, or too long"))
    fixed: dict[str, str] = {}
    for field, key, version in (("ip", "IPv4Address", 4), ("ip6", "IPv6Address", 6)):
        text = data.get(field, "").strip()
        if not text:
            continue
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        if address is None or address.version != version:
            raise InvalidArgument(
                _("%(field)s: expected an IPv%(version)d address") % {"field": field, "version": version}
            )
        fixed[key] = str(address)
    endpoint: Body = {}
    if aliases:
        endpoint["Aliases"] = aliases
    if fixed:
        endpoint["IPAMConfig"] = fixed
    return {"Container": container, "EndpointConfig": endpoint}


@requires("networks")
@require_POST
async def network_disconnect(request: HttpRequest, name: str) -> HttpResponse:
    """Take a container off the network; running, it loses the interface at once."""
    container = request.POST.get("container", "").strip()
    if not container:
        return await answer(request, False, _("container: choose one"), "network-list", status=400)

    async def ask(client: EngineClient) -> str:
        await client.network_disconnect(name, {"Container": container, "Force": False})
        return _("The container was taken off the network.")

    return await perform_on(request, "network.disconnect", "network", name, ask, detail=container)

"""The page on which owner and team of things are changed, for one or for many."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from runtime.api.errors import EngineError, Forbidden
from webdock.engines.audit import actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.hints import hint
from webdock.engines.models import current_engine
from webdock.engines.pages import page
from webdock.people.belongings import CLAIM_LABEL, KINDS, PREDEFINED
from webdock.people.handing import Thing, hand, may_hand, offered, thing
from webdock.people.rights import requires
from webdock.people.standing import standing

THINGS_MAX = 500
KEEP, NONE = "keep", "none"

_thing = sync_to_async(thing)


@requires("view")
@require_http_methods(["GET", "POST"])
async def owners(request: HttpRequest) -> HttpResponse:
    """Whose the things of the query are (container=, network=, volume=), and the form that changes it."""
    chosen = await _chosen(request.GET if request.method == "GET" else request.POST)
    who = await sync_to_async(standing)(await request.auser())
    if not all(may_hand(who, one) for one in chosen):
        await sync_to_async(messages.error)(request, _("You do not decide whose all of these are."))
        chosen = [one for one in chosen if may_hand(who, one)]
    people, teams = await sync_to_async(offered)(who)
    context: dict[str, Any] = {"things": chosen, "people": people, "teams": teams, "admin": who.admin}
    if request.method == "GET":
        return await page(request, "people/owners.html", context, status=200 if chosen else 403)
    if not chosen:
        return await page(request, "people/owners.html", context, status=403)
    try:
        owner, team = _choice(request.POST, "owner", people), _choice(request.POST, "team", teams)
    except KeyError:
        await sync_to_async(messages.error)(request, _("Choose an owner and a team of the lists."))
        return await page(request, "people/owners.html", context, status=400)
    changed, refused = 0, []
    for one in chosen:
        try:
            await _hand_over(request, one, owner, team, dict(people), dict(teams))
            changed += 1
        except EngineError as error:
            refused.append(f"{one.name}: {error.message}")
    for kind in {one.kind for one in chosen}:
        await hint(kind)
    for words in refused[:10]:
        await sync_to_async(messages.error)(request, words)
    if refused:
        again = await _chosen(request.POST)
        return await page(request, "people/owners.html", {**context, "things": again}, status=403)
    words = ngettext("%(n)d thing was handed over.", "%(n)d things were handed over.", changed)
    await sync_to_async(messages.success)(request, words % {"n": changed})
    return redirect(f"{chosen[0].kind}-list")


def _choice(form: QueryDict, field: str, known: list[tuple[int, str]]) -> int | str | None:
    """KEEP, None for nobody, or an id of the list. Raises: KeyError."""
    text = form.get(field, KEEP)
    if text in (KEEP, NONE):
        return KEEP if text == KEEP else None
    return {str(id): id for id, _name in known}[text]


async def _hand_over(
    request: HttpRequest,
    one: Thing,
    owner: int | str | None,
    team: int | str | None,
    people: dict[int, str],
    teams: dict[int, str],
) -> None:
    """One thing, with its row in the audit log. Raises: EngineError."""
    owner_id = one.owner_id if isinstance(owner, str) else owner
    team_id = one.team_id if isinstance(team, str) else team
    if (owner_id, team_id) == (one.owner_id, one.team_id):
        return
    to = [people.get(owner_id or 0, one.owner if owner_id else ""), ""]
    to[1] = teams.get(team_id or 0, one.team if team_id else "")
    detail = f"owner {one.owner or '-'} -> {to[0] or '-'}; team {one.team or '-'} -> {to[1] or '-'}"
    actor = await actor_of(request)
    who = await sync_to_async(standing)(await request.auser())
    async with audited(actor, "owner.change", kind=one.kind, id=one.id, name=one.name, detail=detail):
        await sync_to_async(hand)(who, one, owner_id, team_id)


async def _chosen(query: QueryDict) -> list[Thing]:
    """The things a query names, as far as they are there for who looks. Raises: Http404, for each one."""
    client = client_of((await sync_to_async(current_engine)()).alias)
    refs = [(kind, ref) for kind in KINDS for ref in dict.fromkeys(query.getlist(kind))][:THINGS_MAX]
    if not refs:
        raise Http404
    rows = apps.get_model("containers_app", "Container").objects.filter(removed_at=None)
    ids = [ref for kind, ref in refs if kind == "container"]
    containers = {row.container_id: row async for row in rows.filter(container_id__in=ids)}
    found = []
    for kind, ref in refs:
        if kind == "container":
            if ref not in containers:
                raise Http404
            row = containers[ref]
            host, label = row.inspect.get("HostConfig") or {}, str(row.labels.get(CLAIM_LABEL, ""))
            found.append(await _thing(kind, ref, row.name, host=host, label=label))
            continue
        try:
            if kind == "network":
                document = await client.network_inspect(ref)
                if document.get("Name") in PREDEFINED:
                    raise Forbidden(ref)
                found.append(await _thing(kind, str(document["Id"]), str(document["Name"])))
            else:
                document = await client.volume_inspect(ref)
                found.append(await _thing(kind, str(document["Name"]), str(document["Name"])))
        except EngineError:
            raise Http404 from None
    return found

"""The Engine API over the web port, for API tokens: ``docker -H tcp://host:port/api``.

Every call goes through the guarded client as its person, so names of other people's things lead nowhere,
and on to the confined socket, so the engine's policy holds as well. No cookie opens it, so no page of another
site can.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, quote

import aiohttp
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from runtime.api.errors import EngineError, Forbidden, InvalidArgument, NotFound, NotSupported
from webdock.engines.audit import Actor, audited, request_address
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.secrets import masked
from webdock.engines.threads import in_thread
from webdock.people import viewer
from webdock.people.api_rules import VERSION, Rule, find, needed
from webdock.people.guarded import GuardedClient
from webdock.people.holding import held
from webdock.people.rights import by_token
from webdock.people.seen_events import SeenEvents
from webdock.people.tokens import Bearer, bearer

PASSED_ON = ("X-Registry-Auth", "X-Registry-Config")
PASSED_BACK = (
    "Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "X-Docker-Container-Path-Stat"
)  # fmt: skip
BODY_METHODS = ("POST", "PUT")
CHUNK_BYTES = 256 << 10

_bearer = in_thread(bearer)


def token_in(request: HttpRequest) -> str:
    """The token of ``Authorization: Bearer …``, "" without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@csrf_exempt
@by_token
async def api(request: HttpRequest, path: str) -> HttpResponseBase:
    """One call of the Engine API."""
    who = await _bearer(token_in(request), request_address(request))
    if who is None:
        words = "this needs a valid API token: Authorization: Bearer wdk_…"
        return JsonResponse({"message": words}, status=401)
    viewer.look_as(viewer.Viewer(who.user))
    try:
        return await _answer(request, VERSION.sub("", path), who)
    except EngineError as error:
        return JsonResponse({"message": error.message}, status=max(error.status, 400))


async def _answer(request: HttpRequest, path: str, who: Bearer) -> HttpResponseBase:
    alias = (await sync_to_async(current_engine)()).alias
    client = client_of(alias)
    rule, ref = await permitted(client, str(request.method), path, request.GET.dict())
    if rule.stream and not (rule.kind == "exec" and _body(request).get("Detach") is True):
        raise NotSupported(f"POST /{path[:100]} needs a connection to upgrade, with Upgrade: tcp")
    if not rule.action:
        return await _carry_out(request, client, path, rule, ref, who)
    actor = Actor(who.user.pk, who.user.get_username(), request_address(request))
    kind = rule.action.partition(".")[0]
    name = ref or request.GET.get("name") or request.GET.get("fromImage") or ""
    detail = f"by token {who.name}"
    async with audited(actor, rule.action, engine=alias, kind=kind, id=ref, name=name, detail=detail):
        return await _carry_out(request, client, path, rule, ref, who)


async def permitted(client: GuardedClient, method: str, path: str, query: dict[str, str]) -> tuple[Rule, str]:
    """The rule of a call who looks may make, and the thing its path names. Raises: EngineError."""
    found = find(method, path)
    if found is None:
        raise Forbidden(f"{method} /{path[:100]} is not offered over the web port")
    rule, ref = found
    now = viewer.current()
    assert now is not None
    for right in needed(rule, query):
        if right not in now.standing.anywhere:
            raise Forbidden(f"this needs the right {right}")
        if rule.kind:
            await client.demand(*await thing_of(client, rule, ref), right)
    return rule, ref


async def thing_of(client: GuardedClient, rule: Rule, ref: str) -> tuple[str, str]:
    """What the path of a call is about: of an exec session its container. Raises: NotFound."""
    if rule.kind != "exec":
        return rule.kind, ref
    return "container", str((await client.exec_inspect(ref)).get("ContainerID", ""))


async def _carry_out(
    request: HttpRequest, client: GuardedClient, path: str, rule: Rule, ref: str, who: Bearer
) -> HttpResponseBase:
    query = parse_qsl(request.META.get("QUERY_STRING", ""), keep_blank_values=True)
    made = await _made(request, client, path, ref, dict(query))
    if made is not None:
        return made
    headers = {key: request.headers[key] for key in PASSED_ON if key in request.headers}
    upload: dict[str, Any] = {}
    if request.method in BODY_METHODS:
        if request.headers.get("Content-Type", "").startswith("application/json"):
            upload = {"body": _body(request)} if request.body else {}
        elif first := await sync_to_async(request.read)(CHUNK_BYTES):
            upload["upload"] = _archive(request, first)
    response = await client._send(
        str(request.method), "/" + quote(path, safe="/:@"), query, headers=headers, endless=True, **upload
    )
    return await _passed_back(request, client, response, path, rule, ref, who)


async def _archive(request: HttpRequest, first: bytes) -> AsyncIterator[bytes]:
    """A long body in pieces, as it lies in the server's file."""
    piece = first
    while piece:
        yield piece
        piece = await sync_to_async(request.read)(CHUNK_BYTES)


async def _made(
    request: HttpRequest, client: GuardedClient, path: str, ref: str, query: dict[str, str]
) -> HttpResponse | None:
    """Calls that make or list things the client keeps account of; None for the others."""
    method = request.method
    if (method, path) == ("POST", "containers/create"):
        made = await client.container_create(
            _body(request), name=query.get("name") or None, platform=query.get("platform") or None
        )
        return JsonResponse(dict(made), status=201)
    if method == "POST" and path == f"containers/{ref}/update":
        return JsonResponse(await client.container_update(ref, _body(request)))
    if (method, path) == ("POST", "networks/create"):
        return JsonResponse(await client.network_create(_body(request)), status=201)
    if (method, path) == ("POST", "volumes/create"):
        return JsonResponse(await client.volume_create(_body(request)), status=201)
    if (method, path) == ("GET", "volumes"):
        return JsonResponse(await client.volume_list(filters=_filters(query)))
    if (method, path) == ("GET", "system/df"):
        return JsonResponse(await client.system_df())
    if method == "POST" and path.startswith("networks/") and path.endswith(("/connect", "/disconnect")):
        change = client.network_connect if path.endswith("/connect") else client.network_disconnect
        await change(ref, _body(request))
        return HttpResponse(status=200)
    if method == "DELETE" and path.startswith("volumes/"):
        await client.volume_remove(ref, force=query.get("force", "") in ("1", "true"))
        return HttpResponse(status=204)
    for kind in ("container", "network", "volume"):
        if (method, path) == ("POST", f"{kind}s/prune"):
            return JsonResponse(await getattr(client, f"{kind}_prune")(filters=_filters(query)))
    if (method, path) == ("GET", "networks/" + ref):
        return JsonResponse(await client.network_inspect(ref))
    return None


def _body(request: HttpRequest) -> dict[str, Any]:
    """Raises: InvalidArgument."""
    try:
        value = json.loads(request.body or b"{}")
    except ValueError as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgument("invalid JSON: body: expected an object")
    return value


def _filters(query: dict[str, str]) -> dict[str, list[str]] | None:
    """Raises: InvalidArgument."""
    try:
        value = json.loads(query.get("filters") or "{}")
    except ValueError:
        raise InvalidArgument("invalid filter") from None
    if not isinstance(value, dict):
        raise InvalidArgument("invalid filter: expected an object")
    return {str(key): [str(one) for one in words] for key, words in value.items()} or None


async def _passed_back(
    request: HttpRequest,
    client: GuardedClient,
    response: aiohttp.ClientResponse,
    path: str,
    rule: Rule,
    ref: str,
    who: Bearer,
) -> HttpResponseBase:
    headers = {key: response.headers[key] for key in PASSED_BACK if key in response.headers}
    if rule.lists is not None or path == f"containers/{ref}/json":
        async with response:
            document = await response.json()
        if rule.lists is not None:
            document = await client._only(rule.lists[0], document, rule.lists[1])
        elif "reveal" not in await client.rights_over("container", ref):
            document = masked(document)
        return JsonResponse(document, safe=False, status=response.status)
    if response.status == 204 or request.method == "HEAD":
        response.close()
        return HttpResponse(status=response.status, headers=headers)

    async def may() -> bool:
        still = await _bearer(token_in(request), request_address(request))
        if still is None:
            return False
        now = viewer.Viewer(still.user)
        viewer.look_as(now)
        thing = await thing_of(client, rule, ref) if rule.kind else None
        rights = await client.rights_over(*thing) if thing is not None else now.standing.anywhere
        return set(rule.rights) <= rights

    # Made here, while it is known who looks: the answer is read when the request's context has ended.
    events = client.seen(response) if path == "events" else None
    return StreamingHttpResponse(
        held(_pieces(response, events), may), status=response.status, headers=headers
    )


async def _pieces(response: aiohttp.ClientResponse, events: SeenEvents | None) -> AsyncIterator[bytes]:
    try:
        yield b""  # the head leaves with the first piece; docker run waits for it
        if events is not None:
            async for event in events:
                yield json.dumps(event, separators=(",", ":")).encode() + b"\n"
            return
        async for piece in response.content.iter_any():
            yield piece
    except aiohttp.ClientError:
        raise NotFound("the engine ended its answer") from None
    finally:
        response.close()

"""The audit trail: one row per thing asked, written before the call and completed after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest

from runtime.api.errors import EngineError, NotModified
from webdock.engines.documents import storable_text
from webdock.engines.models import AuditEntry
from webdock.engines.wording import explain

DETAIL_MAX_CHARS = 4000
LOOKS = ("container.file.list", "volume.file.list")  # many; left out where pages show what was done last


@dataclass(frozen=True)
class Actor:
    """Who asks, and from where."""

    user_id: int | None
    username: str
    address: str


def client_address(peer: str, forwarded_for: str) -> str:
    """The asker's address: the peer, or what the trusted proxy in front of us says (its own entry is the
    last one; earlier ones are the client's claims)."""
    if settings.BEHIND_PROXY and forwarded_for:
        return forwarded_for.rsplit(",", 1)[-1].strip()[:64]
    return peer[:64]


def request_address(request: HttpRequest) -> str:
    """The address a request came from."""
    return client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def scope_address(scope: Mapping[str, Any]) -> str:
    """The address a websocket came from."""
    headers = dict(scope.get("headers", ()))
    peer = (scope.get("client") or ("",))[0]
    return client_address(peer, headers.get(b"x-forwarded-for", b"").decode("latin-1"))


async def actor_of(request: HttpRequest) -> Actor:
    """The person behind a request."""
    user = await request.auser()
    return Actor(user.pk, user.get_username(), request_address(request))


def write(
    actor: Actor,
    action: str,
    *,
    engine: str = "",
    kind: str = "",
    id: str = "",
    name: str = "",
    result: str = AuditEntry.Result.OK,
    detail: str = "",
) -> AuditEntry:
    """One finished row; from a thread."""
    return AuditEntry.objects.create(
        user_id=actor.user_id,
        username=storable_text(actor.username)[:150],
        address=actor.address,
        engine=engine,
        action=action,
        object_kind=kind,
        object_id=storable_text(id)[:128],
        object_name=storable_text(name)[:255],
        result=result,
        detail=storable_text(detail)[:DETAIL_MAX_CHARS],
    )


@asynccontextmanager
async def audited(
    actor: Actor,
    action: str,
    *,
    engine: str = "",
    kind: str = "",
    id: str = "",
    name: str = "",
    detail: str = "",
) -> AsyncIterator[AuditEntry]:
    """Write the row, run the block, complete the row with its outcome.

    The block may fill in what only the answer tells (``entry.object_id``, ``entry.detail``). Errors pass on.
    Cancelled, or ended by a bug: the row says failed, since nobody knows what was done.
    """
    entry = await sync_to_async(write)(
        actor,
        action,
        engine=engine,
        kind=kind,
        id=id,
        name=name,
        result=AuditEntry.Result.ASKED,
        detail=detail,
    )
    began = time.monotonic()
    result, words = AuditEntry.Result.FAILED, "no answer was awaited"
    try:
        yield entry
        result, words = AuditEntry.Result.OK, ""
    except NotModified:
        result, words = AuditEntry.Result.OK, "already so"
        raise
    except asyncio.CancelledError:
        words = "cancelled"
        raise
    except EngineError as error:
        refused = 400 <= error.status < 500
        result = AuditEntry.Result.REFUSED if refused else AuditEntry.Result.FAILED
        words = error.message or explain(error)
        raise
    finally:
        entry.result = result
        detail = "; ".join(part for part in (entry.detail, words) if part)
        entry.detail = storable_text(detail)[:DETAIL_MAX_CHARS]
        entry.duration_ms = int((time.monotonic() - began) * 1000)
        await entry.asave(update_fields=["result", "detail", "duration_ms", "object_id", "object_name"])

"""Trying a registry and its mirrors: does each answer, does it take the credentials, and if not, why.

Asks ``/v2/`` only. Fetches nothing, keeps nothing.

Spec: OCI distribution 1.1, "Determining Support".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from runtime.api.errors import EngineError
from runtime.api.types import RegistryTest, RegistryTried
from runtime.config import RegistryConfig
from runtime.images.answers import (
    ANSWER_MAX_BYTES,
    NoCredentials,
    RegistryAnswer,
    WrongCredentials,
    read_bounded,
)
from runtime.images.auth import NOBODY, Credentials
from runtime.images.session import Endpoint, Session, challenge_of, endpoints
from runtime.images.transport import LeadsInside, Patience, Refused, Transport, Unreachable

WAIT_S = 10.0  # for a connection, and for each answer
ALL_S = 25.0  # for one address

_HINTS = {
    "plain-http": "it speaks plain HTTP, which has to be allowed for this registry",
    "certificate": "its certificate is not trusted: add the certificate of who signed it",
}


async def try_registry(
    host: str,
    given: Credentials,
    configs: Mapping[str, RegistryConfig],
    mirrors: Mapping[str, tuple[str, ...]],
    leads_inside: LeadsInside,
) -> RegistryTest:
    """Try the mirrors of a host, without the credentials, and the registry itself, with them."""
    transport = Transport(configs, Patience(connect_s=WAIT_S, stall_s=WAIT_S, attempts=1), leads_inside)
    try:
        asked = [_try(transport, endpoint, given) for endpoint in endpoints(transport, mirrors, host)]
        tried = await asyncio.gather(*asked)
    finally:
        await transport.close()
    return {"Host": host, "Ok": all(one["Ok"] for one in tried), "Tried": list(tried)}


async def _try(transport: Transport, endpoint: Endpoint, given: Credentials) -> RegistryTried:
    session = Session(transport, endpoint, NOBODY if endpoint.is_mirror else given)
    found: RegistryTried = {
        "Url": endpoint.urls[0],
        "Mirror": endpoint.is_mirror,
        "Ok": False,
        "Auth": "",
        "Failed": "",
        "Message": "",
    }
    try:
        async with asyncio.timeout(ALL_S):
            await _ask(session, found)
        found["Ok"] = True
    except TimeoutError:
        found["Failed"], found["Message"] = "timeout", f"no answer in {ALL_S:g} s"
    except (Unreachable, Refused) as error:
        hint = _HINTS.get(error.kind)
        found["Failed"] = error.kind
        found["Message"] = f"{error.message}: {hint}" if hint else error.message
    except _NoRegistry as error:
        found["Failed"], found["Message"] = "no-registry", error.message
    except (WrongCredentials, NoCredentials) as error:
        found["Failed"], found["Message"] = "credentials", error.message
    except RegistryAnswer as error:
        found["Failed"] = "token-service" if found["Auth"] == "bearer" else "registry"
        if error.status_seen in (401, 403):
            found["Failed"] = "credentials"
        found["Message"] = error.message
    except EngineError as error:
        found["Failed"], found["Message"] = "registry", error.message
    return found


async def _ask(session: Session, found: RegistryTried) -> None:
    """Fills ``found`` as far as it comes. Raises: what stands against it."""
    await session.find()
    url = found["Url"] = session.url
    challenge = session.challenge
    found["Auth"] = "none" if challenge is None else challenge.scheme
    authorization = await session.authorization("")
    async with session.transport.request(
        "GET", f"{url}/v2/", authorization=authorization, asked=session.endpoint.asked
    ) as answer:
        body = await read_bounded(answer, ANSWER_MAX_BYTES)
        if answer.status in (401, 403):
            if challenge_of(answer) is None:
                raise _NoRegistry(f"{url} refuses with HTTP {answer.status} and asks for no credentials")
            raise _not_admitted(session, answer.status)
        if answer.status != 200 or "html" in answer.headers.get("Content-Type", "") or body[:1] == b"<":
            what = "a web page" if "html" in answer.headers.get("Content-Type", "") else "an answer"
            raise _NoRegistry(
                f"{url}/v2/ gives {what} with HTTP {answer.status}, not a registry's: is this a registry?"
            )


def _not_admitted(session: Session, status: int) -> RegistryAnswer:
    host = session.endpoint.host
    if session.credentials:
        return WrongCredentials(status, "UNAUTHORIZED", f"{host} does not take these credentials")
    return NoCredentials(status, "UNAUTHORIZED", f"{host} wants credentials, and none were given")


class _NoRegistry(EngineError):
    status = 500

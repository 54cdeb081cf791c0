"""Questions to registries that fetch no image: what is under a name, who has a word, are credentials good.

Spec: Docker API 1.47, DistributionInspect, ImageSearch, SystemAuth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from runtime.api.errors import EngineError, Internal, InvalidArgument, NotSupported, Unauthorized
from runtime.images import platform as platforms
from runtime.images import reference as references
from runtime.images.answers import ANSWER_MAX_BYTES, RegistryAnswer, WrongCredentials, read_bounded
from runtime.images.auth import Credentials, credentials
from runtime.images.filters import Filters, check, flag
from runtime.images.manifest import CONFIG_MAX_BYTES, Index, parse_document, parse_object
from runtime.images.platform import Platform
from runtime.images.pull import translated
from runtime.images.reference import DEFAULT_DOMAIN, Reference
from runtime.images.registry import Repository
from runtime.images.session import HUB_NAMES, Session, origin
from runtime.images.transport import Refused, Transport, Unreachable

SEARCH_HOST = "https://index.docker.io"
SEARCH_FILTERS = frozenset(("is-automated", "is-official", "stars"))
LIMIT_DEFAULT, LIMIT_MAX = 25, 100
CATALOG_MAX = 1000


async def distribution(reference: Reference, sources: Sequence[Repository]) -> dict[str, Any]:
    """The body of ``/distribution/{name}/json``. Raises: NotFound, Internal, in Docker's words."""
    asked = reference.with_default_tag()
    # The registry itself first, as a mirror's answer may be old.
    for source in (*reversed(sources[1:]), sources[0]):
        try:
            return await _described(source, asked)
        except Unreachable as error:
            unreachable = error
    raise translated(unreachable, asked) from unreachable


async def _described(source: Repository, asked: Reference) -> dict[str, Any]:
    """Raises: Unreachable, NotFound, Internal."""
    try:
        fetched = await source.manifest(asked.digest or asked.tag or "")
        document = parse_document(fetched.data, fetched.media_type)
        if isinstance(document, Index):
            offered = [platform for _, platform in document.entries if platform is not None]
        else:
            async with source.request("GET", f"blobs/{document.config.digest}") as answer:
                config = await read_bounded(answer, CONFIG_MAX_BYTES)
            body = parse_object(config, "image configuration", CONFIG_MAX_BYTES)
            offered = [platforms.of_json(body)]
    except (RegistryAnswer, Refused) as error:
        raise translated(error, asked) from error
    return {
        "Descriptor": {
            "mediaType": document.media_type,
            "digest": fetched.digest,
            "size": len(fetched.data),
        },
        "Platforms": [_platform(platform) for platform in offered],
    }


def _platform(platform: Platform) -> dict[str, str]:
    body = {"architecture": platform.architecture, "os": platform.os}
    return {**body, "variant": platform.variant} if platform.variant else body


async def search(
    transport: Transport, term: str, limit: int | None, filters: Filters
) -> list[dict[str, Any]]:
    """The body of ``/images/search``: repositories whose name or description has the term.

    ``host/term`` asks that registry. Raises: InvalidArgument, NotSupported where it offers no search.
    """
    check(filters, SEARCH_FILTERS)
    count = limit or LIMIT_DEFAULT
    if not 1 <= count <= LIMIT_MAX:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {LIMIT_MAX}]")
    stars = max((_number(value) for value in filters.get("stars", ())), default=0)
    official, automated = flag(filters, "is-official"), flag(filters, "is-automated")
    host, words = searched(term)
    rows = await _found(transport, host, words, count)
    return [
        row
        for row in rows
        if row["star_count"] >= stars
        and official in (None, row["is_official"])
        and automated in (None, row["is_automated"])
    ][:count]


def searched(term: str) -> tuple[str, str]:
    """The registry that is meant, and what is looked for there."""
    first, slash, rest = term.partition("/")
    if slash and (any(sign in first for sign in ".:") or first == "localhost"):
        return first, rest
    return DEFAULT_DOMAIN, term


async def _found(transport: Transport, host: str, words: str, count: int) -> list[dict[str, Any]]:
    session = Session(transport, origin(transport, host))
    base = SEARCH_HOST
    if host not in HUB_NAMES:
        await session.find()
        base = session.url
    query = urlencode({"q": words.removeprefix("library/"), "n": count})
    async with transport.request("GET", f"{base}/v1/search?{query}", asked=host) as answer:
        data = await read_bounded(answer, ANSWER_MAX_BYTES)
        if answer.status == 200:
            rows = _rows(data)
            if rows is not None:
                return rows
        elif host in HUB_NAMES:
            raise Internal(f"Unexpected status code {answer.status} from {host}'s search")
    # Registries of today have no search; most list their repositories.
    async with transport.request("GET", f"{base}/v2/_catalog?n={CATALOG_MAX}", asked=host) as answer:
        data = await read_bounded(answer, ANSWER_MAX_BYTES)
        try:
            names = json.loads(data)["repositories"] if answer.status == 200 else None
            usable = isinstance(names, list) and all(isinstance(name, str) for name in names)
        except (ValueError, LookupError, TypeError, RecursionError):
            usable = False
    if not usable or names is None:
        raise NotSupported(f"registry {host} offers no search and does not list its repositories")
    return [
        {
            "name": f"{host}/{name}",
            "description": "",
            "star_count": 0,
            "is_official": False,
            "is_automated": False,
        }
        for name in names
        if words.lower() in name.lower()
    ]


def _rows(data: bytes) -> list[dict[str, Any]] | None:
    try:
        results = json.loads(data)["results"]
        return [
            {
                "name": str(row["name"]),
                "description": str(row.get("description") or ""),
                "star_count": int(row.get("star_count") or 0),
                "is_official": bool(row.get("is_official")),
                "is_automated": bool(row.get("is_automated")),
            }
            for row in results
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _number(value: str) -> int:
    if not value.isdigit():
        raise InvalidArgument(f"invalid filter 'stars={value[:32]}'")
    return int(value)


async def authenticate(transport: Transport, auth: Mapping[str, Any]) -> dict[str, str]:
    """The body of ``POST /auth``: whether a registry takes these credentials.

    Raises: Unauthorized, InvalidArgument, Unreachable.
    """
    given = credentials(auth)
    address = auth.get("serveraddress") or DEFAULT_DOMAIN
    if not isinstance(address, str):
        raise InvalidArgument("serveraddress is no text")
    host = address.partition("://")[2] or address
    host = host.partition("/")[0]
    domain = DEFAULT_DOMAIN if host in HUB_NAMES else host
    references.parse(f"{domain}/name")  # a host, not a path of something else
    await _check(Session(transport, origin(transport, domain), given), given)
    return {"Status": "Login Succeeded", "IdentityToken": ""}


async def _check(session: Session, given: Credentials) -> None:
    await session.find()
    url = f"{session.url}/v2/"
    if not given:
        raise Unauthorized(f'Get "{url}": no credentials were given')
    try:
        authorization = await session.authorization("")
        asked = session.endpoint.asked
        async with session.transport.request("GET", url, authorization=authorization, asked=asked) as answer:
            if answer.status in (401, 403):
                raise Unauthorized(f'Get "{url}": unauthorized: authentication required')
            if answer.status >= 400:
                raise Internal(f'Get "{url}": received unexpected HTTP status: {answer.status}')
    except WrongCredentials as error:
        raise Unauthorized(f'Get "{url}": {error.message}') from error
    except RegistryAnswer as error:
        raise _plain(error) from error


def _plain(error: RegistryAnswer) -> EngineError:
    return Unauthorized(error.message) if error.status_seen == 401 else Internal(error.message)

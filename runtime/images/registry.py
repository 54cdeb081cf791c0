"""The distribution protocol: manifests, blobs, tags and uploads of one repository at one registry.

Owns authentication and retries. Never writes to a disk and decides nothing about images.

Spec: OCI distribution 1.1; Docker registry HTTP API V2, "Token Authentication".
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import random
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from runtime.api.errors import Internal, InvalidArgument
from runtime.images.auth import NOBODY, Challenge, Credentials, may_receive, parse_challenges
from runtime.images.manifest import ACCEPT, MANIFEST_MAX_BYTES
from runtime.images.reference import DEFAULT_DOMAIN, Digest, check_digest, is_digest
from runtime.images.transport import NotTls, Refused, Transport, Unreachable

HUB_HOST = "registry-1.docker.io"
HUB_NAMES = frozenset((DEFAULT_DOMAIN, "index.docker.io", HUB_HOST))
ANSWER_MAX_BYTES = 1 << 20  # of errors, tokens and lists
TOKEN_MAX_CHARS = 64 << 10
TOKEN_MARGIN_S = 10.0  # a token is renewed this long before its end
TOKEN_LIFE_S = 60.0  # when the service does not say
TAGS_MAX = 10_000
CHUNK_BYTES = 1 << 17

_T = TypeVar("_T")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class RegistryAnswer(Internal):
    """The registry said no; ``code`` is its word for it ("MANIFEST_UNKNOWN")."""

    def __init__(self, status_seen: int, code: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status_seen = status_seen
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether a later try may succeed."""
        return self.status_seen in (408, 429) or self.status_seen >= 500


class NoCredentials(RegistryAnswer):
    """The registry wants credentials and none, or none it may be given, are there."""


class WrongCredentials(RegistryAnswer):
    """The registry or its token service does not accept the credentials."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a repository can be fetched from."""

    host: str  # as configured: "docker.io", "127.0.0.1:5000", "mirror.example"
    urls: tuple[str, ...]  # tried in order until one answers: https, then http where that is allowed
    prefix: str = ""  # of repository names, for mirrors that keep several registries apart
    is_mirror: bool = False


def endpoints(transport: Transport, mirrors: Mapping[str, tuple[str, ...]], domain: str) -> list[Endpoint]:
    """The mirrors of a registry in order, then the registry itself."""
    found = []
    for url in mirrors.get(domain, ()):
        parsed = URL(url)
        authority = url.partition("://")[2].partition("/")[0]
        found.append(
            Endpoint(authority, (f"{parsed.scheme}://{authority}",), parsed.path.strip("/"), is_mirror=True)
        )
    found.append(origin(transport, domain))
    return found


def origin(transport: Transport, domain: str) -> Endpoint:
    """The registry itself."""
    host = HUB_HOST if domain in HUB_NAMES else domain
    urls = [f"https://{host}"]
    if transport.config(domain).insecure:
        urls.append(f"http://{host}")
    return Endpoint(domain, tuple(urls))


@dataclass(slots=True)
class _Token:
    value: str
    until: float


@dataclass(slots=True)
class Session:
    """What was learnt of one endpoint with one set of credentials."""

    transport: Transport
    endpoint: Endpoint
    credentials: Credentials = NOBODY
    url: str = ""  # the one of ``endpoint.urls`` that answers
    challenge: Challenge | None = None  # the last one
    _tokens: dict[str, _Token] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self) -> None:
        """Find the URL that answers and how it wants to be asked; does nothing the second time.

        Raises: Unreachable, Refused.
        """
        async with self._lock:
            if self.url:
                return
            failure: Unreachable | None = None
            for url in self.endpoint.urls:
                try:
                    async with self.transport.request("GET", f"{url}/v2/", follow=False) as answer:
                        if answer.status == 401:
                            self.challenge = _challenge(answer)
                        self.url = url
                        return
                except Unreachable as error:
                    # The first reason is the one to tell, unless it only says that this is plain HTTP.
                    failure = error if failure is None or isinstance(failure, NotTls) else failure
            assert failure is not None
            failure.passing = False  # who never answered is not waited for, as Docker does
            raise failure

    async def authorization(self, scope: str) -> str | None:
        """The Authorization header for a scope, fetched when the registry asks for a token.

        Raises: NoCredentials, WrongCredentials, RegistryAnswer, Unreachable.
        """
        if self.credentials.registry_token:
            return f"Bearer {self.credentials.registry_token}"
        challenge = self.challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            return self.credentials.basic
        async with self._lock:
            token = self._tokens.get(scope)
            if token is None or token.until <= time.monotonic():
                token = self._tokens[scope] = await self._fetch_token(challenge, scope)
        return f"Bearer {token.value}"

    def forget(self, scope: str) -> None:
        """The token for a scope was not accepted."""
        self._tokens.pop(scope, None)

    async def _fetch_token(self, challenge: Challenge, scope: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise RegistryAnswer(401, "UNAUTHORIZED", f"registry {self.endpoint.host} names no token service")
        credentials = self.credentials
        host = URL(realm).host or ""
        trusted = self.transport.config(self.endpoint.host).token_hosts
        if credentials and host not in trusted and not may_receive(self.url, realm):
            raise NoCredentials(401, "UNAUTHORIZED", _not_trusted(self.endpoint.host, host))
        asked = {"service": challenge.parameters.get("service", "")}
        if scope:
            asked["scope"] = scope
        asked = {key: value for key, value in asked.items() if value}
        if credentials.identity_token:
            form = {
                **asked,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": "webdock",
            }
            request = self.transport.request("POST", realm, data=form, follow=False)
        else:
            if credentials.username:
                asked["account"] = credentials.username
            glue = "&" if "?" in realm else "?"
            request = self.transport.request(
                "GET", realm + (glue + urlencode(asked) if asked else ""), authorization=credentials.basic
            )
        async with request as answer:
            data = await read_bounded(answer, ANSWER_MAX_BYTES)
            if answer.status in (400, 401, 403) and credentials:
                raise WrongCredentials(401, "UNAUTHORIZED", _error_text(data, answer.status, "unauthorized"))
            if answer.status != 200:
                raise _refusal(answer, data)
        try:
            body = json.loads(data)
            value = body.get("token") or body.get("access_token")
            life_s = float(body.get("expires_in") or TOKEN_LIFE_S)
            usable = isinstance(value, str) and value.isprintable() and 0 < len(value) <= TOKEN_MAX_CHARS
        except (ValueError, AttributeError, TypeError, RecursionError):
            usable = False
        if not usable:
            raise RegistryAnswer(502, "UNKNOWN", f"the token service of {self.endpoint.host} sent no token")
        return _Token(value, time.monotonic() + max(life_s - TOKEN_MARGIN_S, 1.0))


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest or index as the registry sent it."""

    data: bytes
    media_type: str
    digest: Digest


class BlobStream:
    """An open download: where it starts and the bytes from there."""

    def __init__(self, answer: aiohttp.ClientResponse, offset: int) -> None:
        self._answer = answer
        self.offset = offset

    async def read(self) -> bytes:
        """Some bytes; b"" at the end. Raises what aiohttp raises; ``Transport.request`` translates it."""
        return await self._answer.content.readany()


class Repository:
    """One repository at one endpoint."""

    def __init__(self, session: Session, name: str, *, actions: str = "pull") -> None:
        self.session = session
        self.name = "/".join(part for part in (session.endpoint.prefix, name) if part)
        self.scope = f"repository:{self.name}:{actions}"
        self.extra_scopes: list[str] = []

    @property
    def _scopes(self) -> str:
        return " ".join((self.scope, *self.extra_scopes))

    async def manifest(self, reference: str) -> FetchedManifest:
        """The manifest or index under a tag or digest; a digest is verified.

        Raises: RegistryAnswer, Unreachable, Refused, InvalidArgument.
        """

        async def once() -> FetchedManifest:
            async with self.request("GET", f"manifests/{reference}", headers=_ACCEPT) as answer:
                data = await read_bounded(answer, MANIFEST_MAX_BYTES)
                media_type = answer.headers.get("Content-Type", "")
                claimed = answer.headers.get("Docker-Content-Digest", "")
            if "html" in media_type:
                raise Refused(
                    f"{self.session.endpoint.host} answered with a web page, not with a manifest: "
                    "is this a registry?"
                )
            named = reference if is_digest(reference) else claimed
            algorithm = check_digest(named).partition(":")[0] if is_digest(named) else "sha256"
            found = Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
            if is_digest(named) and named != found:
                raise InvalidArgument(f"manifest verification failed for digest {named}: got {found}")
            return FetchedManifest(data, media_type, found)

        return await patiently(self.session.transport, once)

    async def exists(self, kind: str, reference: str) -> aiohttp.typedefs.LooseHeaders | None:
        """The headers of a manifest ("manifests") or blob ("blobs"); None when it is not there."""

        async def once() -> Mapping[str, str] | None:
            try:
                async with self.request("HEAD", f"{kind}/{reference}", headers=_ACCEPT) as answer:
                    return answer.headers.copy()
            except RegistryAnswer as error:
                if error.status_seen == 404:
                    return None
                raise

        return await patiently(self.session.transport, once)

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int = 0) -> AsyncIterator[BlobStream]:
        """Open a download at ``offset``; the stream may start at 0 where the registry knows no ranges.

        One try, no retries: the caller knows how far it came. Raises: RegistryAnswer, Unreachable, Refused.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self.request("GET", f"blobs/{digest}", headers=headers) as answer:
            start = 0
            if answer.status == 206:
                found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                start = int(found[1]) if found else -1
                if start != offset:
                    raise Unreachable(f"registry {self.session.endpoint.host} sent another range than asked")
            yield BlobStream(answer, start)

    async def tags(self) -> list[str]:
        """All tags. Raises: RegistryAnswer, Unreachable, Refused."""
        found: list[str] = []
        path = "tags/list?n=1000"
        while path:

            async def once(path: str = path) -> tuple[dict[str, Any], str]:
                async with self.request("GET", path) as answer:
                    data = await read_bounded(answer, ANSWER_MAX_BYTES)
                    following = answer.links.get("next")
                    query = "" if following is None else URL(str(following["url"])).query_string
                    return json.loads(data), query

            try:
                body, query = await patiently(self.session.transport, once)
                tags = body.get("tags") or []
                if not all(isinstance(tag, str) for tag in tags):
                    raise ValueError
            except (ValueError, AttributeError, TypeError):
                raise Refused(f"{self.session.endpoint.host} sent a list of tags that is none") from None
            found += tags
            if len(found) > TAGS_MAX:
                raise Refused(f"repository {self.name} has more than {TAGS_MAX} tags")
            path = f"tags/list?{query}" if query and tags else ""
        return found

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Callable[[], bytes | AsyncIterable[bytes]] | None = None,
        follow: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to the repository, authenticated; the answer is a good one.

        ``path`` is below the repository's name, or a whole URL the registry itself gave.
        Raises: RegistryAnswer, NoCredentials, WrongCredentials, Unreachable, Refused.
        """
        session = self.session
        await session.find()
        url = path if "://" in path else f"{session.url}/v2/{quote(self.name)}/{path}"
        for last in (False, True):
            authorization = await session.authorization(self._scopes)
            if URL(url).origin() != URL(session.url).origin():
                authorization = None
            async with session.transport.request(
                method,
                url,
                headers=headers,
                authorization=authorization,
                data=None if data is None else data(),
                follow=follow,
            ) as answer:
                if answer.status < 300 or (not follow and answer.status < 400):
                    yield answer
                    return
                body = await read_bounded(answer, ANSWER_MAX_BYTES)
                if answer.status != 401 or not self._learn(answer, authorization, last):
                    raise self._refusal(answer, body, authorization)

    def _learn(self, answer: aiohttp.ClientResponse, sent: str | None, last: bool) -> bool:
        """Take in a challenge; whether asking again makes sense."""
        challenge = _challenge(answer)
        if last or challenge is None:
            return False
        self.session.challenge = challenge
        if challenge.scheme == "basic":
            return sent is None and self.session.credentials.basic is not None
        if sent is not None and self.session.credentials.registry_token:
            return False
        self.session.forget(self._scopes)
        return True

    def _refusal(self, answer: aiohttp.ClientResponse, body: bytes, sent: str | None) -> RegistryAnswer:
        error = _refusal(answer, body)
        if answer.status != 401:
            return error
        if self.session.credentials:
            return WrongCredentials(401, error.code, error.message)
        challenge = self.session.challenge
        if challenge is not None and challenge.scheme == "basic":
            return NoCredentials(401, "UNAUTHORIZED", "no basic auth credentials")
        return NoCredentials(401, error.code, error.message)


def _not_trusted(registry: str, host: str) -> str:
    return (
        f"registry {registry} sends to {host} for tokens, which is another host "
        "and does not get its credentials; "
        f'if it shall, name it in engine.toml ([registries."{registry}"] token_hosts = ["{host}"])'
    )


async def patiently(transport: Transport, once: Callable[[], Awaitable[_T]]) -> _T:
    """Run ``once`` again with growing pauses while its failure may pass."""
    attempt = 0
    while True:
        try:
            return await once()
        except (Unreachable, RegistryAnswer) as error:
            attempt += 1
            pause_s = pause(transport, error, attempt)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)


def pause(transport: Transport, error: Unreachable | RegistryAnswer, attempt: int) -> float | None:
    """Seconds until try ``attempt`` + 1; None when there shall be none."""
    patience = transport.patience
    if attempt >= patience.attempts or not error.passing:
        return None
    if isinstance(error, RegistryAnswer) and error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= patience.retry_after_max_s else None
    backoff_s: float = min(patience.backoff_s * 2 ** (attempt - 1), patience.backoff_max_s)
    return backoff_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, guards nothing


_ACCEPT = {"Accept": ", ".join(ACCEPT)}


async def read_bounded(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The whole body, bounded. Raises: Refused."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.content.readany():
        size += len(part)
        if size > bytes_max:
            raise Refused(f'Get "{answer.url}": the answer is longer than {bytes_max} bytes')
        parts.append(part)
    return b"".join(parts)


def _challenge(answer: aiohttp.ClientResponse) -> Challenge | None:
    """The challenge to take up: a token is preferred, as it is worth less when lost."""
    offered = [
        challenge
        for header in answer.headers.getall("WWW-Authenticate", [])
        for challenge in parse_challenges(header)
    ]
    for scheme in ("bearer", "basic"):
        for challenge in offered:
            if challenge.scheme == scheme:
                return challenge
    return None


def _refusal(answer: aiohttp.ClientResponse, body: bytes) -> RegistryAnswer:
    default = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}
    code = default.get(answer.status, "UNKNOWN")
    try:
        errors = json.loads(body)["errors"]
        named = errors[0].get("code")
        if isinstance(named, str) and re.fullmatch(r"[A-Za-z_]{1,64}", named):
            code = named.upper()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    text = _error_text(body, answer.status, code.lower().replace("_", " "))
    return RegistryAnswer(answer.status, code, text, _retry_after(answer.headers.get("Retry-After")))


def _error_text(body: bytes, status: int, word: str) -> str:
    """``manifest unknown: manifest unknown``, as Docker's clients print registry errors."""
    try:
        document = json.loads(body)
        errors = document.get("errors")
        message = errors[0].get("message") if errors else document.get("details") or document.get("message")
        if isinstance(message, str) and message:
            return f"{word}: {_printable(message)}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return f"{word}: received unexpected HTTP status: {status}"


def _printable(text: str) -> str:
    """Words of a stranger, on one line and short."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:500])


def _retry_after(header: str | None) -> float | None:
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

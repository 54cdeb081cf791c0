"""The distribution protocol: manifests, blobs, tags and uploads of one repository at one registry.

Owns authentication and retries. Never writes to a disk and decides nothing about images.

Spec: OCI distribution 1.1; Docker registry HTTP API V2, "Token Authentication".
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from runtime.api.errors import InvalidArgument
from runtime.images.answers import (
    ANSWER_MAX_BYTES,
    NoCredentials,
    RegistryAnswer,
    WrongCredentials,
    read_bounded,
    refusal,
)
from runtime.images.manifest import ACCEPT, MANIFEST_MAX_BYTES
from runtime.images.reference import Digest, check_digest, is_digest
from runtime.images.session import Session, challenge_of
from runtime.images.transport import Refused, Transport, Unreachable

TAGS_MAX = 10_000
CHUNK_BYTES = 1 << 17

_T = TypeVar("_T")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


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
                asked=session.endpoint.asked,
            ) as answer:
                if answer.status < 300 or (not follow and answer.status < 400):
                    yield answer
                    return
                body = await read_bounded(answer, ANSWER_MAX_BYTES)
                if answer.status != 401 or not self._learn(answer, authorization, last):
                    raise self._refusal(answer, body, authorization)

    def _learn(self, answer: aiohttp.ClientResponse, sent: str | None, last: bool) -> bool:
        """Take in a challenge; whether asking again makes sense."""
        challenge = challenge_of(answer)
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
        error = refusal(answer, body)
        if answer.status != 401:
            return error
        if self.session.credentials:
            return WrongCredentials(401, error.code, error.message)
        challenge = self.session.challenge
        if challenge is not None and challenge.scheme == "basic":
            return NoCredentials(401, "UNAUTHORIZED", "no basic auth credentials")
        return NoCredentials(401, error.code, error.message)


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

"""Endpoints of registries and what was learnt of them: which URL answers, how to authenticate, tokens.

Owns the rule that credentials go to their registry and to token services that belong to it.

Spec: Docker "Token Authentication"; RFC 9110, 11.6.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from runtime.images.answers import (
    ANSWER_MAX_BYTES,
    NoCredentials,
    RegistryAnswer,
    WrongCredentials,
    error_text,
    read_bounded,
    refusal,
)
from runtime.images.auth import NOBODY, Challenge, Credentials, may_receive, parse_challenges
from runtime.images.reference import DEFAULT_DOMAIN
from runtime.images.transport import NotTls, Transport, Unreachable

HUB_HOST = "registry-1.docker.io"
HUB_NAMES = frozenset((DEFAULT_DOMAIN, "index.docker.io", HUB_HOST))
TOKEN_MAX_CHARS = 64 << 10
TOKEN_MARGIN_S = 10.0  # a token is renewed this long before its end
TOKEN_LIFE_S = 60.0  # when the service does not say


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a repository can be fetched from."""

    host: str  # as configured: "docker.io", "127.0.0.1:5000", "mirror.example"
    urls: tuple[str, ...]  # tried in order until one answers: https, then http where that is allowed
    prefix: str = ""  # of repository names, for mirrors that keep several registries apart
    is_mirror: bool = False

    @property
    def asked(self) -> str:
        """The host somebody named; a mirror is none."""
        return "" if self.is_mirror else self.host


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
                    async with self.transport.request(
                        "GET", f"{url}/v2/", follow=False, asked=self.endpoint.asked
                    ) as answer:
                        if answer.status == 401:
                            self.challenge = challenge_of(answer)
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
            request = self.transport.request(
                "POST", realm, data=form, follow=False, asked=self.endpoint.asked
            )
        else:
            if credentials.username:
                asked["account"] = credentials.username
            glue = "&" if "?" in realm else "?"
            request = self.transport.request(
                "GET",
                realm + (glue + urlencode(asked) if asked else ""),
                authorization=credentials.basic,
                asked=self.endpoint.asked,
            )
        async with request as answer:
            data = await read_bounded(answer, ANSWER_MAX_BYTES)
            if answer.status in (400, 401, 403) and credentials:
                raise WrongCredentials(401, "UNAUTHORIZED", error_text(data, answer.status, "unauthorized"))
            if answer.status != 200:
                raise refusal(answer, data)
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


def _not_trusted(registry: str, host: str) -> str:
    return (
        f"registry {registry} sends to {host} for tokens, which is another host "
        "and does not get its credentials; "
        f'if it shall, name it in engine.toml ([registries."{registry}"] token_hosts = ["{host}"])'
    )


def challenge_of(answer: aiohttp.ClientResponse) -> Challenge | None:
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

"""Speaks with an identity provider: where to send the browser, and what its answer is worth.

Owns the calls to the provider, each bounded, none redirected, and the checks of what comes back: issuer,
state, nonce, PKCE, signature, audience, times. It knows no account. The library's parts are loaded at the
first login: the web process starts without them.

Spec: OpenID Connect Core 1.0, 3.1 (code flow); Discovery 1.0; RFC 7636 (PKCE); RFC 9207 (iss).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from webdock.oidc import Provider, may_be_asked

TIMEOUT_S = 10.0
BODY_MAX_BYTES = 1 << 20
KNOWN_S = 600.0
LEEWAY_S = 60
RANDOM_BYTES = 32
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderError(Exception):
    """The provider cannot be reached, or what it says must not be believed. The text is for the audit log."""


@dataclass(frozen=True)
class Asked:
    """What the browser's answer is held against; kept in its session."""

    state: str
    nonce: str
    verifier: str


_known: dict[str, tuple[float, dict[str, Any]]] = {}  # issuer -> when its document was read, and it


async def begin(provider: Provider, redirect_uri: str) -> tuple[str, Asked]:
    """Where to send the browser, and what to keep until it comes back. Raises: ProviderError."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    asked = Asked(*(secrets.token_urlsafe(RANDOM_BYTES) for _n in range(3)))
    document = await discovered(provider)
    url = prepare_grant_uri(
        _endpoint(document, "authorization_endpoint"),
        provider.client_id,
        "code",
        redirect_uri=redirect_uri,
        scope=" ".join(provider.scopes),
        state=asked.state,
        nonce=asked.nonce,
        code_challenge=create_s256_code_challenge(asked.verifier),
        code_challenge_method="S256",
    )
    return str(url), asked


async def claims_of(
    provider: Provider, answer: dict[str, str], asked: Asked, redirect_uri: str
) -> dict[str, Any]:
    """What the provider says about who came back with this answer (its query). Raises: ProviderError."""
    if not secrets.compare_digest(answer.get("state", "").encode(), asked.state.encode()):
        raise ProviderError("state: not the one that was sent")
    document = await discovered(provider)
    said = answer.get("iss", "")
    required = document.get("authorization_response_iss_parameter_supported") is True
    if (said or required) and said != provider.issuer:
        raise ProviderError(f"iss: expected {provider.issuer}, got {said[:200]!r}")
    if "error" in answer:
        raise ProviderError(f"the provider says {answer['error'][:200]!r}")
    if not answer.get("code"):
        raise ProviderError("code: is missing")
    tokens = await _redeem(provider, document, answer["code"], asked.verifier, redirect_uri)
    keys = await _call(provider, "GET", _endpoint(document, "jwks_uri"))
    claims = verified(provider, tokens, keys, asked.nonce)
    wanted = {provider.username_claim, *([provider.groups_claim] if provider.roles else [])}
    if not wanted <= set(claims) and document.get("userinfo_endpoint") and tokens.get("access_token"):
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        more = await _call(provider, "GET", _endpoint(document, "userinfo_endpoint"), headers=bearer)
        if more.get("sub") != claims["sub"]:
            raise ProviderError("sub: user information is about somebody else")
        claims = {**more, **claims}
    return claims


def verified(provider: Provider, tokens: dict[str, Any], keys: dict[str, Any], nonce: str) -> dict[str, Any]:
    """The claims of an ID token of the provider's, for us, this login, and now. Raises: ProviderError."""
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    listed = keys.get("keys")
    usable = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
    ]
    try:
        token = jwt.decode(
            str(tokens.get("id_token", "")), KeySet.import_key_set({"keys": usable}), ALGORITHMS
        )
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
            {
                "nonce": nonce,
                "client_id": provider.client_id,
                "access_token": tokens.get("access_token"),
            },
        )
        claims.validate(leeway=LEEWAY_S)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderError(f"id token: {type(error).__name__}: {error}"[:300]) from None
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if provider.client_id not in audience:
        raise ProviderError("id token: is for somebody else")
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise ProviderError("id token: sub is no text of up to 255 characters")
    return dict(claims)


async def discovered(provider: Provider) -> dict[str, Any]:
    """The provider's document about itself, asked for every few minutes. Raises: ProviderError."""
    kept = _known.get(provider.issuer)
    if kept is not None and time.monotonic() - kept[0] < KNOWN_S:
        return kept[1]
    document = await _call(provider, "GET", provider.issuer.rstrip("/") + WELL_KNOWN)
    if document.get("issuer") != provider.issuer:
        raise ProviderError(f"issuer: expected {provider.issuer}, got {str(document.get('issuer'))[:200]!r}")
    _known[provider.issuer] = time.monotonic(), document
    return document


async def _redeem(
    provider: Provider, document: dict[str, Any], code: str, verifier: str, redirect_uri: str
) -> dict[str, Any]:
    """The tokens for a code."""
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "client_id": provider.client_id,
        "code_verifier": verifier,
    }
    headers = {}
    ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if provider.client_secret and "client_secret_basic" in ways:
        headers["Authorization"] = aiohttp.encode_basic_auth(*_quoted(provider))
        del body["client_id"]
    elif provider.client_secret:
        body["client_secret"] = provider.client_secret
    return await _call(provider, "POST", _endpoint(document, "token_endpoint"), data=body, headers=headers)


@lru_cache(maxsize=2)
def _trusted(ca_file: str) -> ssl.SSLContext:
    """Reading the machine's certificates takes longer than a call."""
    return ssl.create_default_context(cafile=ca_file or None)


def _quoted(provider: Provider) -> tuple[str, str]:
    """Spec: RFC 6749, 2.3.1: both halves are form-encoded first."""
    return quote_plus(provider.client_id), quote_plus(provider.client_secret)


def _endpoint(document: dict[str, Any], key: str) -> str:
    url = document.get(key)
    if not isinstance(url, str) or not may_be_asked(url):
        raise ProviderError(f"{key}: no address that may be asked: {str(url)[:200]!r}")
    return url


async def _call(provider: Provider, method: str, url: str, **more: Any) -> dict[str, Any]:
    """One JSON object of the provider's. Raises: ProviderError."""
    try:
        trusted = _trusted(provider.ca_file)
        async with (
            asyncio.timeout(TIMEOUT_S),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session,
            session.request(method, url, allow_redirects=False, **more) as response,
        ):
            body = bytearray()
            async for piece in response.content.iter_chunked(65536):
                body += piece
                if len(body) > BODY_MAX_BYTES:
                    raise ProviderError(f"{url}: answers more than {BODY_MAX_BYTES} bytes")
            if response.status != 200:
                raise ProviderError(f"{url}: answers {response.status}: {bytes(body[:200])!r}")
        document = json.loads(bytes(body))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ProviderError(f"{url}: {type(error).__name__}: {error}"[:300]) from None
    if not isinstance(document, dict):
        raise ProviderError(f"{url}: answers no JSON object")
    return document

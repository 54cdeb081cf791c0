"""An OpenID Connect provider on a loopback port: discovery, codes with PKCE, signed ID tokens.

What it says can be bent (``lies``) to see that it is not believed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import BasicAuth, web
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "webdock", "s3cret: of it"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


class FakeProvider:
    """Whoever comes is ``person``; ``lies`` replaces claims of its ID tokens (None: leaves one out)."""

    def __init__(self) -> None:
        self.person: dict[str, Any] = {"sub": "sub-1", "preferred_username": "anna"}
        self.lies: dict[str, Any] = {}
        self.document: dict[str, Any] = {}  # replaces parts of the discovery document
        self.sign = "RS256"
        self.key: Any = KEY
        self.userinfo: dict[str, Any] = {}
        self.issuer = ""
        self._codes: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> FakeProvider:
        application = web.Application()
        application.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._discovery),
                web.post("/token", self._token),
                web.get("/keys", self._keys),
                web.get("/me", self._me),
            ]
        )
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.issuer = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    def login(self, url: str) -> str:
        """Log in as ``person`` where the browser was sent; the path with which it comes back."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert url.startswith(f"{self.issuer}/authorize?")
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        there = urlsplit(asked["redirect_uri"]).path
        return f"{there}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/me",
                **self.document,
            }
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [KEY.as_dict(private=False)]})

    async def _me(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer opened"
        return web.json_response({"sub": self.person["sub"], **self.userinfo})

    async def _token(self, request: web.Request) -> web.Response:
        body = dict(await request.post())
        asked = self._codes.pop(str(body.get("code")), None)  # a code works once
        if asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        client = BasicAuth.decode(request.headers["Authorization"])
        assert client.login == CLIENT_ID
        assert client.password == "s3cret%3A+of+it"
        digest = hashlib.sha256(str(body["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != asked["code_challenge"] or body["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "opened", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}
        )

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        claims |= self.person | self.lies
        claims = {key: value for key, value in claims.items() if value is not None}
        if self.sign == "RS256":
            return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        said = b".".join(_coded(json.dumps(part).encode()) for part in ({"alg": self.sign}, claims))
        mark = b""
        if self.sign == "HS256":  # signed with what everybody may know: the public key
            mark = _coded(hmac.digest(KEY.as_pem(private=False), said, "sha256"))
        return (said + b"." + mark).decode()


def _coded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

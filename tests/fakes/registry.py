"""A small real registry: it serves images over HTTP on a loopback address, and can be told to misbehave.

    registry.put("team/app", "latest", simple())
    registry.fault("GET", "/blobs/", cut_after(1000), times=1)

Spec: OCI distribution 1.1 (pull, push, tags, catalog); Docker token authentication.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.image_files import Image, sha256

Handler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Seen:
    """One request, as it arrived."""

    method: str
    path: str
    query: str
    authorization: str
    range: str
    host: str


@dataclass
class _Fault:
    method: str
    part: str
    handler: Handler
    times: int


@dataclass
class FakeRegistry:
    """Started by ``start``, ended by ``stop``. ``host`` is what references name."""

    address: str = "127.0.0.1"
    users: dict[str, str] | None = None  # asks for authentication when given
    scheme: str = "basic"  # or "bearer"
    realm: str = ""  # the token service; this registry's own when empty
    ranges: bool = True
    token_life_s: int = 60
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    pushed: set[tuple[str, str]] = field(default_factory=set)  # (repository, digest)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)  # token -> (scope, until)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._faults: list[_Fault] = []
        self._arrived = asyncio.Condition()
        self._uploads: dict[str, bytearray] = {}
        self._runner: web.AppRunner | None = None

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    async def start(self) -> FakeRegistry:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port, ssl_context=self.tls)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # -- contents

    def put(self, repository: str, tag: str, image: Image) -> None:
        self.blobs.update(image.blobs)
        self.put_manifest(repository, tag, image.media_type, image.manifest)

    def put_manifest(self, repository: str, tag: str, media_type: str, data: bytes) -> None:
        self.manifests[repository, tag] = (media_type, data)
        self.manifests[repository, sha256(data)] = (media_type, data)

    # -- misbehaviour

    def fault(self, method: str, part: str, handler: Handler, times: int = 1_000_000) -> None:
        """Let ``handler`` answer requests whose path contains ``part``; with None it lets one pass."""
        self._faults.append(_Fault(method, part, handler, times))

    def heal(self) -> None:
        self._faults.clear()

    def count(self, method: str, part: str) -> int:
        return sum(1 for seen in self.seen if seen.method == method and part in seen.path)

    async def asked(self, method: str, part: str, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until this was asked for so many times."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: self.count(method, part) >= count)

    # -- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                request.method,
                request.path,
                request.raw_path.partition("?")[2],
                request.headers.get("Authorization", ""),
                request.headers.get("Range", ""),
                request.headers.get("Host", ""),
            )
        )
        async with self._arrived:
            self._arrived.notify_all()
        for fault in self._faults:
            if fault.times > 0 and fault.method == request.method and fault.part in request.path:
                fault.times -= 1
                answer = await fault.handler(request)
                if answer is not None:
                    return answer
        if request.path == "/token":
            return self._token(request)
        refusal = self._authenticate(request)
        if refusal is not None:
            return refusal
        parts = request.path.removeprefix("/v2/").split("/")
        if request.path == "/v2/":
            return web.json_response({})
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": sorted({name for name, _ in self.manifests})})
        for kind, handler in (
            ("uploads", self._upload),
            ("manifests", self._manifest),
            ("blobs", self._blob),
            ("tags", self._tags),
        ):
            if kind in parts:
                cut = parts.index("blobs") if kind == "uploads" else parts.index(kind)
                return await handler(request, "/".join(parts[:cut]), parts[-1])
        return error(404, "NOT_FOUND", "no such page")

    async def _manifest(self, request: web.Request, repository: str, reference: str) -> web.StreamResponse:
        if request.method == "PUT":
            self.put_manifest(repository, reference, request.content_type, await request.read())
            return web.Response(status=201)
        found = self.manifests.get((repository, reference))
        if found is None:
            known = any(name == repository for name, _ in self.manifests)
            if known:
                return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        media_type, data = found
        return web.Response(
            body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": sha256(data)}
        )

    async def _blob(self, request: web.Request, repository: str, digest: str) -> web.StreamResponse:
        data = self.blobs.get(digest)
        if data is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        start = 0
        asked = request.headers.get("Range", "")
        if asked and self.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return error(416, "RANGE_INVALID", "invalid content range")
        headers = {"Docker-Content-Digest": digest}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return web.Response(body=data[start:], status=206 if start else 200, headers=headers)

    async def _tags(self, request: web.Request, repository: str, _: str) -> web.StreamResponse:
        tags = sorted(tag for name, tag in self.manifests if name == repository and ":" not in tag)
        if not tags:
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        size = int(request.query.get("n", 1000))
        after = request.query.get("last", "")
        page = [tag for tag in tags if tag > after][:size]
        headers = {}
        if page and page[-1] != tags[-1]:
            headers["Link"] = f'</v2/{repository}/tags/list?last={page[-1]}&n={size}>; rel="next"'
        return web.json_response({"name": repository, "tags": page}, headers=headers)

    async def _upload(self, request: web.Request, repository: str, id: str) -> web.StreamResponse:
        if request.method == "POST":
            mounted = request.query.get("mount", "")
            if mounted and (request.query.get("from", ""), mounted) in self.pushed:
                self.pushed.add((repository, mounted))
                return web.Response(status=201, headers={"Location": f"/v2/{repository}/blobs/{mounted}"})
            id = secrets.token_hex(8)
            self._uploads[id] = bytearray()
            return self._accepted(repository, id, 202)
        if id not in self._uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        upload = self._uploads[id]
        if request.method == "GET":
            return self._accepted(repository, id, 204)
        if request.method == "DELETE":
            del self._uploads[id]
            return web.Response(status=204)
        start = request.headers.get("Content-Range", "").partition("-")[0]
        if start and int(start) != len(upload):
            return error(416, "RANGE_INVALID", "invalid content range")
        async for chunk in request.content.iter_any():
            upload += chunk
        if request.method == "PATCH":
            return self._accepted(repository, id, 202)
        digest = request.query.get("digest", "")
        if sha256(bytes(upload)) != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[digest] = bytes(self._uploads.pop(id))
        self.pushed.add((repository, digest))
        return web.Response(status=201)

    def _accepted(self, repository: str, id: str, status: int) -> web.Response:
        size = len(self._uploads[id])
        headers = {
            "Location": f"/v2/{repository}/blobs/uploads/{id}",
            "Range": f"0-{max(size - 1, 0)}",
        }
        return web.Response(status=status, headers=headers)

    # -- authentication

    def _authenticate(self, request: web.Request) -> web.Response | None:
        if self.users is None:
            return None
        given = request.headers.get("Authorization", "")
        if self.scheme == "basic":
            if self._known(given):
                return None
            return error(
                401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="test"'}
            )
        scope, until = self.tokens.get(given.removeprefix("Bearer "), ("", 0.0))
        parts = request.path.removeprefix("/v2/").split("/")
        kinds = [kind for kind in ("manifests", "blobs", "tags") if kind in parts]
        wanted = f"repository:{'/'.join(parts[: parts.index(kinds[0])])}:" if kinds else ""
        if time.monotonic() < until and (not wanted or wanted in scope):
            return None
        realm = self.realm or f"{self.url}/token"
        challenge = f'Bearer realm="{realm}",service="fake",scope="{wanted}pull"'
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def _token(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if self.users and not self._known(given):
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        token = secrets.token_hex(16)
        scope = " ".join(request.query.getall("scope", []))
        self.tokens[token] = (scope, time.monotonic() + self.token_life_s)
        return web.json_response({"token": token, "expires_in": self.token_life_s})

    def _known(self, given: str) -> bool:
        if not given.startswith("Basic "):
            return False
        name, _, password = base64.b64decode(given[6:]).decode().partition(":")
        return bool(self.users) and self.users.get(name) == password  # type: ignore[union-attr]


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return web.json_response(body, status=status, headers=headers)


# -- ways to misbehave


def answering(status: int, body: bytes = b"", **headers: str) -> Handler:
    """Always the same answer; underscores in header names become dashes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )

    return handle


def redirecting(location: str, status: int = 307) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location.replace("{path}", request.path)})

    return handle


def hanging(seconds: float = 60.0) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response(status=504)

    return handle


def sending(data: bytes, *, declared: int | None = None, pause_after: int | None = None) -> Handler:
    """These bytes as the body, then the connection is cut when more were declared.

    pause_after: stop sending there, and keep the connection open.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        length = len(data) if declared is None else declared
        headers = {"Content-Length": str(length - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{length - 1}/{length}"
        answer = web.StreamResponse(status=206 if start else 200, headers=headers)
        await answer.prepare(request)
        rest = data[start:] if pause_after is None else data[start:pause_after]
        try:
            for at in range(0, len(rest), 65536):
                await answer.write(rest[at : at + 65536])
            if pause_after is not None:
                await asyncio.sleep(3600)
        except (ConnectionError, OSError):
            pass
        if request.transport is not None and length - start > len(rest):
            request.transport.abort()
        return answer

    return handle

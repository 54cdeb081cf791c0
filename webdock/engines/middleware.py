"""What every answer carries, and static files, both without leaving the event loop where they can.

Owns the Content-Security-Policy and its nonce. Never looks at who is asking.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

NONCE_BYTES = 16
COMPRESSED = ("text/html", "text/javascript")  # never downloads: their length is what shows the progress
CONDITIONS = {"HTTP_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"}
CONDITION_HEADERS = {"range", "if-none-match", "if-modified-since"}
COMPRESSED_MIN_BYTES = 1_400  # less fits into one packet anyway

FILE_HEADERS = {  # a file is no page: when a browser opens it as one, nothing in it runs
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Next = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


def content_security_policy(nonce: str) -> str:
    """The policy of one page: own files only, inline parts only with this page's nonce."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "worker-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class HeadersMiddleware:
    """Gives the request ``csp_nonce`` and the answer its policy headers."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.csp_nonce = secrets.token_urlsafe(NONCE_BYTES)
        response = await self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", content_security_policy(request.csp_nonce))
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(), usb=()")
        response.headers.setdefault("X-Frame-Options", "DENY")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if not response.has_header("Cache-Control") and not request.path_info.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"  # pages show machines; none may linger in a cache
        return response


@dataclass(frozen=True)
class Kept:
    """The whole answer to who asks for a static file."""

    body: bytes
    headers: list[tuple[bytes, bytes]]


_kept: dict[tuple[str, str], Kept] = {}  # by path and encoding; as many as there are files


def kept(method: bytes, path: str, headers: Mapping[str, str]) -> Kept | None:
    """What was answered before to the same question, when it was about a static file.

    The server asks this before it makes a request for Django: a first visit asks for thirty files at once,
    and the page paints when the last of its style sheets is there.
    """
    if method != b"GET" or CONDITION_HEADERS & headers.keys():
        return None
    return _kept.get((path, _encoding(headers.get("accept-encoding", ""))))


def _encoding(accepted: str) -> str:
    return "gzip" if "gzip" in accepted else ""


class StaticMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise for the event loop: its answers are read whole in a thread (static files are small), since
    streaming a plain file from an async handler would buffer it anyway, and kept until the process ends.

    Stands before Django's middleware, each of which would take a file through a thread and back."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Next) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    def add_files(self, root: str, prefix: str | None = None) -> None:
        """Files below a directory; before ``collectstatic`` there is none, which is no reason to warn."""
        if os.path.isdir(root):
            super().add_files(root, prefix)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        found = self.find_file(path) if self.autorefresh else self.files.get(path)
        if found is None:
            return await self.get_response(request)
        if self.autorefresh or request.method != "GET" or CONDITIONS & request.META.keys():
            return await sync_to_async(self.read, thread_sensitive=False)(found, request)
        encoding = request.META["HTTP_ACCEPT_ENCODING"] = _encoding(
            request.headers.get("Accept-Encoding", "")
        )
        if (path, encoding) not in _kept:
            answer = await sync_to_async(self.read, thread_sensitive=False)(found, request)
            headers = [(name.encode(), value.encode()) for name, value in answer.items()]
            _kept[path, encoding] = Kept(answer.content, headers)
        again = _kept[path, encoding]
        return HttpResponse(
            again.body, headers={name.decode(): value.decode() for name, value in again.headers}
        )

    @staticmethod
    def read(found: object, request: HttpRequest) -> HttpResponse:
        answer = found.get_response(request.method, request.META)  # type: ignore[attr-defined]
        body = b""
        if answer.file is not None:
            with answer.file as file:
                body = file.read()
        response = HttpResponse(body, status=int(answer.status))
        del response["Content-Type"]
        for key, value in answer.headers:
            response[key] = value
        for key, value in FILE_HEADERS.items():
            response[key] = value
        return response


class CompressionMiddleware(GZipMiddleware):
    """Pages travel compressed, off the event loop. Their length tells nothing of a secret in them (BREACH):
    Django adds up to a hundred random bytes, and writes the form token differently in each page."""

    async_capable = True
    sync_capable = False

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = await self.get_response(request)
        kind = response.get("Content-Type", "").partition(";")[0]
        if response.streaming or kind not in COMPRESSED or len(response.content) < COMPRESSED_MIN_BYTES:
            return response
        return await sync_to_async(self.process_response, thread_sensitive=False)(request, response)

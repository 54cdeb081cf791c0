"""What arrives here of a request, so that the browser can compare it with what it asked: is the proxy right?

Owns the page /selftest/ and its socket. Decides nothing: the browser knows what it asked for.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import request_address
from webdock.engines.consumers import SocketConsumer
from webdock.engines.pages import page
from webdock.people.rights import requires


@requires("admin")
@require_GET
async def selftest(request: HttpRequest) -> HttpResponse:
    """The page; what the server saw stands in its data attributes."""
    headers = request.headers
    seen = {
        "scheme": "https" if request.is_secure() else "http",
        "host": request.get_host(),
        "path": reverse("selftest"),
        "address": request_address(request),
        "believes": "yes" if settings.BEHIND_PROXY else "no",
        "ping": settings.PING_S,
        "proto": headers.get("X-Forwarded-Proto", ""),
        "forwarded": headers.get("X-Forwarded-For", ""),
    }
    return await page(request, "engines/selftest.html", {"seen": seen})


@requires("admin")
@require_POST
async def selftest_post(request: HttpRequest) -> HttpResponse:
    """Answers a form that came through: origin, cookie and token were right. Changes nothing."""
    return JsonResponse({"ok": True})


class SelftestConsumer(SocketConsumer):
    """/ws/selftest/: one word, then silence, so that an idle time-out on the way shows."""

    right = "admin"

    async def run(self) -> None:
        await self.send_json({"type": "hello"})

"""The ASGI application: Django's pages, and the rooms' websockets.

Each websocket checks origin, session and right itself (``webdock.engines.consumers``): a refusal then carries
its close code.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webdock.settings")

import django

django.setup(set_prefix=False)  # before the apps' modules

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402

from containers_app.routing import websocket_urlpatterns as containers  # noqa: E402
from images_app.routing import websocket_urlpatterns as images  # noqa: E402
from webdock.engines.routing import websocket_urlpatterns as engines  # noqa: E402
from webdock.engines.threads import borrowed_thread  # noqa: E402
from webdock.jobs.routing import websocket_urlpatterns as jobs  # noqa: E402

CLOSE_GONE = 4404

websocket_urlpatterns = [*containers, *images, *engines, *jobs]
_router = URLRouter(websocket_urlpatterns)


class Pages(ASGIHandler):
    """Django, with threads that stay."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async with borrowed_thread():
            await self.handle(scope, receive, send)


http_application = Pages()


async def websocket_application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route a websocket, below a sub-path as well; an unknown path is accepted and closed with 4404."""
    prefix = settings.FORCE_SCRIPT_NAME or ""
    path = scope["path"]
    if prefix and path.startswith(prefix + "/"):
        scope = {**scope, "path": path[len(prefix) :], "root_path": ""}
    if not any(route.pattern.match(scope["path"].lstrip("/")) for route in websocket_urlpatterns):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": CLOSE_GONE})
        return
    await _router(scope, receive, send)


application = ProtocolTypeRouter({"http": http_application, "websocket": websocket_application})

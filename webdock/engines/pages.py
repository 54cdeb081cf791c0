"""Answers of views: a page rendered off the event loop, JSON for scripts, a redirect for forms."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from webdock.people.rights import wants_json


async def page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """Render a template in the request's thread: terminals must not wait for templates."""
    return await sync_to_async(render)(request, template, context, status=status)


async def answer(
    request: HttpRequest, ok: bool, message: str, to: Any, *, status: int = 200, **more: Any
) -> HttpResponse:
    """The outcome of a verb: JSON when a script asked, else back to ``to`` with the message shown there."""
    if wants_json(request):
        return JsonResponse({"ok": ok, "message": message, **more}, status=200 if ok else max(status, 400))
    await sync_to_async(messages.add_message)(request, messages.SUCCESS if ok else messages.ERROR, message)
    return redirect(to)

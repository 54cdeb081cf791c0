"""Django's own middleware, called where the request is handled.

Django sends each hook of its middleware through a thread, twelve times for a page: on a busy machine a page
waits longer for threads to get their turn than for anything they do. Most hooks only look at the request and
the answer; those that may ask the database still go to the thread, when they will.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware import common, csrf, locale, security

READING = ("GET", "HEAD", "OPTIONS", "TRACE")


class OnLoop:
    """Mixed into a middleware: its hooks are called without a thread."""

    process_request: Callable[[HttpRequest], HttpResponseBase | None]
    process_response: Callable[[HttpRequest, HttpResponseBase], HttpResponseBase]
    get_response: Callable[[HttpRequest], Any]

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.process_request(request)
        answer: HttpResponseBase = response or await self.get_response(request)
        if not hasattr(self, "process_response"):
            return answer
        if self.stores(request):
            return await sync_to_async(self.process_response)(request, answer)
        return self.process_response(request, answer)

    def stores(self, request: HttpRequest) -> bool:
        """Whether ``process_response`` may ask the database."""
        return False


class SecurityMiddleware(OnLoop, security.SecurityMiddleware):
    """Headers, and redirects to TLS."""


class SessionMiddleware(OnLoop, sessions.SessionMiddleware):
    """Reads nothing until somebody asks for the session; saves one that was changed."""

    def stores(self, request: HttpRequest) -> bool:
        return bool(request.session.modified)


class LocaleMiddleware(OnLoop, locale.LocaleMiddleware):
    """The language, from cookie and headers."""


class CommonMiddleware(OnLoop, common.CommonMiddleware):
    """Which hosts are answered, and the slash at the end of paths."""


class CsrfViewMiddleware(OnLoop, csrf.CsrfViewMiddleware):
    """The token, from cookie and form."""

    async def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        check = super().process_view
        if request.method in READING:
            return check(request, view, args, kwargs)
        return await sync_to_async(check)(request, view, args, kwargs)  # reads the form, which may be long


class AuthenticationMiddleware(OnLoop, auth.AuthenticationMiddleware):
    """``request.user``, looked up by who asks for it."""


class MessageMiddleware(OnLoop, messages.MessageMiddleware):
    """Words for the next page, in a cookie, or in the session when they are many."""

    def stores(self, request: HttpRequest) -> bool:
        storage = request._messages  # type: ignore[attr-defined]
        return bool(storage.added_new or storage._used_storages)

"""The languages of the pages, and the catalogue that JavaScript reads as a script of its own.

Owns which languages are offered and the address of a catalogue. Never chooses: LocaleMiddleware does.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.views.decorators.http import require_GET
from django.views.i18n import JavaScriptCatalog

from webdock.people.rights import PUBLIC, requires

KEPT_S = 365 * 24 * 3600  # by the browser: another catalogue has another address
VERSION_CHARS = 12


@lru_cache(maxsize=16)
def version(code: str) -> str:
    """A few characters that change with the catalogue; empty when this language has none (English)."""
    file = Path(settings.LOCALE_PATHS[0]) / translation.to_locale(code) / "LC_MESSAGES" / "djangojs.mo"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:VERSION_CHARS] if file.exists() else ""


def catalogue_url(code: str) -> str:
    """Where the catalogue of a language is; empty when the sentences in the modules are the right ones."""
    found = version(code)
    return f"{reverse('javascript-catalogue', args=[code])}?v={found}" if found else ""


@requires(PUBLIC)
@require_GET
def javascript_catalogue(request: HttpRequest, code: str) -> HttpResponse:
    """gettext() and ngettext() of one language."""
    if code not in dict(settings.LANGUAGES):
        raise Http404
    with translation.override(code):
        response: HttpResponse = JavaScriptCatalog.as_view()(request)
    if request.GET.get("v") == version(code):
        response["Cache-Control"] = f"public, max-age={KEPT_S}, immutable"
    return response

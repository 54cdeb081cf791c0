"""The ring is whole: every page was measured and every action asked for by some test of this run.

Last of the ring by its name. A part of the ring cannot be whole: conftest leaves this file out of it.
"""

from __future__ import annotations

from django.urls import Resolver404, URLPattern, resolve

from tests.browser.axe import MEASURED
from tests.browser.conftest import ASKED
from tests.unit.web.every_route import methods_of, own_patterns

NO_PAGES = {
    "metrics": "text for Prometheus",
    "container-named": "leads to the page of the container called so",
    "container-duplicate": "leads to the form of Run, filled in",
    "container-log-download": "a download",
    "container-file-read": "a download",
    "container-processes": "JSON for the stats tab",
    "recording-cast": "a download the player reads",
    "image-layer-changes": "JSON for the image's page",
    "image-save": "a download",
    "volume-sizes": "JSON for the list",
    "volume-file-read": "a download",
    "volume-archive": "a download",
    "audit-export": "a download",
    "healthz": "one line for machines",
    "api": "the Engine API for people's own tools",
    "oidc-back": "leads on to a page",
    "invited-link": "leads on to the page without the token",
    "welcome-link": "leads on to the page without the token",
    "javascript-catalogue": "a script",
    "set_language": "leads back",
    "logout": "leads to the login",
}
ELSEWHERE = {
    "api": "no page uses it: tests/unit/web/test_api_tokens.py",
    "oidc-connect": "takes an identity provider: tests/unit/web/test_oidc.py has one",
    "oidc-disconnect": "takes an identity provider: tests/unit/web/test_oidc.py has one",
    "terminal-share": "takes a second account: tests/unit/web/test_terminal_sharing.py",
    "terminal-unshare": "takes a second account: tests/unit/web/test_terminal_sharing.py",
    "oidc-start": "takes an identity provider: tests/unit/web/test_oidc.py has one",
}


def _names(paths: set[str]) -> set[str]:
    found = set()
    for path in paths:
        try:
            found.add(resolve(path).url_name)
        except Resolver404:
            continue
    return found


def _without(paths: set[str], method: str, explained: dict[str, str]) -> list[str]:
    routes: list[URLPattern] = [one for one in own_patterns() if method in methods_of(one)]
    unknown = explained.keys() - {one.name for one in own_patterns()}
    assert not unknown, f"no route is called so: {unknown}"
    return sorted({str(one.name) for one in routes} - _names(paths) - explained.keys())


def test_every_page_was_measured_with_axe() -> None:
    assert not _without(MEASURED, "GET", NO_PAGES), "name them in test_pages.PAGES"


def test_every_action_was_asked_for_by_a_click() -> None:
    assert not _without(ASKED, "POST", ELSEWHERE), "click them in a test of this ring"

"""Which registry a reference names, and what people may type for one. Pure; the engine has the last word."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from runtime.api.errors import InvalidArgument

HUB = "docker.io"
HUB_NAMES = (HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?")
HOST_MAX_CHARS = 255
URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#@]*)?")
LINES_MAX = 16


def host_of(reference: str) -> str:
    """The registry of a reference: ``localhost:5000/a:1`` -> ``localhost:5000``, ``redis:8`` -> docker.io."""
    first, slash, _rest = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    return HUB if not named or first in HUB_NAMES else first.lower()


def clean_host(text: str) -> str:
    """A registry's host as it is kept. Raises: InvalidArgument naming the field."""
    text = text.strip().lower()
    text = text.removeprefix("https://").removeprefix("http://").removesuffix("/")
    text = text.removesuffix("/v1").removesuffix("/v2")
    if len(text) > HOST_MAX_CHARS or HOST.fullmatch(text) is None:
        raise InvalidArgument(_("host: expected a registry such as registry.example.org or 10.0.0.5:5000"))
    return HUB if text in HUB_NAMES else text


def clean_mirrors(text: str) -> list[str]:
    """One address a line, in the order they are tried. Raises: InvalidArgument naming the field."""
    found = [line if "://" in line else f"https://{line}" for line in _lines(text, "mirrors")]
    for url in found:
        if URL.fullmatch(url) is None:
            message = _("mirrors: %(url)s is no address such as https://mirror.example.org")
            raise InvalidArgument(message % {"url": url[:100]})
    return list(dict.fromkeys(url.rstrip("/") for url in found))


def clean_hosts(text: str, field: str) -> list[str]:
    """One host a line. Raises: InvalidArgument naming the field."""
    found = _lines(text, field)
    for host in found:
        if HOST.fullmatch(host) is None:
            raise InvalidArgument(_("%(field)s: %(host)s is no host") % {"field": field, "host": host[:100]})
    return list(dict.fromkeys(host.lower() for host in found))


def _lines(text: str, field: str) -> list[str]:
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if len(found) > LINES_MAX:
        raise InvalidArgument(_("%(field)s: at most %(n)d lines") % {"field": field, "n": LINES_MAX})
    return found

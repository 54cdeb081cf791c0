"""Every path and websocket of the project, with the names in them filled in."""

from __future__ import annotations

import re
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from webdock.asgi import websocket_urlpatterns

# Names in paths that are nobody's: what they lead to is the whole engine's, or the view looks among
# one's own only (tokens, recordings, containers by name).
ANYBODYS = {
    *("team", "image_id", "job_id", "token", "code", "verb", "host", "path", "person", "invitation", "ref"),
}


MERGED_LOGS = "/ws/logs/"
NO_UUID = "00000000-0000-4000-8000-000000000000"


def patterns(
    resolver: Any = None, prefix: str = "", namespace: str = ""
) -> list[tuple[str, str, URLPattern]]:
    """(path, namespace, pattern) of every view of the project."""
    found = []
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            found += patterns(entry, prefix + str(entry.pattern), entry.namespace or namespace)
        else:
            found.append((prefix + str(entry.pattern), namespace, entry))
    return found


def own_patterns() -> list[URLPattern]:
    """Those that are not the admin site's."""
    return [pattern for _path, namespace, pattern in patterns() if namespace != "admin"]


def methods_of(pattern: URLPattern) -> set[str]:
    """What its view lets through: what `require_http_methods` was given; all without."""
    view = pattern.callback
    while view is not None:
        code, closure = getattr(view, "__code__", None), getattr(view, "__closure__", None) or ()
        free = dict(zip(code.co_freevars, closure, strict=True)) if code else {}
        if "request_method_list" in free:
            return set(free["request_method_list"].cell_contents)
        view = getattr(view, "__wrapped__", None)
    return {"GET", "HEAD", "POST"}


def names_in(pattern: URLPattern) -> set[str]:
    """The names of the parts of a path."""
    return set(pattern.pattern.regex.groupindex)


def filled(pattern: URLPattern, values: dict[str, str]) -> str:
    """The path with its parts filled in; those without a value get something that fits."""
    text = str(pattern.pattern)
    for name in names_in(pattern):
        part = rf"\(\?P<{name}>((?:[^()]|\([^()]*\))*)\)|<(\w+:)?{name}>"
        found = re.search(part, text)
        assert found, (name, text)
        digits = re.search(r"\{(\d+)(?:,\d*)?\}", found[1] or "")
        some = "0" * int(digits[1]) if digits else {"uuid:": NO_UUID, "int:": "1"}.get(found[2] or "", "x")
        text = re.sub(part, values.get(name, some), text)
    return "/" + text.replace(r"(?:sha256:)?", "").strip("^$").replace("\\", "")


def websocket_paths(values: dict[str, str]) -> list[tuple[str, Any, set[str]]]:
    """(path, consumer, names in it) of every websocket."""
    found = []
    for route in websocket_urlpatterns:
        path, names = filled(route, values), names_in(route)
        if path == MERGED_LOGS:  # which containers is in its query
            path, names = f"{path}?container={values.get('container', '0' * 64)}", {"container"}
        found.append((path, route.callback.consumer_class, names))
    return found

"""Rows as HTML, from the one template of page and push; each is drawn once for everybody who looks at it.

Drawing a row costs half a millisecond and a page has fifty of them; what it shows is told by its revision,
the words of its status, and the language.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from django.template.loader import get_template
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from containers_app.models import Container

KEPT = 4096  # rows, about 2 kB each

_drawn: OrderedDict[tuple[object, ...], SafeString] = OrderedDict()
_lock = Lock()  # requests have threads of their own


def row_html(container: Container) -> SafeString:
    """``containers/_row.html`` of this container, as every viewer sees it; rights hide parts in the browser
    only, and are asked again by whatever a button calls."""
    key = (container.pk, container.revision, container.status_text, get_language())
    with _lock:
        if (found := _drawn.get(key)) is not None:
            _drawn.move_to_end(key)
            return found
    html = get_template("containers/_row.html").render({"container": container})
    with _lock:
        _drawn[key] = html
        while len(_drawn) > KEPT:
            _drawn.popitem(last=False)
    return html


def forget() -> None:
    """Draw everything anew; tests change templates and settings."""
    with _lock:
        _drawn.clear()

"""Filter ``written`` of templates: others' text with its hidden signs written out; what is no text stays."""

from __future__ import annotations

from django import template

from webdock.engines.signs import written_out

register = template.Library()


@register.filter
def written(value: object) -> object:
    return written_out(value) if isinstance(value, str) else value

"""Filters ``disk_size`` and ``memory_size`` of templates; nothing for what is no number."""

from __future__ import annotations

from django import template

from webdock.engines import sizes

register = template.Library()


@register.filter
def disk_size(count: object) -> str:
    return sizes.disk_size(count) if isinstance(count, int | float) else ""


@register.filter
def memory_size(count: object) -> str:
    return sizes.memory_size(count) if isinstance(count, int | float) else ""

"""Tag ``styles`` of templates: the addresses of the style sheets that every page has."""

from __future__ import annotations

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage

from webdock.engines.static import STYLES

register = template.Library()


@register.simple_tag
def styles() -> list[str]:
    return [staticfiles_storage.url(name) for name in getattr(staticfiles_storage, "styles", STYLES)]

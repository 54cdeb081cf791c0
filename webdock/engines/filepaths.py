"""Paths inside containers and volumes, as addresses carry them. Pure; nothing here touches a file."""

from __future__ import annotations

import posixpath

from django.utils.translation import gettext as _

from runtime.api.errors import InvalidArgument

PATH_MAX_CHARS = 4096  # Kernel: PATH_MAX


def clean_path(text: str) -> str:
    """An absolute, normal path.

    Raises: InvalidArgument.
    """
    if len(text) > PATH_MAX_CHARS or "\0" in text:
        raise InvalidArgument(_("path: too long, or no path"))
    path = posixpath.normpath("/" + text)
    return "/" + path.lstrip("/")


def crumbs(path: str) -> list[tuple[str, str]]:
    """[("/", "/"), ("etc", "/etc"), ...] for the way back up."""
    found, at = [("/", "/")], ""
    for part in path.strip("/").split("/"):
        if part:
            at += f"/{part}"
            found.append((part, at))
    return found

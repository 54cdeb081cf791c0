"""Django's makemessages, which also reads the short name our modules give to gettext_lazy."""

from __future__ import annotations

from typing import ClassVar

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    xgettext_options: ClassVar[list[str]] = [*makemessages.Command.xgettext_options, "--keyword=_lazy"]

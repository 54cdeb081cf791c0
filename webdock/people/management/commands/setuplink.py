"""Print the one-time path (with a public address: the link) with which the first administrator gets in."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from webdock.people.models import SetupLink


class Command(BaseCommand):
    help = "Print a path that makes one administrator account: once, within an hour. Earlier links end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--force", action="store_true", help="also when there is an administrator (a lost password)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        admins = get_user_model().objects.filter(is_superuser=True, is_active=True)
        if admins.exists() and not options["force"]:
            raise CommandError("there is an administrator already; --force makes a link all the same")
        public = settings.PUBLIC_URL.origin if settings.PUBLIC_URL else ""
        self.stdout.write(public + reverse("welcome-link", args=[SetupLink.issue()]))

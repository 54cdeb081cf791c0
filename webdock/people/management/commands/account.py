"""Accounts from the machine's own command line: `webdock user` runs this as the web user.

A password comes on standard input, never as an argument, where every process of the machine could read it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction

from webdock.engines import audit
from webdock.people import factors
from webdock.people.sessions import end_sessions
from webdock.people.standing import OPERATORS

CONSOLE = audit.Actor(None, "root", "console")
PASSWORD_MAX_CHARS = 4096


class Command(BaseCommand):
    help = "Add, list and disable accounts, and set their passwords."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", choices=("add", "list", "password", "disable", "enable", "unfactor"))
        parser.add_argument("--name", default="")  # an option: a name may begin with a dash
        parser.add_argument("--role", choices=("viewer", "operator", "admin"), default="viewer")

    def handle(self, *args: Any, **options: Any) -> None:
        verb, name = options["verb"], options["name"]
        if verb == "list":
            self.list()
            return
        if not name:
            raise CommandError(f"{verb} needs the name of an account")
        with transaction.atomic():
            if verb == "add":
                self.add(name, options["role"])
            else:
                getattr(self, verb)(self.find(name))
            audit.write(CONSOLE, f"user.{verb}", kind="user", id=name, name=name)

    def list(self) -> None:
        """One account in a line, fields parted by tabs: name, role, state, last login."""
        for user in User.objects.order_by("username").prefetch_related("groups"):
            state = "active" if user.is_active else "disabled"
            seen = user.last_login.strftime("%Y-%m-%d %H:%M UTC") if user.last_login else "never"
            self.stdout.write("\t".join((user.username, role_of(user), state, seen)))

    def add(self, name: str, role: str) -> None:
        user = User(username=name, is_staff=role == "admin", is_superuser=role == "admin")
        password = read_password(user)
        user.set_password(password)
        try:
            user.full_clean()
            user.save()
        except ValidationError as error:
            raise CommandError(f"{name!r} cannot be added: {' '.join(error.messages)}") from None
        except IntegrityError:  # added by somebody else since full_clean() asked
            raise CommandError(f"{name!r} cannot be added: there is one already") from None
        if role == "operator":
            user.groups.add(Group.objects.get_or_create(name=OPERATORS)[0])

    def password(self, user: User) -> None:
        user.set_password(read_password(user))
        user.save(update_fields=["password"])  # a session carries a digest of it, so all of them end

    def disable(self, user: User) -> None:
        others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
        if user.is_superuser and user.is_active and not others.exists():
            raise CommandError(f"{user.username!r} is the last administrator: add another one first")
        user.is_active = False
        user.save(update_fields=["is_active"])

    def enable(self, user: User) -> None:
        user.is_active = True
        user.save(update_fields=["is_active"])

    def unfactor(self, user: User) -> None:
        if not factors.remove(user.pk):
            raise CommandError(f"{user.username!r} has no second factor")
        end_sessions(user.pk)

    def find(self, name: str) -> User:
        try:
            return User.objects.get(username=name)
        except User.DoesNotExist:
            raise CommandError(f"there is no account {name!r}; `webdock user list` shows them") from None


def role_of(user: User) -> str:
    """viewer, operator or admin, as the pages decide it."""
    if user.is_superuser or user.is_staff:
        return "admin"
    return "operator" if any(group.name == OPERATORS for group in user.groups.all()) else "viewer"


def read_password(user: User) -> str:
    """The first line of standard input. Raises: CommandError when it is too weak for the pages."""
    password = sys.stdin.readline(PASSWORD_MAX_CHARS).rstrip("\r\n")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise CommandError(f"that password is not taken: {' '.join(error.messages)}") from None
    return password

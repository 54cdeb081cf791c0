"""Slows down guessing of passwords: failed logins are counted by account and by address."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from webdock.engines.documents import storable_text
from webdock.people.models import FailedLogin

WINDOW = timedelta(minutes=5)
PAIR_MAX = 5  # of one account from one address
ADDRESS_MAX = 30  # of one address, all accounts
ACCOUNT_WINDOW = timedelta(hours=1)
ACCOUNT_MAX = 100  # of one account from everywhere: a spread attack; far more than a person mistypes


def _key(username: str) -> str:
    return storable_text(username).casefold()[:150]


def throttled(username: str, address: str) -> bool:
    """Whether the next attempt must wait."""
    now = timezone.now()
    name = _key(username)
    recent = FailedLogin.objects.filter(at__gt=now - WINDOW)
    if recent.filter(username=name, address=address).count() >= PAIR_MAX:
        return True
    if recent.filter(address=address).count() >= ADDRESS_MAX:
        return True
    return FailedLogin.objects.filter(username=name, at__gt=now - ACCOUNT_WINDOW).count() >= ACCOUNT_MAX


def failed(username: str, address: str) -> None:
    """Note a failure, and forget those no window reaches."""
    FailedLogin.objects.filter(at__lt=timezone.now() - ACCOUNT_WINDOW).delete()
    FailedLogin.objects.create(username=_key(username), address=address)


def succeeded(username: str, address: str) -> None:
    """The right password came: earlier slips from here are forgiven."""
    FailedLogin.objects.filter(Q(username=_key(username)) & Q(address=address)).delete()

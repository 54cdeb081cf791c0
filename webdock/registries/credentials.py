"""Passwords of registries: kept, forgotten, and looked up for a pull or push. Never shown again."""

from __future__ import annotations

from django.utils.translation import gettext as _

from runtime.api.errors import InvalidArgument
from webdock.engines.threads import in_thread
from webdock.registries.hosts import HUB, host_of
from webdock.registries.models import Credential
from webdock.sealing import Unreadable, seal, unseal

HUB_ADDRESS = "https://index.docker.io/v1/"  # what Docker's clients call it in an AuthConfig

Auth = dict[str, str]


def auth_of(host: str, username: str, password: str) -> Auth:
    """An AuthConfig for the engine's X-Registry-Auth header."""
    address = HUB_ADDRESS if host == HUB else host
    return {"username": username, "password": password, "serveraddress": address}


@in_thread
def stored(host: str) -> Auth | None:
    """What is kept for a registry, None when nothing is.

    Raises: InvalidArgument when it cannot be read any more.
    """
    row = Credential.objects.filter(host=host).first()
    if row is None:
        return None
    try:
        return auth_of(host, row.username, unseal(row.sealed))
    except Unreadable:
        message = _("the password kept for %(host)s cannot be read with this key: save it again")
        raise InvalidArgument(message % {"host": host}) from None


async def auth_for(reference: str) -> Auth | None:
    """What is sent along when this image is pulled or pushed."""
    return await stored(host_of(reference))


@in_thread
def keep(host: str, username: str, password: str, who: str) -> None:
    Credential.objects.update_or_create(
        host=host, defaults={"username": username, "sealed": seal(password), "saved_by": who}
    )


@in_thread
def forget(host: str) -> bool:
    """True when there was one."""
    gone, _kinds = Credential.objects.filter(host=host).delete()
    return bool(gone)


@in_thread
def usernames() -> dict[str, str]:
    """Registry -> the user name kept for it."""
    return dict(Credential.objects.values_list("host", "username"))

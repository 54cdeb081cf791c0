"""How registries ask for credentials and who may be given them; pure.

Owns challenges, credentials as clients send them, and the rule which token service belongs to a registry.

Spec: RFC 9110, 11.6.1 (WWW-Authenticate); distribution "Token Authentication Specification".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from runtime.api.errors import InvalidArgument

CHALLENGE_MAX_CHARS = 8192

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar's word for a name
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?:\s+|$|(?=,))")
_PARAMETER = re.compile(rf"\s*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}))\s*(?:,|$)")
# Second-level labels under which unrelated people register names (co.uk, com.au).
_SHARED_SUFFIXES = frozenset(("ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"))


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way the registry offers to authenticate."""

    scheme: str  # lower case: "basic", "bearer"
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client gave for one registry; empty strings where it gave nothing."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)  # exchanged at the token service
    registry_token: str = field(default="", repr=False)  # sent as it is

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header."""
        if not self.username:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)


NOBODY = Credentials()


def credentials(auth: Mapping[str, Any] | None) -> Credentials:
    """From the decoded ``X-Registry-Auth`` header. Raises: InvalidArgument."""
    if not auth:
        return NOBODY
    if not all(isinstance(value, str) for key, value in auth.items() if key in _KEYS and value is not None):
        raise InvalidArgument("the registry credentials are not strings")
    username, password = auth.get("username") or "", auth.get("password") or ""
    if not username and auth.get("auth"):
        try:
            username, _, password = base64.b64decode(auth["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidArgument("the registry credentials cannot be decoded") from None
    if any(ord(sign) < 32 for sign in username + password):
        raise InvalidArgument("the registry credentials contain control characters")
    return Credentials(
        username.strip("\0"),
        password.strip("\0"),
        auth.get("identitytoken") or "",
        auth.get("registrytoken") or "",
    )


_KEYS = ("username", "password", "auth", "identitytoken", "registrytoken")


def parse_challenges(header: str) -> list[Challenge]:
    """What a ``WWW-Authenticate`` header offers; what cannot be read is left out."""
    challenges: list[Challenge] = []
    header = header[:CHALLENGE_MAX_CHARS]
    at = 0
    while found := _SCHEME.match(header, at):
        at = found.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            quoted = parameter[2]
            parameters[parameter[1].lower()] = (
                re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            )
            at = parameter.end()
        challenges.append(Challenge(found[1].lower(), parameters))
    return challenges


def may_receive(registry_url: str, realm_url: str) -> bool:
    """Whether a registry's credentials may go to this token service.

    It may when both are one host, or when the service's host is the registry's parent domain or a sibling
    under it (auth.example.org for registry.example.org), never over a weaker scheme.
    """
    registry, realm = urlsplit(registry_url), urlsplit(realm_url)
    if realm.scheme != "https" and realm.scheme != registry.scheme:
        return False
    ours, theirs = (registry.hostname or "").lower(), (realm.hostname or "").lower()
    if not ours or not theirs:
        return False
    if ours == theirs:
        return True
    if _is_address(ours) or _is_address(theirs):
        return False
    parent = ours.partition(".")[2]
    for domain in (parent, ours):
        if _is_owned(domain) and (theirs == domain or theirs.endswith("." + domain)):
            return True
    return False


def _is_owned(domain: str) -> bool:
    """Whether everything under this domain plausibly belongs to one owner."""
    labels = domain.split(".")
    if len(labels) < 2 or not all(labels):
        return False
    return not (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SHARED_SUFFIXES)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

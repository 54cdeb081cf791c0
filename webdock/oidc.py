"""Reads the file about an identity provider (WEBDOCK_OIDC_FILE): TOML in, plain values out. Knows no Django.

Spec: OpenID Connect Core 1.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from webdock.environ import BadVariable, secret

VARIABLE = "WEBDOCK_OIDC_FILE"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ROLE = re.compile(r"(viewer|operator|admin)(?: of (\S.*))?")
UNKNOWN = ("refuse", "create")


@dataclass(frozen=True)
class Provider:
    """One identity provider, and what its people are here."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)  # "": a public client
    name: str = ""  # on the button
    scopes: tuple[str, ...] = ("openid", "profile")
    unknown: str = "refuse"  # who comes for the first time: "refuse", or "create" an account
    username_claim: str = "preferred_username"
    groups_claim: str = "groups"
    ca_file: str = ""
    roles: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # group -> role, team or ""


def may_be_asked(url: str) -> bool:
    """Whether this is an address a provider may have: TLS, or plain HTTP on this machine itself."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or parts.fragment or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def provider(environ: Mapping[str, str]) -> Provider | None:
    """The provider the variable's file describes, None without the variable.

    Raises: BadVariable naming the file and the key.
    """
    path = environ.get(VARIABLE, "")
    if not path:
        return None
    try:
        document = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadVariable(f"{VARIABLE}={path!r} cannot be read: {error}") from error
    try:
        return _parsed(document)
    except ValueError as error:
        raise BadVariable(f"{path}: {error}") from None


def _parsed(document: dict[str, Any]) -> Provider:
    texts = ("issuer", "client_id", "client_secret_file", "name", "unknown", "username_claim",
             "groups_claim", "ca_file")  # fmt: skip
    for key in document:
        if key not in (*texts, "scopes", "roles"):
            raise ValueError(f"{key}: no such key; there are {', '.join((*texts, 'scopes', 'roles'))}")
    for key in texts:
        if not isinstance(document.get(key, ""), str):
            raise ValueError(f"{key}: expected a text")
    for key in ("issuer", "client_id"):
        if not document.get(key):
            raise ValueError(f"{key}: is missing")
    if not may_be_asked(document["issuer"]) or "?" in document["issuer"]:
        raise ValueError("issuer: expected https://…; plain http on this machine's loopback address only")
    if document.get("unknown", "refuse") not in UNKNOWN:
        raise ValueError(f"unknown: expected one of {', '.join(UNKNOWN)}")
    scopes = document.get("scopes", ["openid", "profile"])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError("scopes: expected a list of texts")
    plain = {key: document[key] for key in texts if document.get(key) and key != "client_secret_file"}
    return Provider(
        **{"name": urlsplit(document["issuer"]).hostname, **plain},
        client_secret=secret(
            {"client_secret_file": document.get("client_secret_file", "")}, "client_secret_file"
        ),
        scopes=tuple(dict.fromkeys(("openid", *scopes))),
        roles=_roles(document.get("roles", {})),
    )


def _roles(table: Any) -> dict[str, tuple[str, str]]:
    if not isinstance(table, dict):
        raise ValueError('roles: expected a table such as "developers" = "operator"')
    found = {}
    for group, words in table.items():
        match = ROLE.fullmatch(words) if isinstance(words, str) else None
        if match is None or (match[1] == "admin" and match[2]):
            raise ValueError(f"roles.{group}: expected viewer, operator, admin, or “operator of TEAM”")
        found[group] = (match[1], (match[2] or "").strip())
    return found

"""Environment variables that look like secrets, and inspect documents without them. Pure."""

from __future__ import annotations

import re
from typing import Any

MASK = "••••••••"

_SECRET = re.compile(
    r"PASS(?:WORD|WD|PHRASE)|(?:^|_|DB)PASS(?:_|$)|SECRET|TOKEN|CREDENTIAL"
    r"|(?:API|PRIVATE|ACCESS)_?KEY|(?:^|_)KEY$|(?:^|_)PWD$|_DSN$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(\w+://[^/\s:@]*:)[^/\s@]+(@)")


def looks_secret(name: str) -> bool:
    """Whether a variable of this name is shown only on request."""
    return _SECRET.search(name) is not None


def environment(entries: object) -> list[dict[str, Any]]:
    """["KEY=value"] -> [{"name", "value", "masked"}], sorted by name; secret values are left out."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        name, _equals, value = str(entry).partition("=")
        secret = looks_secret(name)
        found.append(
            {
                "name": name,
                "value": MASK if secret else _URL_PASSWORD.sub(rf"\1{MASK}\2", value),
                "masked": secret,
            }
        )
    return sorted(found, key=lambda one: str(one["name"]))


def masked(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of an inspect document whose secret-looking environment values are masked."""
    config = document.get("Config")
    if not isinstance(config, dict) or not isinstance(config.get("Env"), list):
        return document
    env = [f"{one['name']}={one['value']}" for one in environment(config["Env"])]
    return {**document, "Config": {**config, "Env": env}}

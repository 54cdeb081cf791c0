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
# Each begins where a word begins: one that could begin at every letter of a long word takes for ever.
_VALUE = r"""("[^"]*"|'[^']*'|[^\s"';&|]+)"""
_SPELLINGS = (  # a name and what stands behind it
    re.compile(rf"(?P<before>(?<![\w.-])(?P<name>-{{0,2}}[A-Za-z][\w.-]*)=){_VALUE}"),
    re.compile(rf"(?P<before>(?<!\S)(?P<name>--?[A-Za-z][\w.-]*)\s+)(?!-){_VALUE}"),
    re.compile(rf"""(?P<before>["'](?P<name>[A-Za-z][\w.-]*)["']\s*:\s*){_VALUE}"""),
)
_URL_PASSWORD = re.compile(r"(?<!\w)(\w+://[^/\s:@]*:)[^/\s@]+(@)")


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


def pairs(values: object) -> dict[str, str]:
    """Labels, or options of a log driver, with the values of secret-looking names masked."""
    found = values if isinstance(values, dict) else {}
    return {
        str(name): MASK if value and _named(str(name)) else _URL_PASSWORD.sub(rf"\1{MASK}\2", str(value))
        for name, value in found.items()
    }


def line(text: str) -> str:
    """A command line or a message with what looks like a secret in it masked: "--password=x", "TOKEN=x"."""

    def hide(found: re.Match[str]) -> str:
        return f"{found['before']}{MASK}" if _named(found["name"]) else found[0]

    for spelling in _SPELLINGS:
        text = spelling.sub(hide, text)
    return _URL_PASSWORD.sub(rf"\1{MASK}\2", text)


def words(command: object) -> list[str]:
    """A command as its words, masked like a line; the word after "--password" is one, too."""
    found: list[str] = []
    hides_next = False
    for word in command if isinstance(command, list) else ():
        text = str(word)
        found.append(MASK if hides_next else line(text))
        hides_next = text.startswith("-") and "=" not in text and " " not in text and _named(text)
    return found


def _named(name: str) -> bool:
    return looks_secret(name.lstrip("-").replace("-", "_").replace(".", "_"))


def masked(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a container's inspect document in which what looks secret is masked: in its environment,
    labels, command, health check with what that said, and log options."""
    copied = {**document}
    if isinstance(config := document.get("Config"), dict):
        config = {**config}
        if isinstance(config.get("Env"), list):
            config["Env"] = [f"{one['name']}={one['value']}" for one in environment(config["Env"])]
        if config.get("Labels"):
            config["Labels"] = pairs(config["Labels"])
        for key in ("Cmd", "Entrypoint"):
            if config.get(key):
                config[key] = words(config[key])
        if isinstance(check := config.get("Healthcheck"), dict) and check.get("Test"):
            config["Healthcheck"] = {**check, "Test": words(check["Test"])}
        copied["Config"] = config
    if document.get("Path") or document.get("Args"):
        path, *copied["Args"] = words([document.get("Path", ""), *(document.get("Args") or [])])
        copied["Path"] = path
    host = document.get("HostConfig")
    if isinstance(host, dict) and isinstance(log := host.get("LogConfig"), dict) and log.get("Config"):
        copied["HostConfig"] = {**host, "LogConfig": {**log, "Config": pairs(log["Config"])}}
    state = document.get("State")
    if isinstance(state, dict) and isinstance(health := state.get("Health"), dict):
        log_lines = [{**one, "Output": line(str(one.get("Output") or ""))} for one in health.get("Log") or ()]
        copied["State"] = {**state, "Health": {**health, "Log": log_lines}}
    return copied

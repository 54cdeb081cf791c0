"""Which rights each call of the Engine API needs over the web port; pure. What is not listed is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = re.compile(r"^v\d{1,3}\.\d{1,3}/")
TRUE_WORDS = ("1", "true", "on", "yes")


@dataclass(frozen=True)
class Rule:
    """One call: rights, what it is called in the audit log ("" for plain reads), what its path names."""

    rights: tuple[str, ...]
    action: str = ""
    kind: str = ""  # of the thing in the path
    stream: bool = False  # the connection becomes a stream both ways
    lists: tuple[str, str] | None = None  # ("container", "Id"): a list to leave out things of


def _rules() -> list[tuple[str, re.Pattern[str], Rule]]:
    found: list[tuple[str, re.Pattern[str], Rule]] = []

    def rule(method: str, path: str, rights: str, action: str = "", **more: object) -> None:
        kind = next((one for one in ("container", "network", "volume") if f"{one}s/{{}}" in path), "")
        kind = "exec" if path.startswith("exec/") else kind
        pattern = re.escape(path).replace(r"\{\}", "([^/]+)").replace(r"\*", "(.+)")
        made = Rule(tuple(rights.split()), action, kind, **more)  # type: ignore[arg-type]
        found.append((method, re.compile(f"^{pattern}$"), made))

    for path in ("_ping", "version", "info", "system/df", "plugins", "events"):
        rule("GET", path, "view")
    rule("HEAD", "_ping", "view")
    rule("POST", "auth", "pull", "registry.login")

    rule("GET", "containers/json", "view", lists=("container", "Id"))
    rule("POST", "containers/create", "operate", "container.create")
    rule("POST", "containers/prune", "prune operate", "container.prune")
    for verb in ("start", "stop", "restart", "kill", "pause", "unpause", "rename", "update"):
        rule("POST", f"containers/{{}}/{verb}", "operate", f"container.{verb}")
    rule("DELETE", "containers/{}", "operate", "container.remove")
    for noun in ("json", "top", "stats", "changes"):
        rule("GET", f"containers/{{}}/{noun}", "view")
    rule("POST", "containers/{}/wait", "view")
    rule("GET", "containers/{}/logs", "logs")
    rule("GET", "containers/{}/export", "files", "container.export")
    rule("HEAD", "containers/{}/archive", "files")
    rule("GET", "containers/{}/archive", "files", "container.file.read")
    rule("PUT", "containers/{}/archive", "files operate", "container.file.write")
    rule("POST", "containers/{}/attach", "logs", "container.attach", stream=True)
    rule("POST", "containers/{}/resize", "control")
    rule("POST", "containers/{}/exec", "shell", "container.exec")
    rule("GET", "exec/{}/json", "shell")
    rule("POST", "exec/{}/start", "shell", "container.exec.start", stream=True)
    rule("POST", "exec/{}/resize", "shell")

    for noun in ("json", "search"):
        rule("GET", f"images/{noun}", "view")
    rule("POST", "images/create", "pull", "image.pull")
    rule("POST", "images/load", "pull", "image.load")
    rule("POST", "images/prune", "prune pull", "image.prune")
    for noun in ("json", "history"):
        rule("GET", f"images/*/{noun}", "view")
    rule("GET", "distribution/*/json", "view")
    rule("POST", "images/*/push", "push", "image.push")
    rule("POST", "images/*/tag", "pull", "image.tag")
    rule("DELETE", "images/*", "pull", "image.remove")

    rule("GET", "networks", "view", lists=("network", "Id"))
    rule("POST", "networks/create", "networks", "network.create")
    rule("POST", "networks/prune", "prune networks", "network.prune")
    rule("GET", "networks/{}", "view")
    rule("DELETE", "networks/{}", "networks", "network.remove")
    for verb in ("connect", "disconnect"):
        rule("POST", f"networks/{{}}/{verb}", "networks", f"network.{verb}")

    rule("GET", "volumes", "view")
    rule("POST", "volumes/create", "volumes", "volume.create")
    rule("POST", "volumes/prune", "prune volumes", "volume.prune")
    rule("GET", "volumes/{}", "view")
    rule("DELETE", "volumes/{}", "volumes", "volume.remove")
    return found


RULES = _rules()


def needed(rule: Rule, query: dict[str, str]) -> tuple[str, ...]:
    """The rights of this very call: whoever attaches to type has to control."""
    types = rule.stream and query.get("stdin", "").lower() in TRUE_WORDS
    return (*rule.rights, "control") if types else rule.rights


def find(method: str, path: str) -> tuple[Rule, str] | None:
    """The rule of a call, and the thing its path names; None: not offered."""
    if any(step in ("", ".", "..") for step in path.split("/")):
        return None
    for known, pattern, rule in RULES:
        if known == method and (match := pattern.match(path)) is not None:
            return rule, (match[1] if match.groups() else "")
    return None

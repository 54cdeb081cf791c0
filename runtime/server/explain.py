"""What the policy of the confined socket would say to a request, and why; pure.

Takes the same steps as the server: path, version, route, query, strict body, policy. What depends on things
the engine holds is judged by what the request file says of them ("state"), and named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.api.errors import EngineError
from runtime.config import PolicyConfig, load_config
from runtime.server import references, totals
from runtime.server.app import clean_path, parse_query, split_version
from runtime.server.decode import shape
from runtime.server.guard import as_judged
from runtime.server.policy import Asked, Facts, Policy
from runtime.server.routes import find

KEYS = ("method", "path", "body", "state")
STATE_KEYS = ("containers", "volumes", "networks", "execs")
_EXECS = ("exec_start", "exec_attach", "exec_resize", "exec_kill", "exec_end")


class BadRequest(ValueError):
    """The file does not describe a request, or none the engine could read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one request."""

    request: str  # "POST /containers/create"
    operation: str  # "container_create", "" when there is none
    reasons: tuple[str, ...]  # empty: allowed
    depends: tuple[str, ...] = field(default=())  # things the request file says nothing of

    @property
    def allowed(self) -> bool:
        return not self.reasons


def configured(environ: Mapping[str, str], file: Path | None) -> PolicyConfig:
    """The policy of an engine.toml; the strictest one without a file.

    Raises: ConfigError.
    """
    return load_config(environ, file).policy


def explain(document: Any, config: PolicyConfig) -> Verdict:
    """The verdict on {"method": "POST", "path": "/containers/create?name=x", "body": {...}, "state": {...}}.

    Raises: BadRequest.
    """
    if not isinstance(document, dict) or not isinstance(document.get("path"), str):
        raise BadRequest('expected an object with "method", "path" and, where there is one, "body"')
    unknown = sorted(set(document) - set(KEYS))
    if unknown:
        raise BadRequest(f"unknown keys: {', '.join(unknown)}; known are {', '.join(KEYS)}")
    method, raw = str(document.get("method", "GET")).upper(), document["path"]
    facts = _facts(document.get("state") or {})
    text, _, query = raw.partition("?")
    if not re.fullmatch(r"[A-Z]{1,10}", method):
        raise BadRequest(f"method: expected a word such as POST, got {method[:20]!r}")
    asks = f"{method} {text[:120]}"
    try:
        _version, path = split_version(clean_path(text))
        found = find(method, path)
        if found is None:
            return Verdict(asks, "", ("no such operation",))
        route, params = found
        body = shape(document.get("body"), route.body, strict=True) if route.body is not None else {}
        asked = Asked(route.operation, params, parse_query(query), body)
        reasons = tuple(dict.fromkeys(Policy(config).reasons(asked, facts)))
    except EngineError as error:
        return Verdict(asks, "", (error.message,))
    return Verdict(asks, route.operation, reasons, tuple(_depends(asked, facts, config)))


def _facts(state: Any) -> Facts:
    if not isinstance(state, dict) or set(state) - set(STATE_KEYS):
        raise BadRequest(f"state: expected an object with some of {', '.join(STATE_KEYS)}")
    for key, value in state.items():
        if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
            raise BadRequest(f"state.{key}: expected names and what `inspect` says of each")
    known = {key: dict(state.get(key, {})) for key in STATE_KEYS}
    known["containers"] = {ref: as_judged(found) for ref, found in known["containers"].items()}
    return Facts(known["containers"], known["volumes"], known["networks"], known["execs"])


def _depends(asked: Asked, facts: Facts, config: PolicyConfig) -> list[str]:
    found = [f"container {ref}" for ref in references.containers(asked) if ref not in facts.containers]
    found += [f"volume {name}" for name in references.volumes(asked) if name not in facts.volumes]
    found += [f"network {name}" for name in references.networks(asked) if name not in facts.networks]
    if asked.operation in _EXECS and asked.params["ref"] not in facts.execs:
        found.append(f"exec session {asked.params['ref'][:12]}")
    if totals.counts(config) and asked.operation in ("container_create", "container_update"):
        found.append("what all containers use together")
    return list(dict.fromkeys(found))

"""What `docker logs --details` puts before each line: the labels and variables the log's options name; pure.

    docker run --label tier=front --log-opt labels=tier …  ->  b"tier=front "

Differs: taken from the container when the log is read; Docker writes them with each line, which says the
same, as neither labels nor variables of a container change.
Spec: Docker API 1.47, ContainerLogs, `details`; json-file's options labels, labels-regex, env, env-regex.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus


def details(config: Mapping[str, Any], host_config: Mapping[str, Any]) -> bytes:
    """The words and the space behind them; only the space when the options name nothing."""
    options = (host_config.get("LogConfig") or {}).get("Config") or {}
    labels, env = config.get("Labels") or {}, config.get("Env") or []
    variables = dict(entry.split("=", 1) for entry in env if "=" in entry)
    chosen = {**_chosen(options, "labels", labels), **_chosen(options, "env", variables)}
    words = (f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(chosen.items()))
    return ",".join(words).encode() + b" "


def _chosen(options: Mapping[str, str], what: str, known: Mapping[str, str]) -> dict[str, str]:
    names = {name for name in options.get(what, "").split(",") if name}
    pattern = options.get(f"{what}-regex", "")
    return {
        key: value for key, value in known.items() if key in names or (pattern and _matches(pattern, key))
    }


def _matches(pattern: str, key: str) -> bool:
    try:
        return re.search(pattern, key) is not None
    except re.error:  # of Go's kind, or none: nothing is named by it
        return False

"""``webdock policy explain``: what the confined socket would say to a request, and why. Asks no engine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from webdock.cli import instance as instances
from webdock.cli.errors import Failure
from webdock.cli.serve import chosen

REFUSED_EXIT = 1
BAD_REQUEST_EXIT = 2
FILE_MAX_BYTES = 16 << 20


def policy_explain_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument(
        "request",
        metavar="REQUEST.JSON",
        help='{"method": "POST", "path": "/containers/create", "body": {...}}, or a list of such; - reads '
        "standard input",
    )


def policy_explain(options: argparse.Namespace) -> int:
    """0 when every request would pass, 1 when one would be refused, 2 when the file makes no sense."""
    from runtime.config import ConfigError
    from runtime.server import explain

    instance = chosen(options)
    try:
        config = explain.configured(os.environ, instance.config)
    except (ConfigError, OSError) as error:
        raise Failure(str(error), BAD_REQUEST_EXIT) from None
    try:
        document = _read(options.request)
        requests = document if isinstance(document, list) else [document]
        verdicts = [explain.explain(one, config) for one in requests]
    except (OSError, ValueError) as error:
        raise Failure(f"{options.request}: {error}", BAD_REQUEST_EXIT) from None
    for verdict in verdicts:
        print(json.dumps(_document(verdict)) if options.json else _text(verdict))
    return 0 if all(verdict.allowed for verdict in verdicts) else REFUSED_EXIT


def _read(name: str) -> Any:
    if name == "-":
        text = sys.stdin.read(FILE_MAX_BYTES + 1)
    else:
        with Path(name).open(encoding="utf-8") as file:
            text = file.read(FILE_MAX_BYTES + 1)
    if len(text) > FILE_MAX_BYTES:
        raise ValueError("too long")
    return json.loads(text)


def _document(verdict: Any) -> dict[str, Any]:
    return {
        "request": verdict.request,
        "operation": verdict.operation,
        "allowed": verdict.allowed,
        "reasons": list(verdict.reasons),
        "depends": list(verdict.depends),
    }


def _text(verdict: Any) -> str:
    operation = f" ({verdict.operation})" if verdict.operation else ""
    lines = [f"{'allowed' if verdict.allowed else 'refused'}: {verdict.request}{operation}"]
    lines += [f"  because of {reason}" for reason in verdict.reasons]
    if verdict.depends:
        lines.append(f"  depends on what the engine holds: {', '.join(verdict.depends)}")
    return "\n".join(lines)

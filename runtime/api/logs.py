"""How both processes write their logs: a line of text, or one JSON object a line; to standard error.

``WEBDOCK_LOG_LEVEL`` is debug, info (default), warning or error; ``WEBDOCK_LOG_FORMAT`` is text (default) or
json, whose objects have time, level, logger, message, and the ids of whom the message is about.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: Whom a message is about: its id becomes a field, to search by.
_IDS = re.compile(r"\b(container|exec|image|network) (?:sha256:)?([0-9a-f]{12,64})\b")
#: What every record has; anything else was given with ``extra``.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One object a line; ``extra={"container": id}`` becomes a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for kind, id in _IDS.findall(str(said["message"])):
            said.setdefault(kind, id)
        for name, value in vars(record).items():
            if name not in _OWN and name not in said:
                said[name] = value
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def level_of(environ: Mapping[str, str]) -> str:
    """The level that was asked for, in lower case.

    Raises:
        ValueError: when it is none.
    """
    return _chosen(environ, "WEBDOCK_LOG_LEVEL", "info", LEVELS)


def formatter_of(environ: Mapping[str, str]) -> logging.Formatter:
    """The formatter that was asked for.

    Raises:
        ValueError: when there is no such format.
    """
    form = _chosen(environ, "WEBDOCK_LOG_FORMAT", "text", FORMATS)
    return JsonLines() if form == "json" else logging.Formatter(LINE)


def _chosen(environ: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    value = (environ.get(name) or default).lower()
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; it is one of {', '.join(known)}")
    return value

"""A line of the log as text and as JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from runtime.api import logs


def written(message: str, *values: object, **extra: Any) -> dict[str, Any]:
    """One record as its JSON line, read again."""
    logger = logging.Logger("webdock.test")
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.setFormatter(logs.formatter_of({"WEBDOCK_LOG_FORMAT": "JSON"}))
    logger.addHandler(handler)
    logger.error(message, *values, **extra)
    (line,) = lines
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_line_has_time_level_logger_message_and_the_ids_it_is_about() -> None:
    said = written("container %s: its record\nis old; network %s", "0123456789ab", "f" * 64)
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "error",
        "logger": "webdock.test",
        "message": f"container 0123456789ab: its record\nis old; network {'f' * 64}",
        "container": "0123456789ab",
        "network": "f" * 64,
    }


def test_what_is_given_besides_is_a_field_and_cannot_replace_the_others() -> None:
    said = written("said", extra={"person": "anna", "level": "none", "odd": {1}})
    assert (said["person"], said["level"], said["odd"]) == ("anna", "error", "{1}")


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        said = written("failed", exc_info=sys.exc_info())
    assert said["message"] == "failed"
    assert said["exception"].endswith("RuntimeError: broken")


def test_level_and_format_are_read_in_any_case_and_others_refused() -> None:
    assert logs.level_of({}) == "info"
    assert logs.level_of({"WEBDOCK_LOG_LEVEL": "DEBUG"}) == "debug"
    assert not isinstance(logs.formatter_of({"WEBDOCK_LOG_FORMAT": ""}), logs.JsonLines)
    with pytest.raises(ValueError, match="'loud' is not known; it is one of debug"):
        logs.level_of({"WEBDOCK_LOG_LEVEL": "loud"})
    with pytest.raises(ValueError, match="'xml' is not known; it is one of text, json"):
        logs.formatter_of({"WEBDOCK_LOG_FORMAT": "xml"})

"""Documents of engines, made fit to be stored: what containers put into them is theirs, not ours. Pure."""

from __future__ import annotations

import json
from typing import Any


def storable_text(text: str) -> str:
    """The text without NUL and half surrogates, which databases refuse."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(document: Any) -> Any:
    """The document itself when a database can hold it, else a copy in which it can."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _cleaned(document)
    return _cleaned(document) if "\\u0000" in text else document


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable_text(str(key)): _cleaned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return value

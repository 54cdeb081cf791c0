"""What registries answer instead of what was asked: errors in Docker's words, bodies within bounds.

Spec: OCI distribution 1.1, "Error Codes".
"""

from __future__ import annotations

import email.utils
import json
import re
import time

import aiohttp

from runtime.api.errors import Internal
from runtime.images.transport import Refused

ANSWER_MAX_BYTES = 1 << 20  # of errors, tokens and lists
WORDS_MAX_CHARS = 500  # of a stranger's message


class RegistryAnswer(Internal):
    """The registry said no; ``code`` is its word for it ("MANIFEST_UNKNOWN")."""

    def __init__(self, status_seen: int, code: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status_seen = status_seen
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether a later try may succeed."""
        return self.status_seen in (408, 429) or self.status_seen >= 500


class NoCredentials(RegistryAnswer):
    """The registry wants credentials and none, or none it may be given, are there."""


class WrongCredentials(RegistryAnswer):
    """The registry or its token service does not accept the credentials."""


async def read_bounded(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The whole body, bounded. Raises: Refused."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.content.readany():
        size += len(part)
        if size > bytes_max:
            raise Refused(f'Get "{answer.url}": the answer is longer than {bytes_max} bytes')
        parts.append(part)
    return b"".join(parts)


def refusal(answer: aiohttp.ClientResponse, body: bytes) -> RegistryAnswer:
    default = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}
    code = default.get(answer.status, "UNKNOWN")
    try:
        errors = json.loads(body)["errors"]
        named = errors[0].get("code")
        if isinstance(named, str) and re.fullmatch(r"[A-Za-z_]{1,64}", named):
            code = named.upper()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    text = error_text(body, answer.status, code.lower().replace("_", " "))
    return RegistryAnswer(answer.status, code, text, _retry_after(answer.headers.get("Retry-After")))


def error_text(body: bytes, status: int, word: str) -> str:
    """``manifest unknown: manifest unknown``, as Docker's clients print registry errors."""
    try:
        document = json.loads(body)
        errors = document.get("errors")
        message = errors[0].get("message") if errors else document.get("details") or document.get("message")
        if isinstance(message, str) and message:
            return f"{word}: {_printable(message)}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return f"{word}: received unexpected HTTP status: {status}"


def _printable(text: str) -> str:
    """Words of a stranger, on one line and short."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:WORDS_MAX_CHARS])


def _retry_after(header: str | None) -> float | None:
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

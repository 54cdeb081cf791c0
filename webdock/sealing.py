"""Secrets to stored bytes and back, with a key only the web process's user reads. Knows no rows.

Spec: Fernet (AES-128-CBC with HMAC-SHA256).
"""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from webdock.environ import keep_secret


class Unreadable(Exception):
    """Sealed with another key, or damaged, or the key cannot be read."""


def _fernet() -> Fernet:
    """The key's file is made at the first use (mode 0600)."""
    path = settings.REGISTRIES_KEY_FILE
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        key = keep_secret(path, Fernet.generate_key().decode())
    return Fernet(key.encode())


def seal(secret: str) -> bytes:
    return _fernet().encrypt(secret.encode())


def unseal(sealed: bytes) -> str:
    """Raises: Unreadable."""
    try:
        return _fernet().decrypt(bytes(sealed)).decode()
    except (InvalidToken, ValueError, OSError):  # ValueError: the key's file holds no key
        raise Unreadable from None

"""How an instance is named after its home, which both sides of the wall must say alike.

The name is that of its control groups, its firewall table, and the user and group of its web side.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

DEFAULT_HOME = Path("/var/lib/webdock")
DEFAULT_NAME = "webdock"
ADMIN_GROUP = "webdock-admin"  # may open any instance's engine.sock, which is as good as being root

_DIGITS = 6  # of the digest: a user's name has at most 32 characters, an interface's 15


def instance_digits(engine_home: Path) -> str:
    """What tells this home from others; "" for the default one."""
    if engine_home == DEFAULT_HOME / "engine":
        return ""
    return hashlib.sha256(str(engine_home).encode()).hexdigest()[:_DIGITS]


def instance_name(engine_home: Path) -> str:
    """``webdock`` for the default home, ``webdock-3f2a1c`` for any other."""
    digits = instance_digits(engine_home)
    return f"{DEFAULT_NAME}-{digits}" if digits else DEFAULT_NAME

"""What may be asked of volumes: names, labels and options as texts. Pure.

Spec: Docker API 1.47, VolumeCreate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.api.errors import InvalidArgument

NAME_CHARACTERS = 255  # of a file name
LABELS_BYTES = 1 << 16

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)


def check_name(name: str) -> None:
    """Raises: InvalidArgument in Docker's words."""
    if len(name) == 1 and _NAME.fullmatch(name):
        raise InvalidArgument(
            "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute '
            "path"
        )
    if len(name) > NAME_CHARACTERS:
        raise InvalidArgument(f"volume name is too long, at most {NAME_CHARACTERS} characters")


def texts(value: object, what: str) -> dict[str, str] | None:
    """Labels or options as they came. Raises: InvalidArgument."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(entry, str) for entry in value.values()):
        raise InvalidArgument(f"invalid {what}: must be an object of strings")
    if sum(len(key) + len(entry) for key, entry in value.items()) > LABELS_BYTES:
        raise InvalidArgument(f"invalid {what}: more than {LABELS_BYTES} bytes")
    return dict(value)

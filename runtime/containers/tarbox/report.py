"""What the job says of itself: a line of JSON before the data, and another when it cannot be done."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

READ_BYTES = 1 << 20
STEERING = ("trusted.overlay.", "user.overlay.", "security.selinux")  # attributes that are no file's own


class Refused(Exception):
    """The job cannot be done; `kind` names the API's error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def tell(report: BinaryIO, message: dict[str, Any]) -> None:
    report.write(json.dumps(message).encode() + b"\n")
    report.flush()

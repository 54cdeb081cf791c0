"""What is known about one exec session, as it lies in its directory and as Docker shows it.

Spec: Docker API 1.47, ExecInspect.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.oci.conmon import ConmonHandle

FILE = "exec.json"

Body = dict[str, Any]


@dataclass(slots=True)
class Session:
    """One exec session."""

    id: str
    container_id: str
    body: Body  # as asked
    detach_keys: bytes = b""
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    ended_ns: int = 0
    handle: ConmonHandle | None = field(default=None, repr=False)

    @property
    def tty(self) -> bool:
        return bool(self.body.get("Tty"))

    @property
    def keeps_output(self) -> bool:
        return self.tty and bool(self.body.get("KeepOutput"))

    def describe(self) -> Body:
        """Docker's ExecInspectResponse."""
        command = self.body["Cmd"]
        process: Body = {
            "tty": self.tty,
            "entrypoint": command[0],
            "arguments": command[1:],
            "privileged": bool(self.body.get("Privileged")),
        }
        if self.body.get("User"):
            process["user"] = self.body["User"]
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": process,
            "OpenStdin": bool(self.body.get("AttachStdin")),
            "OpenStderr": bool(self.body.get("AttachStderr")),
            "OpenStdout": bool(self.body.get("AttachStdout")),
            "CanRemove": self.ended_ns > 0,
            "ContainerID": self.container_id,
            "DetachKeys": base64.b64encode(self.detach_keys).decode(),
            "Pid": self.pid,
        }

    def to_json(self) -> Body:
        return {
            "id": self.id,
            "container_id": self.container_id,
            "body": self.body,
            "detach_keys": self.detach_keys.hex(),
            "started": self.started,
            "exit_code": self.exit_code,
            "ended_ns": self.ended_ns,
        }

    @classmethod
    def from_json(cls, body: Body) -> Session:
        return cls(**{**body, "detach_keys": bytes.fromhex(body["detach_keys"])})

    def save(self, directory: Path) -> None:
        """Replace the record; not synced, as the directory does not survive a reboot."""
        temporary = directory / f"{FILE}.new"
        temporary.write_text(json.dumps(self.to_json()))
        os.rename(temporary, directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> Session:
        """Raises: OSError, ValueError, KeyError, TypeError for what we did not write."""
        return cls.from_json(json.loads((directory / FILE).read_bytes()))


def detach_keys(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q"; the server has checked the spelling. Unknown names are left out."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1:
            keys += key.encode()
        elif key.lower().startswith("ctrl-") and len(key) == 6:
            keys.append(ord(key[5].upper()) ^ 0x40)
    return bytes(keys)

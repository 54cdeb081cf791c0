"""crun and runc, the only place they are called (conmon calls them too, with `Runtime.conmon_arguments`).

Owns the runtime's own state directory (`--root`), so that two engines on a machine never see each other's
containers. Knows no container states beyond what the runtime says.

Spec: OCI runtime 1.1, Lifecycle; crun(1), runc(8).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.api.errors import EngineError, InvalidArgument


class ToolError(Exception):
    """A tool we started failed: what we ran, its exit code (negative: signal), its last lines."""

    def __init__(self, argv: list[str], code: int, stderr: str) -> None:
        super().__init__(f"{argv[0]} failed with {code}: {stderr}")
        self.argv = argv
        self.code = code
        self.stderr = stderr


class CannotStart(InvalidArgument):
    """The program could not be started: Docker's words, status 400; the container's exit code is `exit_code`.

    127: not found in the image, 126: found but not startable, 128: anything else.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def translate(message: str, program: str, *, exec: bool = False) -> EngineError:
    """A runtime's complaint about create/start/exec in Docker's words: CannotStart, InvalidArgument, Internal."""
    raise NotImplementedError


@dataclass(frozen=True)
class Probe:
    """What `Runtime.probe` found; `reason` is a sentence for people when the asked binary cannot be used."""

    name: str  # "crun" or "runc", the one that works
    path: str
    version: str
    commit: str
    reason: str | None


class Runtime:
    """One OCI runtime with one state directory."""

    def __init__(self, binary: str, root: Path, cgroup_manager: str = "cgroupfs") -> None:
        self.binary = binary
        self.root = root
        self.cgroup_manager = cgroup_manager

    def conmon_arguments(self) -> list[str]:
        """The `-r` and `--runtime-arg` words for conmon."""
        raise NotImplementedError

    async def state(self, id: str) -> dict[str, Any] | None:
        """The OCI state ({"status": "created|running|paused|stopped", "pid": n, …}); None when unknown."""
        raise NotImplementedError

    async def start(self, id: str, program: str = "") -> None:
        """Let a created container run. Raises: CannotStart and what `translate` gives."""
        raise NotImplementedError

    async def kill(self, id: str, signal: int, all: bool = False) -> None:
        """Send a signal to the init process (all: to every process). Raises: NotFound when it is not running."""
        raise NotImplementedError

    async def delete(self, id: str, force: bool = False) -> None:
        """Forget a stopped container and its cgroup; idempotent."""
        raise NotImplementedError

    async def pause(self, id: str) -> None:
        raise NotImplementedError

    async def resume(self, id: str) -> None:
        raise NotImplementedError

    async def update(self, id: str, resources: dict[str, Any]) -> None:
        """Set `linux.resources` (OCI shape) of a running container. Raises: InvalidArgument, Internal."""
        raise NotImplementedError

    async def list_ids(self) -> list[str]:
        """Containers the runtime knows, from its state directory."""
        raise NotImplementedError

    async def pids(self, id: str) -> list[int]:
        """Host pids of every process of the container, ascending."""
        raise NotImplementedError

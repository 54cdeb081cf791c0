"""crun and runc: the only place they are called (conmon calls them too, with `conmon_arguments`).

Owns the runtime's own state directory (`--root`), so that two engines on a machine never see each other's
containers. Knows no container states beyond what the runtime says.

Spec: OCI runtime 1.1, Lifecycle; crun(1), runc(8).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, Internal, InvalidArgument, NotFound, Unavailable
from runtime.oci import shortcuts
from runtime.oci.process import ToolError, run
from runtime.oci.words import CannotStart, translate

__all__ = ["CannotStart", "Probe", "Runtime", "ToolError", "probe", "translate"]

CALL_TIMEOUT_S = 60.0  # one call of the runtime; it waits for the kernel at most (freezer, cgroups)
FREEZE_TIMEOUT_S = 10.0
FREEZE_PAUSE_S = 0.01
FALLBACKS = ("crun", "runc")

_GONE = re.compile(r"does not exist|error opening file .*/status|cannot open directory .*no such file", re.I)
_NOT_RUNNING = re.compile(r"not running|container.*stopped|no such process|process already finished", re.I)
_VERSION = re.compile(r"^(?:crun|runc) version (?P<version>\S+)", re.M)
_COMMIT = re.compile(r"^commit: (?P<commit>\S+)", re.M)


class Runtime:
    """One OCI runtime with one state directory."""

    def __init__(self, binary: str, root: Path, cgroup_manager: str = "cgroupfs") -> None:
        self.binary = shutil.which(binary) or binary
        self.root = root
        self.cgroup_manager = cgroup_manager
        self.name = Path(binary).name

    def conmon_arguments(
        self, null: Path | None, redirect: str = "<", third: Path | None = None
    ) -> list[str]:
        """The words that make conmon use this runtime.

        null: a device to take the place of /dev/null as its input ("<") or input and output ("<>").
        third: opened for the program of an exec as descriptor 3, which needs a `null` as well.
        """
        command = [self.binary, *self._globals()]
        if null is not None:
            to = "".join(f" {direction}{shlex.quote(str(null))}" for direction in redirect)
            to += f" 3<{shlex.quote(str(third))}" if third is not None else ""
            script = f'exec "$0" "$@"{to}'
            command = ["/bin/sh", "-c", script, *command]
        words = ["-r", command[0]]
        for argument in command[1:]:
            words += ["--runtime-arg", argument]
        if third is not None:
            words += ["--runtime-opt", "--preserve-fds=1"]
        return [*words, *(["-s"] if self.cgroup_manager == "systemd" else [])]

    async def state(self, id: str) -> dict[str, Any] | None:
        """The OCI state, `{"status": "created|running|paused|stopped", "pid": n, …}`; None when unknown.

        Spec: OCI runtime 1.1, State.
        """
        try:
            stdout = await self._call("state", id)
        except ToolError as error:
            if _GONE.search(error.stderr):
                return None
            raise Internal(f"cannot ask {self.name} for the state of {id}: {error.stderr}") from error
        state: dict[str, Any] = json.loads(stdout)
        return state

    async def start(self, id: str, program: str = "") -> None:
        """Let a created container run. program: its first word, for messages.

        Raises: what `translate` gives.
        Spec: OCI runtime 1.1, Lifecycle 6 to 9.
        """
        if self.name == "crun" and shortcuts.start(self.root / id):
            return
        try:
            await self._call("start", id)
        except ToolError as error:
            raise translate(error.stderr, program) from error

    async def kill(self, id: str, signal: int, all: bool = False) -> None:
        """Send a signal to the init process (all: to every process of the container).

        Raises: NotFound when the runtime does not know it, Conflict when it is not running.
        """
        try:
            await self._call("kill", *(["--all"] if all else []), id, str(signal))
        except ToolError as error:
            if _GONE.search(error.stderr):
                raise NotFound(f"{self.name} knows no container {id}") from error
            if _NOT_RUNNING.search(error.stderr):
                raise Conflict(f"container {id} is not running") from error
            raise Internal(f"cannot send signal {signal} to container {id}: {error.stderr}") from error

    async def delete(self, id: str, force: bool = False) -> None:
        """Forget a stopped container and remove its cgroup; idempotent. force: kill it first.

        Spec: OCI runtime 1.1, Lifecycle 12.
        """
        if self.name == "crun" and shortcuts.delete(self.root / id):
            return
        try:
            await self._call("delete", *(["--force"] if force else []), id)
        except ToolError as error:
            if not _GONE.search(error.stderr):
                raise Internal(f"cannot delete container {id} in {self.name}: {error.stderr}") from error

    async def pause(self, id: str) -> None:
        """Freeze every process of the container; returns when they are frozen.

        Raises: Conflict when it is not running, Internal when it does not come to rest.
        """
        await self._freezer("pause", id)
        # crun on cgroup v1 asks for it and does not wait until the last process has come to rest.
        try:
            async with asyncio.timeout(FREEZE_TIMEOUT_S):
                while ((state := await self.state(id)) or {}).get("status") != "paused":
                    if state is None or state["status"] == "stopped":
                        raise Conflict(f"container {id} is not running")
                    await asyncio.sleep(FREEZE_PAUSE_S)
        except TimeoutError as error:
            await self._freezer("resume", id)
            raise Internal(f"container {id} could not be frozen within {FREEZE_TIMEOUT_S:g} s") from error

    async def resume(self, id: str) -> None:
        """The opposite of `pause`."""
        await self._freezer("resume", id)

    async def update(self, id: str, resources: dict[str, Any]) -> None:
        """Set limits of a living container from an OCI `linux.resources`.

        Raises: InvalidArgument when the kernel refuses a value, Internal.
        """
        cpu = resources.get("cpu") or {}
        if self.name == "crun" and cpu.get("quota", 0) < 0 and shortcuts.lift_quota(self.root / id):
            resources = {**resources, "cpu": {key: value for key, value in cpu.items() if key != "quota"}}
        with tempfile.NamedTemporaryFile("w", prefix="resources-", suffix=".json") as file:
            json.dump(resources, file)
            file.flush()
            try:
                await self._call("update", "--resources", file.name, id)
            except ToolError as error:
                text = f"Cannot update container {id}: {error.stderr}"
                refused = re.search(
                    r"invalid argument|out of range|device or resource busy", error.stderr, re.I
                )
                raise (InvalidArgument if refused else Internal)(text) from error

    async def list_ids(self) -> list[str]:
        """Containers the runtime knows, living or not, from its state directory."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        except FileNotFoundError:
            return []

    async def pids(self, id: str) -> list[int]:
        """Host pids of every process in the container's cgroup, ascending. Raises: NotFound."""
        try:
            stdout = await self._call("ps", "--format", "json", id)
        except ToolError as error:
            if _GONE.search(error.stderr):
                raise NotFound(f"{self.name} knows no container {id}") from error
            raise Internal(f"cannot list the processes of container {id}: {error.stderr}") from error
        return sorted(int(pid) for pid in json.loads(stdout) or [])

    async def version(self) -> tuple[str, str]:
        """(version, commit), as `docker version` shows them. Raises: Unavailable when it is not installed."""
        try:
            stdout, _ = await run([self.binary, "--version"], timeout_s=CALL_TIMEOUT_S)
        except ToolError as error:
            raise Unavailable(f"the runtime {self.name} does not answer: {error.stderr}") from error
        version, commit = _VERSION.search(stdout), _COMMIT.search(stdout)
        return (version["version"] if version else "unknown", commit["commit"] if commit else "")

    async def _freezer(self, verb: str, id: str) -> None:
        try:
            await self._call(verb, id)
        except ToolError as error:
            if _GONE.search(error.stderr) or _NOT_RUNNING.search(error.stderr):
                raise Conflict(f"container {id} is not running") from error
            raise Internal(f"cannot {verb} container {id}: {error.stderr}") from error

    async def _call(self, *words: str) -> str:
        stdout, _ = await run([self.binary, *self._globals(), *words], timeout_s=CALL_TIMEOUT_S)
        return stdout

    def _globals(self) -> list[str]:
        if self.name == "runc":  # cgroupfs is what it does without --systemd-cgroup
            return [f"--root={self.root}"]
        return [f"--root={self.root}", f"--cgroup-manager={self.cgroup_manager}"]


@dataclass(frozen=True)
class Probe:
    """Which runtime works here; `reasons` says for each refused one, in a sentence, why."""

    name: str
    path: str
    version: str
    commit: str
    reasons: tuple[str, ...]


async def probe(preferred: str, scratch: Path, cgroup_parent: str) -> Probe:
    """Run /bin/true in a container with the preferred runtime, then with the others, until one can.

    Needs root. Leaves nothing behind. Raises: Unavailable with all reasons when none can.
    """
    state = scratch / "probe-state"
    try:
        return await _first_working(dict.fromkeys((preferred, *FALLBACKS)), scratch, state, cgroup_parent)
    finally:
        shutil.rmtree(state, ignore_errors=True)


async def _first_working(binaries: Iterable[str], scratch: Path, state: Path, cgroup_parent: str) -> Probe:
    reasons: list[str] = []
    for binary in binaries:
        if shutil.which(binary) is None:
            reasons.append(f"{binary} is not installed")
            continue
        runtime = Runtime(binary, state)
        try:
            await _run_true(runtime, scratch, cgroup_parent)
        except ToolError as error:
            reasons.append(f"{binary} cannot run a container here: {error.stderr}")
            continue
        version, commit = await runtime.version()
        return Probe(runtime.name, runtime.binary, version, commit, tuple(reasons))
    raise Unavailable("no OCI runtime works here: " + "; ".join(reasons))


async def _run_true(runtime: Runtime, scratch: Path, cgroup_parent: str) -> None:
    os.makedirs(scratch, exist_ok=True)
    bundle = Path(tempfile.mkdtemp(prefix="probe-", dir=scratch))
    id = bundle.name
    try:
        (bundle / "rootfs").mkdir()
        (bundle / "config.json").write_text(json.dumps(_probe_spec(f"{cgroup_parent}/{id}")))
        try:
            await runtime._call("run", "--bundle", str(bundle), id)
        finally:
            with contextlib.suppress(ToolError):  # after a successful run it is gone already
                await runtime._call("delete", "--force", id)
    finally:
        shutil.rmtree(bundle, ignore_errors=True)


def _probe_spec(cgroup_path: str) -> dict[str, Any]:
    """The least that exercises namespaces, cgroups with a limit, and the device list."""
    binds = [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro", "rprivate"]}
        for path in ("/bin", "/usr", "/lib", "/lib64")
        if os.path.isdir(path)
    ]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["/bin/true"], "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            *binds,
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "cgroupsPath": cgroup_path,
            "resources": {"pids": {"limit": 16}, "devices": [{"allow": False, "access": "rwm"}]},
        },
    }

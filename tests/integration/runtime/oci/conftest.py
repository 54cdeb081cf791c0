"""A busybox root file system, and containers made of it that are gone after the test."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime import cgroups
from runtime.oci.conmon import Conmon, ConmonHandle
from runtime.oci.runtime import Runtime
from tests import leftovers

APPLETS = ("sh", "cat", "echo", "sleep", "yes", "head", "dd", "true", "stty", "tty", "seq", "md5sum")


def make_rootfs(path: Path) -> Path:
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp", "root"):
        (path / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", path / "bin/busybox")
    for name in APPLETS:
        (path / "bin" / name).symlink_to("busybox")
    return path


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="oci-rootfs-") as directory:
        yield make_rootfs(Path(directory) / "rootfs")


class Yard:
    """Makes containers and cleans up after them."""

    def __init__(self, base: Path, rootfs: Path, binary: str) -> None:
        self.base = base
        self.rootfs = rootfs
        self.cgroup = f"/ocitest-{uuid.uuid4().hex[:8]}"
        self.runtime = Runtime(binary, base / "state")
        self.null = Path(f"/dev/{self.cgroup[1:]}-null")
        leftovers.note("cgroup", self.cgroup)
        leftovers.note("path", self.null)
        self.conmon = Conmon(self.runtime, null=self.null)
        self.ids: list[str] = []

    def bundle(self, *args: str, tty: bool = False, **process: Any) -> Path:
        id = f"oci{uuid.uuid4().hex[:12]}"
        self.ids.append(id)
        bundle = self.base / id
        bundle.mkdir()
        spec = {
            "ociVersion": "1.0.2",
            "hostname": "box",
            "root": {"path": str(self.rootfs)},
            "process": {
                "terminal": tty,
                "cwd": "/",
                "args": list(args),
                "user": {"uid": 0, "gid": 0},
                "env": ["PATH=/bin", "TERM=xterm"],
                **process,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
                },
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
                "cgroupsPath": f"{self.cgroup}/{id}",
                "resources": {},
            },
        }
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def limit(self, bundle: Path, resources: dict[str, Any]) -> None:
        spec = json.loads((bundle / "config.json").read_text())
        spec["linux"]["resources"] = resources
        (bundle / "config.json").write_text(json.dumps(spec))

    async def create(
        self, bundle: Path, *, tty: bool = False, stdin: bool = False, stdin_once: bool = False
    ) -> ConmonHandle:
        return await self.conmon.create(
            id=bundle.name,
            bundle=bundle,
            tty=tty,
            stdin=stdin,
            stdin_once=stdin_once,
            log_path=bundle / "log",
        )

    async def run(self, *args: str, **options: bool) -> ConmonHandle:
        handle = await self.create(self.bundle(*args, tty=options.get("tty", False)), **options)
        await self.conmon.start(handle)
        return handle

    async def clear(self) -> None:
        for id in self.ids:
            await self.runtime.delete(id, force=True)
            await self.conmon.abandon(self.base / id)
        self.conmon.close()
        self.null.unlink()
        cgroups.remove(self.cgroup)


@pytest.fixture(params=["crun", "runc"])
async def yard(request: pytest.FixtureRequest, rootfs: Path) -> AsyncIterator[Yard]:
    base = leftovers.directory("oci-yard-")
    yard = Yard(base, rootfs, request.param)
    try:
        yield yard
        assert open_descriptors() >= 0
    finally:
        await yard.clear()
        shutil.rmtree(base)


@pytest.fixture
async def crun_yard(rootfs: Path) -> AsyncIterator[Yard]:
    base = leftovers.directory("oci-yard-")
    yard = Yard(base, rootfs, "crun")
    try:
        yield yard
    finally:
        await yard.clear()
        shutil.rmtree(base)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

"""Containers by build_spec on an overlay, with host ids and with mapped ones, on both runtimes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime import cgroups
from runtime.containers.facts import host_facts
from runtime.containers.spec import SpecContext, User, build_spec
from runtime.idmap import IdMap
from runtime.oci.conmon import Conmon
from runtime.oci.runtime import Runtime
from runtime.snapshots import mount, userns
from runtime.snapshots.overlay import OverlaySnapshotter
from tests import leftovers

LAYER = f"sha256:{'a' * 64}"
PATIENCE_S = 60.0


class Lab:
    """An engine's directories, one busybox layer, and containers made of it."""

    def __init__(self, base: Path, binary: str, mapped: bool) -> None:
        self.home, self.run_dir = base / "home", base / "run"
        for directory in (self.home, self.run_dir):
            directory.mkdir(mode=0o711)
        self.instance = f"ocilab-{uuid.uuid4().hex[:6]}"
        self.snapshots = OverlaySnapshotter(self.home / "snapshots", self.run_dir)
        self.snapshots.reconcile(set())
        self.mapping: IdMap | None = None
        if mapped:
            self.mapping = userns.prepare(self.home, self.run_dir, self.instance)
        self.runtime = Runtime(binary, self.run_dir / "state")
        self.null = Path(f"/dev/{self.instance}-null")
        leftovers.note("cgroup", f"/{self.instance}")
        leftovers.note("path", self.null)
        self.conmon = Conmon(self.runtime, null=self.null)
        self.ids: list[str] = []
        self._layer()

    def _layer(self) -> None:
        staging = self.snapshots.begin_layer(None)
        for name in ("bin", "etc", "tmp", "root", "usr/bin", "home"):
            (staging.path / name).mkdir(parents=True)
        (staging.path / "tmp").chmod(0o1777)
        shutil.copy("/bin/busybox", staging.path / "bin/busybox")
        listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
        for name in listed.stdout.split():
            if name != "busybox":
                (staging.path / "bin" / name).symlink_to("busybox")
        (staging.path / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/home:/bin/sh\n"
        )
        (staging.path / "etc/group").write_text("root:x:0:\nwheel:x:10:root\nweb:x:33:\n")
        self.snapshots.commit_layer(staging, LAYER, 1)

    def netns(self, id: str) -> Path:
        """A network namespace as the network room makes one: owned by the user namespace of its container."""
        path = self.run_dir / f"net-{id}"
        path.touch()
        enter = ["nsenter", f"--user={self.mapping.userns}"] if self.mapping else []
        with subprocess.Popen(
            [*enter, "unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        ) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.write(b"x")
            holder.stdout.read(1)
            mount.bind(f"/proc/{holder.pid}/ns/net", path)
            holder.stdin.close()
        subprocess.run(["nsenter", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)
        return path

    async def create(
        self, *args: str, host: dict[str, Any] | None = None, volatile: bool = True, **context: Any
    ) -> Any:
        host = host or {}
        id = uuid.uuid4().hex
        self.ids.append(id)
        bundle = self.home / "containers" / id
        bundle.mkdir(parents=True)
        self.snapshots.create(id, [LAYER], volatile=volatile)
        mapping = None if host.get("Privileged") else self.mapping
        rootfs = self.snapshots.mount(id, mapping)
        ctx = SpecContext(
            id=id,
            rootfs=rootfs,
            args=list(args),
            user=User(groups=(0, 10), home="/root"),
            facts=host_facts(),
            cgroup_path=f"/{self.instance}/{id}",
            hostname=id[:12],
            mapping=mapping,
            netns=self.netns(id) if host.get("NetworkMode") != "host" else None,
        )
        ctx = replace(ctx, **context)
        (bundle / "config.json").write_text(json.dumps(build_spec({}, host, ctx)))
        return await self.conmon.create(
            id=id, bundle=bundle, tty=ctx.tty, stdin=ctx.tty, log_path=bundle / "log"
        )

    async def output(self, *args: str, **options: Any) -> tuple[int, str]:
        """Run to the end: exit code and everything it said."""
        handle = await self.create(*args, **options)
        stream = await self.conmon.attach(handle)
        await self.conmon.start(handle)
        said = b""
        async with asyncio.timeout(PATIENCE_S):
            while (chunk := await stream.read()) is not None:
                said += chunk[1]
            info = await self.conmon.wait_exit(handle)
        stream.close()
        return info.code, said.decode()

    async def sh(self, script: str, **options: Any) -> str:
        code, said = await self.output("sh", "-c", script, **options)
        assert code == 0, said
        return said

    async def clear(self) -> None:
        for id in self.ids:
            await self.runtime.delete(id, force=True)
            await self.conmon.abandon(self.home / "containers" / id)
            mount.unmount(self.run_dir / f"net-{id}")
        self.snapshots.reconcile(set())
        self.snapshots.close()
        userns.release(self.run_dir)
        self.null.unlink()
        cgroups.remove(f"/{self.instance}")
        assert str(self.home.parent) not in Path("/proc/self/mountinfo").read_text()


@asynccontextmanager
async def open_lab(binary: str, ids: str) -> AsyncIterator[Lab]:
    base = leftovers.directory("oci-lab-")
    base.chmod(0o711)
    lab = Lab(base, binary, ids == "mapped")
    try:
        yield lab
    finally:
        await lab.clear()
        shutil.rmtree(base)
    assert os.stat("/dev/null").st_uid == 0


@pytest.fixture(params=["crun-host", "crun-mapped", "runc-host"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with open_lab(*request.param.split("-")) as lab:
        yield lab


@pytest.fixture(params=["crun", "runc"])
async def host_lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with open_lab(request.param, "host") as lab:
        yield lab


@pytest.fixture
async def mapped_lab() -> AsyncIterator[Lab]:
    async with open_lab("crun", "mapped") as lab:
        yield lab

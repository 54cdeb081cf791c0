"""Whole engines without sockets: started in the test's own process, or as a process that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from runtime import engine as engines
from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, NotFound
from runtime.config import EngineConfig, parse_config
from runtime.containers.streams import Stream
from runtime.engine import Engine
from runtime.images.starter import starter_archive
from tests import leftovers

PATIENCE_S = 60.0
START_S = 180.0  # of an engine that was killed amid much work, on a busy machine
BUSYBOX = "webdock/busybox"

_subnets = itertools.count(os.getpid() % 200)


class Instance:
    """One engine's directories and configuration; engines come and go on them."""

    def __init__(self, **settings: str) -> None:
        self.base = leftovers.directory("ctrtest-")
        self.base.chmod(0o711)
        lines = [f'{name} = "{value}"' for name, value in settings.items()]
        lines += ["[network]", f'bridge_subnet = "10.{210 + next(_subnets) % 40}.{os.getpid() % 250}.0/24"']
        lines += ['pools = [{ base = "10.250.0.0/16", size = 24 }]']
        text = "\n".join(lines)
        (self.base / "engine.toml").write_text(text)
        self.config: EngineConfig = parse_config(
            text, file=self.base / "engine.toml", home=self.base / "home" / "engine", run=self.base / "run"
        )
        self.engine: Engine | None = None

    async def start(self) -> Engine:
        """An engine in this process, with the starter images."""
        engine = Engine(self.config)
        await engine.start()
        self.engine = engine
        if not engine.images.list():
            async for _ in engine.images.load(_pieces()):
                pass
        return engine

    async def stop(self) -> None:
        if self.engine is not None:
            await self.engine.close()
            self.engine = None

    async def restart(self) -> Engine:
        await self.stop()
        return await self.start()

    async def purge(self) -> None:
        """Remove everything; fails when something of it is left on the machine."""
        try:
            engine = self.engine or await self.start()
            for container in await engine.containers.list(all=True):
                with contextlib.suppress(NotFound):
                    try:
                        await engine.containers.remove(container["Id"], force=True, volumes=True)
                    except Conflict:  # it is removing itself already
                        await engine.containers.wait(container["Id"], "removed")
            await self.stop()
            await asyncio.to_thread(engines.purge, self.config)
            left = self.residue()
        finally:
            await asyncio.to_thread(shutil.rmtree, self.base, ignore_errors=True)
        assert not left, "left behind:\n" + "\n".join(left)

    async def forget_run(self) -> None:
        """What a reboot does to the run directory and to the kernel."""
        await asyncio.to_thread(engines.purge, self.config)
        await asyncio.to_thread(shutil.rmtree, self.config.run)

    def residue(self) -> list[str]:
        """Mounts, links, cgroups and processes of this instance."""
        found = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.base) in line
        ]
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        found += [line for line in links.splitlines() if f" {self.config.short}" in line]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.config.instance}")]
        return found + self.processes()

    def processes(self) -> list[str]:
        """Command lines of processes that work for this instance, this one excluded."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                if str(self.base) in words and int(process.name) != os.getpid():
                    found.append(f"{process.name}: {words}")
        return found


class EngineProcess:
    """An engine as a process of its own, spoken to over its socket."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.client = EngineClient(f"unix://{instance.config.engine_socket}")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> EngineClient:
        config = self.instance.config
        environ = {**os.environ, "WEBDOCK_HOME": str(config.home.parent), "WEBDOCK_RUN": str(config.run)}
        with open(self.instance.base / "engine.log", "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "runtime.main", "--config", str(self.instance.base / "engine.toml")),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(EngineError):
                    await self.client.ping()
                    return self.client
                assert self._process.returncode is None, (self.instance.base / "engine.log").read_text()
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL, as a crash."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        await self.client.close()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


async def _pieces() -> AsyncIterator[bytes]:
    for piece in starter_archive():
        yield piece


def body(*command: str, **more: Any) -> dict[str, Any]:
    """A create body: HostConfig's fields may be given as `host`."""
    host = more.pop("host", {})
    return {"Image": BUSYBOX, "Cmd": list(command), "HostConfig": host, **more}


async def output(stream: Stream) -> tuple[bytes, bytes]:
    """Everything a stream gives until it ends: (stdout, stderr)."""
    parts: dict[int, bytes] = {1: b"", 2: b""}
    async with asyncio.timeout(PATIENCE_S):
        while (item := await stream.read()) is not None:
            parts[item[0]] += item[1]
    stream.close()
    return parts[1], parts[2]


async def run(engine: Engine, *command: str, **more: Any) -> tuple[int, bytes, bytes]:
    """Create, attach, start, wait, remove: (exit code, stdout, stderr)."""
    containers = engine.containers
    id, _ = await containers.create(None, body(*command, **more))
    try:
        stream = await containers.attach(id, logs=False, stream=True, stdin=False, stdout=True, stderr=True)
        ended = containers.wait(id, "next-exit")
        await containers.start(id)
        said = await output(stream)
        async with asyncio.timeout(PATIENCE_S):
            return (await ended)["StatusCode"], *said
    finally:
        with contextlib.suppress(NotFound):
            await containers.remove(id, force=True, volumes=True)


async def started(engine: Engine, *command: str, name: str | None = None, **more: Any) -> str:
    """A running container's id."""
    id, _ = await engine.containers.create(name, body(*command, **more))
    await engine.containers.start(id)
    return id


async def log(engine: Engine, ref: str, **more: Any) -> bytes:
    """The container's log, both streams."""
    parts = b""
    async with asyncio.timeout(PATIENCE_S):
        async for _, data in engine.containers.logs(ref, stdout=True, stderr=True, **more):
            parts += data
    return parts


async def until(check: Any, what: str = "what was awaited") -> Any:
    """Wait until check() is true (it may be a coroutine function)."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = check()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {PATIENCE_S:g} s") from None


async def state(engine: Engine, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = (await engine.containers.inspect(ref))["State"]
    return found

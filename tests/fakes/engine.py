"""FakeEngine: the Engine API on a real unix socket, with containers that are local processes.

It serves through the product's own server; behind that, rooms made of dictionaries. Needs no rights. The
conformance suite holds it to the same promises as the engine and Docker.

    async with FakeEngine() as fake:            # or: with FakeEngine.in_thread() as fake
        client = EngineClient(fake.url)
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from runtime.config import EngineConfig, parse_config
from runtime.events import EventHub
from runtime.server.app import ApiServer
from tests.fakes.containers import FakeContainers, FakeExecs
from tests.fakes.images import FakeImages, Pullable
from tests.fakes.networks import FakeNetworks, FakeVolumes
from tests.fakes.rooms import Body, new_id, now
from tests.fakes.volumes import FakeVolumeFiles

T = TypeVar("T")


class _Rooms:
    """What the server takes for an engine."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.events = EventHub()
        self.images = FakeImages(self.events, config.home)
        self.networks = FakeNetworks(self.events)
        self.volumes = FakeVolumes(self.events)
        self.volume_files = FakeVolumeFiles(self.volumes)
        self.containers = FakeContainers(self.events, self.images, self.networks, self.volumes)
        self.execs = FakeExecs(self.events, self.containers)
        self.images.in_use = self.containers.using_image
        self.networks.containers = self.volumes.containers = self.containers
        self._id = new_id()[:12]

    def version(self) -> Body:
        kernel = platform.release()
        return {
            "Platform": {"Name": "webdock"},
            "Components": [
                {
                    "Name": "Engine",
                    "Version": "0.0.fake",
                    "Details": {
                        "ApiVersion": "1.47",
                        "Arch": "amd64",
                        "BuildTime": now(),
                        "Experimental": "false",
                        "GitCommit": "",
                        "GoVersion": "",
                        "KernelVersion": kernel,
                        "MinAPIVersion": "1.24",
                        "Os": "linux",
                    },
                }
            ],
            "Version": "0.0.fake",
            "ApiVersion": "1.47",
            "MinAPIVersion": "1.24",
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": "amd64",
            "KernelVersion": kernel,
            "BuildTime": now(),
        }

    def info(self) -> Body:
        every = list(self.containers._all.values())
        return {
            "ID": self._id,
            "Containers": len(every),
            "ContainersRunning": sum(one.state == "running" for one in every),
            "ContainersPaused": sum(one.state == "paused" for one in every),
            "ContainersStopped": sum(not one.running for one in every),
            "Images": len(self.images._all),
            "Driver": "overlay2",
            "DriverStatus": [],
            "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file"]},
            "MemoryLimit": True,
            "SwapLimit": True,
            "CpuCfsPeriod": True,
            "CpuCfsQuota": True,
            "CPUShares": True,
            "CPUSet": True,
            "PidsLimit": True,
            "IPv4Forwarding": True,
            "Debug": False,
            "NFd": 0,
            "OomKillDisable": False,
            "NGoroutines": 0,
            "SystemTime": now(),
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": "2",
            "NEventsListener": self.events.followers,
            "KernelVersion": platform.release(),
            "OperatingSystem": "fake",
            "OSVersion": "",
            "OSType": "linux",
            "Architecture": "x86_64",
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
            "NCPU": os.cpu_count(),
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "GenericResources": None,
            "DockerRootDir": str(self.config.home),
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Name": platform.node(),
            "Labels": [],
            "ExperimentalBuild": False,
            "ServerVersion": "0.0.fake",
            "Runtimes": {"crun": {"path": "crun"}},
            "DefaultRuntime": "crun",
            "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False},
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "SecurityOptions": ["name=seccomp,profile=builtin"],
            "Warnings": None,
        }

    async def disk_usage(self) -> Body:
        images = self.images.list(all=True, filters={})
        return {
            "LayersSize": sum(image["Size"] for image in images),
            "Images": images,
            "Containers": await self.containers.list(all=True, limit=None, size=True, filters={}),
            "Volumes": (await self.volumes.list({}))["Volumes"],
            "BuildCache": [],
            "BuilderSize": 0,
        }


class FakeEngine:
    """One fake engine; ``go_away`` and ``come_back`` are its crash and its restart."""

    def __init__(self, directory: Path | None = None, policy: str = "") -> None:
        self._own = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="fake-engine-"))
        config = parse_config(
            policy, file=Path("engine.toml"), home=self._directory / "engine", run=self._directory
        )
        self._rooms: _Rooms | None = None
        self._config = config
        self._server: ApiServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def socket(self) -> Path:
        return self._config.engine_socket

    @property
    def url(self) -> str:
        """The full API."""
        return f"unix://{self.socket}"

    @property
    def web_url(self) -> str:
        """The confined API."""
        return f"unix://{self._config.web_socket}"

    @property
    def rooms(self) -> _Rooms:
        assert self._rooms is not None
        return self._rooms

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rooms = _Rooms(self._config)
        await self.come_back()

    async def come_back(self) -> None:
        """Listen (again) on the socket; containers are still there."""
        self._server = ApiServer(self.rooms)  # type: ignore[arg-type]
        await self._server.start()

    async def go_away(self) -> None:
        """Close every connection and stop listening; containers keep running."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    def die(self) -> None:
        """As when it is killed: every connection is cut, and nobody listens; ``go_away`` clears it away."""
        server = self._server
        assert server is not None
        for listener in server._listeners:
            listener.close()
        for path in server._paths:
            path.unlink(missing_ok=True)
        for one in server._servers:
            for connection in one.connections:
                if connection.transport is not None:
                    connection.transport.abort()

    async def close(self) -> None:
        await self.go_away()
        await self.rooms.execs.close()
        await self.rooms.containers.close()
        self.rooms.events.close()
        if self._own:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # For tests

    def offer(self, name: str, **how: Any) -> None:
        """Make ``name`` (with its tag) pullable; keywords are fields of ``Pullable``."""
        self.rooms.images.registry[name] = Pullable(**how)

    def add_image(self, name: str, **config: Any) -> str:
        """An image that is simply there; keywords are fields of its config. Returns its id."""
        repo, _, tag = name.rpartition(":")
        return self.rooms.images.add(repo, tag, config=config)

    def publish(self, type: str, action: str, id: str, attributes: dict[str, str]) -> None:
        """An event out of thin air."""
        self.rooms.events.publish(type, action, id, attributes)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the fake's loop, from another thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @classmethod
    @contextmanager
    def in_thread(cls, directory: Path | None = None, policy: str = "") -> Iterator[Self]:
        """A fake with a loop and a thread of its own, for tests that are not async."""
        fake = cls(directory, policy)
        ready = threading.Event()
        failure: list[BaseException] = []

        async def run() -> None:
            try:
                await fake.start()
            except BaseException as error:
                failure.append(error)
                raise
            finally:
                ready.set()
            try:
                await stop.wait()
            finally:
                await fake.close()

        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(run()), name="fake engine", daemon=True
        )
        thread.start()
        ready.wait(10)
        if failure:
            raise failure[0]
        try:
            yield fake
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.close()

"""Containers and exec sessions of the fake engine: records in memory, local processes for real."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import posixpath
import re
import signal
import stat
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound, NotModified
from runtime.containers import logdetails, shells
from runtime.containers.foreground import current_directory
from runtime.containers.hangup import hang_up
from runtime.events import EventHub
from runtime.server.detach import parse_keys
from tests.fakes.process import STDERR, STDOUT, LocalProcess, Session
from tests.fakes.rooms import NAME, ZERO_TIME, Body, check_filters, find, labels_match, new_id, now

IMAGE_FILES = {"/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}  # of every image here
RESTART_POLICIES = ("", "no", "always", "unless-stopped", "on-failure")
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
LIST_FILTERS = (
    "ancestor before expose exited health id is-task label name network publish since status volume"
)
DEFAULT_STOP_S = 10


@dataclass
class Container:
    id: str
    name: str
    config: Body
    host_config: Body
    image_id: str
    endpoints: Body
    created: str = field(default_factory=now)
    created_at: float = field(default_factory=time.time)
    state: str = "created"
    started: str = ZERO_TIME
    finished: str = ZERO_TIME
    exit_code: int = 0
    error: str = ""
    process: LocalProcess | None = None
    restarts: int = 0
    asked_to_stop: bool = False
    waiting: list[Session] = field(default_factory=list)  # attached before the start
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    exits: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # what `docker cp` brought
    gone: set[str] = field(default_factory=set)  # of IMAGE_FILES
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def running(self) -> bool:
        return self.state in ("running", "paused")

    @property
    def tty(self) -> bool:
        return bool(self.config.get("Tty"))

    @property
    def argv(self) -> list[str]:
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    def attributes(self) -> dict[str, str]:
        return {**(self.config.get("Labels") or {}), "image": self.config["Image"], "name": self.name}

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class FakeContainers:
    def __init__(self, events: EventHub, images: Any, networks: Any, volumes: Any) -> None:
        self._all: dict[str, Container] = {}
        self._events = events
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._tasks: set[asyncio.Task[None]] = set()
        self.execs: FakeExecs | None = None

    def get(self, ref: str) -> Container:
        names = {container.name: container.id for container in self._all.values()}
        found: Container = find(self._all, ref, "container", names)
        return found

    def _publish(self, container: Container, action: str, **more: str) -> None:
        self._events.publish("container", action, container.id, {**container.attributes(), **more})

    # Verbs

    async def create(
        self, name: str | None, body: Body, platform: str | None = None
    ) -> tuple[str, list[str]]:
        config = {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")}
        host = dict(body.get("HostConfig", {}))
        self._check(config, host)
        image = self._images.get(config.get("Image", ""))
        if name is not None and not NAME.fullmatch(name):
            raise InvalidArgument(
                f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        name = (name or f"fake_{new_id()[:8]}").removeprefix("/")
        for other in self._all.values():
            if other.name == name:
                raise Conflict(_name_taken(name, other))
        defaults = image.config
        merged = {
            **config,
            "Env": _merge_env(defaults.get("Env") or [], config.get("Env") or []),
            "Labels": {**(defaults.get("Labels") or {}), **(config.get("Labels") or {})},
            "WorkingDir": config.get("WorkingDir") or defaults.get("WorkingDir") or "",
            "User": config.get("User") or defaults.get("User") or "",
        }
        if config.get("Entrypoint") is None:
            merged["Entrypoint"] = defaults.get("Entrypoint")
            if not config.get("Cmd"):
                merged["Cmd"] = defaults.get("Cmd")
        if not (merged.get("Entrypoint") or merged.get("Cmd")):
            raise InvalidArgument("no command specified")
        container_id = new_id()
        merged["Hostname"] = config.get("Hostname") or container_id[:12]
        mode = host.get("NetworkMode") or "default"
        if not mode.startswith("container:"):
            self._networks.get("bridge" if mode == "default" else mode)
        for bind in host.get("Binds") or ():
            source = bind.partition(":")[0]
            if ":" in bind and not source.startswith("/"):
                await self._volumes.create({"Name": source})
        host["NetworkMode"] = mode
        container = Container(
            id=container_id,
            name=name,
            config=merged,
            host_config=host,
            image_id=image.id,
            endpoints=dict(body.get("NetworkingConfig", {}).get("EndpointsConfig", {})),
        )
        self._all[container_id] = container
        self._publish(container, "create")
        return container_id, []

    def _check(self, config: Body, host: Body) -> None:
        if not config.get("Image"):
            raise InvalidArgument("no image specified")
        if 0 < host.get("Memory", 0) < 6 << 20 or host.get("Memory", 0) < 0:
            raise InvalidArgument("Minimum memory limit allowed is 6MB")
        if host.get("NanoCpus", 0) < 0:
            raise InvalidArgument("range of CPUs is from 0.01 to the number of CPUs")
        policy = host.get("RestartPolicy", {}).get("Name", "")
        if policy not in RESTART_POLICIES:
            raise InvalidArgument(f"invalid restart policy '{policy}'")
        if policy not in ("", "no") and host.get("AutoRemove"):
            raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
        for port in config.get("ExposedPorts") or ():
            number, _, protocol = port.partition("/")
            if not number.isdecimal() or int(number) > 65535 or protocol not in ("", "tcp", "udp", "sctp"):
                raise InvalidArgument(f"invalid port specification: {port!r}")
        if "StopSignal" in config:
            signal_number(config["StopSignal"])
        directory = config.get("WorkingDir", "")
        if directory and not directory.startswith("/"):
            raise InvalidArgument(
                f"the working directory '{directory}' is invalid, it needs to be an absolute path"
            )

    async def start(self, ref: str, detach_keys: str | None = None) -> None:
        container = self.get(ref)
        parse_keys(detach_keys or "")
        async with container.lock:
            if container.state == "paused":
                raise Conflict("cannot start a paused container, try unpause instead")
            if container.running:
                raise NotModified(f"container {ref} is already running")
            self._start(container)

    def _start(self, container: Container) -> None:
        self.get(container.id)  # removed while a restart stopped it: refused
        if container.running:
            return  # somebody else's start came in between
        container.asked_to_stop = False
        directory = container.config["WorkingDir"] or "/"
        try:
            process = LocalProcess(
                container.argv,
                tty=container.tty,
                stdin=bool(container.config.get("OpenStdin")),
                env=container.config["Env"],
                cwd=_directory(directory),
            )
        except OSError as error:
            container.exit_code = 126 if isinstance(error, PermissionError) else 127
            container.error = _start_words(container.argv[0], error)
            container.tell()
            raise InvalidArgument(f"failed to create task for container: {container.error}") from None
        if container.process is not None:
            process.log.extendleft(reversed(container.process.log))
        container.process = process
        container.state, container.started, container.error = "running", now(), ""
        container.finished, container.exit_code = ZERO_TIME, 0
        for session in container.waiting:
            session.join(process)
        container.waiting.clear()
        self._publish(container, "start")
        container.tell()
        self._keep(self._watch(container, process))

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, container: Container, process: LocalProcess) -> None:
        code = await process.exited
        if container.process is not process:
            return
        container.state, container.exit_code, container.finished = "exited", code, now()
        container.exits += 1
        self._publish(container, "die", exitCode=str(code))
        container.tell()
        policy = container.host_config.get("RestartPolicy", {})
        name, limit = policy.get("Name", ""), policy.get("MaximumRetryCount", 0)
        again = not container.asked_to_stop and (
            name in ("always", "unless-stopped")
            or (name == "on-failure" and code and (not limit or container.restarts < limit))
        )
        if again:
            container.restarts += 1
            await asyncio.sleep(0.1)
            if container.id in self._all and not container.asked_to_stop:
                self._start(container)
        elif container.host_config.get("AutoRemove"):
            self._forget(container)

    async def stop(self, ref: str, timeout_s: int | None = None, signal: str | None = None) -> None:
        container = self.get(ref)
        if not container.running:
            container.asked_to_stop = True
            raise NotModified(f"container {ref} is already stopped")
        await self._stop(container, timeout_s, signal)
        self._publish(container, "stop")

    async def _stop(self, container: Container, timeout_s: int | None, how: str | None) -> None:
        process = container.process
        assert process is not None
        container.asked_to_stop = True
        number = signal_number(how or container.config.get("StopSignal") or "TERM")
        self._publish(container, "kill", signal=str(number))
        process.kill(number)
        wait_s = timeout_s if timeout_s is not None else container.config.get("StopTimeout", DEFAULT_STOP_S)
        try:
            async with asyncio.timeout(None if wait_s < 0 else wait_s):
                await asyncio.shield(process.exited)
        except TimeoutError:
            self._publish(container, "kill", signal="9")
            process.kill(9)
            await asyncio.shield(process.exited)
        await self._until(container, lambda: not container.running)

    async def restart(self, ref: str, timeout_s: int | None = None, signal: str | None = None) -> None:
        container = self.get(ref)
        if container.running:
            await self._stop(container, timeout_s, signal)
        self._start(container)
        self._publish(container, "restart")

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        container = self.get(ref)
        number = signal_number(signal)
        if not container.running or container.process is None:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        if number == 9:
            container.asked_to_stop = True
        container.process.kill(number)
        self._publish(container, "kill", signal=str(number))
        if number == 9:
            await self._until(container, lambda: not container.running)

    async def pause(self, ref: str) -> None:
        container = self.get(ref)
        if container.state == "paused":
            raise Conflict(f"container {container.id} is already paused")
        if container.process is None or not container.running:
            raise Conflict(f"container {container.id} is not running")
        container.process.kill(signal.SIGSTOP)
        container.state = "paused"
        self._publish(container, "pause")
        container.tell()

    async def unpause(self, ref: str) -> None:
        container = self.get(ref)
        if container.state != "paused" or container.process is None:
            raise Conflict(f"container {container.id} is not paused")
        container.process.kill(signal.SIGCONT)
        container.state = "running"
        self._publish(container, "unpause")
        container.tell()

    async def rename(self, ref: str, name: str) -> None:
        container = self.get(ref)
        name = name.removeprefix("/")
        if not NAME.fullmatch(name):
            raise InvalidArgument(
                f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        if name == container.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        for other in self._all.values():
            if other.name == name:
                raise Conflict(f"Error when allocating new name: {_name_taken(name, other)}")
        before, container.name = container.name, name
        self._publish(container, "rename", oldName=f"/{before}")
        container.tell()

    async def _until(self, container: Container, holds: Callable[[], bool]) -> None:
        while not holds():
            await container.changed.wait()

    def wait(self, ref: str, condition: str = "not-running") -> Awaitable[Body]:
        container = self.get(ref)
        before = container.exits

        async def result() -> Body:
            if condition == "removed":
                await container.removed.wait()
            elif condition == "next-exit":
                await self._until(container, lambda: container.exits > before)
            else:
                await self._until(container, lambda: not container.running)
            return {"StatusCode": container.exit_code, "Error": None}

        return result()

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        container = self.get(ref)
        if container.running:
            if not force:
                what = "paused" if container.state == "paused" else "running"
                hint = "Unpause and then stop the container" if what == "paused" else "Stop the container"
                raise Conflict(
                    f'cannot remove container "/{container.name}": container is {what}: '
                    f"{hint.lower()} before removing or force remove"
                )
            container.asked_to_stop = True
            assert container.process is not None
            container.process.kill(9)
            await self._until(container, lambda: not container.running)
        container.asked_to_stop = True
        if container.id in self._all:
            self._forget(container)

    def _forget(self, container: Container) -> None:
        self._all.pop(container.id, None)
        for session in container.waiting:
            session.close()
        self._publish(container, "destroy")
        container.removed.set()
        container.tell()

    async def resize(self, ref: str, height: int, width: int) -> None:
        container = self.get(ref)
        if not container.running or container.process is None:
            raise Conflict(f"container {container.id} is not running")
        container.process.resize(height, width)
        self._publish(container, "resize", height=str(height), width=str(width))

    async def update(self, ref: str, body: Body) -> Body:
        container = self.get(ref)
        if 0 < body.get("Memory", 0) < 6 << 20:
            raise InvalidArgument("Minimum memory limit allowed is 6MB")
        container.host_config.update({key: value for key, value in body.items() if value})
        self._publish(container, "update")
        return {"Warnings": []}

    async def prune(self, filters: dict[str, list[str]]) -> Body:
        check_filters(filters, ("until", "label", "label!"))
        gone = [one for one in self._all.values() if not one.running and self._matches(one, filters)]
        for container in gone:
            self._forget(container)
        return {"ContainersDeleted": [container.id for container in gone] or None, "SpaceReclaimed": 0}

    def using_image(self, image_id: str) -> list[tuple[str, bool]]:
        return [(c.id, c.running) for c in self._all.values() if c.image_id == image_id]

    def on_volume(self, name: str) -> list[str]:
        def uses(container: Container) -> bool:
            return any(bind.startswith(f"{name}:") for bind in container.host_config.get("Binds") or ())

        return [container.id for container in self._all.values() if uses(container)]

    def on_network(self, network: Body) -> list[Container]:
        return [c for c in self._all.values() if c.running and network["Name"] in self._networks_of(c)]

    # Looking

    def tty(self, ref: str) -> bool:
        return self.get(ref).tty

    async def list(self, *, all: bool, limit: int | None, size: bool, filters: Any) -> list[Body]:
        check_filters(filters, LIST_FILTERS.split())
        for state in filters.get("status", ()):
            if state not in STATES:
                raise InvalidArgument(f"invalid filter 'status={state}'")
        found = sorted(self._all.values(), key=lambda one: one.created_at, reverse=True)
        show_all = all or bool(limit) or bool(filters.get("status")) or bool(filters.get("exited"))
        rows = [one for one in found if (show_all or one.running) and self._matches(one, filters)]
        return [self._summary(one, size) for one in rows[:limit]]

    def _matches(self, one: Container, filters: dict[str, list[str]]) -> bool:
        for key, values in filters.items():
            if not values:
                continue
            if key == "label":
                good = labels_match(one.config["Labels"], values)
            elif key == "status":
                good = one.state in values
            elif key == "name":
                good = any(re.search(value.removeprefix("/"), one.name) for value in values)
            elif key == "id":
                good = any(one.id.startswith(value) for value in values)
            elif key == "exited":
                good = one.state == "exited" and str(one.exit_code) in values
            elif key == "ancestor":
                good = any(self._is_ancestor(one, value) for value in values)
            elif key == "network":
                good = any(value in self._networks_of(one) for value in values)
            elif key == "volume":
                good = any(one.id in self.on_volume(value) for value in values)
            else:
                good = True
            if not good:
                return False
        return True

    def _is_ancestor(self, one: Container, ref: str) -> bool:
        try:
            return bool(self._images.get(ref).id == one.image_id)
        except EngineError:
            return False

    def _networks_of(self, one: Container) -> list[str]:
        mode = one.host_config["NetworkMode"]
        if mode.startswith("container:"):
            return []
        first = self._networks.get("bridge" if mode == "default" else mode)["Name"]
        return [first, *(name for name in one.endpoints if name not in (first, mode))]

    def _summary(self, one: Container, size: bool) -> Body:
        row = {
            "Id": one.id,
            "Names": [f"/{one.name}"],
            "Image": one.config["Image"],
            "ImageID": one.image_id,
            "Command": " ".join(one.argv),
            "Created": int(one.created_at),
            "Ports": self._ports(one),
            "Labels": one.config["Labels"],
            "State": one.state,
            "Status": self._status(one),
            "HostConfig": {"NetworkMode": one.host_config["NetworkMode"]},
            "NetworkSettings": {"Networks": self._endpoint_bodies(one)},
            "Mounts": self._mounts(one),
        }
        return row | {"SizeRw": 0, "SizeRootFs": 1_000_000} if size else row

    def _ports(self, one: Container) -> list[Body]:
        bound = one.host_config.get("PortBindings") or {}
        ports: list[Body] = []
        for port in sorted({*(one.config.get("ExposedPorts") or {}), *bound}):
            number, _, protocol = port.partition("/")
            row: Body = {"PrivatePort": int(number), "Type": protocol or "tcp"}
            if one.running and bound.get(port):
                row = {"IP": "0.0.0.0", **row, "PublicPort": int(bound[port][0].get("HostPort") or 49153)}
            ports.append(row)
        return ports

    def _status(self, one: Container) -> str:
        if one.state == "running":
            return "Up Less than a second"
        if one.state == "paused":
            return "Up Less than a second (Paused)"
        if one.state == "exited":
            return f"Exited ({one.exit_code}) Less than a second ago"
        return one.state.capitalize()

    def _endpoint_bodies(self, one: Container) -> Body:
        return {
            name: self._networks.endpoint(name, one.endpoints.get(name, {}), one.running)
            for name in self._networks_of(one)
        }

    def _mounts(self, one: Container) -> list[Body]:
        mounts = []
        for bind in one.host_config.get("Binds") or ():
            source, _, rest = bind.partition(":")
            target, _, mode = rest.partition(":")
            kind = "bind" if source.startswith("/") else "volume"
            mount = {"Type": kind, "Source": source, "Destination": target, "Mode": mode}
            mount |= {"RW": "ro" not in mode.split(","), "Propagation": "rprivate" if kind == "bind" else ""}
            mounts.append(mount | ({"Name": source, "Driver": "local"} if kind == "volume" else {}))
        return mounts

    async def inspect(self, ref: str, size: bool = False) -> Body:
        one = self.get(ref)
        process = one.process
        execs = self.execs.of_container(one.id) if self.execs is not None else []
        endpoints = self._endpoint_bodies(one)
        first: Body = next(iter(endpoints.values()), {})
        config = {**_CONFIG_DEFAULTS, **one.config, "Hostname": one.config["Hostname"]}
        body: Body = {
            "Id": one.id,
            "Created": one.created,
            "Path": one.argv[0],
            "Args": one.argv[1:],
            "State": {
                "Status": one.state,
                "Running": one.running,
                "Paused": one.state == "paused",
                "Restarting": one.state == "restarting",
                "OOMKilled": False,
                "Dead": False,
                "Pid": process.pid if one.running and process is not None else 0,
                "ExitCode": one.exit_code,
                "Error": one.error,
                "StartedAt": one.started,
                "FinishedAt": one.finished,
            },
            "Image": one.image_id,
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "LogPath": "",
            "Name": f"/{one.name}",
            "RestartCount": one.restarts,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": execs or None,
            "HostConfig": {**_HOST_DEFAULTS, **one.host_config},
            "GraphDriver": {"Name": "overlay2", "Data": {}},
            "Mounts": self._mounts(one),
            "Config": config,
            "NetworkSettings": {
                "Bridge": "",
                "SandboxID": one.id if one.running else "",
                "SandboxKey": "",
                "HairpinMode": False,
                "LinkLocalIPv6Address": "",
                "LinkLocalIPv6PrefixLen": 0,
                "Ports": (one.host_config.get("PortBindings") or {}) if one.running else {},
                "EndpointID": first.get("EndpointID", ""),
                "Gateway": first.get("Gateway", ""),
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "IPAddress": first.get("IPAddress", ""),
                "IPPrefixLen": first.get("IPPrefixLen", 0),
                "IPv6Gateway": "",
                "MacAddress": first.get("MacAddress", ""),
                "Networks": endpoints,
            },
        }
        return body | {"SizeRw": 0, "SizeRootFs": 1_000_000} if size else body

    async def top(self, ref: str, ps_args: str) -> Body:
        one = self.get(ref)
        if not one.running or one.process is None:
            raise Conflict(f"container {one.id} is not running")
        command = " ".join(one.argv)
        row = ["root", str(one.process.pid), "1", "0", "00:00", "?", "00:00:00", command]
        return {
            "Titles": ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
            "Processes": [row],
        }

    async def shells(self, ref: str) -> list[str]:
        one = self.get(ref)
        if not one.running:
            raise Conflict(f"container {one.id} is not running")
        return shells.find(Path("/"), os.environ.get("PATH", ""))

    # Streams

    async def attach(
        self,
        ref: str,
        *,
        logs: bool,
        history: bool = False,
        stream: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> Session:
        one = self.get(ref)
        if one.state == "paused":
            raise Conflict(f"container {ref} is paused, unpause the container before attach")
        sources = frozenset(({STDOUT} if stdout else set()) | ({STDERR} if stderr else set()))
        leaves = bool(one.tty or not one.config.get("StdinOnce"))
        session = Session(None, tty=one.tty, sources=sources, stdin=stdin, on_eof=lambda: stdin and leaves)
        if logs and one.process is not None:
            session.replay(one.process)
            session.past = 0
        elif history and stream and one.running and one.process is not None:
            session.replay(one.process)
        if stream and one.running and one.process is not None:
            session.join(one.process)
        elif stream and one.state != "running":
            one.waiting.append(session)
        else:
            session.close()
        self._publish(one, "attach")
        return session

    def detached(self, ref: str) -> None:
        self._publish(self.get(ref), "detach")

    async def logs(
        self,
        ref: str,
        *,
        stdout: bool,
        stderr: bool,
        follow: bool,
        since: float | None,
        until: float | None,
        timestamps: bool,
        details: bool,
        tail: int | None,
    ) -> AsyncIterator[tuple[int, bytes]]:
        one = self.get(ref)
        before = logdetails.details(one.config, one.host_config) if details else b""
        wanted = {STDOUT} if stdout else set()
        wanted |= {STDERR} if stderr else set()
        shown = 0
        lines = _lines(one, wanted)
        if tail is not None:
            shown = max(0, len(lines) - tail)
        while True:
            process = one.process
            news = process.news if process is not None else one.changed
            over = not one.running
            lines = _lines(one, wanted)
            for at, source, line in lines[shown:]:
                if (since is None or at >= since) and (until is None or at <= until):
                    stamp = (
                        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z "
                    )
                    yield source, (stamp.encode() if timestamps else b"") + before + line
            shown = len(lines)
            if not follow or (over and one.state != "created"):
                return
            waits = [asyncio.ensure_future(news.wait()), asyncio.ensure_future(one.changed.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Body]:
        one = self.get(ref)
        before: Body = {}
        while True:
            sample = self._sample(one, before)
            yield sample
            if not stream:
                return
            before = sample
            await asyncio.sleep(1)

    async def usage(self, ids: list[str]) -> dict[str, list[int]]:
        found = {}
        for id in ids:
            if id in self._all and self._all[id].running:
                sample = self._sample(self._all[id], {})
                memory = sample["memory_stats"]
                used = sample["cpu_stats"]["cpu_usage"]["total_usage"]
                found[id] = [time.time_ns(), used, memory["usage"], memory["limit"]]
        return found

    def _sample(self, one: Container, before: Body) -> Body:
        ticks = memory = 0
        if one.running and one.process is not None:
            try:
                with open(f"/proc/{one.process.pid}/stat") as file:
                    parts = file.read().rpartition(")")[2].split()
                ticks, memory = (int(parts[11]) + int(parts[12])) * 10_000_000, max(1, int(parts[21])) * 4096
            except OSError:
                pass
        usage = {"total_usage": ticks, "usage_in_kernelmode": 0, "usage_in_usermode": ticks}
        cpu = {
            "cpu_usage": usage,
            "system_cpu_usage": time.monotonic_ns(),
            "online_cpus": os.cpu_count(),
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
        zero = {"rx_bytes": 0, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0}
        zero |= {"tx_bytes": 0, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0}
        return {
            "name": f"/{one.name}",
            "id": one.id,
            "read": now(),
            "preread": before.get("read", ZERO_TIME),
            "pids_stats": {"current": 1, "limit": 4096} if one.running else {},
            "blkio_stats": {"io_service_bytes_recursive": [], "io_serviced_recursive": []},
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": cpu,
            "precpu_stats": before.get(
                "cpu_stats", {**cpu, "system_cpu_usage": time.monotonic_ns() - 1_000_000_000}
            ),
            "memory_stats": {"usage": memory, "limit": 8 << 30, "stats": {}} if one.running else {},
            "networks": {"eth0": zero} if one.running else {},
        }

    # Files: an own little tree, enough for `docker cp` both ways

    async def changes(self, ref: str) -> list[Body]:
        one = self.get(ref)
        kinds = {path: 0 if path in IMAGE_FILES else 1 for path in one.files} | dict.fromkeys(one.gone, 2)
        return [{"Path": path, "Kind": kind} for path, kind in sorted(kinds.items())]

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        archive = _tar({path.lstrip("/"): data for path, data in self.get(ref).files.items()})

        async def chunks() -> AsyncIterator[bytes]:
            yield archive

        return chunks()

    async def archive_head(self, ref: str, path: str) -> Body:
        one = self.get(ref)
        path = _absolute(path)
        if path == "/":
            return {
                "name": "/",
                "size": 4096,
                "mode": (1 << 31) | 0o755,
                "mtime": one.created,
                "linkTarget": "",
            }
        if path not in (files := _files(one)):
            raise NotFound(f"Could not find the file {path} in container {ref}")
        name, size = posixpath.basename(path), len(files[path])
        return {"name": name, "size": size, "mode": 0o644, "mtime": one.created, "linkTarget": ""}

    async def archive_get(self, ref: str, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        described = await self.archive_head(ref, path)
        path = _absolute(path)
        archive = _tar({described["name"]: _files(self.get(ref)).get(path, b"")})

        async def chunks() -> AsyncIterator[bytes]:
            yield archive

        return described, chunks()

    async def image_archive(self, ref: str, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        one, path = self.get(ref), _absolute(path)
        if path not in IMAGE_FILES:
            raise NotFound(f"Could not find the file {path} in the image of container {one.name}")
        name, data = posixpath.basename(path), IMAGE_FILES[path]

        async def chunks() -> AsyncIterator[bytes]:
            yield _tar({name: data})

        head = {"name": name, "size": len(data), "mode": 0o644, "mtime": one.created, "linkTarget": ""}
        return head, chunks()

    async def archive_put(self, ref: str, path: str, body: AsyncIterator[bytes], **_: Any) -> None:
        one = self.get(ref)
        data = b"".join([chunk async for chunk in body])
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    if file is not None:
                        one.files[_absolute(f"{path}/{member.name}")] = file.read()
        except tarfile.TarError as error:
            raise InvalidArgument(f"the archive cannot be read: {error}") from None

    async def commit(self, ref: str, *, repo: str, tag: str, **_: Any) -> str:
        one = self.get(ref)
        made: str = self._images.add(repo, tag, config=one.config)
        self._publish(one, "commit", imageID=made, imageRef=f"{repo}:{tag}" if repo else "")
        return made

    async def close(self) -> None:
        for one in list(self._all.values()):
            one.asked_to_stop = True
            if one.process is not None:
                await one.process.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class Exec:
    id: str
    container: Container
    body: Body
    process: LocalProcess | None = None
    exit_code: int | None = None
    started: bool = False


class FakeExecs:
    def __init__(self, events: EventHub, containers: FakeContainers) -> None:
        self._all: dict[str, Exec] = {}
        self._events = events
        self._containers = containers
        self._tasks: set[asyncio.Task[None]] = set()
        containers.execs = self

    def _get(self, exec_id: str) -> Exec:
        found = self._all.get(exec_id)
        if found is None or found.container.removed.is_set():
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def of_container(self, container_id: str) -> list[str]:
        return [
            one.id for one in self._all.values() if one.container.id == container_id and one.exit_code is None
        ]

    async def create(self, ref: str, body: Body) -> str:
        container = self._containers.get(ref)
        _check_running(container)
        if body.get("DebugShell"):
            if not body.get("Tty"):
                raise InvalidArgument("a debug shell needs a terminal: Tty")
            body = {**body, "Cmd": ["busybox", "sh"]}
        one = Exec(new_id(), container, body)
        self._all[one.id] = one
        words = " ".join(body["Cmd"])
        self._publish(one, f"exec_create: {words}")
        return one.id

    def _publish(self, one: Exec, action: str, **more: str) -> None:
        attributes = {**one.container.attributes(), "execID": one.id, **more}
        self._events.publish("container", action, one.container.id, attributes)

    async def start(
        self, exec_id: str, *, detach: bool, tty: bool, console_size: Any = None
    ) -> Session | None:
        one = self._get(exec_id)
        _check_running(one.container)
        if one.started:
            what = "has already run" if one.exit_code is not None else "is already running"
            raise Conflict(f"Error: Exec command {exec_id} {what}")
        one.started = True
        body = one.body
        directory = body.get("WorkingDir") or one.container.config["WorkingDir"] or "/"
        try:
            one.process = LocalProcess(
                body["Cmd"],
                tty=bool(body.get("Tty")),
                stdin=bool(body.get("AttachStdin")),
                env=[*one.container.config["Env"], *(body.get("Env") or [])],
                cwd=_directory(directory),
                size=tuple(console_size or body.get("ConsoleSize") or (24, 80)),
            )
        except OSError as error:
            one.exit_code = 126
            raise InvalidArgument(_start_words(body["Cmd"][0], error)) from None
        self._publish(one, f"exec_start: {' '.join(body['Cmd'])}")
        task = asyncio.ensure_future(self._watch(one, one.process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None if detach else self._session(one)

    def _session(self, one: Exec) -> Session:
        wanted = {STDOUT} if one.body.get("AttachStdout") else set()
        wanted |= {STDERR} if one.body.get("AttachStderr") else set()
        return Session(
            one.process,
            tty=bool(one.body.get("Tty")),
            sources=frozenset(wanted or {STDOUT, STDERR}),
            stdin=bool(one.body.get("AttachStdin")),
        )

    async def _watch(self, one: Exec, process: LocalProcess) -> None:
        ends = [asyncio.ensure_future(asyncio.shield(process.exited))]
        if one.container.process is not None:
            ends.append(asyncio.ensure_future(asyncio.shield(one.container.process.exited)))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        process.kill(signal.SIGKILL)
        one.exit_code = await process.exited
        for end in ends:
            end.cancel()
        self._publish(one, "exec_die", exitCode=str(one.exit_code))

    async def attach(self, exec_id: str, *, history: bool = False) -> Session:
        one = self._get(exec_id)
        if one.process is None or one.exit_code is not None:
            raise Conflict(f"exec session {exec_id} is not running")
        session = self._session(one)
        if history and one.body.get("Tty") and one.body.get("KeepOutput"):
            session.replay(one.process)
        return session

    def detached(self, exec_id: str) -> None:
        self._publish(self._get(exec_id), "exec_detach")

    async def kill(self, exec_id: str, signal: str) -> None:
        one = self._get(exec_id)
        number = signal_number(signal)
        if one.process is None or one.exit_code is not None:
            raise Conflict(f"exec session {exec_id} is not running")
        one.process.kill(number)

    async def end(self, exec_id: str) -> None:
        one = self._get(exec_id)
        if one.process is None or one.exit_code is not None:
            raise Conflict(f"exec session {exec_id} is not running")
        await hang_up(one.process.pid)

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        one = self._get(exec_id)
        if one.process is None or one.exit_code is not None:
            raise Conflict(f"exec session {exec_id} is not running")
        one.process.resize(height, width)

    async def inspect(self, exec_id: str) -> Body:
        one = self._get(exec_id)
        body, running = one.body, one.started and one.exit_code is None
        where = current_directory(one.process.pid) if running and one.process and body.get("Tty") else None
        return {
            **({"CurrentDirectory": where} if where else {}),
            "ID": one.id,
            "Running": running,
            "ExitCode": one.exit_code,
            "ProcessConfig": {
                "tty": bool(body.get("Tty")),
                "entrypoint": body["Cmd"][0],
                "arguments": body["Cmd"][1:],
                "privileged": bool(body.get("Privileged")),
                "user": body.get("User", ""),
            },
            "OpenStdin": bool(body.get("AttachStdin")),
            "OpenStderr": bool(body.get("AttachStderr")),
            "OpenStdout": bool(body.get("AttachStdout")),
            "CanRemove": one.exit_code is not None,
            "ContainerID": one.container.id,
            "DetachKeys": base64.b64encode(parse_keys(body.get("DetachKeys", ""))).decode(),
            "Pid": one.process.pid if running and one.process is not None else 0,
        }

    async def close(self) -> None:
        for one in list(self._all.values()):
            if one.process is not None:
                await one.process.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def signal_number(text: str) -> int:
    """As Docker reads it: "TERM", "SIGTERM", "15"."""
    if text.isdecimal() and 0 < int(text) < 65:
        return int(text)
    number = getattr(signal, f"SIG{text.upper().removeprefix('SIG')}", None)
    if not isinstance(number, signal.Signals):
        raise InvalidArgument(f"invalid signal: {text}")
    return int(number)


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _name_taken(name: str, holder: Container) -> str:
    return (
        f'Conflict. The container name "/{name}" is already in use by container "{holder.id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def _directory(wanted: str) -> str:
    return wanted if os.path.isdir(wanted) else "/"


def _check_running(container: Container) -> None:
    if container.state == "paused":
        raise Conflict(f"container {container.id} is paused, unpause the container before exec")
    if not container.running:
        raise Conflict(f"container {container.id} is not running")


def _start_words(program: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f'exec: "{program}": permission denied'
    where = "no such file or directory" if "/" in program else "executable file not found in $PATH"
    return f'exec: "{program}": {where}'


def _merge_env(first: list[str], then: list[str]) -> list[str]:
    merged = {entry.partition("=")[0]: entry for entry in first}
    for entry in then:
        merged[entry.partition("=")[0]] = entry
    return [entry for entry in merged.values() if "=" in entry]


def _lines(one: Container, wanted: set[int]) -> list[tuple[float, int, bytes]]:
    """The log as lines; what a process has not ended with a newline comes when it has ended."""
    if one.process is None:
        return []
    lines: list[tuple[float, int, bytes]] = []
    rest: dict[int, bytes] = {}
    last = 0.0
    for at, source, data in one.process.log:
        last = at
        whole = rest.pop(source, b"") + data
        *done, left = whole.split(b"\n")
        lines += [(at, source, line + b"\n") for line in done]
        if left:
            rest[source] = left
    if not one.running:
        lines += [(last, source, left) for source, left in rest.items()]
    return [line for line in lines if line[1] in wanted]


def _files(one: Container) -> dict[str, bytes]:
    image = {path: data for path, data in IMAGE_FILES.items() if path not in one.gone}
    return {**image, **one.files}


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), stat.S_IMODE(0o644)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


_CONFIG_DEFAULTS: Body = {
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": [],
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": {},
}
_HOST_DEFAULTS: Body = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "json-file", "Config": {}},
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "private",
    "Dns": [],
    "DnsOptions": [],
    "DnsSearch": [],
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 67108864,
    "Runtime": "crun",
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": [],
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": None,
}

"""Runs of containers: start, exit, restart by policy, and what an earlier engine left running.

One lock per container (`core.py`). An action, once begun, goes on when the client has gone; no lock is held
while waiting for a program to end or for a client.

    who waits for the lock       and then finds
    start, while remove has it   no such container, or "marked for removal"
    remove, while start has it   a running container: a conflict, or it is killed (force)
    exit, while any verb has it  its run is still the container's: it was not seen twice

Spec: Docker API 1.47, ContainerStart, RestartPolicy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from runtime.api.errors import (
    Conflict,
    EngineError,
    NotModified,
    Unavailable,
)
from runtime.containers.addresses import forget_network
from runtime.containers.checks import log_limits
from runtime.containers.core import Core
from runtime.containers.health import Monitor
from runtime.containers.launch import Launcher
from runtime.containers.logs import Rotation
from runtime.containers.restart import wants_restart, wants_start_with_engine
from runtime.containers.roots import Roots
from runtime.containers.state import ALIVE, Change, State
from runtime.containers.table import Container, Run
from runtime.containers.times import SECOND_NS
from runtime.oci.conmon import Conmon, ExitInfo
from runtime.oci.runtime import CannotStart

log = logging.getLogger("webdock.containers")

FAILED_EXIT_CODE = 128  # of a container that could not be started for another reason than its program


class Lifecycle:
    def __init__(self, core: Core, roots: Roots, launcher: Launcher, monitor: Monitor) -> None:
        self._core = core
        self._roots = roots
        self._launcher = launcher
        self._monitor = monitor
        self._closing = False
        # Removes a container whose run is over; set by whoever wires the room: removal needs us, too.
        self.after_exit: Callable[[Container], Coroutine[Any, Any, None]]

    # Start.

    async def start(self, ref: str) -> None:
        """Raises: NotModified when it runs, Conflict, CannotStart (exit code 126 or 127), and others."""
        container = self._core.table.find(ref)
        await self._core.actions.run(self.start_container(container), f"start of {container.record.short_id}")

    async def start_container(self, container: Container) -> None:
        async with self._core.locked(container):
            state = container.record.state
            if container.removing or state in (State.REMOVING, State.DEAD):
                raise Conflict("container is marked for removal and cannot be started")
            if state is State.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            if state is State.RUNNING:
                raise NotModified(f"container {container.id} is already running")
            self._cancel_restart(container)
            container.backoff.delay_s = 0
            container.record.restart_count = 0
            try:
                await self._launch(container)
            except EngineError:
                if container.record.state is State.RESTARTING:
                    self._core.change(container, Change.GAVE_UP)
                    await self._core.save(container)
                    container.tell_exit()
                raise

    async def _launch(self, container: Container) -> None:
        """Start its program; on failure the state stays, with the reason in it."""
        record = container.record
        if self._closing:
            raise Unavailable("the engine is stopping")
        try:
            run = await self._launcher.launch(
                container, lambda conmon, run: self._attach(container, conmon, run)
            )
        except BaseException as error:
            await self._start_failed(container, error)
            raise
        container.run = run
        self._core.change(container, Change.STARTED)
        record.pid = run.handle.pid
        record.started_ns = run.started_ns
        record.exit_code, record.error, record.oom_killed = 0, "", False
        record.stopped_by_user = False
        self._monitor.reset(container)
        await self._core.save(container)
        self._watch(container, run)
        self._core.tell(container, "start")
        # Race: whoever came after the others were connected found no run to attach to.
        await self._attach(container, self._core.rooms.conmon(record.host_config["Runtime"]), run)

    async def _start_failed(self, container: Container, error: BaseException) -> None:
        record = container.record
        container.end_attachments()
        if not isinstance(error, Exception):
            return  # cancelled: nobody knows what it would have come to
        record.exit_code = error.exit_code if isinstance(error, CannotStart) else FAILED_EXIT_CODE
        record.error = error.message if isinstance(error, EngineError) else f"the engine failed: {error}"
        await self._core.save(container)
        if record.auto_remove and record.state is not State.RESTARTING:
            self._core.actions.begin(self.after_exit(container), f"removal of {record.short_id}")

    async def _attach(self, container: Container, conmon: Conmon, run: Run) -> None:
        """Connect those who wait, before the program writes its first byte."""
        while container.attachments:
            attachment = container.attachments.pop()
            try:
                attachment.connect(await conmon.attach(run.handle, stdin=attachment.stdin))
            except EngineError:
                attachment.end()  # it has ended already

    def _watch(self, container: Container, run: Run) -> None:
        """See to a run that has begun, or was found: its exit, its log's size, its health."""
        record = container.record
        conmon = self._core.rooms.conmon(record.host_config["Runtime"])

        def ended(info: ExitInfo) -> None:
            self._core.actions.begin(self._ended(container, run, info), f"exit of {record.short_id}")

        run.stop_watching = conmon.watch_exit(run.handle, ended)
        stops: list[Callable[[], None]] = []
        container.stop_watching = lambda: [stop() for stop in stops]
        self._monitor.begin(container)
        try:
            self._watch_files(container, run, conmon, stops)
        except OSError as error:  # of inotify: another program may have taken all the kernel gives
            log.error(
                "container %s: %s; its log is not cut, and its want of memory not told before it ends",
                record.short_id,
                error,
            )

    def _watch_files(
        self, container: Container, run: Run, conmon: Conmon, stops: list[Callable[[], None]]
    ) -> None:
        """Its log's size, and the mark of lost memory. Raises: OSError when they cannot be watched."""
        record = container.record
        stops.append(self._watch_memory(container, run))
        log_config = record.host_config["LogConfig"]
        size_bytes, count = log_limits(log_config)
        if size_bytes is not None and log_config["Type"] != "none":
            path = self._core.rooms.log_path(record.id)
            rotation = Rotation(path, size_bytes, count, lambda: _reopen_log(conmon, run))
            rotation.check()
            stops.append(self._core.rooms.inotify.watch(path.parent, rotation.check))

    def _watch_memory(self, container: Container, run: Run) -> Callable[[], None]:
        """Tell when the kernel has killed something in it for want of memory: conmon makes a mark then."""
        if not container.record.host_config["Memory"]:
            return lambda: None
        mark = run.handle.dir / "oom"

        def check() -> None:
            if container.run is run and not container.record.oom_killed and mark.exists():
                container.record.oom_killed = True
                self._core.tell(container, "oom")

        return self._core.rooms.inotify.watch(mark.parent, check)

    # Exit.

    async def _ended(self, container: Container, run: Run, info: ExitInfo) -> None:
        record = container.record
        async with container.lock:
            if container.run is not run:
                return
            container.run = None
            container.stop_watching()
            self._monitor.end(container)
            record.pid = 0
            record.exit_code = info.code
            oom_untold, record.oom_killed = info.oom_killed and not record.oom_killed, info.oom_killed
            # Kernel: a file's time may be a tick older than the clock.
            record.finished_ns = max(int(info.finished_at * SECOND_NS), record.started_ns)
            if info.lost:
                record.error = "the process that watches over this container (conmon) ended unexpectedly"
            ran_s = (record.finished_ns - record.started_ns) / SECOND_NS
            again = not (container.removing or container.keep or self._closing) and wants_restart(
                record.host_config["RestartPolicy"],
                exit_code=info.code,
                restarts=record.restart_count,
                stopped_by_user=record.stopped_by_user,
            )
            forget_network(record)
            self._core.change(container, Change.WILL_RESTART if again else Change.EXITED)
            if again:
                record.restart_count += 1
            await self._core.save(container)
            if oom_untold:
                self._core.tell(container, "oom")
            self._core.tell(container, "die", exitCode=str(info.code), execDuration=str(max(0, int(ran_s))))
            await self._launcher.dismantle(container)
            if again:
                self._restart_later(container, container.backoff.next(ran_s))
            container.tell_exit()  # as Docker: waiting ends with the run, also when another follows
            run.exited.set_result(info)
        if not again and record.auto_remove and not container.keep and not container.removing:
            await self.after_exit(container)

    def _restart_later(self, container: Container, delay_s: float) -> None:
        def due() -> None:
            container.restart_timer = None
            self._core.actions.begin(
                self._restart_now(container), f"restart of {container.record.short_id} by its policy"
            )

        container.restart_timer = asyncio.get_running_loop().call_later(delay_s, due)

    async def _restart_now(self, container: Container) -> None:
        async with container.lock:
            if container.record.state is not State.RESTARTING or container.removing or self._closing:
                return
            try:
                await self._launch(container)
            except EngineError as error:
                log.error("container %s could not be restarted: %s", container.record.short_id, error)
                self._core.change(container, Change.GAVE_UP)
                await self._core.save(container)
                container.tell_exit()

    def _cancel_restart(self, container: Container) -> None:
        if container.restart_timer is not None:
            container.restart_timer.cancel()
            container.restart_timer = None

    async def give_up_restarting(self, container: Container) -> None:
        self._cancel_restart(container)
        self._core.change(container, Change.GAVE_UP)
        await self._core.save(container)
        container.tell_exit()

    # The engine's own start and end.

    def adopt(self, container: Container, run: Run, *, paused: bool) -> None:
        """A run an earlier engine began."""
        record = container.record
        container.run = run
        record.pid = run.handle.pid
        if record.state not in ALIVE:
            # Race: that engine died between the program's start and the saving of the record.
            record.state = State.RUNNING
            record.started_ns = time.time_ns()
            record.exit_code, record.error = 0, ""
        record.state = State.PAUSED if paused else State.RUNNING
        self._roots.adopt(record.id)
        self._watch(container, run)

    async def found_dead(self, container: Container, info: ExitInfo) -> None:
        """A run that ended while no engine looked."""
        record = container.record
        record.state = State.EXITED
        record.pid = 0
        record.exit_code, record.oom_killed = info.code, info.oom_killed
        if info.lost:
            record.error = "it ended while nobody watched, so its exit code is unknown"
        record.finished_ns = max(int(info.finished_at * SECOND_NS), record.started_ns)
        await self._core.save(container)
        self._core.tell(container, "die", exitCode=str(info.code))

    async def take_up(self, container: Container) -> None:
        """What is due for a container that does not run when the engine starts."""
        record = container.record
        if record.state in (State.REMOVING, State.DEAD) or (
            record.state is State.EXITED and record.auto_remove
        ):
            await self.after_exit(container)
        elif record.started_ns and wants_start_with_engine(
            record.host_config["RestartPolicy"],
            exit_code=record.exit_code,
            restarts=record.restart_count,
            stopped_by_user=record.stopped_by_user,
        ):
            try:
                await self.start_container(container)
            except NotModified:
                pass  # Race: a client was faster
            except EngineError as error:
                log.error("container %s could not be started with the engine: %s", record.short_id, error)

    def close(self) -> None:
        """Let go of running containers; they go on."""
        self._closing = True
        for container in self._core.table:
            self._cancel_restart(container)
            self._monitor.end(container)
            container.stop_watching()
            if container.run is not None:
                container.run.stop_watching()


def _reopen_log(conmon: Conmon, run: Run) -> None:
    try:
        conmon.reopen_log(run.handle)
    except Conflict:
        pass  # Race: it has just ended

"""The verbs that change a container's state, one lock per container; the only place where states change.

A verb, once begun, goes on when the client has gone. The lock is held while something changes, never while
waiting for a program to end or for a client.

    who waits for the lock       and then finds
    start, while remove has it   no such container, or "marked for removal"
    remove, while start has it   a running container: a conflict, or it is killed (force)
    exit, while any verb has it  its run is still the container's: it was not seen twice

Spec: Docker API 1.47, ContainerStart, ContainerStop, ContainerKill, ContainerRestart, ContainerPause,
ContainerUnpause, ContainerRename, ContainerDelete, ContainerWait.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from runtime.api.errors import (
    Conflict,
    EngineError,
    Internal,
    InvalidArgument,
    NotFound,
    NotModified,
    Unavailable,
)
from runtime.containers import devices
from runtime.containers.checks import log_limits, parse_signal
from runtime.containers.health import Monitor
from runtime.containers.launch import Launcher
from runtime.containers.logs import Rotation
from runtime.containers.names import clean_name
from runtime.containers.record import Record
from runtime.containers.resources import blkio_paths, oci_resources
from runtime.containers.restart import wants_restart, wants_start_with_engine
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.state import ACTIVE, ALIVE, Change, State, can_remove, move
from runtime.containers.table import Container, Run, Table, WaitResult
from runtime.containers.times import SECOND_NS
from runtime.containers.update import merge, touches_resources
from runtime.oci.conmon import Conmon, ExitInfo
from runtime.oci.runtime import CannotStart

log = logging.getLogger("webdock.containers")

STOP_TIMEOUT_S = 10  # between the stop signal and SIGKILL, when nobody says otherwise
KILL_TIMEOUT_S = 30.0  # until a killed program must have ended
FAILED_EXIT_CODE = 128  # of a container that could not be started for another reason than its program


class Lifecycle:
    """The verbs."""

    def __init__(
        self, rooms: Rooms, table: Table, roots: Roots, launcher: Launcher, monitor: Monitor
    ) -> None:
        self._rooms = rooms
        self._table = table
        self._roots = roots
        self._launcher = launcher
        self._monitor = monitor
        self._closing = False
        self.gone: Callable[[str], None] = lambda container_id: None  # called when a container is removed

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event with Docker's attributes: labels, image, name, and those of the action."""
        tell(self._rooms, container.record, action, **attributes)

    # Start.

    async def start(self, ref: str) -> None:
        """Raises: NotModified when it runs, Conflict, CannotStart (exit code 126 or 127), and others."""
        container = self._table.find(ref)
        await self._rooms.actions.run(self._start(container), f"start of {container.record.short_id}")

    async def _start(self, container: Container) -> None:
        async with self._locked(container):
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
                    container.record.state = move(State.RESTARTING, Change.GAVE_UP)
                    await self._save_quietly(container)
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
        record.state = move(record.state, Change.STARTED)
        record.pid = run.handle.pid
        record.started_ns = run.started_ns
        record.exit_code, record.error, record.oom_killed = 0, "", False
        record.stopped_by_user = False
        self._monitor.reset(container)
        await self._save_quietly(container)
        self._watch(container, run)
        self.tell(container, "start")

    async def _start_failed(self, container: Container, error: BaseException) -> None:
        record = container.record
        for attachment in tuple(container.attachments):
            attachment.end()
        container.attachments.clear()
        if not isinstance(error, EngineError):
            return
        record.exit_code = error.exit_code if isinstance(error, CannotStart) else FAILED_EXIT_CODE
        record.error = error.message
        await self._save_quietly(container)
        if record.auto_remove and record.state is not State.RESTARTING:
            self._rooms.actions.begin(self._auto_remove(container), f"removal of {record.short_id}")

    async def _attach(self, container: Container, conmon: Conmon, run: Run) -> None:
        """Connect those who wait, before the program writes its first byte."""
        for attachment in tuple(container.attachments):
            attachment.connect(await conmon.attach(run.handle, stdin=attachment.stdin))
        container.attachments.clear()

    def _watch(self, container: Container, run: Run) -> None:
        """See to a run that has begun, or was found: its exit, its log's size, its health."""
        record = container.record
        conmon = self._rooms.conmon(record.host_config["Runtime"])

        def ended(info: ExitInfo) -> None:
            self._rooms.actions.begin(self._ended(container, run, info), f"exit of {record.short_id}")

        run.stop_watching = conmon.watch_exit(run.handle, ended)
        log_config = record.host_config["LogConfig"]
        size_bytes, count = log_limits(log_config)
        if size_bytes is not None and log_config["Type"] != "none":
            path = self._rooms.log_path(record.id)
            rotation = Rotation(path, size_bytes, count, lambda: _reopen_log(conmon, run))
            rotation.check()
            container.rotation = self._rooms.inotify.watch(path.parent, rotation.check)
        self._monitor.begin(container)

    # Exit.

    async def _ended(self, container: Container, run: Run, info: ExitInfo) -> None:
        record = container.record
        async with container.lock:
            if container.run is not run:
                return
            container.run = None
            if container.rotation is not None:
                container.rotation()
                container.rotation = None
            self._monitor.end(container)
            record.pid = 0
            record.exit_code = info.code
            record.oom_killed = info.oom_killed
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
            record.state = move(record.state, Change.WILL_RESTART if again else Change.EXITED)
            if again:
                record.restart_count += 1
            await self._save_quietly(container)
            if info.oom_killed:
                self.tell(container, "oom")
            self.tell(container, "die", exitCode=str(info.code), execDuration=str(max(0, int(ran_s))))
            await self._launcher.dismantle(container)
            if again:
                self._restart_later(container, container.backoff.next(ran_s))
            else:
                container.tell_exit()
            run.exited.set_result(info)
        if not again and record.auto_remove and not container.keep and not container.removing:
            await self._auto_remove(container)

    async def _auto_remove(self, container: Container) -> None:
        try:
            await self._remove(container, force=False, volumes=True)
        except (Conflict, NotFound):
            pass  # Race: somebody else removes it, or has started it again
        except EngineError as error:
            log.error(
                "container %s could not be removed after its exit: %s", container.record.short_id, error
            )

    def _restart_later(self, container: Container, delay_s: float) -> None:
        def due() -> None:
            container.restart_timer = None
            self._rooms.actions.begin(
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
                container.record.state = move(State.RESTARTING, Change.GAVE_UP)
                await self._save_quietly(container)
                container.tell_exit()

    def _cancel_restart(self, container: Container) -> None:
        if container.restart_timer is not None:
            container.restart_timer.cancel()
            container.restart_timer = None

    async def _give_up_restarting(self, container: Container) -> None:
        self._cancel_restart(container)
        container.record.state = move(State.RESTARTING, Change.GAVE_UP)
        await self._save_quietly(container)
        container.tell_exit()

    # Stop, kill, restart.

    async def stop(self, ref: str, timeout_s: int | None, signal_name: str | None) -> None:
        """Raises: NotModified when it does not run."""
        container = self._table.find(ref)
        number = parse_signal(signal_name) if signal_name else None
        if not container.active:
            raise NotModified(f"container {container.id} is already stopped")
        await self._rooms.actions.run(
            self._stop(container, timeout_s, number), f"stop of {container.record.short_id}"
        )

    async def _stop(self, container: Container, timeout_s: int | None, number: int | None) -> None:
        record = container.record
        if number is None:
            number = parse_signal(record.config.get("StopSignal") or "TERM")
        if timeout_s is None:
            timeout_s = record.config.get("StopTimeout", STOP_TIMEOUT_S)
        async with self._locked(container):
            if record.state not in ACTIVE:
                raise NotModified(f"container {container.id} is already stopped")
            record.stopped_by_user = True
            run = container.run
            if record.state is State.RESTARTING or run is None:
                await self._give_up_restarting(container)
                self.tell(container, "stop")
                return
            await self._save_quietly(container)
            await self._signal(container, number)
        if not await _ended_within(run, timeout_s if timeout_s >= 0 else None):
            await self._kill_run(container, run)
        self.tell(container, "stop")

    async def restart(self, ref: str, timeout_s: int | None, signal_name: str | None) -> None:
        """Stop it if it runs, and start it; auto-remove waits for the next exit."""
        container = self._table.find(ref)
        number = parse_signal(signal_name) if signal_name else None
        await self._rooms.actions.run(
            self._restart(container, timeout_s, number), f"restart of {container.record.short_id}"
        )

    async def _restart(self, container: Container, timeout_s: int | None, number: int | None) -> None:
        container.keep += 1
        try:
            if container.active:
                try:
                    await self._stop(container, timeout_s, number)
                except NotModified:
                    pass  # Race: it ended by itself
            try:
                await self._start(container)
            except NotModified:
                pass  # Race: somebody else has started it
        finally:
            container.keep -= 1
        self.tell(container, "restart")

    async def kill(self, ref: str, signal_name: str) -> None:
        """Send a signal; after SIGKILL, return when it has ended. Raises: Conflict when it does not run."""
        container = self._table.find(ref)
        number = parse_signal(signal_name)
        await self._rooms.actions.run(
            self._kill(container, ref, number), f"kill of {container.record.short_id}"
        )

    async def _kill(self, container: Container, ref: str, number: int) -> None:
        record = container.record
        async with self._locked(container):
            run = container.run
            if record.state is State.RESTARTING:
                record.stopped_by_user = True
                await self._give_up_restarting(container)
                return
            if record.state not in ALIVE or run is None:
                raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
            own = record.config.get("StopSignal")
            if number == signal.SIGKILL or not own or parse_signal(own) == number:
                record.stopped_by_user = True
                await self._save_quietly(container)
            await self._signal(container, number, resume=record.stopped_by_user)
        if number == signal.SIGKILL:
            await self._await_death(container, run)

    async def _signal(self, container: Container, number: int, *, resume: bool = True) -> None:
        """Send a signal to a living container; a paused one goes on, so that it can act on it."""
        record = container.record
        runtime = self._rooms.conmon(record.host_config["Runtime"]).runtime
        try:
            await runtime.kill(record.id, number)
        except (Conflict, NotFound):
            return  # Race: it has ended, its exit waits for the lock
        if record.state is State.PAUSED and resume:
            try:
                await runtime.resume(record.id)
            except Conflict:
                pass  # Race: as above
            record.state = move(record.state, Change.RESUMED)
            await self._save_quietly(container)
        self.tell(container, "kill", signal=str(number))

    async def _kill_run(self, container: Container, run: Run) -> None:
        """SIGKILL, if this run still goes on; returns when it has ended."""
        async with container.lock:
            if container.run is run:
                await self._signal(container, signal.SIGKILL)
        await self._await_death(container, run)

    async def _await_death(self, container: Container, run: Run) -> None:
        if await _ended_within(run, KILL_TIMEOUT_S / 2):
            return
        # Its init may have ended while something of it holds on: everything in its cgroup goes.
        runtime = self._rooms.conmon(container.record.host_config["Runtime"]).runtime
        try:
            await runtime.kill(container.id, signal.SIGKILL, all=True)
        except EngineError as error:
            log.warning("container %s: %s", container.record.short_id, error)
        if not await _ended_within(run, KILL_TIMEOUT_S / 2):
            raise Internal(
                f"container {container.id} did not end within {KILL_TIMEOUT_S:g} s after SIGKILL; "
                "a process may hang in the kernel"
            )

    # Pause, rename.

    async def pause(self, ref: str) -> None:
        """Raises: Conflict when it does not run or is paused."""
        container = self._table.find(ref)
        await self._rooms.actions.run(self._pause(container), f"pause of {container.record.short_id}")

    async def _pause(self, container: Container) -> None:
        record = container.record
        async with self._locked(container):
            if record.state is State.PAUSED:
                raise Conflict(f"Container {container.id} is already paused")
            if record.state is State.RESTARTING:
                raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
            if record.state is not State.RUNNING:
                raise Conflict(f"Container {container.id} is not running")
            await self._rooms.conmon(record.host_config["Runtime"]).runtime.pause(container.id)
            record.state = move(record.state, Change.PAUSED)
            self._monitor.end(container)
            await self._save_quietly(container)
            self.tell(container, "pause")

    async def unpause(self, ref: str) -> None:
        """Raises: Conflict when it is not paused."""
        container = self._table.find(ref)
        await self._rooms.actions.run(self._unpause(container), f"unpause of {container.record.short_id}")

    async def _unpause(self, container: Container) -> None:
        record = container.record
        async with self._locked(container):
            if record.state is not State.PAUSED:
                # Differs: Docker answers 500 here.
                raise Conflict(f"Container {container.id} is not paused")
            await self._rooms.conmon(record.host_config["Runtime"]).runtime.resume(container.id)
            record.state = move(record.state, Change.RESUMED)
            self._monitor.begin(container)
            await self._save_quietly(container)
            self.tell(container, "unpause")

    async def rename(self, ref: str, name: str) -> None:
        """Raises: InvalidArgument, Conflict when another container has the name."""
        container = self._table.find(ref)
        if not name.removeprefix("/"):
            raise InvalidArgument("Neither old nor new names may be empty")
        plain = clean_name(name)
        await self._rooms.actions.run(
            self._rename(container, plain), f"rename of {container.record.short_id}"
        )

    async def _rename(self, container: Container, name: str) -> None:
        record = container.record
        async with self._locked(container):
            old = record.name
            if name == old:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            self._table.claim(name, container.id)
            record.name = name
            try:
                await self._rooms.store.save(record)
                await self._rooms.networks.rename(container.id, name)
            except BaseException:
                record.name = old
                self._table.release(name, container.id)
                await self._save_quietly(container)
                raise
            self._table.release(old, container.id)
            self.tell(container, "rename", oldName=f"/{old}")

    async def update(self, ref: str, body: dict[str, Any]) -> list[str]:
        """Change limits, of a running container at once, and the restart policy; gives warnings.

        Raises: InvalidArgument, Conflict while it is removed.
        """
        container = self._table.find(ref)
        return await self._rooms.actions.run(
            self._update(container, body), f"update of {container.record.short_id}"
        )

    async def _update(self, container: Container, body: dict[str, Any]) -> list[str]:
        record = container.record
        async with self._locked(container):
            if container.removing or record.state in (State.REMOVING, State.DEAD):
                raise Conflict(
                    f"Cannot update container {container.id}: container is marked for removal and cannot be "
                    '"update"'
                )
            merged, warnings = merge(record.host_config, body, self._rooms.facts)
            if record.state in ALIVE and touches_resources(body):
                runtime = self._rooms.conmon(record.host_config["Runtime"]).runtime
                numbers = devices.block_numbers(blkio_paths(merged))
                await runtime.update(record.id, oci_resources(merged, numbers))
            record.host_config = merged
            await self._save_quietly(container)
            self.tell(container, "update")
            return warnings

    # Remove, wait.

    async def remove(self, ref: str, *, force: bool, volumes: bool) -> None:
        """Raises: Conflict when it runs (without force) or is being removed already."""
        container = self._table.find(ref)
        await self._rooms.actions.run(
            self._remove(container, force=force, volumes=volumes), f"removal of {container.record.short_id}"
        )

    async def _remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        record = container.record
        if container.removing:
            raise Conflict(f"removal of container {container.id} is already in progress")
        container.removing = True
        try:
            async with self._locked(container):
                run = container.run
                if record.state in ACTIVE and not force:
                    raise Conflict(_cannot_remove(record))
                if record.state is State.RESTARTING:
                    await self._give_up_restarting(container)
                elif run is not None:
                    record.stopped_by_user = True
                    await self._signal(container, signal.SIGKILL)
            if run is not None:
                await self._await_death(container, run)
            async with self._locked(container):
                if not can_remove(record.state):
                    raise Conflict(_cannot_remove(record))
                await self._delete(container, volumes=volumes)
        except BaseException as error:
            container.removing = False
            if isinstance(error, EngineError) and not isinstance(error, Conflict | NotFound):
                container.tell_removed(error.message)
            raise
        container.tell_removed()

    async def _delete(self, container: Container, *, volumes: bool) -> None:
        record = container.record
        record.state = move(record.state, Change.REMOVING)
        for attachment in tuple(container.attachments):
            attachment.end()
        container.attachments.clear()
        try:
            await asyncio.to_thread(self._rooms.snapshots.remove, container.id)
            await asyncio.to_thread(self._rooms.store.remove, container.id)
        except (EngineError, OSError) as error:
            record.state = move(record.state, Change.REMOVE_FAILED)
            record.error = str(error)
            await self._save_quietly(container)
            raise Internal(f"container {container.id} could not be removed: {error}") from error
        self._table.remove(container)
        self.gone(container.id)
        self.tell(container, "destroy")
        if volumes:
            await self._remove_volumes(record)

    async def _remove_volumes(self, record: Record) -> None:
        for point in record.mounts:
            if not (point.anonymous and point.name):
                continue
            try:
                await self._rooms.volumes.remove(point.name, force=True)
            except Conflict:
                pass  # another container uses it, too
            except EngineError as error:
                log.warning("volume %s of container %s stays: %s", point.name, record.short_id, error)

    async def remove_link(self, ref: str) -> None:
        """Remove one of HostConfig.Links, named as "container/alias". Raises: NotFound, InvalidArgument."""
        parent, _, alias = ref.strip("/").partition("/")
        if not alias:
            raise InvalidArgument("Conflict, cannot remove the default link name of the container")
        container = self._table.find(parent)
        async with self._locked(container):
            host = container.record.host_config
            kept = [
                link for link in host["Links"] or () if link.rpartition(":")[2].rpartition("/")[2] != alias
            ]
            if len(kept) == len(host["Links"] or ()):
                raise NotFound(f"No such link: /{parent}/{alias}")
            host["Links"] = kept or None
            await self._save_quietly(container)

    def wait(self, ref: str, condition: str) -> asyncio.Future[WaitResult]:
        """Waits from this call on. Raises: NotFound, InvalidArgument."""
        container = self._table.find(ref)
        if condition == "removed":
            return container.waiter(container.removed)
        if condition == "next-exit" or (condition in ("not-running", "") and container.active):
            return container.waiter(container.waiters)
        if condition not in ("not-running", ""):
            raise InvalidArgument(f'invalid condition: "{condition[:40]}"')
        result: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        result.set_result(container.result())
        return result

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
        await self._save_quietly(container)
        self.tell(container, "die", exitCode=str(info.code))

    async def take_up(self, container: Container) -> None:
        """What is due for a container that does not run when the engine starts."""
        record = container.record
        if record.state in (State.REMOVING, State.DEAD) or (
            record.state is State.EXITED and record.auto_remove
        ):
            await self._auto_remove(container)
        elif record.started_ns and wants_start_with_engine(
            record.host_config["RestartPolicy"],
            exit_code=record.exit_code,
            restarts=record.restart_count,
            stopped_by_user=record.stopped_by_user,
        ):
            try:
                await self._start(container)
            except NotModified:
                pass  # Race: a client was faster
            except EngineError as error:
                log.error("container %s could not be started with the engine: %s", record.short_id, error)

    def close(self) -> None:
        """Let go of running containers; they go on."""
        self._closing = True
        for container in self._table:
            self._cancel_restart(container)
            self._monitor.end(container)
            if container.rotation is not None:
                container.rotation()
                container.rotation = None
            if container.run is not None:
                container.run.stop_watching()

    @asynccontextmanager
    async def _locked(self, container: Container) -> AsyncIterator[None]:
        """The container's lock, and the container still there."""
        async with container.lock:
            if container.id not in self._table:
                raise NotFound(f"No such container: {container.id}")
            yield

    async def _save_quietly(self, container: Container) -> None:
        """Save the record of what has happened already: failing to would not undo it."""
        try:
            await self._rooms.store.save(container.record)
        except OSError as error:
            log.error("container %s: its record could not be saved: %s", container.record.short_id, error)


def tell(rooms: Rooms, record: Record, action: str, **attributes: str) -> None:
    """Publish an event of a container."""
    labels = record.config["Labels"]
    rooms.events.publish(
        "container", action, record.id, {**labels, "image": record.image, "name": record.name, **attributes}
    )


async def _ended_within(run: Run, timeout_s: float | None) -> bool:
    done, _ = await asyncio.wait({run.exited}, timeout=timeout_s)
    return bool(done)


def _reopen_log(conmon: Conmon, run: Run) -> None:
    try:
        conmon.reopen_log(run.handle)
    except Conflict:
        pass  # Race: it has just ended


def _cannot_remove(record: Record) -> str:
    verb = {State.PAUSED: "Unpause and then stop", State.RESTARTING: "Stop"}.get(record.state, "Stop")
    return (
        f"You cannot remove a {record.state} container {record.id}. "
        f"{verb} the container before attempting removal or force remove"
    )

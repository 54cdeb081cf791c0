"""Stop, kill, restart, pause: what is done to a running program by signals and the freezer.

The lock is held while a signal is sent, never while waiting for the program to end: a kill gets through
while a stop waits.

Spec: Docker API 1.47, ContainerStop, ContainerKill, ContainerRestart, ContainerPause, ContainerUnpause.
"""

from __future__ import annotations

import asyncio
import logging
import signal

from runtime.api.errors import Conflict, EngineError, Internal, NotFound, NotModified
from runtime.containers.checks import parse_signal
from runtime.containers.core import Core
from runtime.containers.health import Monitor
from runtime.containers.lifecycle import Lifecycle
from runtime.containers.state import ACTIVE, ALIVE, Change, State
from runtime.containers.table import Container, Run

log = logging.getLogger("webdock.containers")

STOP_TIMEOUT_S = 10  # between the stop signal and SIGKILL, when nobody says otherwise
KILL_TIMEOUT_S = 30.0  # until a killed program must have ended


class Signals:
    def __init__(self, core: Core, lifecycle: Lifecycle, monitor: Monitor) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._monitor = monitor

    async def stop(self, ref: str, timeout_s: int | None, signal_name: str | None) -> None:
        """Raises: NotModified when it does not run."""
        container = self._core.table.find(ref)
        number = parse_signal(signal_name) if signal_name else None
        if not container.active:
            raise NotModified(f"container {container.id} is already stopped")
        await self._core.actions.run(
            self._stop(container, timeout_s, number), f"stop of {container.record.short_id}"
        )

    async def _stop(self, container: Container, timeout_s: int | None, number: int | None) -> None:
        record = container.record
        if number is None:
            number = parse_signal(record.config.get("StopSignal") or "TERM")
        if timeout_s is None:
            timeout_s = record.config.get("StopTimeout", STOP_TIMEOUT_S)
        async with self._core.locked(container):
            if record.state not in ACTIVE:
                raise NotModified(f"container {container.id} is already stopped")
            record.stopped_by_user = True
            run = container.run
            if record.state is State.RESTARTING or run is None:
                await self._lifecycle.give_up_restarting(container)
                self._core.tell(container, "stop")
                return
            await self._core.save(container)
            await self.send(container, number)
        if not await _ended_within(run, timeout_s if timeout_s >= 0 else None):
            await self._kill_run(container, run)
        self._core.tell(container, "stop")

    async def restart(self, ref: str, timeout_s: int | None, signal_name: str | None) -> None:
        """Stop it if it runs, and start it; auto-remove waits for the next exit."""
        container = self._core.table.find(ref)
        number = parse_signal(signal_name) if signal_name else None
        await self._core.actions.run(
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
                await self._lifecycle.start_container(container)
            except NotModified:
                pass  # Race: somebody else has started it
        finally:
            container.keep -= 1
        self._core.tell(container, "restart")

    async def kill(self, ref: str, signal_name: str) -> None:
        """Send a signal; after SIGKILL, return when it has ended. Raises: Conflict when it does not run."""
        container = self._core.table.find(ref)
        number = parse_signal(signal_name)
        await self._core.actions.run(
            self._kill(container, ref, number), f"kill of {container.record.short_id}"
        )

    async def _kill(self, container: Container, ref: str, number: int) -> None:
        record = container.record
        async with self._core.locked(container):
            run = container.run
            if record.state is State.RESTARTING:
                record.stopped_by_user = True
                await self._lifecycle.give_up_restarting(container)
                return
            if record.state not in ALIVE or run is None:
                raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
            own = record.config.get("StopSignal")
            if number == signal.SIGKILL or not own or parse_signal(own) == number:
                record.stopped_by_user = True
                await self._core.save(container)
            await self.send(container, number, resume=record.stopped_by_user)
        if number == signal.SIGKILL:
            await self.await_death(container, run)

    async def send(self, container: Container, number: int, *, resume: bool = True) -> None:
        """Send a signal to a living container; a paused one goes on, so that it can act on it."""
        record = container.record
        runtime = self._core.runtime(container)
        try:
            await runtime.kill(record.id, number)
        except (Conflict, NotFound):
            return  # Race: it has ended, its exit waits for the lock
        if record.state is State.PAUSED and resume:
            try:
                await runtime.resume(record.id)
            except Conflict:
                pass  # Race: as above
            self._core.change(container, Change.RESUMED)
            await self._core.save(container)
        self._core.tell(container, "kill", signal=str(number))

    async def _kill_run(self, container: Container, run: Run) -> None:
        """SIGKILL, if this run still goes on; returns when it has ended."""
        async with container.lock:
            if container.run is run:
                await self.send(container, signal.SIGKILL)
        await self.await_death(container, run)

    async def await_death(self, container: Container, run: Run) -> None:
        if await _ended_within(run, KILL_TIMEOUT_S / 2):
            return
        # Its init may have ended while something of it holds on: everything in its cgroup goes.
        runtime = self._core.runtime(container)
        try:
            await runtime.kill(container.id, signal.SIGKILL, all=True)
        except EngineError as error:
            log.warning("container %s: %s", container.record.short_id, error)
        if not await _ended_within(run, KILL_TIMEOUT_S / 2):
            raise Internal(
                f"container {container.id} did not end within {KILL_TIMEOUT_S:g} s after SIGKILL; "
                "a process may hang in the kernel"
            )

    async def pause(self, ref: str) -> None:
        """Raises: Conflict when it does not run or is paused."""
        container = self._core.table.find(ref)
        await self._core.actions.run(self._pause(container), f"pause of {container.record.short_id}")

    async def _pause(self, container: Container) -> None:
        record = container.record
        async with self._core.locked(container):
            if record.state is State.PAUSED:
                raise Conflict(f"Container {container.id} is already paused")
            if record.state is State.RESTARTING:
                raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
            if record.state is not State.RUNNING:
                raise Conflict(f"Container {container.id} is not running")
            await self._core.runtime(container).pause(container.id)
            self._core.change(container, Change.PAUSED)
            self._monitor.end(container)
            await self._core.save(container)
            self._core.tell(container, "pause")

    async def unpause(self, ref: str) -> None:
        """Raises: Conflict when it is not paused."""
        container = self._core.table.find(ref)
        await self._core.actions.run(self._unpause(container), f"unpause of {container.record.short_id}")

    async def _unpause(self, container: Container) -> None:
        record = container.record
        async with self._core.locked(container):
            if record.state is not State.PAUSED:
                # Differs: Docker answers 500 here.
                raise Conflict(f"Container {container.id} is not paused")
            await self._core.runtime(container).resume(container.id)
            self._core.change(container, Change.RESUMED)
            self._monitor.begin(container)
            await self._core.save(container)
            self._core.tell(container, "unpause")


async def _ended_within(run: Run, timeout_s: float | None) -> bool:
    done, _ = await asyncio.wait({run.exited}, timeout=timeout_s)
    return bool(done)

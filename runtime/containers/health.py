"""Health checks: a command run in the container again and again, and what its results mean.

What a result means is pure (`judge`); one timer task per container with a check runs it.

Spec: Docker API 1.47, HealthConfig, Health.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from runtime.api.errors import EngineError
from runtime.containers.record import Health, Probe
from runtime.containers.state import State
from runtime.containers.table import Container
from runtime.containers.times import SECOND_NS
from runtime.oci.process import ToolError

log = logging.getLogger("webdock.containers")

COMMANDS = ("CMD", "CMD-SHELL")  # the kinds of test that run; Docker ignores all others
INTERVAL_S = 30.0
TIMEOUT_S = 30.0
START_INTERVAL_S = 5.0
RETRIES = 3
KEPT = 5  # results shown by inspect
OUTPUT_BYTES = 4096  # of one result
TIMED_OUT = -1  # exit code of a probe that took too long

ProbeRunner = Callable[[Container, list[str], float, int], Awaitable[tuple[int | None, bytes]]]


@dataclass(frozen=True)
class Check:
    """A container's health check with its defaults filled in."""

    command: list[str]
    interval_s: float
    timeout_s: float
    start_period_s: float
    start_interval_s: float
    retries: int


def parse(config: dict[str, Any]) -> Check | None:
    """The check of a container's Config; None when it has none."""
    health = config.get("Healthcheck") or {}
    test = health.get("Test") or []
    if not test or test[0] not in COMMANDS:
        return None
    command = list(test[1:])
    if test[0] == "CMD-SHELL":
        command = [*(config.get("Shell") or ["/bin/sh", "-c"]), *command]

    def seconds(name: str, default: float) -> float:
        return health[name] / SECOND_NS if health.get(name) else default

    return Check(
        command=command,
        interval_s=seconds("Interval", INTERVAL_S),
        timeout_s=seconds("Timeout", TIMEOUT_S),
        start_period_s=seconds("StartPeriod", 0.0),
        start_interval_s=seconds("StartInterval", START_INTERVAL_S),
        retries=health.get("Retries") or RETRIES,
    )


def judge(health: Health, probe: Probe, check: Check, *, in_start_period: bool) -> bool:
    """Take one result into account; whether the status has changed."""
    before = health.status
    health.log = [*health.log, probe][-KEPT:]
    if probe.exit_code == 0:
        health.failing_streak = 0
        health.status = "healthy"
    elif not (in_start_period and health.status == "starting"):
        health.failing_streak += 1
        if health.failing_streak >= check.retries:
            health.status = "unhealthy"
    return health.status != before


def next_delay(health: Health, check: Check, *, in_start_period: bool) -> float:
    """Seconds until the next probe."""
    if in_start_period and health.status == "starting":
        return min(check.start_interval_s, check.interval_s)
    return check.interval_s


class Monitor:
    """Runs the checks of all containers."""

    def __init__(self, save: Callable[[Container], Awaitable[None]], tell: Callable[..., None]) -> None:
        self._save = save
        self._tell = tell
        self.probe: ProbeRunner | None = None  # set by whoever wires the room: exec sessions come later

    def reset(self, container: Container) -> None:
        """A new run begins: nothing is known about its health."""
        container.record.health = Health() if parse(container.record.config) else None

    def begin(self, container: Container) -> None:
        check = parse(container.record.config)
        if check is None or (container.health is not None and not container.health.done()):
            return
        if container.record.health is None:
            container.record.health = Health()
        container.health = asyncio.create_task(
            self._watch(container, check), name=f"health of {container.record.short_id}"
        )

    def end(self, container: Container) -> None:
        if container.health is not None:
            container.health.cancel()
            container.health = None

    async def _watch(self, container: Container, check: Check) -> None:
        record = container.record
        while True:
            health = record.health
            assert health is not None
            await asyncio.sleep(next_delay(health, check, in_start_period=self._starting(container, check)))
            if record.state is not State.RUNNING:
                return
            result = await self._run(container, check)
            if record.state is not State.RUNNING:
                return
            changed = judge(health, result, check, in_start_period=self._starting(container, check))
            if changed:
                await self._save(container)
                self._tell(container, f"health_status: {health.status}")

    async def _run(self, container: Container, check: Check) -> Probe:
        assert self.probe is not None
        start_ns = time.time_ns()
        try:
            code, output = await self.probe(container, check.command, check.timeout_s, OUTPUT_BYTES)
            text = output.decode("utf-8", "replace")
            if code is None:
                code, text = TIMED_OUT, f"Health check exceeded timeout ({check.timeout_s:g}s): {text}"
        except (EngineError, OSError, ToolError) as error:
            code, text = TIMED_OUT, str(error)[:OUTPUT_BYTES]
        return Probe(start_ns, time.time_ns(), code, text)

    def _starting(self, container: Container, check: Check) -> bool:
        return time.time_ns() - container.record.started_ns < check.start_period_s * SECOND_NS

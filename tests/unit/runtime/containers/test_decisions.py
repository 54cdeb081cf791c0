"""Restarts and health: what follows from what was seen."""

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.api.errors import Conflict
from runtime.containers.health import Check, Monitor, judge, next_delay, parse
from runtime.containers.record import Health, Probe
from runtime.containers.restart import Backoff, wants_restart, wants_start_with_engine
from runtime.containers.state import State
from runtime.oci.process import ToolError

SECOND_NS = 1_000_000_000


def test_the_pause_grows_to_a_minute_and_starts_anew_after_a_long_run() -> None:
    backoff = Backoff()
    pauses = [backoff.next(0.1) for _ in range(13)]
    assert pauses[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == 60
    assert backoff.next(10) == 0.1


@pytest.mark.parametrize(
    ("name", "retries", "exit_code", "restarts", "by_user", "now", "with_engine"),
    [
        ("no", 0, 1, 0, False, False, False),
        ("always", 0, 0, 9, False, True, True),
        ("always", 0, 0, 0, True, False, True),
        ("unless-stopped", 0, 0, 9, False, True, True),
        ("unless-stopped", 0, 0, 0, True, False, False),
        ("on-failure", 0, 0, 0, False, False, False),
        ("on-failure", 0, 1, 99, False, True, True),
        ("on-failure", 3, 1, 2, False, True, True),
        ("on-failure", 3, 1, 3, False, False, False),
        ("on-failure", 3, 1, 0, True, False, False),
    ],
)
def test_policies(
    name: str, retries: int, exit_code: int, restarts: int, by_user: bool, now: bool, with_engine: bool
) -> None:
    policy: dict[str, Any] = {"Name": name, "MaximumRetryCount": retries}
    facts: dict[str, Any] = {"exit_code": exit_code, "restarts": restarts, "stopped_by_user": by_user}
    assert wants_restart(policy, **facts) is now
    assert wants_start_with_engine(policy, **facts) is with_engine


def test_checks_get_their_defaults() -> None:
    assert parse({}) is None
    assert parse({"Healthcheck": {"Test": ["NONE"]}}) is None
    assert parse({"Healthcheck": {"Interval": 5}}) is None
    plain = parse({"Healthcheck": {"Test": ["CMD", "a", "b"]}})
    assert plain == Check(["a", "b"], 30.0, 30.0, 0.0, 5.0, 3)
    shell = parse({"Shell": ["/bin/ash", "-ec"], "Healthcheck": {"Test": ["CMD-SHELL", "x y"], "Retries": 9}})
    assert shell is not None
    assert (shell.command, shell.retries) == (["/bin/ash", "-ec", "x y"], 9)


def probe(code: int) -> Probe:
    return Probe(1, 2, code, "")


def test_failures_count_until_it_is_unhealthy_and_one_success_heals() -> None:
    check = Check(["x"], 1, 1, 0, 1, retries=2)
    health = Health()
    assert not judge(health, probe(1), check, in_start_period=False)
    assert (health.status, health.failing_streak) == ("starting", 1)
    assert judge(health, probe(3), check, in_start_period=False)
    assert health.status == "unhealthy"
    assert not judge(health, probe(-1), check, in_start_period=False)
    assert judge(health, probe(0), check, in_start_period=False)
    assert (health.status, health.failing_streak) == ("healthy", 0)
    assert len(health.log) == 4
    for _ in range(5):
        judge(health, probe(0), check, in_start_period=False)
    assert len(health.log) == 5


def test_the_start_period_forgives_until_the_first_success() -> None:
    check = Check(["x"], 30, 1, 10, 2, retries=1)
    health = Health()
    assert not judge(health, probe(1), check, in_start_period=True)
    assert (health.status, health.failing_streak) == ("starting", 0)
    assert next_delay(health, check, in_start_period=True) == 2
    judge(health, probe(0), check, in_start_period=True)
    assert next_delay(health, check, in_start_period=True) == 30
    assert judge(health, probe(1), check, in_start_period=True)
    assert health.status == "unhealthy"


async def test_a_probe_that_cannot_be_run_is_a_failed_one_and_checks_go_on() -> None:
    test = {"Test": ["CMD", "true"], "Interval": 1_000_000, "Retries": 3}
    record = SimpleNamespace(
        config={"Healthcheck": test}, health=None, state=State.RUNNING, short_id="c", started_ns=0
    )
    container: Any = SimpleNamespace(record=record, health=None)
    unhealthy = asyncio.Event()
    reasons: list[Exception] = [
        OSError(errno.EMFILE, "Too many open files"),
        ToolError(["conmon"], -9, "killed"),
        Conflict("it is paused"),
    ]

    async def run(*_: object) -> tuple[int | None, bytes]:
        raise reasons[len(record.health.log) % len(reasons)]

    async def save(_: object) -> None:
        unhealthy.set()

    monitor = Monitor(save, lambda *_: None)
    monitor.probe = run
    monitor.begin(container)
    async with asyncio.timeout(60):
        await unhealthy.wait()
    monitor.end(container)
    assert record.health.status == "unhealthy"
    assert "Too many open files" in record.health.log[0].output

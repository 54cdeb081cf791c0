"""The engine killed with SIGKILL while containers run: they never notice, and everything is there again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.installation import Installation, eventually
from tests.integration.pty_session import PtySession
from webdock.cli.errors import Failure


def kill_engine(installation: Installation) -> None:
    """SIGKILL, and wait until the supervisor has started another one that answers."""
    before = installation.engine_pid()
    os.kill(before, signal.SIGKILL)

    def another_answers() -> bool:
        try:
            return installation.engine_pid() != before and installation.client.get("/_ping") == "OK"
        except (AssertionError, Failure):
            return False

    try:
        eventually(another_answers, what="a new engine")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{installation.logs()}") from None


def test_running_containers_do_not_notice(installation: Installation) -> None:
    script = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"
    name = installation.webdock(
        "run", "-d", "--name", "counter", "webdock/busybox", "sh", "-c", script
    ).stdout.strip()
    eventually(lambda: installation.webdock("logs", "counter").stdout.count("\n") > 5)
    before = installation.client.get(f"/containers/{name}/json")
    kill_engine(installation)
    after = installation.client.get(f"/containers/{name}/json")
    assert after["State"]["Running"]
    assert after["State"]["Pid"] == before["State"]["Pid"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert after["NetworkSettings"]["IPAddress"] == before["NetworkSettings"]["IPAddress"]
    count = installation.webdock("logs", "counter").stdout.count("\n")
    eventually(lambda: installation.webdock("logs", "counter").stdout.count("\n") > count + 5)
    numbers = [int(line) for line in installation.webdock("logs", "counter").stdout.split()]
    assert numbers == list(range(len(numbers)))  # not one line lost or doubled


def test_a_container_that_ended_meanwhile_has_its_exit_code(installation: Installation) -> None:
    script = "while [ ! -e /go ]; do sleep 0.02; done; sleep 0.3; exit 33"
    installation.webdock("run", "-d", "--name", "ender", "webdock/busybox", "sh", "-c", script)
    installation.webdock("exec", "ender", "touch", "/go")
    kill_engine(installation)
    assert installation.webdock("wait", "ender").stdout.strip() == "33"
    state = installation.client.get("/containers/ender/json")["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 33, False)


def test_an_ended_container_keeps_logs_and_code(installation: Installation) -> None:
    installation.webdock(
        "run", "--name", "ended", "webdock/busybox", "sh", "-c", "echo said; exit 4", check=False
    )
    kill_engine(installation)
    assert installation.webdock("logs", "ended").stdout == "said\n"
    assert installation.client.get("/containers/ended/json")["State"]["ExitCode"] == 4
    installation.webdock("start", "-a", "ended", check=False)
    assert installation.webdock("logs", "ended").stdout == "said\nsaid\n"


def test_attach_and_exec_work_again(installation: Installation, terminal: Callable[..., PtySession]) -> None:
    installation.webdock("run", "-d", "-i", "-t", "--name", "shell", "webdock/busybox", "sh")
    kill_engine(installation)
    session = terminal("docker", "attach", "shell")
    session.type("echo $((40+2))\r")
    session.expect("42")
    assert installation.webdock("exec", "shell", "echo", "fine").stdout == "fine\n"
    session.type("exit 6\r")
    assert session.wait() == 6


def test_auto_remove_happens_after_a_kill_too(installation: Installation) -> None:
    script = "while [ ! -e /go ]; do sleep 0.02; done"
    installation.webdock("run", "-d", "--rm", "--name", "gone", "webdock/busybox", "sh", "-c", script)
    kill_engine(installation)
    installation.webdock("exec", "-d", "gone", "touch", "/go")
    eventually(lambda: not installation.client.get("/containers/json", {"all": True}), what="its removal")


def test_kills_at_any_moment_of_a_start_leave_nothing_half_made(installation: Installation) -> None:
    for pause in (0.0, 0.01, 0.03, 0.06, 0.1):
        starter = PtySession(
            ["docker", "run", "-d", "webdock/busybox", "sleep", "100"],
            installation.environ,
            rows=24,
            columns=80,
        )
        time.sleep(pause)
        kill_engine(installation)
        with starter:
            starter.wait(120)
    for container in installation.client.get("/containers/json", {"all": True}):
        assert container["State"] in ("created", "running", "exited")
        about = installation.client.get(f"/containers/{container['Id']}/json")
        assert about["State"]["Running"] == (container["State"] == "running")
    running = installation.client.get("/containers/json")
    installation.remove_containers()
    home = str(installation.home)

    def mounts() -> list[str]:
        mounted = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in mounted if home in line and "/merged" in line]

    eventually(lambda: not mounts(), what=f"no mount of {len(running)} that ran")


def test_the_engine_ends_cleanly_and_containers_go_on(installation: Installation) -> None:
    installation.webdock("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    pid = installation.client.get("/containers/stays/json")["State"]["Pid"]
    installation.down()
    os.kill(pid, 0)  # still there
    assert installation.up()
    assert installation.client.get("/containers/stays/json")["State"]["Pid"] == pid

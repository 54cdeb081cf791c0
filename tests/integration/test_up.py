"""``scripts/up`` and ``scripts/down``: from a clone nobody else may read, twice at once, killed between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers
from tests.integration.installation import ROOT, Installation, eventually
from tests.integration.web_shell import trespasses
from webdock.cli.setup import share_file


@pytest.fixture(scope="module")
def hidden_clone() -> Iterator[Path]:
    """What git knows of this tree, with an environment of its own, in a directory only root may enter."""
    closed = leftovers.directory("webdock-hidden-", "/var/tmp")
    closed.chmod(0o700)
    clone = closed / "clone"
    names = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    make_environment(clone)
    yield clone
    shutil.rmtree(closed)


def make_environment(clone: Path) -> None:
    """A .venv as pip would leave it, out of this one's packages; the scripts then find it up to date."""
    environment = clone / ".venv"
    python = Path(sys.executable).resolve()
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    packages = Path(f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")
    shutil.copytree(
        Path(sys.prefix) / packages, environment / packages, copy_function=share_file, dirs_exist_ok=True
    )
    (environment / packages / "webdock.pth").unlink(missing_ok=True)
    stamp = "cat requirements.txt constraints.txt requirements.txt; .venv/bin/python -VV"
    done = subprocess.run(
        f"{{ {stamp}; }} | sha256sum", shell=True, cwd=clone, capture_output=True, text=True, check=True
    )
    (environment / ".installed-requirements").write_text(done.stdout)


@pytest.fixture
def hidden(hidden_clone: Path) -> Iterator[Installation]:
    """An installation of the hidden clone, driven by its scripts, not started yet."""
    wrapper = hidden_clone / "scripts/webdock-under-test"
    wrapper.write_text('#!/bin/sh\nverb=$1; shift\nexec "$(dirname "$0")/$verb" "$@"\n')
    wrapper.chmod(0o755)
    installation = Installation("hidden", command=[str(wrapper)])
    yield installation
    installation.purge()


@pytest.fixture
def fresh() -> Iterator[Installation]:
    """An installation of this tree, not started yet."""
    installation = Installation("up")
    yield installation
    installation.purge()


def test_up_from_a_clone_the_web_user_cannot_read(hidden: Installation) -> None:
    said = hidden.up()
    assert hidden.url in said
    assert hidden.link.startswith(f"{hidden.url}/welcome/")
    assert f"installing a copy in {hidden.home}/app" in said
    assert hidden.page("/healthz")[0] == 200
    assert hidden.page("/login/")[0] == 200
    tags = {tag for image in hidden.client.get("/images/json") for tag in image["RepoTags"]}
    assert {"webdock/hello:latest", "webdock/busybox:latest"} <= tags
    assert hidden.docker("run", "--rm", "webdock/busybox", "echo", "lives").stdout == "lives\n"

    web = Path(f"/proc/{hidden.web_pid()}/status").read_text()
    assert "CapEff:\t0000000000000000" in web
    assert "CapBnd:\t0000000000000000" in web
    assert "NoNewPrivs:\t1" in web
    uid = int(next(line for line in web.splitlines() if line.startswith("Uid:")).split()[1])
    assert uid not in (0, 65534)
    assert (hidden.home / "web").stat().st_uid == uid
    assert (hidden.home / "web").stat().st_mode & 0o777 == 0o700
    assert (hidden.home / "engine").stat().st_uid == 0
    assert (hidden.home / "engine").stat().st_mode & 0o777 == 0o700
    assert (hidden.run / "engine.sock").stat().st_mode & 0o777 == 0o660
    for path in (hidden.home / "app").rglob("*"):
        assert path.lstat().st_uid == 0, path
    assert "running already" in hidden.webdock("up").stdout

    # Again: nothing is installed, copied or migrated a second time.
    hidden.down()
    before = written(hidden)
    said = hidden.up()
    assert "installing" not in said
    assert written(hidden) == before


def test_up_of_another_program_takes_the_first_ones_place_and_containers_go_on(hidden: Installation) -> None:
    hidden.up()
    hidden.docker("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    pid = hidden.docker("inspect", "-f", "{{.State.Pid}}", "stays").stdout
    (Path(hidden.command[0]).parents[1] / "webdock/__init__.py").touch()
    before = hidden.web_pid()
    said = hidden.up()
    assert "not this program" in said
    assert hidden.url in said
    assert hidden.web_pid() != before
    assert hidden.docker("inspect", "-f", "{{.State.Pid}}", "stays").stdout == pid
    assert "running already" in hidden.webdock("up").stdout


def written(installation: Installation) -> dict[Path, int]:
    """When each file of the program's copy was written."""
    return {path: path.lstat().st_mtime_ns for path in (installation.home / "app").rglob("*.py")}


def test_two_ups_at_once_make_one_instance(hidden: Installation) -> None:
    both = [
        subprocess.Popen(
            [*hidden.command, "up", "--detach"],
            env=hidden.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    texts = sorted("running already" in out for out, _ in said)
    assert texts == [False, True], said
    assert all(hidden.url in out for out, _ in said)


def test_a_killed_supervisor_leaves_nothing_that_stops_the_next_up(fresh: Installation) -> None:
    fresh.up()
    fresh.docker("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    supervisor = json.loads((fresh.home / "up.lock").read_text())["pid"]
    engine, web = fresh.engine_pid(), fresh.web_pid()
    os.kill(supervisor, signal.SIGKILL)
    for pid in (engine, web):
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists(), 60, f"the end of process {pid}")
    fresh.up()
    assert fresh.client.get("/containers/stays/json")["State"]["Running"]


def test_the_supervisor_starts_again_what_ends_and_each_line_of_the_logs_is_an_object(
    fresh: Installation,
) -> None:
    fresh.environ["WEBDOCK_LOG_FORMAT"] = "json"
    fresh.up()
    for kill in (fresh.web_pid, fresh.engine_pid):
        before = kill()
        os.kill(before, signal.SIGKILL)

        def is_new(kill: object = kill, before: int = before) -> bool:
            try:
                return callable(kill) and kill() != before
            except AssertionError:
                return False

        eventually(is_new, what="another process")
    eventually(lambda: answers(fresh), what="pages again")
    for name in ("engine", "web"):
        lines = (fresh.home / "log" / f"{name}.log").read_text().splitlines()
        said = [json.loads(line) for line in lines]
        assert all({"time", "level", "logger", "message"} <= set(one) for one in said)
        assert f"{name} ended, killed by SIGKILL" in [one["message"] for one in said]
        assert {one["logger"] for one in said} != {"supervisor"}, "the process itself said nothing"


def answers(installation: Installation) -> bool:
    try:
        return installation.page("/healthz")[0] == 200
    except OSError:
        return False


def test_ctrl_c_in_the_foreground_stops_both_and_containers_go_on(fresh: Installation) -> None:
    process = subprocess.Popen(
        [*fresh.command, "up"], env=fresh.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    line = ""
    while "webdock is ready" not in line:
        line = process.stdout.readline()
        assert line, "up ended before it was ready"
    fresh.docker("run", "-d", "--name", "stays", "webdock/busybox", "sleep", "1000")
    pid = fresh.client.get("/containers/stays/json")["State"]["Pid"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert not (fresh.run / "engine.sock").exists() or not answers(fresh)
    os.kill(pid, 0)


def test_a_taken_port_is_said_and_nothing_is_left_running(fresh: Installation) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", fresh.port))
        holder.listen()
        done = fresh.webdock("up", "--detach", check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{fresh.port} is taken by" in done.stdout + done.stderr
    assert not (fresh.run / "engine.sock").exists()


def test_a_mistake_in_the_configuration_is_said_with_file_and_key(fresh: Installation) -> None:
    fresh.config.write_text('runtime = "crun"\n\n[network]\nbridge_subnet = "not a subnet"\n')
    done = fresh.webdock("up", "--detach", check=False)
    fresh.config.write_text("")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"{fresh.config}:4: network.bridge_subnet: " in said


def test_stale_sockets_and_lock_files_are_no_hindrance(fresh: Installation) -> None:
    fresh.run.mkdir(parents=True)
    fresh.home.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(fresh.run / "engine.sock"))
    (fresh.run / "up.lock").write_text('{"pid": 1, "home": "/elsewhere", "run": "/elsewhere"}')
    (fresh.home / "up.lock").write_text("not even json")
    fresh.up()
    assert fresh.client.get("/_ping") == "OK"


def test_two_instances_run_side_by_side_and_neither_web_side_gets_at_the_other(
    fresh: Installation, installed: Installation
) -> None:
    fresh.up()
    for one in (fresh, installed):
        one.docker("run", "-d", "--name", "same-name", "webdock/busybox", "sleep", "1000")
    assert len(fresh.client.get("/containers/json")) == 1
    one = fresh.client.get("/containers/same-name/json")["NetworkSettings"]["Networks"]["bridge"]
    other = installed.client.get("/containers/same-name/json")["NetworkSettings"]["Networks"]["bridge"]
    assert one["Gateway"] != other["Gateway"]
    for intruder, other in ((fresh, installed), (installed, fresh)):
        container = other.client.get("/containers/same-name/json")["State"]["Pid"]
        conmon = int(Path(f"/proc/{container}/stat").read_text().rpartition(")")[2].split()[1])
        pids = [other.engine_pid(), other.web_pid(), container, conmon]
        assert trespasses(intruder, other, pids) == []
    assert trespasses(fresh, fresh, [fresh.web_pid()]), "it gets at its own"
    fresh.docker("rm", "-f", "same-name")
    assert installed.client.get("/containers/same-name/json")["State"]["Running"]
    installed.docker("rm", "-f", "same-name")
    shared = Installation("thief")
    try:
        shared.environ["WEBDOCK_RUN"] = str(fresh.run)
        done = shared.webdock("up", "--detach", check=False)
        assert done.returncode == 1
        assert "another instance" in done.stderr
    finally:
        shutil.rmtree(shared.root)


def test_down_without_up_says_so() -> None:
    idle = Installation("idle")
    try:
        done = idle.webdock("down")
        assert "not running" in done.stdout
    finally:
        shutil.rmtree(idle.root)

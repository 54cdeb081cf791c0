"""The stock docker clients, old and new, against our engine: what people type, on real terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import uuid
from pathlib import Path

import pytest

WAIT_S = 60.0
# The distribution's client, and a newer one where the machine has it.
CLIENTS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(path).exists()]


@pytest.fixture(params=CLIENTS or ["/usr/bin/docker"])
def docker(request: pytest.FixtureRequest, run: Path) -> Docker:
    assert Path(request.param).exists(), "this ring needs Debian's docker client"
    return Docker(request.param, str(run / "engine.sock"))


@pytest.fixture
def name() -> str:
    return f"cli_{uuid.uuid4().hex[:10]}"


class Docker:
    def __init__(self, program: str, socket: str) -> None:
        self.program = program
        config = Path(socket).parent / "docker-config"
        config.mkdir(exist_ok=True)
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(config)}

    def result(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.program, *args], input=stdin, capture_output=True, env=self.env, timeout=60, check=False
        )

    def __call__(self, *args: str, stdin: bytes = b"") -> str:
        done = self.result(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def terminal(self, *args: str) -> Terminal:
        return Terminal([self.program, *args], self.env)


class Terminal:
    """A program on a PTY, as a person would sit before it."""

    def __init__(self, argv: list[str], env: dict[str, str], size: tuple[int, int] = (24, 80)) -> None:
        self._seen = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, {**env, "TERM": "xterm"})
        self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, pattern: str) -> re.Match[bytes]:
        """Wait for output that matches, and forget everything up to its end."""
        wanted = re.compile(pattern.encode())
        deadline = time.monotonic() + WAIT_S
        while (found := wanted.search(self._seen)) is None:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self._seen!r}"
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            assert data, f"ended before {pattern!r}: {self._seen!r}"
            self._seen += data
        self._seen = self._seen[found.end() :]
        return found

    def end(self) -> int:
        """Wait for the program's end; its exit code."""
        while True:
            try:
                if not os.read(self._fd, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)


def test_version_and_info_name_us(docker: Docker) -> None:
    assert "Server: webdock" in docker("version")
    info = json.loads(docker("info", "--format", "{{json .}}"))
    assert info["OSType"] == "linux"
    assert info["ServerVersion"]


def test_images_lists_the_starter_images(docker: Docker) -> None:
    listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {"webdock/hello:latest", "webdock/busybox:latest"} <= set(listed)


def test_run_rm_says_hello_and_leaves_nothing(docker: Docker, name: str) -> None:
    assert "Hello from webdock!" in docker("run", "--rm", "--name", name, "webdock/hello")
    assert name not in docker("ps", "-a", "--format", "{{.Names}}")


def test_run_passes_streams_and_exit_code(docker: Docker) -> None:
    done = docker.result("run", "--rm", "webdock/busybox", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 42)


def test_run_i_passes_megabytes_both_ways(docker: Docker) -> None:
    data = os.urandom(3_000_000)
    done = docker.result("run", "--rm", "-i", "webdock/busybox", "cat", stdin=data)
    assert done.returncode == 0
    assert done.stdout == data


@pytest.mark.parametrize(("command", "code"), [("nosuchprogram", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_run_has_dockers_exit_codes(docker: Docker, command: str, code: int) -> None:
    done = docker.result("run", "--rm", "webdock/busybox", command)
    assert done.returncode == code
    assert command.encode() in done.stderr


def test_run_it_is_a_terminal(docker: Docker, name: str) -> None:
    terminal = docker.terminal("run", "-it", "--rm", "--name", name, "webdock/busybox", "sh")
    terminal.expect("# ")
    terminal.type("echo it is $((6 * 7))\n")
    terminal.expect("it is 42")
    terminal.resize(31, 97)
    terminal.type("until stty size | grep '31 97'; do sleep 0.02; done\n")
    terminal.expect("31 97\r\n")
    terminal.type("echo go''ing; sleep 1000\n")
    terminal.expect("going")
    time.sleep(0.1)  # so that it is the sleep, mostly, that is interrupted
    terminal.type("\x03")
    terminal.expect("# ")
    terminal.type("exit 7\n")
    assert terminal.end() == 7


def test_exec_it_is_a_terminal(docker: Docker, name: str) -> None:
    docker("run", "-d", "--name", name, "webdock/busybox", "sleep", "1000")
    terminal = docker.terminal("exec", "-it", "-e", "COLOUR=green", "-w", "/tmp", name, "sh")
    terminal.expect("# ")
    terminal.type("echo $COLOUR in $PWD\n")
    terminal.expect("green in /tmp")
    terminal.type("exit 3\n")
    assert terminal.end() == 3
    docker("rm", "-f", name)


def test_detach_keys_leave_and_attach_comes_back(docker: Docker, name: str) -> None:
    terminal = docker.terminal("run", "-it", "--name", name, "webdock/busybox", "sh")
    terminal.expect("# ")
    terminal.type("COLOUR=red\n")
    terminal.expect("# ")
    terminal.type("\x10\x11")
    terminal.end()
    assert docker("inspect", "-f", "{{.State.Running}}", name).strip() == "true"
    terminal = docker.terminal("attach", name)
    terminal.type("echo still $COLOUR\n")
    terminal.expect("still red")
    terminal.type("exit\n")
    assert terminal.end() == 0
    docker("rm", name)


def test_logs_f_follows_to_the_end(docker: Docker, name: str) -> None:
    docker("run", "-d", "--name", name, "webdock/busybox", "sh", "-c", "echo one; sleep 1; echo two")
    assert docker("logs", "-f", name) == "one\ntwo\n"
    assert docker("logs", "--tail", "1", name) == "two\n"
    docker("rm", name)


def test_ps_inspect_stop_rm(docker: Docker, name: str) -> None:
    container = docker(
        "run", "-d", "--name", name, "-l", "colour=blue", "webdock/busybox", "sleep", "1000"
    ).strip()
    assert len(container) == 64
    row = docker("ps", "--filter", f"name={name}", "--format", "{{.ID}} {{.Image}} {{.Status}}")
    assert row.startswith(f"{container[:12]} webdock/busybox Up ")
    assert json.loads(docker("inspect", container[:12]))[0]["Config"]["Labels"] == {"colour": "blue"}
    assert docker("stop", "-t", "0", name).strip() == name
    assert "Exited (137)" in docker("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}")
    assert docker("rm", name).strip() == name
    done = docker.result("inspect", name)
    assert done.returncode == 1
    assert b"no such object" in done.stderr.lower()


def test_cp_both_ways(docker: Docker, name: str, tmp_path: Path) -> None:
    docker("create", "--name", name, "webdock/busybox")
    (tmp_path / "note").write_text("hello")
    docker("cp", str(tmp_path / "note"), f"{name}:/tmp/note")
    docker("cp", f"{name}:/tmp/note", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "hello"
    docker("rm", name)


def test_tag_and_rmi(docker: Docker, name: str) -> None:
    docker("tag", "webdock/busybox", f"cli/{name}:one")
    assert f"cli/{name}" in docker("images", "--format", "{{.Repository}}")
    assert "Untagged" in docker("rmi", f"cli/{name}:one")


def test_commit_save_and_load(docker: Docker, name: str, tmp_path: Path) -> None:
    docker("run", "--name", name, "webdock/busybox", "sh", "-c", "echo made > /made")
    docker("commit", "-m", "why", name, f"cli/{name}:one")
    docker("save", "-o", str(tmp_path / "image.tar"), f"cli/{name}:one")
    docker("rm", name)
    docker("rmi", f"cli/{name}:one")
    assert f"cli/{name}:one" in docker("load", "-i", str(tmp_path / "image.tar"))
    assert docker("run", "--rm", f"cli/{name}:one", "cat", "/made") == "made\n"
    docker("rmi", f"cli/{name}:one")


def test_networks_and_volumes(docker: Docker, name: str) -> None:
    docker("network", "create", name)
    docker("volume", "create", name)
    docker(
        "run",
        "-d",
        "--name",
        name,
        "--network",
        name,
        "-v",
        f"{name}:/data",
        "webdock/busybox",
        "sleep",
        "1000",
    )
    assert name in docker("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", name)
    assert docker.result("volume", "rm", name).returncode == 1
    docker("rm", "-f", name)
    docker("network", "rm", name)
    docker("volume", "rm", name)


def test_stats_and_top(docker: Docker, name: str) -> None:
    docker("run", "-d", "--name", name, "webdock/busybox", "sleep", "1000")
    row = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", name))
    assert row["Name"] == name
    assert row["PIDs"] == "1"
    assert "sleep 1000" in docker("top", name)
    docker("rm", "-f", name)


def test_wait_and_events(docker: Docker, name: str) -> None:
    docker("run", "-d", "--name", name, "webdock/busybox", "sh", "-c", "sleep 0.5; exit 5")
    assert docker("wait", name).strip() == "5"
    docker("rm", name)
    told = docker(
        "events", "--since", "1m", "--until", str(int(time.time()) + 1), "--filter", f"container={name}"
    )
    for action in ("create", "start", "die", "destroy"):
        assert f" {action} " in told


def test_a_vanished_client_leaves_its_container_running(docker: Docker, name: str) -> None:
    argv = [docker.program, "run", "-i", "--name", name, "webdock/busybox", "sleep", "1000"]
    process = subprocess.Popen(argv, env=docker.env, stdin=subprocess.PIPE)
    deadline = time.monotonic() + WAIT_S
    while docker.result("inspect", "-f", "{{.State.Running}}", name).stdout.strip() != b"true":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    time.sleep(0.3)
    assert docker("inspect", "-f", "{{.State.Running}}", name).strip() == "true"
    docker("rm", "-f", name)


def test_build_says_why_not(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM webdock/busybox\n")
    shutil.copy("/bin/true", tmp_path / "true")
    done = subprocess.run(
        [docker.program, "build", str(tmp_path)],
        capture_output=True,
        env={**docker.env, "DOCKER_BUILDKIT": "0"},
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert b"not supported by this engine" in done.stderr

"""The engine as a process: start, refusals to start, stop, kill, its size at rest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers

ROOT = Path(__file__).resolve().parents[4]
WAIT_S = 60.0
IDLE_RSS_KIB = 70 << 10


class Instance:
    """A home and a run directory, and engines started on them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.config = base / "engine.toml"
        self.config.write_text("")
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def socket(self) -> Path:
        return self.base / "run" / "engine.sock"

    def env(self, **more: str) -> dict[str, str]:
        paths = {"WEBDOCK_HOME": f"{self.base}/home", "WEBDOCK_RUN": f"{self.base}/run"}
        return {**os.environ, **paths, "WEBDOCK_CONFIG": str(self.config), **more}

    def spawn(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "runtime.main", *args]
        process = subprocess.Popen(argv, env=self.env(**env), cwd=ROOT, stderr=subprocess.PIPE)
        self.processes.append(process)
        return process

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        process = self.spawn(*args, **env)
        deadline = time.monotonic() + WAIT_S
        while self.ask("/_ping") != b"OK":
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    def ask(self, path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT_S)
            try:
                client.connect(str(self.socket))
                client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = b""
                while data := client.recv(65536):
                    answer += data
            except OSError:
                return b""
        return answer.partition(b"\r\n\r\n")[2]


@pytest.fixture
def instance() -> Iterator[Instance]:
    base = leftovers.directory("eng-")
    base.chmod(0o711)
    instance = Instance(base)
    try:
        yield instance
    finally:
        for process in instance.processes:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
        argv = [sys.executable, "-m", "runtime.purge"]
        instance.config.write_text("")
        subprocess.run(argv, env=instance.env(), cwd=ROOT, check=True, timeout=60)
        shutil.rmtree(base, ignore_errors=True)


def test_term_ends_it_cleanly(instance: Instance) -> None:
    process = instance.start()
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, words.decode()
    assert not instance.socket.exists()
    assert b"Traceback" not in words


def test_a_second_engine_on_the_same_home_is_refused(instance: Instance) -> None:
    first = instance.start()
    second = instance.spawn(WEBDOCK_RUN=f"{instance.base}/other")
    _, words = second.communicate(timeout=WAIT_S)
    assert second.returncode == 1
    assert words.decode() == (
        f"webdock engine: another engine (process {first.pid}) works in {instance.base}/home/engine\n"
    )
    assert instance.ask("/_ping") == b"OK"


def test_a_second_engine_on_the_same_sockets_is_refused(instance: Instance) -> None:
    instance.start()
    second = instance.spawn(WEBDOCK_HOME=f"{instance.base}/other")
    _, words = second.communicate(timeout=WAIT_S)
    assert second.returncode == 1
    assert b"works in" in words
    assert instance.ask("/_ping") == b"OK"


def test_after_a_kill_the_next_one_takes_over(instance: Instance) -> None:
    first = instance.start()
    first.kill()
    first.wait()
    assert instance.socket.exists()
    instance.start()
    assert json.loads(instance.ask("/info"))["ID"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("runtime = 5", "engine.toml:1: runtime: must be a string, got int"),
        ("[policy]\nallowed_bind = []", "engine.toml:2: policy.allowed_bind: unknown key"),
        ("[policy", "engine.toml: Expected ']'"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(instance: Instance, config: str, words: str) -> None:
    instance.config.write_text(config)
    process = instance.spawn()
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert words in said.decode()
    assert said.count(b"\n") == 1


def test_an_unknown_flag_is_refused(instance: Instance) -> None:
    process = instance.spawn("--colour")
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert b"unrecognized arguments: --colour" in said


def test_flags_win_over_the_environment(instance: Instance) -> None:
    run = instance.base / "run"
    instance.start("--run", str(run), "--home", f"{instance.base}/home", WEBDOCK_RUN="/nonexistent/x")
    assert json.loads(instance.ask("/info"))["DockerRootDir"] == f"{instance.base}/home/engine"


def test_at_rest_it_is_small_and_knows_no_django(instance: Instance) -> None:
    process = instance.start()
    for _ in range(50):
        instance.ask("/info")
        instance.ask("/containers/json?all=1")
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < IDLE_RSS_KIB
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "django" not in maps


def test_the_engine_never_loads_django() -> None:
    script = (
        "import sys, runtime.main, runtime.engine, runtime.server.app\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('django', 'channels', 'daphne')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout.strip() == b"[]"


def test_the_supervisor_is_told_when_it_is_ready(instance: Instance) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(instance.base / "notify"))
        notify.settimeout(WAIT_S)
        process = instance.start(NOTIFY_SOCKET=str(instance.base / "notify"))
        assert notify.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert notify.recv(100) == b"STOPPING=1"


def test_a_request_under_way_is_answered_before_the_end(instance: Instance) -> None:
    process = instance.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(str(instance.socket))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: e\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        assert time.monotonic() - before < WAIT_S / 2  # whoever only follows does not hold it up
    assert process.returncode == 0

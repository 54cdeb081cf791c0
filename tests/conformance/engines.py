"""The engines the suite runs against: the fake one, ours as a process of its own, and Docker.

Each start is a context manager that gives the socket; what it made is gone afterwards. An engine that was
asked for starts, or the test fails.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests import leftovers
from tests.fakes.engine import FakeEngine

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 60.0


@contextmanager
def fake() -> Iterator[str]:
    with FakeEngine.in_thread() as engine:
        yield str(engine.socket)


@contextmanager
def native() -> Iterator[str]:
    """``runtime.main`` as root, with a home and a run directory of its own."""
    with _directory("native") as directory:
        home, run = directory / "home", directory / "run"
        env = {**os.environ, "WEBDOCK_HOME": str(home), "WEBDOCK_RUN": str(run)}
        config = directory / "engine.toml"
        config.write_text("")
        env["WEBDOCK_CONFIG"] = str(config)
        argv = [sys.executable, "-m", "runtime.main"]
        path = run / "engine.sock"
        with _process(argv, directory / "log", env, path):
            _load_starter_images(path)
            try:
                yield str(path)
            finally:
                _remove_containers(path)
        _purge(env)


@contextmanager
def docker() -> Iterator[str]:
    """Docker's own engine, on a bridge of its own and without touching the firewall."""
    bridge = f"cf{uuid.uuid4().hex[:8]}"
    subnet = f"172.29.{uuid.uuid4().int % 250}.1/24"
    with _directory("docker") as directory:
        leftovers.note("link", bridge)
        for argv in (
            ["ip", "link", "add", bridge, "type", "bridge"],
            ["ip", "address", "add", subnet, "dev", bridge],
            ["ip", "link", "set", bridge, "up"],
        ):
            subprocess.run(argv, check=True, timeout=10)
        path = directory / "docker.sock"
        argv = ["dockerd", "--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")]
        argv += [
            "-H",
            f"unix://{path}",
            "--pidfile",
            str(directory / "pid"),
            "-b",
            bridge,
            "--iptables=false",
        ]
        argv += ["--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        try:
            with _process(argv, directory / "log", dict(os.environ), path):
                _load_starter_images(path)
                try:
                    yield str(path)
                finally:
                    _remove_containers(path)
        finally:
            subprocess.run(["ip", "link", "delete", bridge], check=False, timeout=10)
            for mount in sorted(_mounts_below(directory), reverse=True):
                subprocess.run(["umount", "-l", mount], check=False, timeout=10)


STARTS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "fake": fake,
    "native": native,
    "docker": docker,
}


def asked_for() -> list[str]:
    """The engines of this run: CONFORMANCE_ENGINES, or all of them."""
    names = os.environ.get("CONFORMANCE_ENGINES", ",".join(STARTS)).split(",")
    unknown = set(names) - set(STARTS)
    if unknown:
        raise ValueError(
            f"CONFORMANCE_ENGINES names {', '.join(sorted(unknown))}; there are {', '.join(STARTS)}"
        )
    return names


@contextmanager
def _directory(kind: str) -> Iterator[Path]:
    # Short: a unix socket's path has at most 107 bytes.
    directory = leftovers.directory(f"cf-{kind}-")
    directory.chmod(0o711)  # mapped containers walk through it
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _process(argv: list[str], log: Path, env: dict[str, str], path: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=env, cwd=ROOT)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(
                f"{argv[0]} did not stop:\n{log.read_text(errors='replace')[-4000:]}"
            ) from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def _call(path: Path, method: str, target: str, data: bytes = b"") -> bytes:
    connection = _UnixConnection(path)
    try:
        connection.request(method, target, data, {"Content-Type": "application/x-tar"} if data else {})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 300 and answer.status != 404:
        raise RuntimeError(f"{method} {target}: {answer.status} {body[:500]!r}")
    return body


def _load_starter_images(path: Path) -> None:
    make = [sys.executable, "-m", "runtime.images.starter"]
    archive = subprocess.run(make, stdout=subprocess.PIPE, check=True, timeout=60, cwd=ROOT).stdout
    answer = _call(path, "POST", "/images/load", archive)
    if b"errorDetail" in answer:
        raise RuntimeError(f"the starter images cannot be loaded: {answer.decode()}")


def _remove_containers(path: Path) -> None:
    for container in json.loads(_call(path, "GET", "/containers/json?all=1")):
        _call(path, "DELETE", f"/containers/{container['Id']}?force=1&v=1")


def _mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{directory}/")]


def _purge(env: dict[str, str]) -> None:
    """Remove what our engine leaves for its next start."""
    subprocess.run([sys.executable, "-m", "runtime.purge"], env=env, check=True, timeout=60, cwd=ROOT)

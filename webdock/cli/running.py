"""What of an instance runs: who holds its locks, whether its two processes answer, and which of them are
stray.

It never starts anything. Locks are flock(2) on ``up.lock`` in home and run: they are free the moment their
holder is gone, so there is no stale pid file to believe in.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from webdock.cli.errors import Failure
from webdock.cli.http import Client
from webdock.cli.instance import DEFAULT_HOME, Instance

PING_TIMEOUT_S = 2.0
STRAY_TIMEOUT_S = 30.0
SYSTEMCTL_TIMEOUT_S = 30.0
DOWN_TIMEOUT_S = 60.0
UNITS = ("webdock-engine.service", "webdock-web.service")  # as in deploy/


def take_locks(instance: Instance) -> list[int] | None:
    """Lock home and run for as long as the descriptors are open, which needs no cleaning up after a crash.

    None when another supervisor has one of them. Both are locked: two instances must share neither.
    """
    held: list[int] = []
    for path in (instance.home_lock, instance.run_lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for taken in (*held, fd):
                os.close(taken)
            return None
        held.append(fd)
    return held


@contextmanager
def released(locks: list[int]) -> Iterator[None]:
    """Close the locks at the end, whatever happens between."""
    try:
        yield
    finally:
        for fd in locks:
            os.close(fd)


def write_owner(instance: Instance, locks: list[int], **more: object) -> None:
    """Say in the lock files who holds them."""
    about = {
        "pid": os.getpid(),
        "home": str(instance.home),
        "run": str(instance.run),
        "listen": instance.listen,
    }
    content = json.dumps({**about, "url": instance.url, **more}).encode() + b"\n"
    for fd in locks:
        os.ftruncate(fd, 0)
        os.pwrite(fd, content, 0)


def read_owner(path: Path) -> dict[str, object] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def engine_answers(instance: Instance) -> bool:
    """Whether both sockets are there and the engine says OK."""
    try:
        return (
            instance.web_socket.exists() and Client(f"unix://{instance.engine_socket}").get("/_ping") == "OK"
        )
    except Failure:
        return False


def ask_web(instance: Instance, timeout_s: float = PING_TIMEOUT_S) -> tuple[int, bytes] | None:
    """Status and body of /healthz; None when nobody answers in time."""
    parts = urlsplit(instance.local_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def web_answers(instance: Instance) -> bool:
    """Whether /healthz says 200."""
    said = ask_web(instance)
    return said is not None and said[0] == 200


def run_by_systemd(instance: Instance) -> bool:
    """Whether the services that ``scripts/install.sh`` made have this instance's engine or web running."""
    if str(instance.home) != DEFAULT_HOME or not Path("/run/systemd/system").is_dir():
        return False
    asked = subprocess.run(
        ["systemctl", "is-active", "--quiet", *UNITS], check=False, timeout=SYSTEMCTL_TIMEOUT_S
    )
    return asked.returncode == 0  # at least one of them


def stop_supervisor(instance: Instance) -> bool:
    """End the supervisor and wait until its locks are free; False when there was none."""
    if not instance.home.is_dir() or not instance.home_lock.exists():
        return False
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    asked = False
    while (locks := take_locks(instance)) is None:
        owner = instance.owner() or {}
        if not asked and isinstance(owner.get("pid"), int):
            try:
                os.kill(int(str(owner["pid"])), signal.SIGTERM)
                asked = True
            except ProcessLookupError:
                pass  # it is just ending, or has not written its number yet
        if time.monotonic() > deadline:
            raise Failure(f"the supervisor (process {owner.get('pid')}) does not stop")
        time.sleep(0.05)
    with released(locks):
        stop_strays(instance)
    return asked


def stop_strays(instance: Instance) -> None:
    """End an engine or web process that outlived its supervisor; whoever calls holds the locks."""
    mark = f"WEBDOCK_HOME={instance.home}".encode()
    for _ in range(100):
        strays = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                ours = b"webdock" in words and (b"engine" in words or b"web" in words)
                if ours and mark in (process / "environ").read_bytes().split(b"\0"):
                    strays.append(int(process.name))
            except OSError:
                continue
        if not strays:
            return
        for pid in strays:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        time.sleep(0.1)
    raise Failure(f"an old engine or web process of {instance.home} does not stop: {strays}")

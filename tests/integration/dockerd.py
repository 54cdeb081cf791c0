"""A real Docker engine of this machine, as the peer: in a network namespace of its own, so that its firewall
rules and bridges touch nothing of ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests import leftovers
from webdock.cli.errors import Failure
from webdock.cli.http import Client

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Dockerd:
    """Started by ``start``; ``stop`` removes its containers, processes, mounts and namespace."""

    def __init__(self) -> None:
        self.root = leftovers.directory("webdock-peer-", "/var/tmp")
        self.socket = self.root / "docker.sock"
        self.netns = self.root.name
        leftovers.note("netns", self.netns)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def client(self) -> Client:
        return Client(self.host, {})

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        argv = [
            "nsenter",
            f"--net=/run/netns/{self.netns}",
            "dockerd",
            f"--data-root={self.root}/root",
            f"--exec-root={self.root}/exec",
            f"--host={self.host}",
            f"--pidfile={self.root}/pid",
            f"--config-file={self.root}/none.json",
        ]
        (self.root / "none.json").write_text("{}")
        with open(self.root / "log", "wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self.client.get("/_ping")
                return
            except Failure:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"dockerd did not start:\n{self.log()}") from None
                time.sleep(0.1)

    def log(self) -> str:
        return "\n".join((self.root / "log").read_text(errors="replace").splitlines()[-30:])

    def stop(self) -> None:
        if self._process is not None:
            try:
                for container in self.client.get("/containers/json", {"all": True}):
                    self.client.delete(f"/containers/{container['Id']}", {"force": True, "v": True})
            except Failure:
                pass  # it is dying already; what follows ends the rest
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.root).encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(str(self.root))), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        subprocess.run(["ip", "netns", "delete", self.netns], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

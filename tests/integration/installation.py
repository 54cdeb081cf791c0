"""A whole webdock on this machine: real engine, real web, in directories and on a port of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.api.instances import instance_name
from runtime.config import load_config
from tests import leftovers
from webdock.cli.http import Client, Refused

ROOT = Path(__file__).resolve().parents[2]
UP_TIMEOUT_S = 180
COMMAND_TIMEOUT_S = 120

Done = subprocess.CompletedProcess[str]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now, and that the kernel hands out to nobody."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(given, 30_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def eventually(question: Callable[[], object], timeout_s: float = 60.0, what: str = "") -> object:
    """Ask until the answer is true; returns it, or fails with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {timeout_s} s: {what or question}")
        time.sleep(0.02)


class Installation:
    """Started with ``up``, ended with ``purge``, which must leave nothing behind."""

    def __init__(self, name: str, command: Sequence[str] | None = None, config: str = "") -> None:
        self.root = leftovers.directory(f"webdock-{name}-", "/var/tmp")
        self.root.chmod(0o755)  # the web user must be able to walk to its own directory
        self.home, self.run = self.root / "home", self.root / "run"
        self.config = self.root / "engine.toml"
        self.config.write_text(config)
        self.port = free_port()
        self.listen = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.listen}"
        self.command = list(command or [sys.executable, "-I", "-m", "webdock"])
        self.link = ""  # for the first administrator, after the first ``up``
        outside = {
            key: value for key, value in os.environ.items() if not key.startswith(("WEBDOCK_", "DOCKER_"))
        }
        self.environ = {
            **outside,
            "WEBDOCK_HOME": str(self.home),
            "WEBDOCK_RUN": str(self.run),
            "WEBDOCK_LISTEN": self.listen,
            "WEBDOCK_CONFIG": str(self.config),
            "DOCKER_HOST": f"unix://{self.run}/engine.sock",
            "DOCKER_CONFIG": str(self.root / "docker"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
        }

    @property
    def web_user(self) -> str:
        """Who its web side runs as."""
        return instance_name(self.home / "engine")

    # -- life ------------------------------------------------------------------------------------------------

    def up(self) -> str:
        """Start, wait until ready; what ``up`` printed."""
        done = self.execute([*self.command, "up", "--detach"], timeout_s=UP_TIMEOUT_S)
        if done.returncode != 0:
            raise AssertionError(f"up failed:\n{done.stdout}{done.stderr}\n{self.logs()}")
        found = re.search(r"http\S+/welcome/\S+", done.stdout)
        if found:
            self.link = found[0]
        return done.stdout + done.stderr

    def down(self) -> None:
        self.execute([*self.command, "down"], check=True)

    def purge(self) -> None:
        """Remove everything, directories included; fails when anything of it is left on the machine."""
        done = self.execute([*self.command, "down", "--purge", "--yes"])
        left = self.residue()
        logs = self.logs() if done.returncode or left else ""
        shutil.rmtree(self.root, ignore_errors=True)
        assert done.returncode == 0, f"down --purge failed:\n{done.stdout}{done.stderr}{logs}"
        assert not left, "left behind after a purge:\n" + "\n".join(left)

    def residue(self) -> list[str]:
        """Mounts, links, tables, cgroups, users and processes of this instance that are there now."""
        config = load_config(self.environ, self.config)
        found = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.root) in line
        ]
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        found += re.findall(rf"\b{re.escape(config.short)}[-0-9v][-\w]*(?=[:@])", links)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        table = config.instance.replace("-", "_")
        found += [line for line in tables.splitlines() if line.endswith(f" {table}")]
        for pattern in (config.instance, f"*/{config.instance}"):
            found += [str(path) for path in Path("/sys/fs/cgroup").glob(pattern)]
        for database in (Path("/etc/passwd"), Path("/etc/group")):
            found += [
                line for line in database.read_text().splitlines() if line.startswith(f"{self.web_user}:")
            ]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if str(self.home) in words:
                found.append(f"process {process.name}: {words}")
        return found

    def logs(self) -> str:
        """What engine and web have written, for a failure's report."""
        text = ""
        for path in sorted((self.home / "log").glob("*.log")):
            text += f"\n--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-60:])
        return text

    def engine_pid(self) -> int:
        """The process that serves engine.sock."""
        return self._pid_of(b"engine")

    def web_pid(self) -> int:
        return self._pid_of(b"web")

    def _pid_of(self, verb: bytes) -> int:
        mark = f"WEBDOCK_HOME={self.home}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[-2:-1] == [verb] and mark in (process / "environ").read_bytes().split(b"\0"):
                    return int(process.name)
            except OSError:
                continue
        raise AssertionError(f"no process `webdock {verb.decode()}` of {self.home}")

    # -- use -------------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        return Client(f"unix://{self.run}/engine.sock", {})

    def execute(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        check: bool = False,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> Done:
        """Run a command with this installation's environment."""
        done = subprocess.run(
            list(argv),
            env=self.environ,
            cwd="/",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}),  # type: ignore[call-overload]
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done  # type: ignore[no-any-return]

    def webdock(self, *arguments: str, input: str | None = None, check: bool = True) -> Done:
        return self.execute([*self.command, *arguments], input=input, check=check)

    def docker(self, *arguments: str, input: str | None = None, check: bool = True) -> Done:
        return self.execute(["docker", *arguments], input=input, check=check)

    def remove_containers(self) -> None:
        """Between tests: no container of one is seen by the next."""
        for container in self.client.get("/containers/json", {"all": True}):
            try:
                self.client.delete(f"/containers/{container['Id']}", {"force": True, "v": True})
            except Refused as error:
                if error.status not in (404, 409):  # it is removing itself
                    raise
        eventually(lambda: not self.client.get("/containers/json", {"all": True}), what="no container")

    def page(self, path: str, timeout_s: float = 60) -> tuple[int, str]:
        """Status and body of a page, without a login."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

"""A host of its own for every test: a fresh network namespace in which engines, firewalls and peers live.

The test's thread moves into it, and threads and programs started from there follow, so nothing here can
meet the machine's real networks.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.config import DEFAULT_POOLS, EngineConfig, NetworkConfig, instance_names
from runtime.events import EventHub, Subscription
from runtime.network import resolvconf
from runtime.network.endpoints import EndpointRequest, NetworkSetup
from runtime.network.networks import Networks, purge
from tests import leftovers

CLONE_NEWNET = 0x40000000
WAIT_S = 30.0  # for a packet that must come
SILENCE_S = 0.4  # for one that must not

_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace: Path | str) -> Iterator[None]:
    """Run the block with this thread in a network namespace."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    target = os.open(namespace, os.O_RDONLY)
    try:
        assert _libc.setns(target, CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert _libc.setns(back, CLONE_NEWNET) == 0
    finally:
        os.close(target)
        os.close(back)


@contextlib.contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program for the time of the block."""
    program = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


@contextlib.contextmanager
def user_namespace(directory: Path) -> Iterator[Path]:
    """A pinned user namespace whose ids begin at host id 1000000."""
    pinned = directory / "userns"
    pinned.touch()
    with running("unshare", "--user", "cat") as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text("0 1000000 65536")
        run("mount", "--bind", f"/proc/{holder.pid}/ns/user", str(pinned))
    try:
        yield pinned
    finally:
        run("umount", str(pinned))


class Host:
    """The namespace a test lives in, with one neighbour on an outside network.

    The host is 198.51.100.1 and 2001:db8:1::1 there, the neighbour 198.51.100.2 and 2001:db8:1::2.
    """

    address = "198.51.100.1"
    address6 = "2001:db8:1::1"
    neighbour_address = "198.51.100.2"

    def __init__(self, directory: Path) -> None:
        self.neighbour = directory / "neighbour"
        run("ip", "link", "set", "lo", "up")
        self.neighbour.touch()
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        run("mount", "--bind", f"/proc/{holder.pid}/ns/net", str(self.neighbour))
        run("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan0", "netns", str(holder.pid))
        holder.communicate()
        for where, last in (([], "1"), (["nsenter", f"--net={self.neighbour}"], "2")):
            run(*where, "ip", "link", "set", "lo", "up")
            run(*where, "ip", "address", "add", f"198.51.100.{last}/24", "dev", "wan0")
            run(*where, "ip", "address", "add", f"2001:db8:1::{last}/64", "dev", "wan0", "nodad")
            run(*where, "ip", "link", "set", "wan0", "up")

    def close(self) -> None:
        run("umount", "--lazy", str(self.neighbour))

    def interfaces(self) -> set[str]:
        return {entry["ifname"] for entry in json.loads(run("ip", "-json", "link"))}

    def ruleset(self) -> str:
        return run("nft", "list", "ruleset")


@pytest.fixture
def directory() -> Iterator[Path]:
    path = leftovers.directory("webdock-network-")
    yield path
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [place for place in mounted if place.startswith(str(path))]
    for place in reversed(left):
        run("umount", "--lazy", place, check=False)
    shutil.rmtree(path)
    assert not left, f"mounts were left: {left}"


@pytest.fixture
def host(directory: Path) -> Iterator[Host]:
    """A host of its own, entered by the test's thread."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert _libc.unshare(CLONE_NEWNET) == 0
    try:
        made = Host(directory)
        try:
            yield made
        finally:
            made.close()
    finally:
        assert _libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


class Site:
    """Engines' networks on one host; each call of ``start`` is a new life of the same or another engine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events = EventHub()
        self.followed: Subscription | None = None
        self.running: list[Networks] = []
        self.configs: dict[str, EngineConfig] = {}
        self.resolver = resolvconf.ResolvConf(["198.51.100.2"], ["example.test"], [])

    def config(self, name: str = "one", **network: Any) -> EngineConfig:
        home = self.directory / name / "engine"
        instance, short = instance_names(home)
        config = EngineConfig(
            home=home,
            run=self.directory / name / "run",
            instance=instance,
            short=short,
            network=NetworkConfig(**{"pools": DEFAULT_POOLS, "ready_namespaces": 2, **network}),
        )
        self.configs[name] = config
        return config

    async def start(self, name: str = "one", live: list[str] | None = None, **network: Any) -> Networks:
        config = self.config(name, **network)
        networks = Networks(
            config, self.events, config.home / "networks", host_resolver=lambda: self.resolver
        )
        await networks.start(live or [])
        self.running.append(networks)
        return networks

    async def stop(self, networks: Networks) -> None:
        self.running.remove(networks)
        await networks.close()


@pytest.fixture
async def site(host: Host, directory: Path) -> AsyncIterator[Site]:
    made = Site(directory)
    yield made
    for networks in list(made.running):
        await made.stop(networks)
    for config in made.configs.values():
        purge(config)
    left = {name for name in host.interfaces() if name.startswith("w") and name != "wan0"}
    assert not left, f"interfaces were left: {left}"
    assert "webdock" not in host.ruleset()


@pytest.fixture
async def networks(site: Site) -> Networks:
    return await site.start()


class Container:
    """A namespace an engine set up; its sockets are made by the test."""

    def __init__(self, id: str, setup: NetworkSetup) -> None:
        assert setup.netns_path is not None
        self.id = id
        self.setup = setup
        self.namespace = setup.netns_path
        self.address = next((entry["IPAddress"] for entry in setup.networks.values()), "")

    def run(self, *argv: str) -> str:
        return run("nsenter", f"--net={self.namespace}", *argv)

    def ip(self, *argv: str) -> Any:
        return json.loads(self.run("ip", "-json", *argv))

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with inside(self.namespace):
            yield


MakeContainer = Callable[..., Awaitable[Container]]


@pytest.fixture
def make_container(networks: Networks) -> MakeContainer:
    """``await make_container("web", networks=…, mode=…, port_bindings=…)``"""

    async def make(name: str = "", engine: Networks | None = None, **request: Any) -> Container:
        id = secrets.token_hex(32)
        wanted = {"mode": "default", "name": name or id[:8], "hostname": id[:12], **request}
        return Container(id, await (engine or networks).setup(id, EndpointRequest(**wanted)))

    return make


def bindings(*entries: str) -> dict[str, list[dict[str, str]]]:
    """``bindings("127.0.0.1:8080:80/tcp", ":53:53/udp")`` as PortBindings."""
    found: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        rest, port = entry.rsplit(":", 1)
        address, _, number = rest.rpartition(":")
        found.setdefault(port, []).append({"HostIp": address, "HostPort": number})
    return found


def listen(port: int, address: str = "0.0.0.0", kind: int = socket.SOCK_STREAM) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.settimeout(WAIT_S)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(16)
    except BaseException:
        made.close()
        raise
    return made


def connect(address: str, port: int, timeout_s: float = WAIT_S) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


def reaches(address: str, port: int, within_s: float = SILENCE_S) -> bool:
    """Whether a connection can be opened from where the caller is; who expects one gives it more time."""
    try:
        connect(address, port, within_s).close()
    except OSError:
        return False
    return True


def comes_to_reach(address: str, port: int) -> bool:
    """Whether a connection can be opened sooner or later: a program may have been started just now."""
    deadline = time.monotonic() + WAIT_S
    while not (found := reaches(address, port, WAIT_S)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found

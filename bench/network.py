"""Networks: what a start costs with one, how fast bytes and names go, against Docker's in the same run.

Each engine has a network namespace of its own as its host, so that neither passes the other's rules; a client
in a third one stands for another host, with a cable to each. Throughput is iperf3's, one stream, receiver's
count; its client and its server have a processor each, the same two for both engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench._measure import interleaved, milliseconds, run, table
from runtime.config import EngineConfig, instance_names
from runtime.events import EventHub
from runtime.network.endpoints import EndpointRequest
from runtime.network.networks import Networks, purge
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation

STARTS = 30
SANDBOXES = 100
STREAM_S = 1
STREAM_ROUNDS = 15
QUESTIONS = 2000
IMAGE = "webdock/bench-iperf"
PORT = 38201
CLIENT_CPU, SERVER_CPU = (sorted(os.sched_getaffinity(0)) * 2)[:2]
CLIENT = f"wdbench{os.getpid()}"
HOST = f"wdhost{os.getpid()}"

_ASK = """
import socket, sys, time
question = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6server\\0\\0\\1\\0\\1"
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.connect(("127.0.0.11", 53))
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    client.send(question)
    answer = client.recv(512)
    took = time.perf_counter() - began
    assert answer[7] == 1, answer
    print(took)
"""


def sh(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def image() -> bytes:
    """A root file system with nothing but iperf3 and its libraries."""
    program = sh("which", "iperf3").strip()
    files = {program, *re.findall(r"(/\S+) \(0x", sh("ldd", program))}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(files):
            tar.add(os.path.realpath(name), arcname=name.lstrip("/"))
        for name in ("tmp",):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    return packed.getvalue()


class Side:
    """One engine with its client, and where its host is."""

    def __init__(self, name: str, environ: Mapping[str, str], namespace: str, address: str) -> None:
        self.name = name
        self.environ = dict(environ)
        self.namespace = namespace
        self.address = address  # of its host, as the client sees it

    def docker(self, *argv: str, data: bytes | None = None) -> str:
        done = subprocess.run(
            ["docker", *argv], env=self.environ, input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def prepare(self, packed: bytes) -> None:
        self.docker("import", "-", IMAGE, data=packed)
        self.docker("network", "create", "bench")
        for name, cpu, *more in (("server", SERVER_CPU, "-p", f"{PORT}:5201"), ("idle", CLIENT_CPU)):
            where = ("--name", name, "--network", "bench", f"--cpuset-cpus={cpu}", *more)
            self.docker("run", "-d", *where, IMAGE, "iperf3", "-s")
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.server = self.docker("inspect", "--format", form, "server")
        self.pid = self.docker("inspect", "--format", "{{.State.Pid}}", "idle")

    def between_containers(self) -> float:
        return rate(self.docker("exec", "idle", *iperf(self.server, 5201)))

    def from_host(self) -> float:
        return rate(pinned(self.namespace, *iperf(self.server, 5201)))

    def through_port(self) -> float:
        return rate(pinned(CLIENT, *iperf(self.address, PORT)))

    def through_loopback(self) -> float:
        return rate(pinned(self.namespace, *iperf("127.0.0.1", PORT)))

    def names(self) -> list[float]:
        """Seconds of each question for another container's name, asked inside a container."""
        argv = ("nsenter", f"--net=/proc/{self.pid}/ns/net", sys.executable, "-c", _ASK, str(QUESTIONS))
        return [float(line) for line in sh(*argv).split()]


def pinned(namespace: str, *argv: str) -> str:
    """Run a client in a namespace on its processor."""
    return sh("ip", "netns", "exec", namespace, "taskset", "--cpu-list", str(CLIENT_CPU), *argv)


def iperf(address: str, port: int) -> tuple[str, ...]:
    return ("iperf3", "-c", address, "-p", str(port), "-t", str(STREAM_S), "-J")


def rate(report: str) -> float:
    """Gbit/s the receiver saw."""
    return float(json.loads(report)["end"]["sum_received"]["bits_per_second"]) / 1e9


@contextlib.contextmanager
def namespace(name: str) -> Iterator[None]:
    sh("ip", "netns", "add", name)
    try:
        sh("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        sh("ip", "netns", "delete", name)


def cable(number: int, host: str) -> str:
    """Wire the client to a host; the host's address."""
    end = f"wdb{number}"
    sh("ip", "-n", host, "link", "add", end, "type", "veth", "peer", "name", end, "netns", CLIENT)
    for place, last in ((host, 1), (CLIENT, 2)):
        sh("ip", "-n", place, "address", "add", f"198.18.{number}.{last}/24", "dev", end)
        sh("ip", "-n", place, "link", "set", end, "up")
    return f"198.18.{number}.1"


def enter(name: str) -> None:
    """Have this process, and what it starts, in a namespace."""
    with open(f"/run/netns/{name}") as opened:
        if ctypes.CDLL(None, use_errno=True).setns(opened.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def starts(ours: Installation) -> None:
    """What a network adds to a container's life on our engine."""

    def act(network: str) -> None:
        run(["docker", "run", "--rm", "--network", network, "webdock/hello"], ours.environ)

    run(["docker", "network", "create", "starts"], ours.environ)
    names = ("none", "bridge", "starts")
    times = interleaved({name: lambda name=name: act(name) for name in names}, STARTS)  # type: ignore[misc]
    table("docker run --rm webdock/hello, by network", times)
    for name in names[1:]:
        added = statistics.median(times[name]) - statistics.median(times["none"])
        print(f"  {name} adds {1000 * added:.1f} ms to none")
    run(["docker", "network", "rm", "starts"], ours.environ)


async def sandboxes(root: Path) -> None:
    """The network's own part of a start and an exit, without a container around it."""
    home = root / "engine"
    instance, short = instance_names(home)
    config = EngineConfig(home=home, run=root / "run", instance=instance, short=short)
    networks = Networks(config, EventHub(), home / "networks")
    await networks.start([])
    try:
        await networks.create({"Name": "named"})
        ports = {"80/tcp": [{"HostPort": str(PORT)}]}
        times: dict[str, list[float]] = {}
        for title, request in (
            ("default bridge", EndpointRequest(mode="default", name="x")),
            ("user network, a port", EndpointRequest(mode="named", name="x", port_bindings=ports)),
        ):
            up, down = times[f"set up, {title}"], times[f"take down, {title}"] = [], []
            for _ in range(SANDBOXES):
                await networks.settle()  # containers do not start at the same instant as others end
                began = time.perf_counter()
                await networks.setup("a" * 64, request)
                up.append(time.perf_counter() - began)
                began = time.perf_counter()
                await networks.teardown("a" * 64)
                down.append(time.perf_counter() - began)
        for title, values in times.items():
            print(f"  {title:<34} {milliseconds(values)}")
    finally:
        await networks.close()
        purge(config)


def streams(sides: list[Side]) -> None:
    for title, measure in (
        ("container to container", Side.between_containers),
        ("host to container", Side.from_host),
        ("another host, published port", Side.through_port),
        ("127.0.0.1, published port", Side.through_loopback),
    ):
        rates: dict[str, list[float]] = {side.name: [] for side in sides}
        for number in range(STREAM_ROUNDS):
            for side in sides if number % 2 else reversed(sides):  # neither gains by its turn
                rates[side.name].append(measure(side))
        own, other = (statistics.median(rates[side.name]) for side in sides)
        # Of each round by itself: what else the machine does changes between rounds.
        ratios = [one / two for one, two in zip(*rates.values(), strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        print(
            f"  {title:<30} webdock {own:6.1f}   docker {other:6.1f} Gbit/s"
            f"   ratio {ratio:.2f}   half of the rounds {low:.2f} to {high:.2f}"
        )


def main() -> None:
    with namespace(HOST), namespace(CLIENT):
        enter(HOST)
        print("the network's part of a start and an exit")
        with tempfile.TemporaryDirectory(prefix="webdock-bench-") as root:
            asyncio.run(sandboxes(Path(root)))
        ours, peer = Installation("bench-network"), Dockerd()
        try:
            ours.up()
            peer.start()
            starts(ours)
            sides = [
                Side("webdock", ours.environ, HOST, cable(0, HOST)),
                Side("docker", {**os.environ, "DOCKER_HOST": peer.host}, peer.netns, cable(1, peer.netns)),
            ]
            packed = image()
            for side in sides:
                side.prepare(packed)
            print(f"throughput, {STREAM_ROUNDS} rounds of {STREAM_S} s, CPU {CLIENT_CPU} to CPU {SERVER_CPU}")
            streams(sides)
            print(f"a name of another container, {QUESTIONS} questions")
            for side in sides:
                times = sorted(side.names())
                p99 = times[int(len(times) * 0.99)]
                print(f"  {side.name:<12} {milliseconds(times)}   99 % under {1000 * p99:.2f} ms")
            for side in sides:
                side.docker("rm", "-f", "server", "idle")
        finally:
            peer.stop()
            ours.purge()


if __name__ == "__main__":
    main()

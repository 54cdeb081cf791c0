"""Container verbs through the API, the same requests to both engines, and what watching and resting cost.

.venv/bin/python -m bench.api [PART]...      parts: run exec attach list logs output stats idle
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

from bench._measure import interleaved, processes, processor_s, run, table
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation
from webdock.cli.http import Client

IMAGE = "webdock/busybox"
ROUNDS = 30
ECHOES = 200
LISTED = 200
LOG_LINES = 400_000
OUTPUT_MIB = 300
OUTPUT_ROUNDS = 3
WATCHED = 50  # containers that `docker stats` shows
WATCH_S = 6.0
RESTING = 200  # containers that an idle engine has
REST_S = 10.0
SETTLE_S = 3.0  # after the last start
READ_BYTES = 1 << 18


class Engine:
    """One engine as a plain client of its socket sees it."""

    def __init__(self, path: str, processes: Callable[[], list[int]]) -> None:
        """processes: the engine's own, whose processor time is its."""
        self.path = path
        self.processes = processes
        self.client = Client(f"unix://{path}", {})

    def create(self, *command: str, name: str = "", **more: object) -> str:
        body = {"Image": IMAGE, "Cmd": list(command), "StopSignal": "KILL", **more}
        query = {"name": name} if name else None
        return str(self.client.post("/containers/create", query, body)["Id"])

    def start(self, *command: str, name: str = "", **more: object) -> str:
        container = self.create(*command, name=name, **more)
        self.client.post(f"/containers/{container}/start")
        return container

    def remove(self, container: str) -> None:
        self.client.delete(f"/containers/{container}", {"force": True, "v": True})

    def run(self) -> None:
        """Create, start, wait and remove."""
        container = self.start("true")
        ended = self.client.post(f"/containers/{container}/wait")
        assert ended["StatusCode"] == 0, ended
        self.remove(container)

    def exec(self, container: str, *command: str) -> tuple[int, int]:
        """(exit code, bytes of output with their frames)"""
        body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
        session = self.client.post(f"/containers/{container}/exec", None, body)["Id"]
        with self.upgraded(f"/exec/{session}/start", {"Detach": False, "Tty": False}) as wire:
            size = drained(wire)
        return int(self.client.get(f"/exec/{session}/json")["ExitCode"]), size

    def upgraded(self, path: str, body: object = None) -> socket.socket:
        """A connection whose head was read; the engine's output follows."""
        wire = socket.socket(socket.AF_UNIX)
        wire.connect(self.path)
        data = json.dumps(body).encode() if body is not None else b""
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        wire.sendall(head.encode() + data)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += (byte := wire.recv(1))
            if not byte:
                raise RuntimeError(f"{path}: the engine closed after {answer!r}")
        return wire


def drained(wire: socket.socket) -> int:
    """The bytes that come until the engine closes."""
    buffer = bytearray(READ_BYTES)
    size = 0
    while count := wire.recv_into(buffer):
        size += count
    return size


class Echo:
    """A container's terminal that gives back what is typed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.container = engine.create("cat", Tty=True, OpenStdin=True)
        query = urlencode({"stream": 1, "stdin": 1, "stdout": 1})
        self.wire = engine.upgraded(f"/containers/{self.container}/attach?{query}")
        engine.client.post(f"/containers/{self.container}/start")

    def key(self) -> None:
        self.wire.sendall(b"x")
        if not self.wire.recv(16):
            raise RuntimeError("the terminal has closed")

    def close(self) -> None:
        self.wire.close()
        self.engine.remove(self.container)


def rates(title: str, unit: str, amount: float, acts: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print what each does per second, and the first's share of the others'."""
    times = {name: statistics.median(values) for name, values in interleaved(acts, rounds, warm_up=1).items()}
    print(title)
    first, *others = times
    for name, seconds in times.items():
        print(f"  {name:<28} median {amount / seconds:10.1f} {unit}")
    for other in others:
        print(f"  {first} has {times[other] / times[first]:.2f} of the rate of {other}")


def part_run(engines: dict[str, Engine]) -> None:
    acts = {name: engine.run for name, engine in engines.items()}
    table("create + start + wait + remove of `true`, with a network", interleaved(acts, ROUNDS))


def part_exec(engines: dict[str, Engine]) -> None:
    containers = {name: engine.start("sleep", "100000") for name, engine in engines.items()}
    acts = {
        name: lambda engine=engine, container=containers[name]: engine.exec(container, "true")
        for name, engine in engines.items()
    }
    table("exec of `true`: create, start, output's end, exit code", interleaved(acts, ROUNDS))
    for name, engine in engines.items():
        engine.remove(containers[name])


def part_attach(engines: dict[str, Engine]) -> None:
    echoes = {name: Echo(engine) for name, engine in engines.items()}
    times = interleaved({name: echo.key for name, echo in echoes.items()}, ECHOES, warm_up=20)
    table("a key typed into an attached terminal until its echo", times)
    for echo in echoes.values():
        echo.close()


def part_list(engines: dict[str, Engine]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for engine in engines.values():
            began = time.perf_counter()
            made = list(pool.map(lambda n, engine=engine: engine.create("true", name=f"l{n}"), range(LISTED)))
            print(f"  {len(made)} created in {time.perf_counter() - began:.1f} s")
    acts = {
        name: lambda engine=engine: engine.client.get("/containers/json", {"all": True})
        for name, engine in engines.items()
    }
    table(f"list of {LISTED} containers", interleaved(acts, ROUNDS))
    with ThreadPoolExecutor(4) as pool:
        for engine in engines.values():
            list(pool.map(lambda n, engine=engine: engine.remove(f"l{n}"), range(LISTED)))


def part_logs(engines: dict[str, Engine]) -> None:
    script = f"yes 'a line of a log as programs write them, some sixty bytes' | head -n {LOG_LINES}"

    def write(engine: Engine) -> str:
        container = engine.start("sh", "-c", script)
        engine.client.post(f"/containers/{container}/wait")
        return container

    def written(engine: Engine) -> None:
        engine.remove(write(engine))

    acts: dict[str, Callable[[], object]] = {
        name: lambda engine=engine: written(engine) for name, engine in engines.items()
    }
    rates("log lines written by a container", "lines/s", LOG_LINES, acts, OUTPUT_ROUNDS)
    kept = {name: write(engine) for name, engine in engines.items()}

    def read(engine: Engine, container: str) -> int:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(engine.path)
            path = f"/containers/{container}/logs?stdout=1"
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n".encode())
            return drained(wire)

    acts = {name: lambda e=engine, c=kept[name]: read(e, c) for name, engine in engines.items()}
    rates("log lines read through the API", "lines/s", LOG_LINES, acts, OUTPUT_ROUNDS)
    for name, engine in engines.items():
        engine.remove(kept[name])


def part_output(engines: dict[str, Engine]) -> None:
    containers = {name: engine.start("sleep", "100000") for name, engine in engines.items()}
    command = ("head", "-c", str(OUTPUT_MIB << 20), "/dev/zero")

    def output(engine: Engine, container: str) -> None:
        code, size = engine.exec(container, *command)
        if code != 0 or size < OUTPUT_MIB << 20:
            raise RuntimeError(f"{command[0]} ended with {code} after {size} bytes")

    acts = {name: lambda e=engine, c=containers[name]: output(e, c) for name, engine in engines.items()}
    rates(f"{OUTPUT_MIB} MiB of an exec's output", "MiB/s", OUTPUT_MIB, acts, OUTPUT_ROUNDS)
    for name, engine in engines.items():
        engine.remove(containers[name])


def many(engine: Engine, count: int) -> list[str]:
    """Containers that run and do nothing."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: engine.start("sleep", "100000"), range(count)))


def gone(engine: Engine, containers: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(engine.remove, containers))


def share(engine: Engine, seconds: float) -> float:
    """Of one processor, what the engine takes over a while."""
    pids = engine.processes()
    spent, began = sum(map(processor_s, pids)), time.monotonic()
    time.sleep(seconds)
    return (sum(map(processor_s, pids)) - spent) / (time.monotonic() - began)


def part_stats(engines: dict[str, Engine]) -> None:
    made = {name: many(engine, WATCHED) for name, engine in engines.items()}
    environs = {name: {"DOCKER_HOST": f"unix://{engine.path}"} for name, engine in engines.items()}
    argv = ["docker", "stats"]
    once = {name: lambda e=environ: run([*argv, "--no-stream"], e) for name, environ in environs.items()}
    table(f"docker stats --no-stream of {WATCHED} containers", interleaved(once, OUTPUT_ROUNDS, warm_up=1))
    taken: dict[str, float] = {}
    for name, engine in engines.items():
        with subprocess.Popen(argv, env=environs[name], stdout=subprocess.DEVNULL) as watching:
            time.sleep(SETTLE_S)
            taken[name] = share(engine, WATCH_S)
            watching.terminate()
    shares(f"engine while docker stats shows {WATCHED} containers", taken)
    for name, engine in engines.items():
        gone(engine, made[name])


def part_idle(engines: dict[str, Engine]) -> None:
    made = {name: many(engine, RESTING) for name, engine in engines.items()}
    time.sleep(SETTLE_S)
    shares(f"idle engine with {RESTING} containers", {n: share(e, REST_S) for n, e in engines.items()})
    for name, engine in engines.items():
        gone(engine, made[name])


def shares(title: str, taken: dict[str, float]) -> None:
    print(title)
    for name, part in taken.items():
        print(f"  {name:<28} {100 * part:6.2f} % of a processor")
    first, peer = taken
    print(f"  {first} takes {taken[first] / taken[peer] if taken[peer] else 0:.2f} of the time of {peer}")


PARTS = {
    "run": part_run,
    "exec": part_exec,
    "attach": part_attach,
    "list": part_list,
    "logs": part_logs,
    "output": part_output,
    "stats": part_stats,
    "idle": part_idle,
}


def main(parts: list[str]) -> None:
    ours, peer = Installation("bench"), Dockerd()
    try:
        ours.up()
        peer.start()
        saved = subprocess.run(["docker", "save", IMAGE], env=ours.environ, check=True, capture_output=True)
        theirs = {**ours.environ, "DOCKER_HOST": peer.host}
        subprocess.run(["docker", "load"], env=theirs, input=saved.stdout, check=True, capture_output=True)
        version = peer.client.get("/version")["Version"]
        engines = {
            "webdock": Engine(str(ours.run / "engine.sock"), lambda: [ours.engine_pid()]),
            f"docker {version}": Engine(str(peer.socket), lambda: processes(str(peer.root))),
        }
        for part in parts or PARTS:
            PARTS[part](engines)
    finally:
        peer.stop()
        ours.purge()


if __name__ == "__main__":
    main(sys.argv[1:])

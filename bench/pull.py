"""Pull, load and save: the same client, the same registry on loopback, against both engines in turns.

Every round fetches images nobody has seen, so nothing has to be removed in between. The last lines of each
table say how far the limit is: what SHA-256 over what is fetched, and writing what it unpacks to, take alone.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from bench._measure import resident_mib, run, table, timed
from tests.fakes.image_files import Image, Layer, file, tar
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation
from tests.integration.registry import RealRegistry

ROUNDS = 3
FILES = 30_000
DISK_BYTES = 24 << 30  # sparse
INSIDE = "WEBDOCK_BENCH_INSIDE"
SAMPLE_S = 0.02
LIBRARIES = ("/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")


def material() -> Iterator[bytes]:
    """This machine's programs and libraries, over and over: what layers really hold."""
    paths = [
        path
        for directory in map(Path, LIBRARIES)
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 50_000
    ]
    for path in cycle(paths):
        yield path.read_bytes()


def large(source: Iterator[bytes], size: int, mark: str) -> Layer:
    """A layer of large files."""
    members, total = [file("mark", mark.encode())], 0
    while total < size:
        data = next(source)
        members.append(file(f"data/{len(members):05}", data))
        total += len(data)
    return Layer(tar(*members))


def many(count: int, mark: str) -> Layer:
    """A layer of this machine's /usr, as a Debian of so many files."""
    listed = subprocess.run(
        ["find", "/usr", "-xdev", "-size", "-512k"], capture_output=True, check=True
    ).stdout
    names = b"\n".join(listed.splitlines()[:count])
    packed = subprocess.run(
        ["tar", "--no-recursion", "--numeric-owner", "-c", "-C", "/", "-T", "-"],
        input=names,
        capture_output=True,
        check=False,  # a file may have gone since it was listed
    ).stdout
    return Layer(tar(file("mark", mark.encode()))[:1024] + packed)


KINDS: dict[str, Callable[[Iterator[bytes], str], Image]] = {
    "one layer of 300 MB": lambda source, mark: Image([large(source, 300 << 20, mark)]),
    "four layers of 75 MB": lambda source, mark: Image(
        [large(source, 75 << 20, f"{mark} {at}") for at in range(4)]
    ),
    "30,000 files": lambda source, mark: Image([many(FILES, mark)]),
    "60 tiny layers": lambda source, mark: Image(
        [Layer(tar(file(f"f{at}", os.urandom(2000)))) for at in range(60)]
    ),
}


class Memory:
    """The most that the engine, and the engine with its unpack workers, had resident meanwhile."""

    def __init__(self, pid: int) -> None:
        self.engine_mib = self.all_mib = 0.0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                engine = resident_mib(self._pid)
                everybody = engine + sum(proportional_mib(pid) for pid in descendants(self._pid))
            except OSError:
                continue
            self.engine_mib = max(self.engine_mib, engine)
            self.all_mib = max(self.all_mib, everybody)


def descendants(pid: int) -> list[int]:
    """The unpack worker and its children: an engine without containers has no others."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def proportional_mib(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            return sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024
    except OSError:
        return 0.0


def alone(image: Image, place: Path) -> tuple[float, float]:
    """(seconds of SHA-256 over the blobs, seconds of writing the unpacked bytes to one file)."""
    total = sum(len(layer.archive) for layer in image.layers)
    piece = os.urandom(1 << 20)

    def write() -> None:
        with tempfile.TemporaryFile(dir=place) as target:
            for _ in range(total >> 20):
                target.write(piece)
            target.flush()
            os.fdatasync(target.fileno())

    return timed(lambda: [hashlib.sha256(layer.blob).digest() for layer in image.layers]), timed(write)


class Contest:
    """Both engines and the registry they fetch from."""

    def __init__(self, ours: Installation, peer: Dockerd, registry: RealRegistry) -> None:
        self._registry = registry
        self._place = ours.root
        self._engine = ours.engine_pid()
        self.other = f"docker {peer.client.get('/version')['Version']}"
        self.environs = {"webdock": ours.environ, self.other: {**os.environ, "DOCKER_HOST": peer.host}}

    def put(self, kind: str, mark: str) -> tuple[str, Image]:
        """An image nobody has seen, in the registry."""
        image = KINDS[kind](material(), mark)
        repository = f"bench/{hashlib.sha256(mark.encode()).hexdigest()[:12]}"
        self._registry.put(repository, "latest", image)
        return f"{self._registry.host}/{repository}:latest", image

    def pull(self, kind: str) -> None:
        times: dict[str, list[float]] = {who: [] for who in self.environs}
        engine_mib = all_mib = 0.0
        for at in range(ROUNDS):
            name, image = self.put(kind, f"{kind} {at}")
            subprocess.run(["sync"], check=True)
            for who, environ in self.environs.items():
                with Memory(self._engine) as memory:
                    times[who].append(timed(lambda: run(["docker", "pull", "-q", name], environ)))  # noqa: B023
                engine_mib, all_mib = max(engine_mib, memory.engine_mib), max(all_mib, memory.all_mib)
        fetched = sum(len(layer.blob) for layer in image.layers) / (1 << 20)
        unpacked = sum(len(layer.archive) for layer in image.layers) / (1 << 20)
        table(f"pull: {kind} ({fetched:.1f} MiB fetched, {unpacked:.1f} MiB unpacked)", times)
        hashing, writing = alone(image, self._place)
        print(f"  alone: SHA-256 {1000 * hashing:.0f} ms, writing and syncing {1000 * writing:.0f} ms")
        print(f"  at most resident: engine {engine_mib:.0f} MiB, with its unpack workers {all_mib:.0f} MiB")

    def archives(self, kind: str) -> None:
        """Save what was pulled; load what an old Docker would have saved."""
        saves: dict[str, list[float]] = {who: [] for who in self.environs}
        loads: dict[str, list[float]] = {who: [] for who in self.environs}
        for at in range(ROUNDS):
            name, _ = self.put(kind, f"archive {kind} {at}")
            with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="webdock-bench-") as place:
                archive = f"docker-archive:{place}/in.tar:bench/loaded:{at}"
                run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", archive], os.environ)
                for who, environ in self.environs.items():
                    load = ["docker", "load", "-q", "-i", f"{place}/in.tar"]
                    save = ["docker", "save", "-o", f"{place}/out.tar", f"bench/loaded:{at}"]
                    loads[who].append(timed(lambda: run(load, environ)))  # noqa: B023
                    saves[who].append(timed(lambda: run(save, environ)))  # noqa: B023
        table(f"load: {kind}", loads)
        table(f"save: {kind}", saves)


def on_a_disk_of_its_own() -> None:
    """Start again where /var/tmp is a fresh ext4 with a journal, as machines have it, seen by nobody else.

    What other work has just deleted slows the making of files down on a disk both engines share with it.
    """
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="webdock-bench-") as image:
        os.truncate(image.name, DISK_BYTES)
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-E", lazy, image.name], check=True)
        inside = f'mount -o loop {image.name} /var/tmp && exec "$@"'
        argv = ["unshare", "--mount", "--propagation=private", "sh", "-c", inside, "sh", sys.executable]
        done = subprocess.run([*argv, "-m", "bench.pull"], env={**os.environ, INSIDE: "1"}, check=False)
    sys.exit(done.returncode)


def main() -> None:
    if INSIDE not in os.environ:
        on_a_disk_of_its_own()
    peer, registry = Dockerd(), RealRegistry()
    ours = Installation("bench", config=f'[registries."{registry.host}"]\ninsecure = true\n')
    twin: subprocess.Popen[bytes] | None = None
    try:
        registry.start()
        ours.up()
        peer.start()
        # The peer lives in a network namespace of its own: a second server there has the same images.
        twin = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{peer.netns}", "docker-registry", "serve", registry.config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        contest = Contest(ours, peer, registry)
        for kind in KINDS:
            contest.pull(kind)
        for kind in ("four layers of 75 MB", "30,000 files"):
            contest.archives(kind)
    finally:
        if twin is not None:
            twin.terminate()
            twin.wait()
        peer.stop()
        ours.purge()
        registry.stop()


if __name__ == "__main__":
    main()

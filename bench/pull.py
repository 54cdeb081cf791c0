"""Pull, load, save and import: the same registry on loopback, against webdock, podman and Docker in turns.

.venv/bin/python -m bench.pull [PART]…: ``pull-one``, ``import-files`` …; ``import`` is every import.

webdock and Docker are asked by the same client; podman, which has no engine, is a command of its own.

Every round fetches images nobody has seen, and what was made is removed after it, for the disk's sake. Who
takes longer than a limit is stopped, which is printed, and left out of the rest of the table. The last lines
of each table say how far the limit is: what SHA-256 over what is fetched, and writing what it unpacks to,
take alone.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from types import FrameType

from bench._measure import resident_mib, run, table, timed
from tests.fakes.image_files import Image, Layer, file, tar
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation
from tests.integration.registry import RealRegistry

ROUNDS = 3
ACT_MAX_S = 120.0  # one pull, load, save or import of one side
FILES = 30_000
DISK_BYTES = 24 << 30  # sparse
INSIDE = "WEBDOCK_BENCH_INSIDE"
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAMPLE_S = 0.02
MIB = 1 << 20
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


def writing_s(size_bytes: int, place: Path) -> float:
    """Seconds of writing so much to one file until the disk has it."""
    piece = os.urandom(MIB)

    def write() -> None:
        with tempfile.TemporaryFile(dir=place) as target:
            for _ in range(size_bytes // MIB):
                target.write(piece)
            target.flush()
            os.fdatasync(target.fileno())

    return timed(write)


@dataclass(frozen=True)
class Side:
    """One of those compared."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    podman: bool = False


Times = dict[str, list[float]]


class Contest:
    """Both engines and the registry they fetch from."""

    def __init__(self, ours: Installation, peer: Dockerd, registry: RealRegistry) -> None:
        self._registry = registry
        self._podman_root = ours.root / "podman"
        self._place = ours.root
        self._engine = ours.engine_pid()
        self._late: set[str] = set()  # who was stopped in this table
        docker = {**os.environ, "DOCKER_HOST": peer.host}
        podman = ["podman", f"--root={self._podman_root}", f"--runroot={self._podman_root}-run"]
        told = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True).stdout
        self.sides = {
            "webdock": Side(["docker"], ours.environ),
            f"podman {told.split()[-1]}": Side([*podman, "--log-level=error"], dict(os.environ), podman=True),
            f"docker {peer.client.get('/version')['Version']}": Side(["docker"], docker),
        }

    def put(self, kind: str, mark: str) -> tuple[str, Image]:
        """An image nobody has seen, in the registry."""
        image = KINDS[kind](material(), mark)
        repository = f"bench/{hashlib.sha256(mark.encode()).hexdigest()[:12]}"
        self._registry.put(repository, "latest", image)
        return f"{self._registry.host}/{repository}:latest", image

    def forget(self) -> None:
        """Remove what was measured from every side."""
        ours = ["--filter", "reference=*/bench/*", "--filter", "reference=bench/*"]
        for side in self.sides.values():
            argv = [*side.argv, "images", "-q", "--no-trunc", *([] if side.podman else ours)]
            listed = subprocess.run(
                argv, env=dict(side.environ), capture_output=True, text=True, check=True
            ).stdout
            if images := list(dict.fromkeys(listed.split())):
                run([*side.argv, "rmi", "-f", *images], side.environ)

    def close(self) -> None:
        """What podman keeps; the others are ended by who started them."""
        podman = next(side for side in self.sides.values() if side.podman)
        subprocess.run([*podman.argv, "rmi", "-a", "-f"], capture_output=True, check=False)
        subprocess.run(["umount", "-R", self._podman_root / "overlay"], capture_output=True, check=False)

    def measure(
        self,
        words: Mapping[str, Sequence[str]],
        times: Times,
        most: Memory,
        target: Path | None = None,
    ) -> None:
        """Run each side's command once, taking its time; and our engine's memory meanwhile.

        ``target`` is what it writes, removed before: podman does not write over an archive.
        """
        for who, side in self.sides.items():
            if who in self._late:
                continue
            if target is not None:
                target.unlink(missing_ok=True)
            argv = [*side.argv, *words["podman" if side.podman else "docker"]]
            try:
                with Memory(self._engine) as memory:
                    times[who].append(timed(partial(run, argv, side.environ, ACT_MAX_S)))
            except subprocess.TimeoutExpired:
                print(f"{who} did not finish within {ACT_MAX_S:g} s: {' '.join(argv)}", flush=True)
                self._late.add(who)
                times.pop(who)
                continue
            if who == "webdock":
                most.engine_mib = max(most.engine_mib, memory.engine_mib)
                most.all_mib = max(most.all_mib, memory.all_mib)

    def times(self) -> Times:
        return {who: [] for who in self.sides}

    def pull(self, kind: str) -> None:
        times, most = self.times(), Memory(self._engine)
        for at in range(ROUNDS):
            name, image = self.put(kind, f"{kind} {at}")
            subprocess.run(["sync"], check=True)
            plain = ["pull", "-q", name]
            self.measure({"docker": plain, "podman": [*plain, "--tls-verify=false"]}, times, most)
            self.forget()
        fetched = sum(len(layer.blob) for layer in image.layers)
        self.tell(f"pull: {kind}", times, most, [layer.blob for layer in image.layers], unpacked(image))
        print(f"  {fetched / MIB:.1f} MiB were fetched, {unpacked(image) / MIB:.1f} MiB unpacked")

    def archives(self, kind: str) -> None:
        """Load what an old Docker would have saved, and save it again."""
        loads, saves, most, most_saving = (
            self.times(),
            self.times(),
            Memory(self._engine),
            Memory(self._engine),
        )
        for at in range(ROUNDS):
            name, image = self.put(kind, f"archive {kind} {at}")
            with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="webdock-bench-") as place:
                archive = f"docker-archive:{place}/in.tar:docker.io/bench/loaded:{at}"
                run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", archive], os.environ)
                subprocess.run(["sync"], check=True)
                load = ["load", "-q", "-i", f"{place}/in.tar"]
                self.measure({"docker": load, "podman": load}, loads, most)
                save = ["save", "-o", f"{place}/out.tar", f"docker.io/bench/loaded:{at}"]
                words = {"docker": save, "podman": [save[0], "-q", *save[1:]]}
                self.measure(words, saves, most_saving, Path(place, "out.tar"))
                self.forget()
        pieces = [layer.archive for layer in image.layers]
        self.tell(f"load: {kind}", loads, most, pieces, 2 * unpacked(image))
        self.tell(f"save: {kind}", saves, most_saving, [], unpacked(image))

    def imports(self, kind: str) -> None:
        """A root file system's archive, not compressed, as `docker export` gives it."""
        times, most = self.times(), Memory(self._engine)
        for at in range(ROUNDS):
            layer = KINDS[kind](material(), f"import {kind} {at}").layers[0]
            with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="webdock-bench-") as place:
                Path(place, "root.tar").write_bytes(layer.archive)
                subprocess.run(["sync"], check=True)
                words = ["import", f"{place}/root.tar", f"docker.io/bench/imported:{at}"]
                self.measure({"docker": words, "podman": [words[0], "-q", *words[1:]]}, times, most)
                self.forget()
        self.tell(f"import: {kind}", times, most, [layer.archive], 2 * len(layer.archive))

    def tell(
        self, title: str, times: Times, most: Memory, hashed: Sequence[bytes], written_bytes: int
    ) -> None:
        self._late.clear()
        measured = {who: taken for who, taken in times.items() if taken}
        if "webdock" in measured:
            table(title, measured)
        else:
            print(f"{title}: {measured}")
        hashing = timed(lambda: [hashlib.sha256(piece).digest() for piece in hashed])
        writing = writing_s(written_bytes, self._place)
        print(f"  alone: SHA-256 {1000 * hashing:.0f} ms, writing and syncing {1000 * writing:.0f} ms")
        print(
            f"  at most resident: engine {most.engine_mib:.0f} MiB, with its workers {most.all_mib:.0f} MiB"
        )


def unpacked(image: Image) -> int:
    return sum(len(layer.archive) for layer in image.layers)


PARTS: dict[str, Callable[[Contest], None]] = {
    "pull-one": lambda contest: contest.pull("one layer of 300 MB"),
    "pull-four": lambda contest: contest.pull("four layers of 75 MB"),
    "pull-files": lambda contest: contest.pull("30,000 files"),
    "pull-layers": lambda contest: contest.pull("60 tiny layers"),
    "load-four": lambda contest: contest.archives("four layers of 75 MB"),
    "load-files": lambda contest: contest.archives("30,000 files"),
    "import-one": lambda contest: contest.imports("one layer of 300 MB"),
    "import-files": lambda contest: contest.imports("30,000 files"),
}


def chosen(words: Sequence[str]) -> list[str]:
    """The parts that begin with one of the words; all without one."""
    for word in words:
        if not any(part.startswith(word) for part in PARTS):
            sys.exit(f"there is no part {word}: {', '.join(PARTS)}")
    return [part for part in PARTS if not words or part.startswith(tuple(words))]


def on_a_disk_of_its_own() -> None:
    """Start again where /var/tmp is a fresh ext4 with a journal, as machines have it, seen by nobody else.

    What other work has just deleted slows the making of files down on a disk both engines share with it.
    Whoever is ended, this process or the other, the other cleans up.
    """
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="webdock-bench-") as image:
        os.truncate(image.name, DISK_BYTES)
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-E", lazy, image.name], check=True)
        inside = f'mount -o loop,discard {image.name} /var/tmp && exec "$@"'
        argv = ["setpriv", "--pdeathsig=TERM", "unshare", "--mount", "--propagation=private"]
        argv += ["sh", "-c", inside, "sh", sys.executable, "-m", "bench.pull", *sys.argv[1:]]
        other = subprocess.Popen(argv, env={**os.environ, INSIDE: "1"})
        for number in ENDING:
            signal.signal(number, lambda *_: other.terminate())
        status = other.wait()
    sys.exit(status)


def end(number: int, frame: FrameType | None) -> None:
    """Once; what cleans up is not disturbed by a second signal."""
    for one in ENDING:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    if INSIDE not in os.environ:
        chosen(sys.argv[1:])
        on_a_disk_of_its_own()
    for number in ENDING:
        signal.signal(number, end)
    peer, registry = Dockerd(), RealRegistry()
    ours = Installation("bench", config=f'[registries."{registry.host}"]\ninsecure = true\n')
    twin: subprocess.Popen[bytes] | None = None
    contest: Contest | None = None
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
        for part in chosen(sys.argv[1:]):
            PARTS[part](contest)
    finally:
        if contest is not None:
            contest.close()
        if twin is not None:
            twin.terminate()
            twin.wait()
        peer.stop()
        ours.purge()
        registry.stop()


if __name__ == "__main__":
    main()

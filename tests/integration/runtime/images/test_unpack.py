"""What layers become on disk, and what they cannot do."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import stat
import struct
import subprocess
import tarfile
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from runtime.images import worker
from runtime.images.workers import DiskFull, Layer, LayerInvalid, Workers
from tests.fakes.image_files import directory, entry, file, hardlink, pack, sha256, symlink, tar

OPAQUE = "trusted.overlay.opaque"


class Blob:
    """A blob on disk that arrives in steps."""

    def __init__(self, path: Path, data: bytes, steps: int = 1) -> None:
        path.write_bytes(data)
        self._path = path
        self._size = len(data)
        self._step = max(1, len(data) // steps)

    def open(self) -> int:
        return os.open(self._path, os.O_RDONLY)

    async def grown(self, beyond: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        now = min(self._size, max(beyond, 0) + self._step)
        return now, now == self._size


class Unpacker:
    def __init__(self, place: Path, workers: Workers) -> None:
        self.place = place
        self.root = place / "layer"
        self.outside = place / "outside"
        self.outside.mkdir()
        self.workers = workers

    async def __call__(
        self, archive: bytes, *, packing: str = "plain", steps: int = 1, **limits: int
    ) -> Layer:
        self.root.mkdir(exist_ok=True)
        return await self.workers.unpack(
            Blob(self.place / "blob", pack(archive, packing), steps),
            self.root,
            bytes_max=limits.get("bytes_max", 1 << 30),
            entries_max=limits.get("entries_max", 1 << 20),
            progress=lambda _: None,
        )

    def names(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(OPAQUE)
    yield made
    await made.close()


@pytest.fixture
def unpack(place: Path, workers: Workers) -> Unpacker:
    return Unpacker(place, workers)


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


# -- what entries become


async def test_files_keep_all_they_are(unpack: Unpacker) -> None:
    layer = await unpack(
        tar(
            directory("d", mode=0o2750, uid=3, gid=4, mtime=1_000_000_000.5),
            file("d/f", b"data", mode=0o4711, uid=5, gid=6, mtime=1_100_000_000.25),
            symlink("d/s", "../../elsewhere"),
            hardlink("d/h", "d/f"),
            entry("d/fifo", tarfile.FIFOTYPE, mode=0o600),
            entry("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            entry("d/disk", tarfile.BLKTYPE, devmajor=8, devminor=1, uid=7),
        ),
        packing="gzip",
    )
    d, f = (unpack.root / "d").stat(), (unpack.root / "d/f").stat()
    assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid, d.st_mtime) == (0o2750, 3, 4, 1_000_000_000.5)
    assert (stat.S_IMODE(f.st_mode), f.st_uid, f.st_gid, f.st_mtime) == (0o4711, 5, 6, 1_100_000_000.25)
    assert os.readlink(unpack.root / "d/s") == "../../elsewhere"
    assert (unpack.root / "d/h").stat().st_ino == f.st_ino
    assert stat.S_ISFIFO((unpack.root / "d/fifo").lstat().st_mode)
    null, disk = (unpack.root / "d/null").lstat(), (unpack.root / "d/disk").lstat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev) == (True, os.makedev(1, 3))
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev, disk.st_uid) == (True, os.makedev(8, 1), 7)
    assert (layer.size_bytes, layer.entries, layer.implied) == (4, 7, ())


async def test_the_diff_id_is_that_of_the_whole_archive(unpack: Unpacker) -> None:
    archive = tar(file("a", b"x" * 3_000_000)) + bytes(10_000)
    for packing in ("plain", "gzip", "zstd"):
        layer = await unpack(archive, packing=packing, steps=50)
        assert layer.diff_id == sha256(archive)
        assert layer.tar_bytes == len(archive)


async def test_the_root_takes_its_attributes_from_the_archive(unpack: Unpacker) -> None:
    await unpack(tar(directory("./", mode=0o711, uid=9)))
    status = unpack.root.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o711, 9)


async def test_extended_attributes_and_file_capabilities_are_kept(unpack: Unpacker) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw
    headers = {
        "SCHILY.xattr.user.note": "worth",
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
    }
    await unpack(tar(file("ping", b"x", uid=3, pax_headers=headers), directory("d", pax_headers=headers)))
    assert os.getxattr(unpack.root / "ping", "user.note") == b"worth"
    assert os.getxattr(unpack.root / "ping", "security.capability") == capability
    assert "trusted.overlay.redirect" not in os.listxattr(unpack.root / "ping")
    assert "trusted.overlay.opaque" not in os.listxattr(unpack.root / "d")


async def test_sparse_files_stay_sparse(unpack: Unpacker) -> None:
    source = unpack.place / "holes"
    with open(source, "wb") as target:
        target.seek(50_000_000)
        target.write(b"end")
        target.truncate(100_000_000)
    made = subprocess.run(
        ["tar", "-C", unpack.place, "--sparse", "--format=posix", "-c", "holes"],
        capture_output=True,
        check=True,
    ).stdout
    await unpack(made)
    status = (unpack.root / "holes").stat()
    assert status.st_size == 100_000_000
    assert status.st_blocks * 512 < 1_000_000
    assert subprocess.run(["cmp", source, unpack.root / "holes"]).returncode == 0


async def test_long_and_strange_names_are_kept(unpack: Unpacker) -> None:
    long = "/".join("d" * 200 for _ in range(10))
    strange = b"new\nline \xff\xfe*?"
    members = [file(f"{long}/f", b"1"), file(strange.decode("utf-8", "surrogateescape"), b"2")]
    await unpack(tar(*members, format=tarfile.GNU_FORMAT))
    assert (unpack.root / long / "f").read_bytes() == b"1"
    assert strange in os.listdir(os.fsencode(unpack.root))


async def test_times_outside_of_what_a_disk_holds_are_moved_in(unpack: Unpacker) -> None:
    await unpack(tar(file("old", mtime=-5), file("new", mtime=1 << 40), format=tarfile.GNU_FORMAT))
    assert (unpack.root / "old").stat().st_mtime == 0
    assert (unpack.root / "new").stat().st_mtime > 10_000_000_000


async def test_what_gnu_tar_packs_comes_out_the_same(unpack: Unpacker) -> None:
    source = unpack.place / "source"
    source.mkdir()
    chance = random.Random(7)
    for at in range(300):
        parent = source / f"d{at % 17}" / f"e{at % 5}"
        parent.mkdir(parents=True, exist_ok=True)
        path = parent / f"f{at}"
        path.write_bytes(chance.randbytes(chance.choice([0, 1, 511, 512, 513, 70_000])))
        os.chown(path, at, at * 7)
        path.chmod(chance.choice([0o644, 0o4755, 0o600, 0o2711]))
        if at % 9 == 0:
            os.link(path, parent / f"h{at}")
            os.symlink(f"f{at}", parent / f"s{at}")
    for flags in (["--format=gnu"], ["--format=posix", "--xattrs"], ["--format=ustar"]):
        made = subprocess.run(
            ["tar", "-C", source, *flags, "-c", "."], capture_output=True, check=True
        ).stdout
        subprocess.run(["rm", "-rf", unpack.root], check=True)
        await unpack(made, packing="gzip", steps=7)
        listing = ["find", ".", "-printf", "%P %M %U %G %s %l %n %Ts\n"]
        seen = [
            sorted(subprocess.run(listing, cwd=where, capture_output=True, check=True).stdout.splitlines())
            for where in (source, unpack.root)
        ]
        assert seen[0] == seen[1]
        assert subprocess.run(["diff", "-r", "--no-dereference", source, unpack.root]).returncode == 0


# -- whiteouts


async def test_whiteouts_and_opaque_directories_are_overlays(unpack: Unpacker) -> None:
    await unpack(
        tar(file(".wh.top"), directory("d"), file("d/.wh.gone"), file("d/.wh..wh..opq"), file("d/new"))
    )
    assert is_whiteout(unpack.root / "top")
    assert is_whiteout(unpack.root / "d/gone")
    assert os.getxattr(unpack.root / "d", OPAQUE) == b"y"
    assert unpack.names() == {"top", "d", "d/gone", "d/new"}


async def test_a_whiteout_does_not_hide_what_its_own_layer_has(unpack: Unpacker) -> None:
    await unpack(tar(file("a", b"new"), file(".wh.a"), directory("d"), file("d/x"), file(".wh.d")))
    assert (unpack.root / "a").read_bytes() == b"new"
    assert (unpack.root / "d/x").exists()
    assert os.getxattr(unpack.root / "d", OPAQUE) == b"y"


async def test_what_follows_a_whiteout_replaces_it(unpack: Unpacker) -> None:
    await unpack(
        tar(file(".wh.a"), file("a", b"new"), file(".wh.d"), file("d/x", b"y"), file(".wh.e"), directory("e"))
    )
    assert (unpack.root / "a").read_bytes() == b"new"
    assert (unpack.root / "d/x").read_bytes() == b"y"
    assert os.getxattr(unpack.root / "d", OPAQUE) == b"y"
    assert os.getxattr(unpack.root / "e", OPAQUE) == b"y"


async def test_the_root_can_be_opaque(unpack: Unpacker) -> None:
    await unpack(tar(file(".wh..wh..opq"), file("only")))
    assert os.getxattr(unpack.root, OPAQUE) == b"y"


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..."])
async def test_a_whiteout_of_nothing_is_refused(unpack: Unpacker, name: str) -> None:
    with pytest.raises(LayerInvalid, match="whiteout of nothing"):
        await unpack(tar(file(name)))


async def test_bookkeeping_of_aufs_is_left_out(unpack: Unpacker) -> None:
    await unpack(tar(file(".wh..wh.aufs"), directory(".wh..wh.plnk"), file("a")))
    assert unpack.names() == {"a"}


# -- names that meet


async def test_later_entries_replace_earlier_ones(unpack: Unpacker) -> None:
    await unpack(
        tar(
            file("f", b"1"),
            file("f", b"2"),
            directory("d"),
            file("d/x"),
            file("d", b"now a file"),
            file("g"),
            directory("g"),
            file("g/y"),
            symlink("s", "f"),
            file("s", b"no link"),
            directory("e"),
            file("e/kept"),
            directory("e", mode=0o700),
        )
    )
    assert (unpack.root / "f").read_bytes() == b"2"
    assert (unpack.root / "d").read_bytes() == b"now a file"
    assert (unpack.root / "g/y").exists()
    assert (unpack.root / "s").read_bytes() == b"no link"
    assert (unpack.root / "e/kept").exists()


async def test_parents_without_an_entry_are_made_and_told(unpack: Unpacker) -> None:
    layer = await unpack(tar(file("a/b/c"), directory("a"), file("x/y")))
    assert layer.implied == ("a/b", "x")


async def test_more_links_than_the_disk_takes_to_one_file_go_to_a_copy(unpack: Unpacker) -> None:
    count = 65_535
    members: list[Any] = [file("f", b"data", uid=3, mode=0o640)]
    members += [hardlink(f"l{at:05}", "f") for at in range(count - 1)]
    await unpack(tar(*members, format=tarfile.USTAR_FORMAT), packing="gzip")
    assert len(os.listdir(unpack.root)) == count
    last = (unpack.root / f"l{count - 2:05}").stat()
    assert (last.st_size, last.st_uid, stat.S_IMODE(last.st_mode)) == (4, 3, 0o640)


# -- what leads out


@pytest.mark.parametrize(
    "members",
    [
        [file("../pwned")],
        [file("a/../../pwned")],
        [file("/../pwned")],
        [directory("..")],
        [symlink("../pwned", "x")],
        [hardlink("h", "../../etc/passwd")],
        [hardlink("../h", "x")],
        [file("../.wh.outside")],
        [symlink("out", "../../../.."), file("out/pwned")],
        [symlink("out", "../outside"), file("out/pwned")],
        [directory("d"), symlink("d/out", "../../outside"), file("d/out/pwned")],
        [symlink("out", ".."), hardlink("h", "out/outside/secret")],
        [symlink("out", "../.."), file("out/.wh.etc")],
    ],
)
async def test_what_leads_out_is_refused_and_touches_nothing(unpack: Unpacker, members: list[Any]) -> None:
    (unpack.outside / "secret").write_text("secret")
    with pytest.raises(LayerInvalid):
        await unpack(tar(*members))
    assert [path.name for path in unpack.outside.iterdir()] == ["secret"]
    assert (unpack.outside / "secret").stat().st_nlink == 1
    assert not (unpack.place / "pwned").exists()
    assert not Path("/pwned").exists()


async def test_a_directory_that_turns_into_a_link_meanwhile_leads_nowhere(unpack: Unpacker) -> None:
    """Somebody who could change the layer while it is made still gains nothing outside of it."""
    (unpack.outside / "secret").write_text("secret")
    unpack.root.mkdir()
    links = [str(unpack.outside), "../outside", "/", "../../../../../../../../tmp"]
    over = threading.Event()

    def swap() -> None:
        directory, aside = unpack.root / "d", unpack.root / "aside"
        for target in cycle(links):
            if over.is_set():
                return
            try:
                directory.rename(aside)
                directory.symlink_to(target)
                directory.unlink()
                aside.rename(directory)
            except OSError:
                continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(4):
            members = [directory("d"), *(file(f"d/raced{at}", b"x" * 200) for at in range(1500))]
            members += [hardlink(f"d/link{at}", "d/secret") for at in range(20)]
            with suppress(LayerInvalid):
                await unpack(tar(*members))
    finally:
        over.set()
        swapper.join()
    assert [path.name for path in unpack.outside.iterdir()] == ["secret"]
    assert (unpack.outside / "secret").stat().st_nlink == 1
    for place in (Path("/"), Path("/tmp"), unpack.place):
        assert not list(place.glob("raced*"))


def test_who_finds_the_fault_reports_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that decompresses outlives the one that stopped reading, and stays silent."""
    monkeypatch.setattr(worker, "_give_up_rights", lambda parent: None)  # nor is it killed with it
    root = place / "layer"
    root.mkdir()
    archive = tar(file("../out", b""), *(file(f"f{at}", b"x" * 65536) for at in range(64)))
    (place / "blob").write_bytes(archive)
    descriptors = [os.open(place / "blob", os.O_RDONLY), os.open(root, os.O_RDONLY)]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            ours.send(worker.GROWTH.pack(len(archive), True))
            if (child := os.fork()) == 0:
                ours.close()
                job = {"work": "unpack", "limits": {"bytes_max": 1 << 30, "entries_max": 100}}
                worker._child({**job, "opaque": OPAQUE}, theirs.fileno(), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(child, 0)
        messages = []
        while data := ours.recv(1 << 16):
            messages.append(json.loads(data))
    assert [message["failed"] for message in messages if "failed" in message] == ["layer"]


async def test_symlinks_inside_are_followed_inside(unpack: Unpacker) -> None:
    target = unpack.outside.resolve()
    await unpack(
        tar(
            directory("usr"),
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
            file("lib/a.so", b"1"),
            symlink("run", "/var/run"),
            file("run/pid", b"2"),
            symlink("abs", str(target)),
            file("abs/pwned", b"3"),
        )
    )
    assert (unpack.root / "usr/lib/a.so").read_bytes() == b"1"
    assert (unpack.root / "var/run/pid").read_bytes() == b"2"
    assert list(unpack.outside.iterdir()) == []
    assert (unpack.root / str(target).lstrip("/") / "pwned").read_bytes() == b"3"


async def test_a_symlink_is_never_written_through(unpack: Unpacker) -> None:
    victim = unpack.outside / "victim"
    victim.write_text("safe")
    await unpack(
        tar(
            symlink("f", str(victim)), file("f", b"pwned"), symlink("g", "../outside/victim"), file("g", b"x")
        )
    )
    assert victim.read_text() == "safe"
    assert (unpack.root / "f").read_bytes() == b"pwned"


async def test_a_hardlink_to_a_symlink_is_a_link_to_the_link(unpack: Unpacker) -> None:
    await unpack(tar(symlink("s", "/etc/shadow"), hardlink("h", "s")))
    assert os.readlink(unpack.root / "h") == "/etc/shadow"


async def test_a_hardlink_to_what_is_not_there_is_refused(unpack: Unpacker) -> None:
    with pytest.raises(LayerInvalid, match="is not in the layer"):
        await unpack(tar(hardlink("h", "nope")))
    with pytest.raises(LayerInvalid, match="hardlink to itself"):
        await unpack(tar(hardlink("h", "h")))


# -- measure


async def test_a_bomb_is_stopped_at_the_allowed_size(unpack: Unpacker) -> None:
    bomb = tar(file("zeros", bytes(64 << 20)))
    for packing in ("gzip", "zstd"):
        with pytest.raises(LayerInvalid, match="unpacks to more than"):
            await unpack(bomb, packing=packing, bytes_max=1 << 20)
    assert sum(path.stat().st_blocks * 512 for path in unpack.root.rglob("*")) <= 8 << 20


async def test_a_bomb_of_entries_is_stopped(unpack: Unpacker) -> None:
    members = [file(f"f{at}") for at in range(1001)]
    with pytest.raises(LayerInvalid, match="more than 1000 entries"):
        await unpack(tar(*members), entries_max=1000)


async def test_names_no_disk_takes_are_refused(unpack: Unpacker) -> None:
    for name in ("x" * 256, "d/" * 2048 + "f"):
        with pytest.raises(LayerInvalid):
            await unpack(tar(file(name)))


async def test_a_full_disk_is_told_as_such(unpack: Unpacker) -> None:
    unpack.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", unpack.root], check=True)
    try:
        with pytest.raises(DiskFull, match="no space left on device"):
            await unpack(tar(file("big", os.urandom(2 << 20))))
    finally:
        subprocess.run(["umount", unpack.root], check=True)


async def test_cancelling_returns_when_the_worker_no_longer_touches_the_directory(unpack: Unpacker) -> None:
    class Endless(Blob):
        async def grown(self, beyond: int) -> tuple[int, bool]:
            if beyond >= 1_000_000:
                await asyncio.sleep(3600)
            return 1_000_000, False

    unpack.root.mkdir()
    blob = Endless(unpack.place / "blob", tar(*[file(f"f{at}", b"x" * 1000) for at in range(2000)]))
    task = asyncio.create_task(
        unpack.workers.unpack(
            blob, unpack.root, bytes_max=1 << 30, entries_max=1 << 20, progress=lambda _: None
        )
    )
    while len(os.listdir(unpack.root)) < 100:  # noqa: ASYNC110 - another process fills it
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = len(os.listdir(unpack.root))
    await asyncio.sleep(0.1)
    assert len(os.listdir(unpack.root)) == before


async def test_a_worker_that_dies_is_told_and_replaced(unpack: Unpacker) -> None:
    await unpack(tar(file("a")))
    process = unpack.workers._process
    assert process is not None
    process.kill()
    process.wait()
    await unpack(tar(file("b")))
    assert unpack.names() == {"a", "b"}
    assert unpack.workers._process is not process

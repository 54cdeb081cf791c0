"""A disk that gets full, the engine's or the command's: it is said in plain words, and no half is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.image_files import Image, Layer, directory, file, tar
from tests.integration.conftest import registry_config
from tests.integration.installation import Done, Installation, eventually
from tests.integration.registry import RealRegistry

BUSYBOX = "webdock/busybox"
ENGINE_MIB, TINY_KIB = 48, 256
BIG_BYTES = 64 * 1024**2  # does not fit into the engine's
HALF_BYTES = 26 * 1024**2  # fits once, not twice


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """A disk that small."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def small(registry: RealRegistry) -> Iterator[Installation]:
    """An installation whose engine has next to no disk."""
    installation = Installation("full", config=registry_config(registry))
    try:
        with mounted(installation.home / "engine", f"{ENGINE_MIB}m"):
            installation.up()
            yield installation
            installation.down()
    finally:
        installation.purge()


def full(done: Done) -> bool:
    return done.returncode == 1 and "no space left" in done.stderr.lower() and "Traceback" not in done.stderr


def used_mib(installation: Installation) -> int:
    place = installation.home / "engine"
    done = subprocess.run(["du", "-sm", place], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def big_archive(path: Path, *, size_bytes: int = BIG_BYTES) -> str:
    """A tar of one directory, whose second file does not fit."""
    path.write_bytes(tar(directory("d"), file("d/small", b"x"), file("d/big", os.urandom(size_bytes))))
    return str(path)


def test_a_pull_is_refused_and_leaves_nothing(small: Installation, registry: RealRegistry) -> None:
    big = Image([Layer(tar(file("small", b"x"))), Layer(tar(file("big", os.urandom(BIG_BYTES))))])
    registry.put("big/one", "1", big)
    assert full(small.webdock("pull", f"{registry.host}/big/one:1", check=False))
    assert "big/one" not in small.webdock("images").stdout
    assert small.webdock("run", "--rm", BUSYBOX, "echo", "still works").stdout == "still works\n"
    eventually(lambda: used_mib(small) < ENGINE_MIB // 2, what="no half-fetched layer")


@pytest.mark.parametrize("verb", ["load", "import"])
def test_an_archive_of_an_image_is_refused_and_leaves_nothing(
    small: Installation, tmp_path: Path, verb: str
) -> None:
    before = small.webdock("images", "-aq").stdout
    archive = big_archive(tmp_path / "big.tar")
    line = ["load", "-i", archive] if verb == "load" else ["import", archive, "never:1"]
    assert full(small.webdock(*line, check=False))
    assert small.webdock("images", "-aq").stdout == before
    eventually(lambda: used_mib(small) < ENGINE_MIB // 2, what="no half of it")


def test_cp_is_refused_and_half_a_file_does_not_stay(small: Installation, tmp_path: Path) -> None:
    small.webdock("run", "-d", "--name", "box", BUSYBOX, "sleep", "1000")
    try:
        (tmp_path / "big").write_bytes(os.urandom(BIG_BYTES))
        assert full(small.webdock("cp", str(tmp_path / "big"), "box:/tmp", check=False))
        assert small.webdock("exec", "box", "ls", "/tmp").stdout == ""
    finally:
        small.webdock("rm", "-f", "box")


def test_a_volume_is_not_made_by_half(small: Installation, tmp_path: Path) -> None:
    archive = big_archive(tmp_path / "big.tar")
    assert full(small.webdock("volume", "import", "data", archive, check=False))
    assert small.webdock("volume", "ls", "-q").stdout == ""
    small.webdock("volume", "import", "data", big_archive(tmp_path / "half.tar", size_bytes=HALF_BYTES))
    try:
        assert full(small.webdock("volume", "clone", "data", "twice", check=False))
        assert full(small.webdock("volume", "import", "data", archive, check=False))
        assert small.webdock("volume", "ls", "-q").stdout == "data\n"  # it was there before, and stays
    finally:
        small.webdock("volume", "rm", "data")


def test_files_the_command_writes_are_whole_or_not_there(installation: Installation, tmp_path: Path) -> None:
    random = f"head -c {4 * TINY_KIB * 1024} /dev/urandom"
    fill = f"mkdir /data/d && {random} > /data/d/big && cp /data/d/big /tmp && touch /whole; sleep 1000"
    installation.webdock("run", "-d", "--name", "box", "-v", "tiny:/data", BUSYBOX, "sh", "-c", fill)
    eventually(lambda: "A /whole" in installation.webdock("diff", "box").stdout)
    try:
        with mounted(tmp_path / "tiny", f"{TINY_KIB}k") as tiny:
            for line in (
                ["cp", "box:/tmp/big", f"{tiny}/big"],
                ["export", "box", "-o", f"{tiny}/all.tar"],
                ["save", BUSYBOX, "-o", f"{tiny}/image.tar"],
                ["volume", "export", "tiny", "-o", f"{tiny}/volume.tar"],
                ["backup", f"{tiny}/backup.tar"],
            ):
                done = installation.webdock(*line, check=False)
                assert full(done), done
                assert str(tiny) in done.stderr, done
                assert list(tiny.iterdir()) == [], line
    finally:
        installation.webdock("rm", "-f", "box")
        installation.webdock("volume", "rm", "tiny")

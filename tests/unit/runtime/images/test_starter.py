from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from runtime.api.errors import NotFound
from runtime.images.platform import host
from runtime.images.starter import GREETING, build_starter_archive, hello_program, is_static, starter_archive


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = hello_program(host().architecture, GREETING.encode())
    assert made is not None
    path = tmp_path / "hello"
    path.write_bytes(made)
    path.chmod(0o755)
    return path


def test_the_hello_program_greets_and_exits_with_0(program: Path) -> None:
    done = subprocess.run([program], capture_output=True, check=True)
    assert done.stdout.decode() == GREETING
    assert is_static(program.read_bytes())
    assert program.stat().st_size < 1024


def test_the_hello_program_of_the_other_architecture_has_its_instructions() -> None:
    made = hello_program("arm64", b"hi")
    assert made is not None
    assert made[18:20] == (183).to_bytes(2, "little")
    words = [int.from_bytes(made[at : at + 4], "little") for at in range(176, 208, 4)]
    assert words[0] == 0xD2800020
    # adr x1: 28 bytes from the second instruction to the text behind the eighth.
    assert words[1] == 0x10000001 | (28 >> 2) << 5
    assert words[2] == 0xD2800002 | 2 << 5
    assert made[208:] == b"hi"
    assert hello_program("riscv64", b"hi") is None


def test_the_archive_is_the_same_every_time(tmp_path: Path) -> None:
    build_starter_archive(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == b"".join(starter_archive())


def test_the_archive_names_both_images_and_holds_what_it_names() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(starter_archive()))) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    listed = json.loads(members["manifest.json"])
    assert [image["RepoTags"] for image in listed] == [["webdock/hello:latest"], ["webdock/busybox:latest"]]
    for image in listed:
        assert {image["Config"], *image["Layers"]} <= set(members)
    config = json.loads(members[listed[1]["Config"]])
    assert config["config"]["Cmd"] == ["sh"]
    with tarfile.open(fileobj=io.BytesIO(members[listed[1]["Layers"][0]])) as layer:
        assert layer.getmember("bin/sh").linkname == "busybox"
        assert layer.getmember("tmp").mode == 0o1777
        assert "etc/passwd" in layer.getnames()


def test_a_busybox_that_needs_libraries_is_refused() -> None:
    dynamic = Path(shutil.which("ls") or "/bin/ls")
    assert not is_static(dynamic.read_bytes())
    with pytest.raises(NotFound, match="not static"):
        b"".join(starter_archive(dynamic))

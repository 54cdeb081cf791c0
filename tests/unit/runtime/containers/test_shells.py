"""The shells of a root file system: found without running any, and never outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.containers import shells

PATH = "/usr/bin:/bin:relative:/nowhere"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("bin", "usr/bin", "etc", "opt"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def put(root: Path, path: str, mode: int = 0o755) -> None:
    (root / path.lstrip("/")).write_bytes(b"\x7fELF")
    (root / path.lstrip("/")).chmod(mode)


def test_a_shell_counts_without_a_sh_and_with_one_that_was_put_there_later(root: Path) -> None:
    put(root, "/bin/bash")
    assert shells.find(root, PATH) == ["/bin/bash"]
    put(root, "/usr/bin/zsh")
    put(root, "/usr/bin/bash")
    assert shells.find(root, PATH) == ["/usr/bin/bash", "/usr/bin/zsh"], "the first on PATH, in our order"


def test_what_does_not_run_is_no_shell(root: Path) -> None:
    put(root, "/bin/bash", 0o644)
    (root / "bin/sh").mkdir()
    os.mkfifo(root / "bin/zsh")
    (root / "bin/ash").symlink_to("/bin/busybox")
    assert shells.find(root, PATH) == []


def test_links_stay_inside(root: Path) -> None:
    (root / "bin/sh").symlink_to("/bin/busybox")
    (root / "usr/bin/bash").symlink_to("../../../../../../../bin/sh")
    assert shells.find(root, PATH) == [], "the machine's own are not seen"
    put(root, "/bin/busybox")
    assert shells.find(root, PATH) == ["/usr/bin/bash", "/bin/sh"]


def test_the_containers_list_is_added_and_busybox_is_the_last_resort(root: Path) -> None:
    put(root, "/bin/busybox")
    assert shells.find(root, PATH) == ["/bin/busybox"]
    put(root, "/opt/xonsh")
    (root / "etc/shells").write_text("# shells\n/opt/xonsh\n/opt/gone\nopt/xonsh\n/opt/\0x\n")
    assert shells.find(root, PATH) == ["/opt/xonsh"]
    (root / "etc/shells").write_bytes(b"/opt/xonsh\n" * (1 << 20))
    assert shells.find(root, PATH) == ["/bin/busybox"], "a file of megabytes lists no shells"

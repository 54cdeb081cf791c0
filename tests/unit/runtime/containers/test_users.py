"""Users and groups inside a root that may be hostile."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.containers import users
from runtime.containers.users import User, open_inside, read_inside, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/www:/bin/sh\n# note\nshort:x:7\n"
GROUP = "root:x:0:\nwheel:x:10:root,web\nweb:x:34:\naudio:x:63:web\nweb2:x:34:web\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "user"),
    [
        ("", User(0, 0, (0, 10), "/root", "root")),
        ("root", User(0, 0, (0, 10), "/root", "root")),
        ("web", User(33, 34, (34, 10, 63), "/srv/www", "web")),
        ("33", User(33, 34, (34, 10, 63), "/srv/www", "web")),
        ("web:wheel", User(33, 10, (10,), "/srv/www", "web")),
        ("web:99", User(33, 99, (99,), "/srv/www", "web")),
        ("1234", User(1234, 0, (0,), "/", "")),
        ("1234:5678", User(1234, 5678, (5678,), "/", "")),
        (":wheel", User(0, 10, (10,), "/root", "root")),
    ],
)
def test_a_user_is_found_as_docker_finds_it(root: Path, spec: str, user: User) -> None:
    assert resolve(root, spec) == user


def test_added_groups_are_names_or_numbers(root: Path) -> None:
    assert resolve(root, "1234:5", ["audio", "77", "audio"]).groups == (5, 63, 77)
    with pytest.raises(InvalidArgument, match="unable to find group nope: no matching entries in group file"):
        resolve(root, "", ["nope"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("short", "unable to find user short: no matching entries in passwd file"),
        ("web:nope", "unable to find group nope: no matching entries in group file"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("0:2147483648", "uids and gids must be in range 0-2147483647"),
        ("٣", "unable to find user"),
    ],
)
def test_what_is_not_there_is_told_in_dockers_words(root: Path, spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        resolve(root, spec)


def test_a_root_without_files_knows_numbers_only(tmp_path: Path) -> None:
    assert resolve(tmp_path, "") == User(0, 0, (0,), "/", "")
    assert resolve(tmp_path, "5:6") == User(5, 6, (6,), "/", "")
    with pytest.raises(InvalidArgument):
        resolve(tmp_path, "root")


@pytest.fixture(params=["openat2", "by hand"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by hand":
        monkeypatch.setattr(users, "_SYS_OPENAT2", 100_000)  # no such call: ENOSYS
    return str(request.param)


def test_links_are_followed_inside_only(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "secret"
    outside.write_text("evil:x:1:1::/:\n")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "usr/share").mkdir(parents=True)
    (root / "usr/share/passwd").write_text("inside")
    for target in (
        str(outside),
        "../../secret",
        "/../secret",
        "/proc/self/root" + str(outside),
        "../../../../secret",
    ):
        link = root / "etc/passwd"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert read_inside(root, "/etc/passwd") == b"", target
    for target in ("../usr/share/passwd", "/usr/share/passwd", "/usr/share/../../usr/./share/passwd"):
        (root / "etc/passwd").unlink()
        (root / "etc/passwd").symlink_to(target)
        assert read_inside(root, "/etc/passwd") == b"inside", target


def test_a_directory_link_leads_inside_only(tmp_path: Path, way: str) -> None:
    (tmp_path / "passwd").write_text("evil")
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to("..")
    assert read_inside(root, "/etc/passwd") == b""
    (root / "passwd").write_text("own")
    assert read_inside(root, "/etc/passwd") == b"own"


def test_loops_devices_and_fifos_are_nothing(tmp_path: Path, way: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    for name in ("loop", "fifo", "dir", "missing", "dir/missing/deep"):
        assert read_inside(tmp_path, f"/{name}") == b""
    with pytest.raises(OSError):
        open_inside(tmp_path, "/loop")


def test_a_huge_database_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "DATABASE_BYTES", 16)
    with pytest.raises(InvalidArgument, match="more than 16 bytes"):
        resolve(root, "")


@given(st.binary(max_size=400), st.text(max_size=20))
def test_any_file_gives_a_user_or_an_error_for_people(data: bytes, spec: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "etc").mkdir()
        (root / "etc/passwd").write_bytes(data)
        (root / "etc/group").write_bytes(data)
        try:
            user = resolve(root, spec)
        except InvalidArgument:
            return
        assert user.uid >= 0
        assert user.gid >= 0

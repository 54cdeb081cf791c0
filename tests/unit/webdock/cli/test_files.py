"""cp: where things go, and archives that would lead out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from webdock.cli import files
from webdock.cli.errors import Failure


def archive(*entries: tuple[str, str, str]) -> io.BytesIO:
    """(name, kind, content or link) -> a tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.mode = 0o4755
            if kind == "dir":
                member.type = tarfile.DIRTYPE
            elif kind == "sym":
                member.type, member.linkname = tarfile.SYMTYPE, content
            elif kind == "link":
                member.type, member.linkname = tarfile.LNKTYPE, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()) if kind == "file" else None)
    made.seek(0)
    return made


def test_a_tree_arrives_under_its_new_name_without_setuid(tmp_path: Path) -> None:
    tree = archive(
        ("etc", "dir", ""), ("etc/a", "file", "x"), ("etc/b", "link", "etc/a"), ("etc/c", "sym", "/anywhere")
    )
    files.unpack(tree, str(tmp_path), "new", owners=False)
    assert (tmp_path / "new/a").read_text() == "x"
    assert (tmp_path / "new/b").samefile(tmp_path / "new/a")
    assert (tmp_path / "new/c").readlink() == Path("/anywhere")
    assert (tmp_path / "new/a").stat().st_mode & 0o7777 == 0o755


def test_contents_arrive_without_the_top_name(tmp_path: Path) -> None:
    files.unpack(archive(("etc", "dir", ""), ("etc/a", "file", "x")), str(tmp_path), "", owners=False)
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize(
    "entries",
    [
        (("d", "dir", ""), ("d/../../out", "file", "x")),
        (("d", "dir", ""), ("d/l", "sym", ".."), ("d/l/out", "file", "x")),
        (("d", "dir", ""), ("d/l", "sym", "/tmp"), ("d/l/sub/out", "file", "x")),
        (("d", "dir", ""), ("d/h", "link", "d/../../secret")),
    ],
)
def test_nothing_is_written_outside_the_target(
    tmp_path: Path, entries: tuple[tuple[str, str, str], ...]
) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "secret").write_text("s")
    with pytest.raises(Failure):
        files.unpack(archive(*entries), str(tmp_path / "into"), "d", owners=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "secret"]


def test_a_link_in_the_way_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("keep")
    (tmp_path / "into").mkdir()
    (tmp_path / "into/a").symlink_to(tmp_path / "outside")
    files.unpack(archive(("d", "dir", ""), ("d/a", "file", "new")), str(tmp_path / "into"), "", owners=False)
    assert (tmp_path / "outside").read_text() == "keep"
    assert (tmp_path / "into/a").read_text() == "new"


def test_an_archive_that_breaks_off_leaves_the_old_file_and_no_half_of_the_new(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    whole = archive(("top", "dir", ""), ("top/a", "file", "new" * 10_000)).getvalue()
    with pytest.raises(Failure, match="broke off"):
        files.unpack(io.BytesIO(whole[:8000]), str(tmp_path), "", owners=False)
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_places_are_told_apart_from_paths() -> None:
    assert files.split_place("web:/etc") == ("web", "/etc")
    assert files.split_place("./a:b") == ("", "./a:b")
    assert files.split_place("/a:b") == ("", "/a:b")
    assert files.split_place("plain") == ("", "plain")
    assert files.split_place("-") == ("", "-")


def test_targets_follow_what_exists(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("")
    place = str(tmp_path)
    assert files.local_target(f"{place}/dir", "x", directory=True, contents=False) == (f"{place}/dir", "x")
    assert files.local_target(f"{place}/dir", "x", directory=True, contents=True) == (f"{place}/dir", "")
    assert files.local_target(f"{place}/new", "x", directory=False, contents=False) == (place, "new")
    assert files.local_target(f"{place}/file", "x", directory=False, contents=False) == (place, "file")
    for target, directory in ((f"{place}/file", True), (f"{place}/none/", False), (f"{place}/none/x", False)):
        with pytest.raises(Failure):
            files.local_target(target, "x", directory=directory, contents=False)


def test_packing_a_tree_gives_its_new_top_name(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a").write_text("x")
    data = io.BytesIO(b"".join(files.pack(str(tmp_path / "t"), "new")))
    with tarfile.open(fileobj=data) as tar:
        assert tar.getnames() == ["new", "new/a"]

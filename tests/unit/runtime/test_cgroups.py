"""Which control groups a machine has, from the kernel's own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cgroups import Cgroups, parse, parse_list, pids, remove

LINE = "{n} 25 0:{n} / {point} rw,nosuid shared:9 - {kind} {source} rw,{options}\n"


def line(n: int, point: str, kind: str, options: str) -> str:
    return LINE.format(n=n, point=point, kind=kind, source=kind, options=options)


V1 = (
    line(30, "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct")
    + line(31, "/sys/fs/cgroup/memory", "cgroup", "memory")
    + line(32, "/sys/fs/cgroup/systemd", "cgroup", "xattr,name=systemd")
    + "33 25 0:33 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n"
)
UNIFIED = line(40, "/sys/fs/cgroup/unified", "cgroup2", "nsdelegate")


def test_version_1_has_a_tree_per_controller() -> None:
    found = parse(V1)
    assert (found.version, found.hybrid) == (1, False)
    assert found.controllers == {"cpu", "cpuacct", "memory"}
    assert found.directory("cpuacct", "/webdock/x") == Path("/sys/fs/cgroup/cpu,cpuacct/webdock/x")
    assert found.directory("pids", "/webdock/x") is None
    assert found.directories("/x") == [
        Path("/sys/fs/cgroup/cpu,cpuacct/x"),
        Path("/sys/fs/cgroup/memory/x"),
        Path("/sys/fs/cgroup/systemd/x"),
    ]


def test_a_hybrid_machine_counts_as_version_1() -> None:
    found = parse(V1 + UNIFIED)
    assert (found.version, found.hybrid) == (1, True)
    assert Path("/sys/fs/cgroup/unified/x") in found.directories("/x")
    assert "unified" not in found.controllers


def test_version_2_has_one_tree() -> None:
    text = line(30, "/sys/fs/cgroup", "cgroup2", "nsdelegate")
    found = parse(text, "cpuset cpu io memory pids")
    assert found.version == 2
    assert {"cpu", "memory", "pids"} <= found.controllers
    assert found.directory("memory", "/webdock/x") == Path("/sys/fs/cgroup/webdock/x")
    assert found.directories("/x") == [Path("/sys/fs/cgroup/x")]


def test_names_with_spaces_are_decoded() -> None:
    found = parse(line(30, "/sys/fs/a\\040b", "cgroup", "memory"))
    assert found.mounts["memory"] == Path("/sys/fs/a b")


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    assert parse(text).version in (1, 2)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("0", {0}), ("0-2,5", {0, 1, 2, 5}), (" 1 , 3-3 \n", {1, 3})]
)
def test_lists_of_numbers_are_read(text: str, numbers: set[int]) -> None:
    assert parse_list(text) == numbers


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1-99999999999", "1--2", "0x1"])
def test_wrong_lists_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_list(text)


def test_processes_below_a_group_are_counted_once(tmp_path: Path) -> None:
    for name, text in (("g", "5\n3\n"), ("g/below", "7\n3\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(text)
    assert pids("/g", Cgroups(2, {"cgroup": tmp_path})) == [3, 5, 7]
    assert pids("/none", Cgroups(2, {"cgroup": tmp_path})) == []


def test_empty_groups_are_removed_and_absent_ones_ignored(tmp_path: Path) -> None:
    (tmp_path / "g/below/deep").mkdir(parents=True)
    remove("/g", Cgroups(2, {"cgroup": tmp_path}))
    assert not (tmp_path / "g").exists()
    remove("/g", Cgroups(2, {"cgroup": tmp_path}))

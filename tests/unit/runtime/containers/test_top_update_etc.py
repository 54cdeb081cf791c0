"""Rows of ps, changed limits, files of /etc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import InvalidArgument
from runtime.containers import etc
from runtime.containers.bodies import host_config
from runtime.containers.facts import FEATURES, HostFacts
from runtime.containers.top import parse, show_ids
from runtime.containers.update import merge, touches_resources
from runtime.idmap import IdMap
from runtime.network.endpoints import NetworkSetup

FACTS = HostFacts(
    cgroup_version=1,
    controllers=frozenset({"memory"}),
    features=frozenset(FEATURES),
    cpus=4,
    memory_bytes=1 << 34,
)


def test_rows_of_the_containers_processes_are_kept() -> None:
    text = "UID   PID  PPID CMD\nroot    1     0 init\nroot   22     1 sleep 10  20\nbin   23    22 x\n"
    assert parse(text, {22, 23}) == {
        "Titles": ["UID", "PID", "PPID", "CMD"],
        "Processes": [["root", "22", "1", "sleep 10 20"], ["bin", "23", "22", "x"]],
    }
    threads = "PID TID\n5 -\n- 5\n- 6\n7 -\n- 7\n"
    assert parse(threads, {5})["Processes"] == [["5", "-"], ["-", "5"], ["-", "6"]]
    with pytest.raises(InvalidArgument, match="Couldn't find PID field"):
        parse("COMMAND\nx\n", {1})
    with pytest.raises(InvalidArgument, match="Unexpected pid"):
        parse("PID\nx\n", {1})


def test_users_are_shown_with_the_containers_ids() -> None:
    mapping = IdMap(2_000_000, Path("u"), Path("h"), Path("v"))
    status = "Name:\tx: y\nUid:\t2000000\t2054321\t0\t2000000\nGid:\t2000000\t2000000\t2054322\t2000000\n"
    titles = ["RUSER", "USER", "UID", "EUID", "SUID", "FUSER", "GROUP", "SGID", "PID", "CMD"]
    row = ["2000000", "2054321", "20543+", "2054321", "0", "2000000", "2000+", "2054322", "5", "2000000 +"]
    show_ids(titles, row, status, mapping)
    assert row == ["root", "54321", "54321", "54321", "65534", "root", "root", "54322", "5", "2000000 +"]


def host(**changes: Any) -> dict[str, Any]:
    return host_config(changes, runtime="crun", cgroup_version=1)


def test_an_update_changes_what_it_names() -> None:
    before = host(Memory=64 << 20, MemorySwap=128 << 20, CpuShares=7)
    after, warnings = merge(before, {"Memory": 32 << 20, "PidsLimit": -1, "CpuQuota": 0}, FACTS)
    assert warnings == []
    assert (after["Memory"], after["CpuShares"], after["PidsLimit"]) == (32 << 20, 7, -1)
    assert before["Memory"] == 64 << 20
    policy, _ = merge(before, {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}, FACTS)
    assert policy["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


@pytest.mark.parametrize(
    ("before", "request_", "words"),
    [
        ({"MemorySwap": 64 << 20, "Memory": 32 << 20}, {"Memory": 128 << 20}, "already set memoryswap limit"),
        ({"CpuQuota": 5000}, {"NanoCpus": 10**9}, "CPU Quota has already been set"),
        ({"NanoCpus": 10**9}, {"CpuPeriod": 5000}, "NanoCPUs has already been set"),
        ({"AutoRemove": True}, {"RestartPolicy": {"Name": "always"}}, "AutoRemove is enabled"),
        ({}, {"Devices": [{"PathOnHost": "/dev/null"}]}, "cannot be changed"),
        ({}, {"Memory": 5}, "6MB"),
    ],
)
def test_bad_updates(before: dict[str, Any], request_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        merge(host(**before), request_, FACTS)


def test_only_limits_reach_the_runtime() -> None:
    assert touches_resources({"Memory": 1})
    assert not touches_resources({"RestartPolicy": {"Name": "no"}})


def test_files_of_etc_are_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    etc.write(path, "a long first version\n")
    number = path.stat().st_ino
    etc.write(path, "short\n")
    assert (path.read_text(), path.stat().st_ino) == ("short\n", number)
    text = etc.hosts([("1.2.3.4", ["box", "box.lan"])])
    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert text.endswith("1.2.3.4\tbox box.lan\n")
    assert etc.hosts([("1.2.3.4", ["a"])], base="no newline") == "no newline\n1.2.3.4\ta\n"


def test_resolv_conf() -> None:
    setup = NetworkSetup(None, {}, {}, [], ["1.1.1.1", "::1"], ["lan"], ["ndots:0"], "")
    assert etc.resolv_conf(setup) == "nameserver 1.1.1.1\nnameserver ::1\nsearch lan\noptions ndots:0\n"

"""Docker's statistics from the files of both cgroup versions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cgroups import Cgroups
from runtime.containers import stats, usage
from runtime.containers.facts import HostFacts

GIB = 1 << 30
FACTS = HostFacts(1, frozenset(), frozenset(), memory_bytes=8 * GIB)
NET = (
    "Inter-|   Receive                                     |  Transmit\n"
    " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo\n"
    "    lo:   10   1 0 0 0 0 0 0   10  1 0 0 0 0 0 0\n"
    "  eth0: 1000  20 1 2 0 0 0 0 2000 30 3 4 0 0 0 0\n"
)
BYTES = "254:0 Read 512\n254:0 Total 512\nTotal 512\n"
CPU = "usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnr_periods 1\nnr_throttled 2\nthrottled_usec 3\n"
STAT = "cpu  100 1 50 800 5 0 2 0 0 0\ncpu0 50 0 25 400 2 0 1 0 0 0\ncpu1 50 1 25 400 3 0 1 0 0 0\nintr 5\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc", {"stat": STAT, "7/net/dev": NET})
    return tmp_path / "proc"


@pytest.fixture
def version_1(tmp_path: Path) -> Cgroups:
    write(
        tmp_path,
        {
            "cpu/g/cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 400\n",
            "cpuacct/g/cpuacct.usage": "123456\n",
            "cpuacct/g/cpuacct.usage_percpu": "100000 23456 \n",
            "cpuacct/g/cpuacct.stat": "user 5\nsystem 7\n",
            "memory/g/memory.usage_in_bytes": "4096\n",
            "memory/g/memory.max_usage_in_bytes": "8192\n",
            "memory/g/memory.failcnt": "2\n",
            "memory/g/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/g/memory.stat": "cache 10\ntotal_inactive_file 20\n",
            "pids/g/pids.current": "3\n",
            "pids/g/pids.max": "max\n",
            "blkio/g/blkio.throttle.io_service_bytes_recursive": BYTES,
            "blkio/g/blkio.throttle.io_serviced_recursive": "254:0 Read 2\n254:0 Total 2\nTotal 2\n",
            "blkio/g/blkio.bfq.io_service_bytes_recursive": "Total 0\n",
        },
    )
    return Cgroups(1, {name: tmp_path / name for name in ("cpu", "cpuacct", "memory", "pids", "blkio")})


@pytest.fixture
def version_2(tmp_path: Path) -> Cgroups:
    write(
        tmp_path / "v2/g",
        {
            "cpu.stat": CPU,
            "memory.current": "4096\n",
            "memory.peak": "9000\n",
            "memory.max": "1048576\n",
            "memory.stat": "anon 10\ninactive_file 20\n",
            "pids.current": "3\n",
            "pids.max": "max\n",
            "io.stat": "254:0 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
        },
    )
    return Cgroups(2, dict.fromkeys(("cgroup", "cpu", "memory", "pids", "io"), tmp_path / "v2"))


def test_version_1_gives_dockers_numbers(version_1: Cgroups, proc: Path) -> None:
    raw = stats.read("/g", 7, cgroups=version_1, facts=FACTS, proc=proc)
    tick = 10**9 // stats.TICKS_PER_S
    assert raw["cpu_stats"] == {
        "cpu_usage": {
            "total_usage": 123456,
            "percpu_usage": [100000, 23456],
            "usage_in_usermode": 5 * tick,
            "usage_in_kernelmode": 7 * tick,
        },
        "throttling_data": {"periods": 10, "throttled_periods": 3, "throttled_time": 400},
        "system_cpu_usage": 958 * tick,
        "online_cpus": 2,
    }
    assert raw["memory_stats"] == {
        "usage": 4096,
        "max_usage": 8192,
        "failcnt": 2,
        "limit": 8 * GIB,
        "stats": {"cache": 10, "total_inactive_file": 20},
    }
    assert raw["pids_stats"] == {"current": 3}
    assert raw["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 254, "minor": 0, "op": "Read", "value": 512},
        {"major": 254, "minor": 0, "op": "Total", "value": 512},
    ]
    assert raw["networks"]["eth0"] == {
        "rx_bytes": 1000,
        "rx_packets": 20,
        "rx_errors": 1,
        "rx_dropped": 2,
        "tx_bytes": 2000,
        "tx_packets": 30,
        "tx_errors": 3,
        "tx_dropped": 4,
    }
    assert list(raw["networks"]) == ["eth0"]


def test_version_2_gives_dockers_numbers(version_2: Cgroups, proc: Path) -> None:
    raw = stats.read("/g", 7, networks=False, cgroups=version_2, facts=FACTS, proc=proc)
    assert raw["cpu_stats"]["cpu_usage"] == {
        "total_usage": 1_000_000,
        "usage_in_kernelmode": 400_000,
        "usage_in_usermode": 600_000,
    }
    assert raw["cpu_stats"]["throttling_data"]["throttled_time"] == 3000
    assert raw["memory_stats"] == {
        "usage": 4096,
        "max_usage": 9000,
        "limit": 1048576,
        "stats": {"anon": 10, "inactive_file": 20},
    }
    assert raw["pids_stats"] == {"current": 3, "limit": 2**64 - 1}
    assert raw["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 254, "minor": 0, "op": "read", "value": 512},
        {"major": 254, "minor": 0, "op": "write", "value": 0},
    ]
    assert raw["blkio_stats"]["io_serviced_recursive"] is None
    assert "networks" not in raw


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_that_went_away_reads_as_zeros(tmp_path: Path, version: int) -> None:
    raw = stats.read(
        "/gone",
        7,
        cgroups=Cgroups(version, {"cgroup": tmp_path, "memory": tmp_path}),
        facts=FACTS,
        proc=tmp_path,
    )
    assert raw["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert raw["memory_stats"]["usage"] == 0
    assert raw["networks"] == {}


def test_the_body_carries_the_sample_before(version_1: Cgroups, proc: Path) -> None:
    raw = stats.read("/g", 7, cgroups=version_1, facts=FACTS, proc=proc)
    first = stats.body("id", "name", raw, None, "2026-01-02T03:04:05Z")
    assert (first["name"], first["preread"]) == ("/name", "0001-01-01T00:00:00Z")
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    second = stats.body("id", "name", raw, raw, "b", "a")
    assert second["precpu_stats"] == raw["cpu_stats"]
    assert (second["read"], second["preread"]) == ("b", "a")


def test_a_container_that_does_not_run_has_an_empty_body() -> None:
    body = stats.body("id", "name", None, None, "now")
    assert body["read"] == "0001-01-01T00:00:00Z"
    assert (body["memory_stats"], body["pids_stats"]) == ({}, {})
    assert "networks" not in body


@given(st.text())
@pytest.mark.parametrize(
    "parser", [stats.parse_table, stats.parse_blkio, stats.parse_io_stat, stats.parse_net_dev]
)
def test_any_text_is_survived(parser: Any, text: str) -> None:
    parser(text)


def test_the_numbers_of_many_are_those_of_each(
    version_1: Cgroups, version_2: Cgroups, tmp_path: Path
) -> None:
    for cgroups, processor in ((version_1, 123456), (version_2, None)):
        before = time.time_ns()
        found = usage.read({"a": "/g", "gone": "/none"}, cgroups=cgroups, facts=FACTS)
        whole = stats.read("/g", 7, networks=False, cgroups=cgroups, facts=FACTS, proc=tmp_path)
        assert list(found) == ["a"]
        at, spent, memory, limit = found["a"]
        assert before <= at <= time.time_ns()
        assert spent == whole["cpu_stats"]["cpu_usage"]["total_usage"] == (processor or spent) > 0
        assert (memory, limit) == (4096 - 20, whole["memory_stats"]["limit"])

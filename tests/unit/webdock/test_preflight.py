"""Each judgement of the preflight, on facts of machines we do not have."""

from __future__ import annotations

import errno

import pytest

from webdock import preflight
from webdock.preflight import FAILURE, OK, WARNING

HYBRID = """\
31 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
33 31 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
37 31 0:32 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
38 31 0:33 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
39 31 0:34 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
"""
UNIFIED = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"


def test_32_bit_and_foreign_machines_are_refused() -> None:
    assert preflight.machine_check("x86_64", 64).level == OK
    assert preflight.machine_check("aarch64", 64).level == OK
    assert preflight.machine_check("i686", 32).level == FAILURE
    assert preflight.machine_check("armv7l", 32).level == FAILURE


@pytest.mark.parametrize(
    ("release", "level"),
    [("6.1.0-18-amd64", OK), ("5.10.0", OK), ("5.4.0-42-generic", FAILURE), ("strange", FAILURE)],
)
def test_old_kernels_are_refused_with_the_version_that_is_needed(release: str, level: str) -> None:
    check = preflight.kernel_check("Linux", release)
    assert check.level == level
    if level == FAILURE:
        assert "5.10" in check.advice


def test_another_system_is_named() -> None:
    assert "Darwin" in preflight.kernel_check("Darwin", "23.0").text


def test_root_is_asked_for_with_the_word_sudo() -> None:
    assert preflight.root_check(0).level == OK
    assert "sudo" in preflight.root_check(1000).advice


def test_a_unified_machine_is_v2_with_its_controllers() -> None:
    cgroups = preflight.parse_cgroups(UNIFIED, "cpuset cpu io memory hugetlb pids\n")
    assert cgroups.mode == "v2"
    assert preflight.cgroup_check(cgroups, crun=True, runc=True).level == OK


def test_a_unified_machine_without_memory_says_so() -> None:
    cgroups = preflight.parse_cgroups(UNIFIED, "cpu pids")
    check = preflight.cgroup_check(cgroups, crun=True, runc=True)
    assert check.level == WARNING
    assert "memory" in check.text


def test_a_hybrid_machine_is_read_with_all_v1_controllers() -> None:
    cgroups = preflight.parse_cgroups(HYBRID, "")
    assert cgroups.mode == "hybrid"
    assert {"cpu", "cpuacct", "memory", "pids"} <= cgroups.v1
    assert "systemd" not in cgroups.v1
    assert preflight.cgroup_check(cgroups, crun=True, runc=True).level == OK


def test_a_controller_in_the_unified_tree_of_a_hybrid_machine_is_a_trouble_of_crun() -> None:
    cgroups = preflight.parse_cgroups(HYBRID, "hugetlb\n")
    assert preflight.cgroup_check(cgroups, crun=True, runc=True).level == WARNING
    assert preflight.cgroup_check(cgroups, crun=True, runc=False).level == FAILURE
    assert preflight.cgroup_check(cgroups, crun=False, runc=True).level == OK
    assert "hugetlb" in preflight.cgroup_check(cgroups, crun=True, runc=False).text


def test_a_machine_without_cgroups_is_refused() -> None:
    cgroups = preflight.parse_cgroups("24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "")
    assert cgroups.mode == "none"
    assert preflight.cgroup_check(cgroups, crun=True, runc=True).level == FAILURE


def test_overlay_says_what_the_kernel_said() -> None:
    assert preflight.overlay_check(True, "").level == OK
    assert preflight.overlay_check(True, None).level == OK
    assert preflight.overlay_check(False, None).level == FAILURE
    assert "wrong fs type" in preflight.overlay_check(True, "mount: wrong fs type").text


def test_user_namespaces_are_wanted_but_not_needed() -> None:
    everything = preflight.NAMESPACES
    assert [check.level for check in preflight.namespace_check(everything, 15000, "6.1.0")] == [OK, OK]
    assert preflight.namespace_check(everything, 0, "6.1.0")[1].level == WARNING
    assert preflight.namespace_check(everything, 15000, "5.15.0")[1].level == WARNING
    assert preflight.namespace_check(("mnt", "pid"), 15000, "6.1.0")[0].level == FAILURE


def test_missing_programs_come_with_their_package() -> None:
    found = dict.fromkeys((*preflight.PROGRAMS, "crun", "runc"), True)
    assert all(check.level == OK for check in preflight.program_checks(found))
    checks = preflight.program_checks({**found, "conmon": False, "crun": False, "runc": False})
    failures = {check.name: check.advice for check in checks if check.level == FAILURE}
    assert failures == {"OCI runtime": "apt-get install crun runc", "conmon": "apt-get install conmon"}


def test_taken_addresses_name_their_holder() -> None:
    taken = preflight.listen_check("127.0.0.1:80", OSError(errno.EADDRINUSE, ""), "nginx (process 8)", 80, 80)
    assert taken.level == FAILURE
    assert "nginx (process 8)" in taken.text
    assert preflight.listen_check("127.0.0.1:8000", None, "", 1024, 8000).level == OK
    assert preflight.listen_check("127.0.0.1:80", None, "", 1024, 80).level == FAILURE
    assert (
        "1.2.3.4"
        in preflight.listen_check("1.2.3.4:8000", OSError(errno.EADDRNOTAVAIL, ""), "", 1024, 8000).text
    )


def test_a_full_disk_is_a_warning() -> None:
    assert preflight.space_check(10**12, "/var").level == OK
    assert preflight.space_check(10**8, "/var").level == WARNING


def test_the_quiet_report_holds_only_what_is_not_well() -> None:
    checks = [preflight.root_check(0), preflight.root_check(7)]
    assert preflight.report(checks).count("\n") == 2
    assert preflight.report(checks, quiet=True).startswith("FAIL  root")

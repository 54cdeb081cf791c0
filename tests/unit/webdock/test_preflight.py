"""Each judgement of the preflight, on facts of machines we do not have."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from webdock.preflight import FAILURE, OK, WARNING, kernel, places, programs, report
from webdock.preflight.cgroups import cgroup_check, parse_cgroups

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
    assert kernel.machine_check("x86_64", 64).level == OK
    assert kernel.machine_check("aarch64", 64).level == OK
    assert kernel.machine_check("i686", 32).level == FAILURE
    assert kernel.machine_check("armv7l", 32).level == FAILURE


@pytest.mark.parametrize(
    ("release", "level"),
    [("6.1.0-18-amd64", OK), ("5.10.0", OK), ("5.4.0-42-generic", FAILURE), ("strange", FAILURE)],
)
def test_old_kernels_are_refused_with_the_version_that_is_needed(release: str, level: str) -> None:
    check = kernel.kernel_check("Linux", release)
    assert check.level == level
    if level == FAILURE:
        assert "5.10" in check.advice


def test_another_system_is_named() -> None:
    assert "Darwin" in kernel.kernel_check("Darwin", "23.0").text


def test_root_is_asked_for_with_the_word_sudo() -> None:
    assert kernel.root_check(0).level == OK
    assert "sudo" in kernel.root_check(1000).advice


def test_a_unified_machine_is_v2_with_its_controllers() -> None:
    cgroups = parse_cgroups(UNIFIED, "cpuset cpu io memory hugetlb pids\n")
    assert cgroups.mode == "v2"
    assert cgroup_check(cgroups, crun=True, runc=True).level == OK


def test_a_unified_machine_without_memory_says_so() -> None:
    cgroups = parse_cgroups(UNIFIED, "cpu pids")
    check = cgroup_check(cgroups, crun=True, runc=True)
    assert check.level == WARNING
    assert "memory" in check.text


def test_a_hybrid_machine_is_read_with_all_v1_controllers() -> None:
    cgroups = parse_cgroups(HYBRID, "")
    assert cgroups.mode == "hybrid"
    assert {"cpu", "cpuacct", "memory", "pids"} <= cgroups.v1
    assert "systemd" not in cgroups.v1
    assert cgroup_check(cgroups, crun=True, runc=True).level == OK


def test_a_controller_in_the_unified_tree_of_a_hybrid_machine_is_a_trouble_of_crun() -> None:
    cgroups = parse_cgroups(HYBRID, "hugetlb\n")
    assert cgroup_check(cgroups, crun=True, runc=True).level == WARNING
    assert cgroup_check(cgroups, crun=True, runc=False).level == FAILURE
    assert cgroup_check(cgroups, crun=False, runc=True).level == OK
    assert "hugetlb" in cgroup_check(cgroups, crun=True, runc=False).text


def test_a_machine_without_cgroups_is_refused() -> None:
    cgroups = parse_cgroups("24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "")
    assert cgroups.mode == "none"
    assert cgroup_check(cgroups, crun=True, runc=True).level == FAILURE


def test_overlay_says_what_the_kernel_said() -> None:
    assert kernel.overlay_check(True, "").level == OK
    assert kernel.overlay_check(True, None).level == OK
    assert kernel.overlay_check(False, None).level == FAILURE
    assert "wrong fs type" in kernel.overlay_check(True, "mount: wrong fs type").text


def test_user_namespaces_are_wanted_but_not_needed() -> None:
    everything = kernel.NAMESPACES
    assert [check.level for check in kernel.namespace_check(everything, 15000, "6.1.0")] == [OK, OK]
    assert kernel.namespace_check(everything, 0, "6.1.0")[1].level == WARNING
    assert kernel.namespace_check(everything, 15000, "5.15.0")[1].level == WARNING
    assert kernel.namespace_check(("mnt", "pid"), 15000, "6.1.0")[0].level == FAILURE


def test_missing_programs_come_with_their_package() -> None:
    found = dict.fromkeys((*programs.PROGRAMS, "crun", "runc"), True)
    assert all(check.level == OK for check in programs.program_checks(found))
    checks = programs.program_checks({**found, "conmon": False, "crun": False, "runc": False})
    failures = {check.name: check.advice for check in checks if check.level == FAILURE}
    assert failures == {"OCI runtime": "apt-get install crun runc", "conmon": "apt-get install conmon"}


def test_taken_addresses_name_their_holder() -> None:
    taken = places.listen_check("127.0.0.1:80", OSError(errno.EADDRINUSE, ""), "nginx (process 8)", 80, 80)
    assert taken.level == FAILURE
    assert "nginx (process 8)" in taken.text
    assert places.listen_check("127.0.0.1:8000", None, "", 1024, 8000).level == OK
    assert places.listen_check("127.0.0.1:80", None, "", 1024, 80).level == FAILURE
    assert (
        "1.2.3.4"
        in places.listen_check("1.2.3.4:8000", OSError(errno.EADDRNOTAVAIL, ""), "", 1024, 8000).text
    )


def test_a_full_disk_is_a_warning() -> None:
    assert places.space_check(10**12, "/var").level == OK
    assert places.space_check(10**8, "/var").level == WARNING


def test_the_quiet_report_holds_only_what_is_not_well() -> None:
    checks = [kernel.root_check(0), kernel.root_check(7)]
    assert report(checks).count("\n") == 2
    assert report(checks, quiet=True).startswith("FAIL  root")


def test_a_file_that_the_web_side_is_told_to_read_and_cannot_is_named_with_its_variable() -> None:
    files = {"WEBDOCK_METRICS_TOKEN_FILE": "/srv/token", "WEBDOCK_OIDC_FILE": "/srv/oidc.toml"}
    refused = {"/srv/token": "Permission denied"}
    found = places.named_files_check("webdock-3f2a1c", files, refused)
    assert found.level == FAILURE
    assert "WEBDOCK_METRICS_TOKEN_FILE: webdock-3f2a1c cannot read /srv/token: Permission" in found.text
    assert "oidc" not in found.text
    assert "webdock-3f2a1c" in found.advice
    assert places.named_files_check("webdock", files, {}).level == OK
    assert places.named_files_check("webdock", {}, {}).level == OK


def test_the_files_that_a_providers_file_names_are_read_by_the_web_side_too(tmp_path: Path) -> None:
    provider = tmp_path / "oidc.toml"
    provider.write_text('client_secret_file = "/srv/secret"\nca_file = ""\nissuer = "https://id.example"\n')
    named = places.named_files({"WEBDOCK_OIDC_FILE": str(provider), "WEBDOCK_SECRET_KEY_FILE": "/srv/key"})
    assert named == {
        "WEBDOCK_OIDC_FILE": str(provider),
        "WEBDOCK_SECRET_KEY_FILE": "/srv/key",
        f"client_secret_file in {provider}": "/srv/secret",
    }
    provider.write_text("no toml")
    assert list(places.named_files({"WEBDOCK_OIDC_FILE": str(provider)})) == ["WEBDOCK_OIDC_FILE"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_another_user_may_read_is_really_tried(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert "Permission denied" in places.unreadable("daemon", [str(secret)])[str(secret)]
    assert places.unreadable("daemon", ["/etc/passwd"]) == {}

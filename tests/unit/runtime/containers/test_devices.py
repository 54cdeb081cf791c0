"""Device nodes of the host, as containers get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api.errors import InvalidArgument
from runtime.containers import devices


def test_a_device_is_given_under_another_name() -> None:
    found = devices.resolve(
        [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/hole", "CgroupPermissions": "r"}]
    )
    assert [(d.path, d.source, d.type, d.major, d.minor, d.access) for d in found] == [
        ("/dev/hole", "/dev/null", "c", 1, 3, "r")
    ]


def test_a_link_leads_to_its_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    found = devices.resolve([{"PathOnHost": str(tmp_path / "link"), "PathInContainer": "/dev/z"}])
    assert (found[0].path, found[0].minor) == ("/dev/z", 5)


@pytest.mark.parametrize(
    "mapping",
    [
        {"PathOnHost": "/dev/nosuch"},
        {"PathOnHost": "/etc/hostname"},
        {"PathOnHost": ""},
        {"PathOnHost": "/dev/null", "CgroupPermissions": "rx"},
        {"PathOnHost": "/dev/null", "PathInContainer": "relative"},
        {"PathOnHost": "/dev/null\0x"},
    ],
)
def test_what_is_no_device_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        devices.resolve([mapping])


def test_a_directory_without_devices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no devices found"):
        devices.resolve([{"PathOnHost": str(tmp_path)}])


def test_all_devices_leave_terminals_out() -> None:
    found = devices.all_devices()
    assert "/dev/null" in {device.path for device in found}
    assert not [device.path for device in found if device.path.startswith(("/dev/pts/", "/dev/shm/"))]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 rwm", {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}),
        ("b *:* r", {"allow": True, "type": "b", "access": "r"}),
        ("a 7:* m", {"allow": True, "type": "a", "major": 7, "access": "m"}),
    ],
)
def test_rules_are_read(text: str, rule: dict[str, object]) -> None:
    assert devices.cgroup_rule(text) == rule


@pytest.mark.parametrize("text", ["", "c 1:3", "x 1:3 r", "c 1-3 r", "c 1:3 rwx", "c 1:3 rwm ", "c -1:3 r"])
def test_wrong_rules_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid device cgroup rule format"):
        devices.cgroup_rule(text)


def test_only_block_devices_have_block_limits() -> None:
    with pytest.raises(InvalidArgument, match="it is not a block device"):
        devices.block_numbers(["/dev/null"])
    with pytest.raises(InvalidArgument):
        devices.block_numbers(["/dev/nosuch"])
    assert devices.block_numbers([]) == {}

"""Options of the local volume driver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import EngineError, InvalidArgument, NotSupported
from runtime.volumes.options import MS_BIND, MS_NOEXEC, MS_RDONLY, MS_REC, MountPlan, parse_options


def test_no_options_are_a_plain_directory() -> None:
    assert parse_options({}) is None
    assert parse_options({"type": "", "o": ""}) is None


def test_words_become_flags_and_the_rest_data() -> None:
    plan = parse_options({"type": "tmpfs", "device": "tmpfs", "o": "size=4m,ro,noexec,uid=5,rw"})
    assert plan == MountPlan("tmpfs", "tmpfs", MS_NOEXEC, "size=4m,uid=5")


def test_binds() -> None:
    plan = parse_options({"type": "none", "device": "/srv", "o": "rbind,ro"})
    assert plan is not None
    assert plan.is_bind
    assert plan.flags == MS_BIND | MS_REC | MS_RDONLY
    with pytest.raises(InvalidArgument, match="absolute path"):
        parse_options({"type": "none", "device": "srv", "o": "bind"})


def test_server_of_a_network_file_system_is_found_anew() -> None:
    plan = parse_options({"type": "nfs", "device": ":/export", "o": "addr=files.test,rw,nfsvers=4"})
    assert plan is not None
    assert plan.host_name == "files.test"
    assert plan.with_address("10.0.0.9").data == "addr=10.0.0.9,nfsvers=4"
    numbered = parse_options({"type": "nfs", "device": ":/export", "o": "addr=10.0.0.9"})
    assert numbered is not None
    assert numbered.host_name is None


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"color": "red"}, InvalidArgument),
        ({"type": "tmpfs"}, InvalidArgument),
        ({"device": "/x"}, InvalidArgument),
        ({"o": "ro"}, InvalidArgument),
        ({"type": "tmpfs", "device": "a\0b"}, InvalidArgument),
        ({"type": "tmpfs", "device": "x" * 5000}, InvalidArgument),
        ({"size": "1g"}, NotSupported),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], kind: type[EngineError]) -> None:
    with pytest.raises(kind):
        parse_options(options)


@given(st.dictionaries(st.sampled_from(["type", "device", "o"]), st.text(max_size=20)))
def test_any_options_are_read_or_refused(options: dict[str, str]) -> None:
    try:
        parse_options(options)
    except InvalidArgument:
        pass

"""What is refused at creation, in Docker's words."""

import contextlib
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.containers import names
from runtime.containers.bodies import container_config, host_config
from runtime.containers.checks import (
    check_config,
    check_host_config,
    check_log_config,
    check_restart_policy,
    joined,
    log_limits,
    parse_signal,
)
from runtime.containers.names import clean_name, make_up


def check(config: dict[str, Any] | None = None, host: dict[str, Any] | None = None) -> None:
    made = container_config({"Cmd": ["true"], **(config or {})}, {})
    check_config(made)
    check_host_config(made, host_config(host or {}, runtime="crun", cgroup_version=1))


def test_the_plain_case_passes() -> None:
    check()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"Cmd": None}, "no command specified"),
        ({"WorkingDir": "here"}, "needs to be an absolute path"),
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Env": ["A=\0"]}, "NUL"),
        ({"Cmd": ["a\0b"]}, "NUL"),
        ({"Cmd": ["x" * (200 << 10)]}, "argument list too long"),
        ({"Hostname": "h" * 65}, "invalid Hostname"),
        ({"StopSignal": "SIGNOTHING"}, "invalid signal"),
        ({"Healthcheck": {"Interval": 5}}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": {"Timeout": -5}}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
        ({"Healthcheck": {"Test": ["CMD"]}}, "needs a command"),
        ({"Labels": {"a": "x" * (2 << 20)}}, "invalid Labels"),
    ],
)
def test_bad_configs(config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(config)


@pytest.mark.parametrize(
    ("config", "host", "words"),
    [
        ({}, {"RestartPolicy": {"Name": "x"}}, "unknown policy 'x'"),
        ({}, {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}, "can't create 'AutoRemove'"),
        ({}, {"ExtraHosts": ["nohost"]}, "bad format for add-host"),
        ({}, {"ExtraHosts": ["a:b"]}, "invalid IP address in add-host"),
        ({}, {"Dns": ["x"]}, "invalid IP address"),
        ({}, {"NetworkMode": "container:"}, "invalid container format"),
        ({"Hostname": "x"}, {"NetworkMode": "container:a"}, "hostname and the network mode"),
        ({}, {"NetworkMode": "container:a", "Links": ["b:b"]}, "can't be used with links"),
        ({}, {"NetworkMode": "host", "Links": ["b:b"]}, "can't be used with links"),
        ({}, {"NetworkMode": "container:a", "Dns": ["1.1.1.1"]}, "dns and the network mode"),
        ({}, {"NetworkMode": "container:a", "PortBindings": {"1": []}}, "port publishing"),
        ({"MacAddress": "02:00:00:00:00:01"}, {"NetworkMode": "container:a"}, "mac-address"),
        ({}, {"UTSMode": "mine"}, "invalid UTS mode"),
        ({"Hostname": "x"}, {"UTSMode": "host"}, "hostname and the UTS mode"),
        ({}, {"Isolation": "hyperv"}, "invalid isolation"),
        ({}, {"ConsoleSize": [1]}, "invalid ConsoleSize"),
        ({}, {"LogConfig": {"Type": "wood"}}, "no log driver named 'wood'"),
    ],
)
def test_bad_host_configs(config: dict[str, Any], host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(config, host)


@pytest.mark.parametrize(
    "host",
    [
        {"StorageOpt": {"size": "1G"}},
        {"DeviceRequests": [{"Count": -1}]},
        {"Cgroup": "container:x"},
        {"LogConfig": {"Type": "syslog"}},
        {"LogConfig": {"Type": "json-file", "Config": {"compress": "true", "max-size": "1m"}}},
        {"LogConfig": {"Type": "json-file", "Config": {"mode": "non-blocking"}}},
    ],
)
def test_what_cannot_be_done_here_is_said_so(host: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        check(host=host)


def test_only_local_volumes_are_made() -> None:
    check(host={"VolumeDriver": "nfs"})  # it makes none
    with pytest.raises(NotSupported):
        check({"Volumes": {"/v": {}}}, {"VolumeDriver": "nfs"})


def test_add_host_takes_both_separators_and_the_gateway() -> None:
    check(host={"ExtraHosts": ["a:1.2.3.4", "b:::1", "c=1.2.3.4", "d:host-gateway"]})


def test_log_options() -> None:
    def limits(kind: str = "json-file", **options: str) -> tuple[int | None, int]:
        config = {"Type": kind, "Config": {name.replace("_", "-"): value for name, value in options.items()}}
        check_log_config(config)
        return log_limits(config)

    assert limits() == (None, 1)
    assert limits(max_size="10m", max_file="3") == (10 << 20, 3)
    assert limits(max_size="-1") == (None, 1)
    assert limits("local") == (20 << 20, 5)
    for options in (
        {"max_size": "big"},
        {"max_file": "0"},
        {"max_file": "x"},
        {"unknown": "1"},
        {"max_size": "0"},
    ):
        with pytest.raises(InvalidArgument):
            limits(**options)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"Name": "always", "MaximumRetryCount": 3}, "can only be used with 'on-failure'"),
        ({"Name": "on-failure", "MaximumRetryCount": -1}, "cannot be negative"),
    ],
)
def test_restart_policies(policy: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_restart_policy(policy)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("SIGKILL", 9),
        ("sigint", 2),
        ("9", 9),
        ("RTMIN", int(signal.SIGRTMIN)),
        ("SIGRTMIN+3", int(signal.SIGRTMIN) + 3),
        ("RTMAX-1", int(signal.SIGRTMAX) - 1),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@given(st.text(max_size=30))
def test_any_text_is_a_signal_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert 0 < parse_signal(text) <= signal.SIGRTMAX


def test_joined_namespaces() -> None:
    assert joined("container:abc") == "abc"
    assert joined("bridge") is None
    assert joined("containers") is None


@pytest.mark.parametrize("name", ["ab", "/ab", "a.b-c_d", "0x", "x" * 253])
def test_good_names(name: str) -> None:
    assert clean_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-ab", "a b", "a/b", "//ab", "ab\n", "ä" * 3, "x" * 254])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        clean_name(name)


def test_made_up_names_are_free() -> None:
    taken: set[str] = set()
    for _ in range(3000):
        name = make_up(taken)
        assert name not in taken
        assert clean_name(name) == name
        taken.add(name)


def test_a_short_id_is_never_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = ["1234567890120" + "a" * 51, "0123456789ab" + "7" * 52]
    monkeypatch.setattr(names.secrets, "token_hex", lambda _: drawn.pop(0))
    assert names.new_id() == "0123456789ab" + "7" * 52

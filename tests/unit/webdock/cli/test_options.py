"""The request that the options of run and create make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webdock.cli import endpoints, limits, mounts, options
from webdock.cli.command import Parser
from webdock.cli.errors import Failure
from webdock.cli.run import run_options


def body(*arguments: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    parser = Parser("run", "")
    run_options(parser)
    return options.container_body(parser.parse_args(arguments), environ or {})


def test_image_and_command_are_taken_as_they_stand() -> None:
    made = body("--rm", "busybox", "sh", "-c", "echo -e --name x")
    assert made["Image"] == "busybox"
    assert made["Cmd"] == ["sh", "-c", "echo -e --name x"]
    assert made["HostConfig"]["AutoRemove"]


def test_options_after_the_image_belong_to_the_command() -> None:
    assert body("busybox", "-it", "--rm")["Cmd"] == ["-it", "--rm"]


def test_no_command_leaves_the_images_own() -> None:
    made = body("busybox")
    assert made["Cmd"] is None
    assert "Entrypoint" not in made


def test_an_empty_entrypoint_takes_the_images_away() -> None:
    assert body("--entrypoint", "", "busybox", "ls")["Entrypoint"] == [""]
    assert body("--entrypoint", "/bin/x", "busybox")["Entrypoint"] == ["/bin/x"]


def test_joined_short_options_are_a_terminal_with_input() -> None:
    made = body("-it", "busybox")
    assert (made["Tty"], made["OpenStdin"], made["StdinOnce"], made["AttachStdin"]) == (
        True,
        True,
        True,
        True,
    )


def test_detached_attaches_nothing() -> None:
    made = body("-dit", "busybox")
    assert (made["AttachStdin"], made["AttachStdout"], made["StdinOnce"]) == (False, False, False)
    assert made["OpenStdin"]


def test_a_bare_variable_is_copied_from_here_or_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nF=1\n\nHERE\nNEITHER\n")
    made = body(
        "--env-file", str(file), "-e", "A=b=c", "-e", "HERE", "-e", "NOT", "busybox", environ={"HERE": "yes"}
    )
    assert made["Env"] == ["F=1", "HERE=yes", "A=b=c", "HERE=yes", "NOT"]


def test_limits_are_in_the_units_of_the_api() -> None:
    host = body(
        "-m", "1.5g", "--cpus", "0.25", "--pids-limit", "-1", "--shm-size", "64m", "--memory-swap", "-1", "x"
    )["HostConfig"]
    assert host["Memory"] == int(1.5 * 1024**3)
    assert host["NanoCpus"] == 250_000_000
    assert host["PidsLimit"] == -1
    assert host["MemorySwap"] == -1
    assert host["ShmSize"] == 64 * 1024**2


@pytest.mark.parametrize(
    ("text", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("127.0.0.1:8080:80/udp", {"80/udp": [("127.0.0.1", "8080")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("8080-8081:80-81", {"80/tcp": [("", "8080")], "81/tcp": [("", "8081")]}),
        ("9000-9010:80", {"80/tcp": [("", "9000-9010")]}),
    ],
)
def test_published_ports_in_every_spelling(text: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    exposed, made = endpoints.ports([text], [])
    assert {
        key: [(one["HostIp"], one["HostPort"]) for one in value] for key, value in made.items()
    } == bindings
    assert set(exposed) == set(bindings)


@pytest.mark.parametrize(
    "text", ["", "abc", "0:80", "80:0", "70000:80", "1-3:1-2", "80/tcp/udp", "host:80:80", "5-4:80"]
)
def test_bad_ports_are_refused_before_anything_is_asked(text: str) -> None:
    with pytest.raises(Failure) as caught:
        endpoints.ports([text], [])
    assert caught.value.code == 125


def test_volumes_are_told_apart_from_anonymous_ones() -> None:
    volumes, binds = mounts.volume_options(["/data", "name:/data:ro", "/srv:/srv"])
    assert volumes == {"/data": {}}
    assert binds == ["name:/data:ro", "/srv:/srv"]
    assert mounts.volume_options(["./x:/x"])[1][0].startswith("/")


def test_mounts_in_docker_spelling() -> None:
    assert mounts.mount_option("type=bind,src=/srv,dst=/data,readonly") == {
        "Type": "bind",
        "Source": "/srv",
        "Target": "/data",
        "ReadOnly": True,
    }
    assert mounts.mount_option("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777")["TmpfsOptions"] == {
        "SizeBytes": 1024**2,
        "Mode": 0o1777,
    }
    for bad in ("type=bind", "nonsense", "target=/x,what=1"):
        with pytest.raises(Failure):
            mounts.mount_option(bad)


def test_several_networks_become_endpoints() -> None:
    made = body("--network", "a", "--network", "b", "--network-alias", "x", "--ip", "10.0.0.2", "busybox")
    assert made["HostConfig"]["NetworkMode"] == "a"
    attached = made["NetworkingConfig"]["EndpointsConfig"]
    assert attached["a"] == {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    assert attached["b"] == {}


def test_a_health_check_is_in_nanoseconds() -> None:
    made = body("--health-cmd", "true", "--health-interval", "1m30s", "--health-retries", "2", "busybox")
    assert made["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 90 * 10**9, "Retries": 2}
    assert body("--no-healthcheck", "busybox")["Healthcheck"] == {"Test": ["NONE"]}


def test_a_seccomp_profile_travels_as_its_content(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text("{}")
    assert options.security_option(f"seccomp={profile}") == "seccomp={}"
    assert options.security_option("seccomp=unconfined") == "seccomp=unconfined"
    assert options.security_option("no-new-privileges") == "no-new-privileges"
    with pytest.raises(Failure, match="No such file"):
        options.security_option("seccomp=/nonexistent")


@pytest.mark.parametrize(
    "arguments",
    [("-m", "lots"), ("--cpus", "x"), ("--cpus", "-1"), ("--restart", "on-failure:x"), ("--ulimit", "nofile"),
     ("-l", "=x"), ("-e", "=x"), ("--health-interval", "soon"), ("--env-file", "/nonexistent")],
)  # fmt: skip
def test_bad_values_name_their_option(arguments: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as caught:
        body(*arguments, "busybox")
    assert caught.value.code == 125
    assert (
        arguments[0].lstrip("-") in str(caught.value)
        or "--" in str(caught.value)
        or "-e" in str(caught.value)
    )


def test_a_switch_takes_a_truth_value_behind_an_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    made = body("--rm=true", "-t=false", "--init=1", "busybox", "--rm=false")
    assert made["HostConfig"]["AutoRemove"]
    assert not made["Tty"]
    assert made["Cmd"] == ["--rm=false"]
    with pytest.raises(SystemExit):
        body("--rm=perhaps", "busybox")
    assert "neither true nor false" in capsys.readouterr().err


def test_two_dashes_behind_the_image_are_the_commands() -> None:
    assert body("busybox", "--", "ls")["Cmd"] == ["--", "ls"]
    made = body("--rm", "--", "busybox", "ls", "--", "x")
    assert (made["Image"], made["Cmd"]) == ("busybox", ["ls", "--", "x"])


def test_a_network_in_its_long_spelling() -> None:
    text = (
        "name=lab,alias=x,ip=10.0.0.2,mac-address=02:42:ac:11:00:02,link-local-ip=169.254.1.1,gw-priority=-1"
    )
    assert endpoints.network_option(text) == (
        "lab",
        {
            "Aliases": ["x"],
            "IPAMConfig": {"IPv4Address": "10.0.0.2", "LinkLocalIPs": ["169.254.1.1"]},
            "MacAddress": "02:42:ac:11:00:02",
            "GwPriority": -1,
        },
    )
    made = body("--network", "name=a,alias=x", "--network", "b", "--ip", "10.0.0.2", "busybox")
    attached = made["NetworkingConfig"]["EndpointsConfig"]
    assert attached == {"a": {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}, "b": {}}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--network", "alias=x"),
        ("--network", "name=a,what=1"),
        ("--network", "name=a,ip="),
        ("--network", "name=a,gw-priority=x"),
        ("--network", "name=a,alias=x", "--network-alias", "y"),
        ("--network", "name=a,ip=10.0.0.1", "--ip6", "fd::1"),
        ("--network", "a", "--network", "a"),
        ("--device-read-bps", "sda:1"),
        ("--device-read-iops", "/dev/sda:1mb"),
        ("--blkio-weight-device", "/dev/sda"),
        ("--gpus", "what=1"),
        ("--gpus", "many"),
    ],
)
def test_what_contradicts_itself_or_is_no_value_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as caught:
        body(*arguments, "busybox")
    assert caught.value.code == 125
    assert arguments[0] in str(caught.value)


def test_gpus_without_a_number_are_one() -> None:
    assert limits.gpu_request("driver=nvidia,options=a=b")["Count"] == 1
    assert limits.gpu_request("count=all")["Count"] == -1
    assert limits.gpu_request("device=0")["Count"] == 0

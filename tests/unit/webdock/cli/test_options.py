"""The request that the options of run and create make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webdock.cli import options
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


def test_a_bare_variable_is_copied_from_here_or_left_out(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nF=1\n\nHERE\n")
    made = body(
        "--env-file", str(file), "-e", "A=b=c", "-e", "HERE", "-e", "NOT", "busybox", environ={"HERE": "yes"}
    )
    assert made["Env"] == ["F=1", "HERE=yes", "A=b=c", "HERE=yes"]


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
    exposed, made = options.ports([text], [])
    assert {
        key: [(one["HostIp"], one["HostPort"]) for one in value] for key, value in made.items()
    } == bindings
    assert set(exposed) == set(bindings)


@pytest.mark.parametrize(
    "text", ["", "abc", "0:80", "80:0", "70000:80", "1-3:1-2", "80/tcp/udp", "host:80:80", "5-4:80"]
)
def test_bad_ports_are_refused_before_anything_is_asked(text: str) -> None:
    with pytest.raises(Failure) as caught:
        options.ports([text], [])
    assert caught.value.code == 125


def test_volumes_are_told_apart_from_anonymous_ones() -> None:
    volumes, binds = options.volume_options(["/data", "name:/data:ro", "/srv:/srv"])
    assert volumes == {"/data": {}}
    assert binds == ["name:/data:ro", "/srv:/srv"]
    assert options.volume_options(["./x:/x"])[1][0].startswith("/")


def test_mounts_in_docker_spelling() -> None:
    assert options.mount_option("type=bind,src=/srv,dst=/data,readonly") == {
        "Type": "bind",
        "Source": "/srv",
        "Target": "/data",
        "ReadOnly": True,
    }
    assert options.mount_option("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777")["TmpfsOptions"] == {
        "SizeBytes": 1024**2,
        "Mode": 0o1777,
    }
    for bad in ("type=bind", "nonsense", "target=/x,what=1"):
        with pytest.raises(Failure):
            options.mount_option(bad)


def test_several_networks_become_endpoints() -> None:
    made = body("--network", "a", "--network", "b", "--network-alias", "x", "--ip", "10.0.0.2", "busybox")
    assert made["HostConfig"]["NetworkMode"] == "a"
    endpoints = made["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints["a"] == {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.2", "IPv6Address": ""}}
    assert endpoints["b"] == {}


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

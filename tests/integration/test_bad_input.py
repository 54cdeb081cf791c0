"""What can be wrong is told in plain words with Docker's status, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.image_files import Image, Layer, file, hardlink, symlink, tar
from tests.integration.conftest import DEAD_REGISTRY
from tests.integration.installation import Installation, eventually, free_port
from tests.integration.registry import RealRegistry
from webdock.cli.errors import Failure
from webdock.cli.http import Refused

BUSYBOX = "webdock/busybox"


def refused(installation: Installation, method: str, path: str, **more: Any) -> Refused:
    """The refusal of a call that must not succeed."""
    with pytest.raises(Refused) as caught:
        installation.client.call(method, path, **more)
    return caught.value


def residue(installation: Installation) -> dict[str, int]:
    """What a failed call may have left: container directories, mounts, veths, namespaces, cgroups."""
    home = str(installation.home)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if home in line]
    containers = installation.home / "engine" / "containers"
    return {
        "containers": len(list(containers.iterdir())) if containers.exists() else 0,
        "mounts": len([line for line in mounts if "/merged" in line]),
        "conmons": sum(home in words for words in command_lines()),
    }


def command_lines() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/nosuch/json"),
        ("POST", "/containers/nosuch/start"),
        ("POST", "/containers/nosuch/stop"),
        ("POST", "/containers/nosuch/kill"),
        ("POST", "/containers/nosuch/wait"),
        ("GET", "/containers/nosuch/logs?stdout=1"),
        ("GET", "/containers/nosuch/top"),
        ("DELETE", "/containers/nosuch"),
    ],
)
def test_an_unknown_container_is_404(installation: Installation, method: str, path: str) -> None:
    error = refused(installation, method, path)
    assert error.status == 404
    assert str(error) == "No such container: nosuch"


@pytest.mark.parametrize(("method", "path"), [("GET", "/images/nosuch/json"), ("DELETE", "/images/nosuch")])
def test_an_unknown_image_is_404(installation: Installation, method: str, path: str) -> None:
    error = refused(installation, method, path)
    assert error.status == 404
    assert "No such image: nosuch" in str(error)


def test_a_container_of_an_unknown_image_is_404_and_is_not_made(installation: Installation) -> None:
    before = residue(installation)
    error = refused(installation, "POST", "/containers/create", body={"Image": "no/such:thing"})
    assert error.status == 404
    assert "No such image: no/such:thing" in str(error)
    assert residue(installation) == before


def test_a_name_that_is_taken_is_409_and_names_the_holder(installation: Installation) -> None:
    holder = installation.webdock("create", "--name", "taken", BUSYBOX).stdout.strip()
    error = refused(
        installation, "POST", "/containers/create", query={"name": "taken"}, body={"Image": BUSYBOX}
    )
    assert error.status == 409
    assert holder in str(error)
    assert "already in use" in str(error)


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "ä", "x" * 300, "."])
def test_a_bad_name_is_400(installation: Installation, name: str) -> None:
    error = refused(installation, "POST", "/containers/create", query={"name": name}, body={"Image": BUSYBOX})
    assert error.status == 400


def test_an_ambiguous_prefix_lists_the_candidates(installation: Installation) -> None:
    made: dict[str, list[str]] = {}
    while not any(len(group) > 1 for group in made.values()):
        full = installation.webdock("create", BUSYBOX).stdout.strip()
        made.setdefault(full[0], []).append(full)
    prefix, group = next((first, group) for first, group in made.items() if len(group) > 1)
    error = refused(installation, "GET", f"/containers/{prefix}/json")
    assert error.status in (400, 404)
    assert all(full[:12] in str(error) for full in group)


# -- commands and options ----------------------------------------------------------------------------------


def test_a_command_the_image_lacks_is_said_and_leaves_a_created_container(installation: Installation) -> None:
    before = residue(installation)
    done = installation.webdock("run", "--name", "lacks", BUSYBOX, "no-such-command", check=False)
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    state = installation.client.get("/containers/lacks/json")["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 127)
    assert residue(installation)["mounts"] == before["mounts"]
    assert residue(installation)["conmons"] == before["conmons"]


def test_a_file_that_cannot_be_executed_is_126(installation: Installation) -> None:
    done = installation.webdock("run", "--rm", BUSYBOX, "/etc/passwd", check=False)
    assert done.returncode == 126
    assert "permission denied" in done.stderr.lower()


@pytest.mark.parametrize(
    "change",
    [
        {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}},
        {"HostConfig": {"PortBindings": {"eighty/tcp": [{"HostPort": "80"}]}}},
        {"ExposedPorts": {"80/carrier-pigeon": {}}},
        {"HostConfig": {"Memory": -5}},
        {"HostConfig": {"Memory": 1000}},
        {"HostConfig": {"NanoCpus": -1}},
        {"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}},
        {"HostConfig": {"CapAdd": ["CAP_NONSENSE"]}},
        {"HostConfig": {"Binds": ["relative:also-relative"]}},
        {"Env": "not a list"},
        {"WorkingDir": "relative"},
        {"StopSignal": "SIGNONSENSE"},
        {"Cmd": {"not": "a list"}},
    ],
)
def test_a_bad_option_is_400_and_makes_nothing(installation: Installation, change: dict[str, Any]) -> None:
    before = residue(installation)
    error = refused(installation, "POST", "/containers/create", body={"Image": BUSYBOX, **change})
    assert error.status == 400
    assert residue(installation) == before


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b"{}" * 2, b"null"])
def test_a_body_that_is_no_object_is_400(installation: Installation, body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        installation.client.open(
            "POST", "/containers/create", None, body, {"Content-Type": "application/json"}
        )
    assert caught.value.status == 400


def test_a_port_that_is_taken_is_said_and_nothing_is_left_of_the_start(installation: Installation) -> None:
    port = free_port()
    installation.webdock(
        "run", "-d", "--name", "first", "-p", f"127.0.0.1:{port}:80", BUSYBOX, "sleep", "100"
    )
    before = residue(installation)
    done = installation.webdock(
        "run", "-d", "--name", "second", "-p", f"127.0.0.1:{port}:80", BUSYBOX, "sleep", "100", check=False
    )
    assert done.returncode != 0
    assert str(port) in done.stderr
    after = residue(installation)
    assert (after["mounts"], after["conmons"]) == (before["mounts"], before["conmons"])


def test_an_unknown_user_in_a_container_is_said(installation: Installation) -> None:
    done = installation.webdock("run", "--rm", "-u", "nobody-such", BUSYBOX, "id", check=False)
    assert done.returncode != 0
    assert "nobody-such" in done.stderr


@pytest.mark.parametrize("path", ["/nosuch", "/containers", "/v9.99/info", "/v1.0/info"])
def test_an_unknown_route_or_version_is_refused(installation: Installation, path: str) -> None:
    assert refused(installation, "GET", path).status in (400, 404)


# -- wrong states ------------------------------------------------------------------------------------------


def test_verbs_against_the_state_are_409_or_304(installation: Installation) -> None:
    installation.webdock("create", "--name", "still", BUSYBOX, "sleep", "100")
    assert refused(installation, "POST", "/containers/still/kill").status == 409
    assert refused(installation, "POST", "/containers/still/pause").status == 409
    assert refused(installation, "POST", "/containers/still/exec", body={"Cmd": ["id"]}).status == 409
    assert refused(installation, "POST", "/containers/still/stop").status == 304
    installation.webdock("start", "still")
    assert refused(installation, "POST", "/containers/still/start").status == 304
    error = refused(installation, "DELETE", "/containers/still")
    assert error.status == 409
    assert "running" in str(error).lower()


def test_an_image_in_use_is_409(installation: Installation) -> None:
    installation.webdock("run", "-d", BUSYBOX, "sleep", "100")
    assert refused(installation, "DELETE", f"/images/{BUSYBOX}").status == 409


# -- registries --------------------------------------------------------------------------------------------


def pull(installation: Installation, reference: str) -> str:
    """Pull; the error it ended with, "" when it went well."""
    done = installation.webdock("pull", reference, check=False)
    return done.stderr.strip() if done.returncode else ""


def test_an_unreachable_registry_is_said(installation: Installation) -> None:
    message = pull(installation, f"{DEAD_REGISTRY}/x:1")
    assert "refused" in message or "cannot be reached" in message


def test_a_registry_on_the_link_needs_a_line_in_the_configuration(installation: Installation) -> None:
    assert "engine.toml" in pull(installation, "169.254.1.1:5000/x:1")
    # On loopback root is taken at its word, as Docker takes everybody.
    assert "connection refused" in pull(installation, f"127.0.0.1:{free_port()}/x:1")


def test_a_registry_in_a_container_needs_none(installation: Installation) -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"

    def failed() -> str:
        body = {"Host": host, "Insecure": True}
        answer = installation.client.call("POST", "/registries/test", body=body)
        return str(answer["Tried"][-1]["Failed"])

    assert failed() == "address"
    serve = "mkdir -p /www/v2 && echo {} > /www/v2/index.json && exec httpd -f -p 80 -h /www"
    installation.webdock(
        "run", "-d", "--name", "registry", "-p", f"{host}:80", BUSYBOX, "sh", "-c", serve, check=True
    )
    eventually(lambda: failed() == "no-registry", what="an answer from the container")
    installation.webdock("rm", "-f", "registry")
    assert failed() == "address"


def test_a_missing_tag_is_said(installation: Installation, registry: RealRegistry) -> None:
    message = pull(installation, f"{registry.host}/no/such:tag")
    assert "not found" in message.lower() or "unknown" in message.lower()


@pytest.mark.parametrize(
    "entries",
    [
        [file("../../../../escaped", b"x")],
        [file("/../../escaped", b"x")],
        [symlink("out", "/"), file("out/escaped", b"x")],
        [symlink("out", "../../../../.."), file("out/escaped", b"x")],
        [hardlink("hard", "../../../../../../etc/passwd")],
        [symlink("etc", "/etc"), hardlink("hard", "etc/passwd")],
    ],
)
def test_a_layer_that_leads_out_writes_nothing_outside(
    installation: Installation, registry: RealRegistry, entries: list[Any]
) -> None:
    before = sorted(os.listdir("/")), sorted(os.listdir(installation.home / "engine"))
    name = "evil/layer"
    registry.put(name, "1", Image([Layer(tar(*entries))]))
    message = pull(installation, f"{registry.host}/{name}:1")
    assert (sorted(os.listdir("/")), sorted(os.listdir(installation.home / "engine"))) == before
    assert not list(installation.home.glob("**/escaped")) or not message
    for path in installation.home.glob("**/escaped"):
        assert "layers" in path.parts or "diff" in path.parts, path
    assert Path("/etc/passwd").stat().st_nlink == 1
    installation.webdock("rmi", f"{registry.host}/{name}:1", check=False)


def test_a_layer_whose_digest_lies_is_refused(installation: Installation, registry: RealRegistry) -> None:
    image = Image([Layer(tar(file("file", b"honest")))])
    registry.put("lying/layer", "1", image)
    digest = json.loads(image.manifest)["layers"][0]["digest"]
    stored = registry.root / "data/docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"
    data = stored.read_bytes()
    stored.write_bytes(data[:-1] + bytes([data[-1] ^ 0xFF]))
    message = pull(installation, f"{registry.host}/lying/layer:1")
    assert message
    # Hashing and unpacking run side by side: which of them sees the lie first is open.
    assert any(word in message.lower() for word in ("digest", "does not match", "sha256", "checksum"))
    assert f"{registry.host}/lying/layer" not in installation.webdock("images").stdout


# -- things that go away -----------------------------------------------------------------------------------


def test_a_container_removed_under_a_log_follower_ends_it(installation: Installation) -> None:
    installation.webdock("run", "-d", "--name", "followed", BUSYBOX, "sh", "-c", "echo said; sleep 1000")
    follower = subprocess.Popen(
        [*installation.command, "logs", "-f", "followed"],
        env=installation.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "said\n"
    installation.webdock("rm", "-f", "followed")
    assert follower.communicate(timeout=60)[0] == ""


def test_the_page_says_that_the_engine_is_gone(installation: Installation) -> None:
    status, _ = installation.page("/healthz")
    assert status == 200
    installation.down()
    try:
        with pytest.raises(OSError):
            installation.page("/healthz")
        with pytest.raises(Failure, match="engine is not running"):
            installation.client.get("/_ping")
        done = installation.webdock("ps", check=False)
        assert done.returncode == 1
        assert "sudo webdock up" in done.stderr
    finally:
        installation.up()


def test_a_stranger_on_the_socket_is_told_which_group(installation: Installation) -> None:
    # Everything is loaded before the rights go: the stranger may not be able to read this tree.
    script = (
        "import os, grp, pwd; from webdock.cli import command, containers;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); raise SystemExit(command.run(['ps']))"
    )
    done = installation.execute([*installation.command[:2], "-c", script])
    assert done.returncode == 1
    assert "webdock-admin" in done.stderr


def test_100_broken_clients_leave_no_descriptor(installation: Installation) -> None:
    import socket

    pid = installation.engine_pid()
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for number in range(100):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(installation.run / "engine.sock"))
            client.sendall(
                [b"GARBAGE\r\n\r\n", b"POST /containers/create HTTP/1.1\r\nContent-Le", b""][number % 3]
            )
    eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 2, what="closed connections")

"""The stock docker clients of two generations against engine.sock, on real terminals where it matters."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.installation import Installation, eventually
from tests.integration.pty_session import PtySession

Terminal = Callable[..., PtySession]


def docker_clients() -> list[str]:
    """Every docker client of this machine: the first on PATH, and the distribution's if that is another."""
    found = [shutil.which("docker") or "docker-client-is-missing", "/usr/bin/docker"]
    kept: list[str] = []
    for path in found:
        if not any(os.path.exists(path) and os.path.samefile(path, other) for other in kept):
            kept.append(path)
    return kept


class Docker:
    """One docker client, pointed at the installation's engine.sock."""

    def __init__(self, binary: str, installation: Installation) -> None:
        self.binary, self.installation = binary, installation

    def __call__(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """Run a command that should go well; what it printed."""
        return self.run(*arguments, input=input, check=check).stdout

    def run(
        self, *arguments: str, input: str | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return self.installation.execute([self.binary, *arguments], input=input, check=check)


@pytest.fixture(params=docker_clients())
def docker(request: pytest.FixtureRequest, installation: Installation) -> Docker:
    return Docker(request.param, installation)


def test_version_shows_client_and_engine(docker: Docker) -> None:
    about = json.loads(docker("version", "--format", "{{json .}}"))
    assert about["Server"]["ApiVersion"]
    assert about["Server"]["Os"] == "linux"


def test_info_counts_containers_and_images(docker: Docker) -> None:
    docker("run", "-d", "webdock/busybox", "sleep", "100")
    about = json.loads(docker("info", "--format", "{{json .}}"))
    assert about["ContainersRunning"] == 1
    assert about["Images"] >= 2
    assert "ERROR" not in docker("info")


def test_images_lists_the_starter_images(docker: Docker) -> None:
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {"webdock/hello:latest", "webdock/busybox:latest"} <= set(names)


def test_run_rm_prints_the_greeting_and_leaves_no_container(docker: Docker) -> None:
    done = docker.run("run", "--rm", "webdock/hello")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert docker("ps", "-aq") == ""


def test_run_passes_the_exit_code_on(docker: Docker) -> None:
    assert docker.run("run", "--rm", "webdock/busybox", "sh", "-c", "exit 42").returncode == 42


def test_run_keeps_stdout_and_stderr_apart(docker: Docker) -> None:
    done = docker.run("run", "--rm", "webdock/busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_run_reads_standard_input_to_its_end(docker: Docker) -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))
    done = docker.run("run", "--rm", "-i", "webdock/busybox", "wc", "-l", input=text)
    assert done.stdout.strip() == "20000"


def test_run_on_a_terminal_is_a_shell_one_can_type_into(docker: Docker, terminal: Terminal) -> None:
    session = terminal(
        docker.binary, "run", "-it", "--name", "shell", "webdock/busybox", "sh", rows=33, columns=101
    )
    session.expect(r"# ")
    session.type("tty; echo $((6*7))\r")
    session.expect(r"/dev/pts/0")
    session.expect(r"42\r\n")
    eventually(lambda: size_seen(session, "33 101"), what="the size inside")
    session.resize(40, 120)
    eventually(lambda: size_seen(session, "40 120"), what="the new size inside")
    session.type("echo go''ing; sleep 1000\r")
    session.expect("going")
    time.sleep(0.1)  # so that it is the sleep, mostly, that is interrupted
    session.type(b"\x03")
    session.type("echo after-interrupt\r")
    session.expect(r"after-interrupt\r\n")
    session.type("exit 5\r")
    assert session.wait() == 5
    assert "Exited (5)" in docker("ps", "-a", "--format", "{{.Status}}")


def size_seen(session: PtySession, wanted: str) -> bool:
    session.type("stty size\r")
    return session.expect(r"\d+ \d+\r\n")[0].decode().strip() == wanted


def test_multi_byte_characters_survive_a_terminal(docker: Docker, terminal: Terminal) -> None:
    session = terminal(docker.binary, "run", "-it", "--rm", "webdock/busybox", "cat")
    session.type("grüße 漢字 🚢\r")
    session.expect("grüße 漢字 🚢\r\ngrüße 漢字 🚢\r\n")
    session.type(b"\x04")
    assert session.wait() == 0


def test_detach_keys_leave_the_container_running(docker: Docker, terminal: Terminal) -> None:
    session = terminal(docker.binary, "run", "-it", "--name", "kept", "webdock/busybox", "sh")
    session.expect(r"# ")
    session.type(b"\x10\x11")
    session.wait()
    assert docker("inspect", "-f", "{{.State.Running}}", "kept").strip() == "true"
    again = terminal(docker.binary, "attach", "kept")
    again.type("echo again-$((1+1))\r")
    again.expect(r"again-2")
    again.type("exit 0\r")
    assert again.wait() == 0


def test_run_detached_prints_the_id_and_ps_shows_it(docker: Docker) -> None:
    full = docker("run", "-d", "--name", "back", "webdock/busybox", "sleep", "100").strip()
    assert re.fullmatch("[0-9a-f]{64}", full)
    line = docker("ps", "--format", "{{.ID}} {{.Image}} {{.Names}} {{.Status}}").strip()
    assert line.startswith(f"{full[:12]} webdock/busybox back Up")
    assert docker("ps", "-aq", "--no-trunc").split() == [full]


def test_ps_shows_ended_containers_only_when_asked(docker: Docker) -> None:
    docker("run", "--name", "done", "webdock/busybox", "true")
    assert docker("ps", "-q") == ""
    assert "Exited (0)" in docker("ps", "-a")


def test_logs_follow_until_the_container_ends(docker: Docker) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo last >&2"
    docker("run", "-d", "--name", "talker", "webdock/busybox", "sh", "-c", script)
    done = docker.run("logs", "-f", "talker")
    assert done.stdout == "line 1\nline 2\nline 3\n"
    assert done.stderr == "last\n"
    assert docker("logs", "--tail", "1", "talker") in ("", "line 3\n")


def test_exec_on_a_terminal_runs_beside_the_first_process(docker: Docker, terminal: Terminal) -> None:
    docker("run", "-d", "--name", "host", "-e", "GREETING=hello", "webdock/busybox", "sleep", "100")
    session = terminal(docker.binary, "exec", "-it", "host", "sh", rows=20, columns=77)
    session.expect(r"# ")
    session.type("echo $GREETING from $(hostname | wc -c)\r")
    session.expect(r"hello from 13\r\n")
    eventually(lambda: size_seen(session, "20 77"), what="the size inside")
    session.type("exit 9\r")
    assert session.wait() == 9
    assert docker("inspect", "-f", "{{.State.Running}}", "host").strip() == "true"


def test_exec_passes_input_output_and_exit_code(docker: Docker) -> None:
    docker("run", "-d", "--name", "host", "webdock/busybox", "sleep", "100")
    done = docker.run("exec", "-i", "host", "sh", "-c", "cat; echo err >&2; exit 3", input="given")
    assert (done.stdout, done.stderr.strip(), done.returncode) == ("given", "err", 3)


def test_inspect_shows_what_was_asked_for(docker: Docker) -> None:
    docker(
        "create", "--name", "asked", "-e", "A=b", "-w", "/tmp", "-u", "1:1", "-l", "tier=web", "-h", "box",
        "--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "webdock/busybox", "id",
    )  # fmt: skip
    about = json.loads(docker("inspect", "asked"))[0]
    assert about["Config"]["Env"][0] == "A=b"
    assert about["Config"]["WorkingDir"] == "/tmp"
    assert about["Config"]["Labels"]["tier"] == "web"
    assert about["Config"]["Hostname"] == "box"
    assert about["HostConfig"]["Memory"] == 64 * 1024**2
    assert about["HostConfig"]["NanoCpus"] == 500_000_000
    assert about["HostConfig"]["PidsLimit"] == 50
    assert docker("start", "-a", "asked").startswith("uid=1")


def test_stop_ends_with_the_signal_and_rm_removes(docker: Docker) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    docker("run", "-d", "--name", "polite", "webdock/busybox", "sh", "-c", script)
    eventually(lambda: docker("logs", "polite") == "ready\n", what="its first word")
    docker("stop", "-t", "60", "polite")
    assert docker("logs", "polite") == "ready\nbye\n"
    assert docker("inspect", "-f", "{{.State.ExitCode}}", "polite").strip() == "0"
    docker("rm", "polite")
    assert docker("ps", "-aq") == ""


def test_kill_shows_137_and_rm_force_removes_a_running_one(docker: Docker) -> None:
    docker("run", "-d", "--name", "victim", "webdock/busybox", "sleep", "100")
    docker("kill", "victim")
    assert docker("wait", "victim").strip() == "137"
    docker("start", "victim")
    docker("rm", "-f", "victim")
    assert docker("ps", "-aq") == ""


def test_rmi_removes_a_tag_and_refuses_a_used_image(docker: Docker) -> None:
    docker("tag", "webdock/busybox", "spare:1")
    assert "Untagged: spare:1" in docker("rmi", "spare:1")
    docker("run", "-d", "webdock/busybox", "sleep", "100")
    refused = docker.run("rmi", "webdock/busybox")
    assert refused.returncode == 1
    assert "conflict" in refused.stderr.lower()


def test_a_published_port_answers_on_this_machine(docker: Docker) -> None:
    serve = "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"
    docker("run", "-d", "--name", "served", "-p", "127.0.0.1::80", "webdock/busybox", "sh", "-c", serve)
    host, _, port = docker("port", "served", "80").split()[0].rpartition(":")

    def fetched() -> bool:
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read() == b"served\n"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    eventually(fetched, what=f"an answer at {host}:{port}")


def test_cp_moves_files_both_ways(docker: Docker, tmp_path: Path) -> None:
    docker("run", "-d", "--name", "box", "webdock/busybox", "sleep", "100")
    source = tmp_path / "given.txt"
    source.write_text("carried")
    docker("cp", str(source), "box:/tmp/given.txt")
    assert docker("exec", "box", "cat", "/tmp/given.txt") == "carried"
    docker("cp", "box:/tmp/given.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "carried"


def test_commit_save_and_load_keep_what_was_written(docker: Docker, tmp_path: Path) -> None:
    docker("run", "--name", "maker", "webdock/busybox", "sh", "-c", "echo kept > /made")
    docker("commit", "maker", "made:1")
    docker("save", "-o", str(tmp_path / "made.tar"), "made:1")
    docker("rm", "maker")
    docker("rmi", "made:1")
    assert "Loaded image: made:1" in docker("load", "-i", str(tmp_path / "made.tar"))
    assert docker("run", "--rm", "made:1", "cat", "/made") == "kept\n"
    docker("rmi", "made:1")


def test_pause_stops_and_unpause_goes_on(docker: Docker) -> None:
    docker(
        "run", "-d", "--name", "beat", "webdock/busybox", "sh", "-c", "while true; do date; sleep 0.1; done"
    )
    docker("pause", "beat")
    assert "(Paused)" in docker("ps", "--format", "{{.Status}}")
    docker("unpause", "beat")
    assert "(Paused)" not in docker("ps", "--format", "{{.Status}}")


def test_events_tell_a_container_life(docker: Docker) -> None:
    began = time.time()
    docker("run", "--rm", "--name", "lived", "webdock/busybox", "true")
    told = docker(
        "events", "--since", f"{began:.9f}", "--until", f"{time.time() + 1:.9f}",
        "--filter", "type=container", "--format", "{{.Action}}",
    )  # fmt: skip
    actions = told.split()
    assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_stats_shows_memory_of_a_running_container(docker: Docker) -> None:
    docker("run", "-d", "--name", "measured", "-m", "64m", "webdock/busybox", "sleep", "100")
    line = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    assert re.match(r"measured \d\S* / 64MiB", line.strip())


def test_networks_carry_names_between_containers(docker: Docker) -> None:
    docker("network", "create", "backend")
    try:
        docker("run", "-d", "--name", "server", "--network", "backend", "webdock/busybox", "sleep", "100")
        answer = docker(
            "run", "--rm", "--network", "backend", "webdock/busybox", "ping", "-c", "1", "-W", "30", "server"
        )
        assert "1 packets received" in answer
    finally:
        docker("rm", "-f", "server")
        docker("network", "rm", "backend")


def test_a_volume_keeps_data_between_containers(docker: Docker) -> None:
    docker("volume", "create", "kept")
    try:
        docker("run", "--rm", "-v", "kept:/data", "webdock/busybox", "sh", "-c", "echo here > /data/file")
        assert docker("run", "--rm", "-v", "kept:/data", "webdock/busybox", "cat", "/data/file") == "here\n"
    finally:
        docker("volume", "rm", "kept")


def test_large_output_arrives_whole(docker: Docker) -> None:
    done = docker("run", "--rm", "webdock/busybox", "sh", "-c", "seq 1 200000")
    lines = done.splitlines()
    assert len(lines) == 200_000
    assert lines[-1] == "200000"

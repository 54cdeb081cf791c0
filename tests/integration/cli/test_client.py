"""The webdock command itself: terminals, signals, exit codes, copies, and pipes that somebody closes."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.image_files import Image, Layer, file, tar
from tests.integration.installation import Installation, eventually
from tests.integration.pty_session import PtySession
from tests.integration.registry import RealRegistry

Terminal = Callable[..., PtySession]
BUSYBOX = "webdock/busybox"
WEBDOCK = (sys.executable, "-I", "-m", "webdock")
QUICK_S = 0.5  # of the processor, a generous bound; bench/run_rm.py has the real number


def test_run_on_a_terminal_resizes_interrupts_and_passes_the_exit_code_on(
    installation: Installation, terminal: Terminal
) -> None:
    session = terminal(*WEBDOCK, "run", "-it", "--rm", BUSYBOX, rows=30, columns=90)
    session.expect(r"# ")
    session.type("stty size; echo go''ing; sleep 1000\r")
    session.expect("30 90")
    session.expect("going")
    time.sleep(0.1)  # so that it is the sleep, mostly, that is interrupted
    session.resize(35, 95)
    session.type(b"\x03")

    def resized() -> bool:
        session.type("stty size\r")
        return session.expect(r"\d+ \d+\r\n")[0].decode().split() == ["35", "95"]

    eventually(resized, what="the new size inside")
    session.type("exit 11\r")
    assert session.wait() == 11
    assert installation.client.get("/containers/json", {"all": True}) == []


def test_the_terminal_is_as_before_after_run(terminal: Terminal, tmp_path: Path) -> None:
    run = f"{' '.join(WEBDOCK)} run -it --rm {BUSYBOX} true"
    script = f"cd {tmp_path}; stty -a > before; {run}; stty -a > after; cmp before after"
    session = terminal("/bin/sh", "-c", script)
    assert session.wait() == 0, session.text


def test_detach_keys_leave_it_running_and_attach_comes_back(
    installation: Installation, terminal: Terminal
) -> None:
    session = terminal(*WEBDOCK, "run", "-it", "--name", "kept", "--detach-keys", "ctrl-a,d", BUSYBOX)
    session.expect(r"# ")
    session.type(b"\x01d")
    assert session.wait() == 0
    assert installation.client.get("/containers/kept/json")["State"]["Running"]
    again = terminal(*WEBDOCK, "attach", "kept")
    again.type("echo $((3*14))\r")
    again.expect("42")
    again.type("exit 2\r")
    assert again.wait() == 2


def test_exec_on_a_terminal(installation: Installation, terminal: Terminal) -> None:
    installation.webdock("run", "-d", "--name", "host", BUSYBOX, "sleep", "1000")
    session = terminal(
        *WEBDOCK, "exec", "-it", "-e", "WORD=inside", "-w", "/tmp", "host", "sh", rows=21, columns=71
    )
    session.expect(r"# ")
    session.type("echo $WORD $PWD; stty size\r")
    session.expect("inside /tmp")
    session.expect("21 71")
    session.type("exit 7\r")
    assert session.wait() == 7


def test_start_attached_shows_output_and_exit_code(installation: Installation) -> None:
    installation.webdock("create", "--name", "again", BUSYBOX, "sh", "-c", "echo out; echo err >&2; exit 5")
    for _ in range(2):
        done = installation.webdock("start", "-a", "again", check=False)
        assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 3), (signal.SIGINT, 4), (signal.SIGUSR1, 5)])
def test_signals_go_to_the_container(installation: Installation, number: signal.Signals, code: int) -> None:
    traps = "trap 'exit 3' TERM; trap 'exit 4' INT; trap 'exit 5' USR1"
    script = f"{traps}; echo ready; while true; do sleep 0.05; done"
    process = subprocess.Popen(
        [*WEBDOCK, "run", "--rm", BUSYBOX, "sh", "-c", script],
        env=installation.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == code


def test_large_input_and_output_arrive_whole(installation: Installation) -> None:
    data = os.urandom(5 * 1024**2)
    done = subprocess.run(
        [*WEBDOCK, "run", "-i", "--rm", BUSYBOX, "cat"],
        env=installation.environ,
        input=data,
        capture_output=True,
    )
    assert done.stdout == data


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(installation: Installation) -> None:
    installation.webdock("run", "-d", "--name", "talker", BUSYBOX, "sh", "-c", "seq 1 100000; sleep 1000")
    eventually(lambda: "100000" in installation.webdock("logs", "--tail", "1", "talker").stdout)
    command = f"{' '.join(WEBDOCK)} logs -f talker | head -n 2"
    done = installation.execute(["sh", "-c", command], timeout_s=60)
    assert (done.stdout, done.stderr) == ("1\n2\n", "")


def test_exit_codes_tell_what_went_wrong(installation: Installation) -> None:
    def code(*arguments: str) -> int:
        return installation.webdock(*arguments, check=False).returncode

    assert code("run", "--rm", BUSYBOX, "no-such-command") == 127
    assert code("run", "--rm", BUSYBOX, "/etc") == 126
    assert code("run", "--rm", "--pull", "never", "no/such-image") == 125
    assert code("run", "--rm", "--memory", "nonsense", BUSYBOX) == 125
    assert code("exec", "nosuch", "true") == 1
    assert code("ps", "--nosuch") == 125


def test_cp_both_ways_with_directories(installation: Installation, tmp_path: Path) -> None:
    installation.webdock(
        "run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "mkdir /made; echo a > /made/a; sleep 1000"
    )
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_text("carried")
    installation.webdock("cp", str(tree), "box:/tmp")
    installation.webdock("cp", f"{tree}/.", "box:/tmp/renamed")
    for path in ("/tmp/tree/below/file", "/tmp/renamed/below/file"):
        assert installation.webdock("exec", "box", "cat", path).stdout == "carried"
    eventually(lambda: installation.webdock("exec", "box", "ls", "/made").stdout == "a\n")
    installation.webdock("cp", "box:/made", str(tmp_path / "out"))
    assert (tmp_path / "out" / "a").read_text() == "a\n"
    assert "A /tmp/tree" in installation.webdock("diff", "box").stdout
    missing = installation.webdock("cp", "box:/nosuch", str(tmp_path), check=False)
    assert (missing.returncode, "/nosuch" in missing.stderr) == (1, True)


def test_formats_filters_and_quiet_lists(installation: Installation) -> None:
    full = installation.webdock(
        "run", "-d", "--name", "one", "-l", "tier=web", BUSYBOX, "sleep", "1000"
    ).stdout.strip()
    installation.webdock("create", "--name", "two", BUSYBOX)
    assert installation.webdock("ps", "-q", "--no-trunc").stdout.split() == [full]
    names = installation.webdock("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.split("\n")
    assert sorted(filter(None, names)) == ["one running", "two created"]
    assert installation.webdock("ps", "-aq", "-f", "label=tier=web").stdout.split() == [full[:12]]
    row = json.loads(installation.webdock("ps", "--format", "json").stdout)
    assert (row["Names"], row["Labels"]) == ("one", "tier=web")
    assert (
        installation.webdock("inspect", "-f", "{{.Config.Labels.tier}} {{len .Args}}", "one").stdout
        == "web 1\n"
    )
    missing = installation.webdock("inspect", "nosuch", check=False)
    assert (missing.returncode, "No such object: nosuch" in missing.stderr) == (1, True)


def test_a_pull_shows_bars_on_a_terminal_and_lines_elsewhere(
    installation: Installation, registry: RealRegistry, terminal: Terminal
) -> None:
    layers = [Layer(tar(file(f"part{number}", os.urandom(3 * 1024**2)))) for number in range(2)]
    registry.put("client/pulled", "1", Image(layers))
    reference = f"{registry.host}/client/pulled:1"
    session = terminal(*WEBDOCK, "pull", reference, columns=120)
    assert session.wait(60) == 0
    assert "\x1b[1A" in session.text, "no line was drawn over"
    assert "Pull complete" in session.text
    installation.webdock("rmi", reference)
    done = installation.webdock("pull", reference)
    assert "\x1b" not in done.stdout
    assert done.stdout.count("Pull complete") == 2
    assert reference in installation.webdock("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    installation.webdock("rmi", reference)


def test_run_fetches_a_missing_image_first(installation: Installation, registry: RealRegistry) -> None:
    busybox = Path("/bin/busybox").read_bytes()
    image = Image(
        [Layer(tar(file("bin/sh", busybox, mode=0o755)))],
        {"config": {"Cmd": ["/bin/sh", "-c", "echo fetched"]}},
    )
    registry.put("client/fetched", "1", image)
    reference = f"{registry.host}/client/fetched:1"
    done = installation.webdock("run", "--rm", reference)
    assert done.stdout == "fetched\n"
    assert "fetching it" in done.stderr
    installation.webdock("rmi", reference)


def test_an_interrupted_command_ends_without_a_traceback(installation: Installation) -> None:
    process = subprocess.Popen(
        [*WEBDOCK, "events"],
        env=installation.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    made: list[str] = []

    def told() -> bool:  # once it says what happens, it is well under way
        made.append(f"told-{len(made)}")
        installation.webdock("volume", "create", made[-1])
        return bool(select.select([process.stdout], [], [], 0.2)[0])

    eventually(told, what="an event")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    installation.webdock("volume", "rm", *made)


def test_ps_is_quick_and_the_engine_and_the_client_never_load_django(installation: Installation) -> None:
    installation.webdock("ps")
    times = []
    for _ in range(5):
        began = processor_s()
        installation.webdock("ps")
        times.append(processor_s() - began)
    assert min(times) < QUICK_S
    maps = Path(f"/proc/{installation.engine_pid()}/maps").read_text()
    assert "django" not in maps
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, runtime.main, runtime.engine, runtime.server.app; "
         "print([name for name in sys.modules if name.split('.')[0] in ('django', 'channels', 'daphne')])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "[]"


def processor_s() -> float:
    """What the commands that ended took of the processor, however many others wanted it as well."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_networks_and_volumes_by_their_verbs(installation: Installation, tmp_path: Path) -> None:
    assert (
        len(installation.webdock("network", "create", "--subnet", "10.213.7.0/24", "own").stdout.strip())
        == 64
    )
    try:
        assert "own" in installation.webdock("network", "ls").stdout
        subnet = installation.webdock(
            "network", "inspect", "own", "--format", "{{(index .IPAM.Config 0).Subnet}}"
        ).stdout
        assert subnet == "10.213.7.0/24\n"
        address = installation.webdock("run", "--rm", "--network", "own", BUSYBOX, "hostname", "-i").stdout
        assert address.startswith("10.213.7.")
    finally:
        installation.webdock("network", "rm", "own")
    installation.webdock("volume", "create", "data")
    installation.webdock("run", "--rm", "-v", "data:/d", BUSYBOX, "sh", "-c", "echo kept > /d/f")
    assert installation.webdock("run", "--rm", "-v", "data:/d:ro", BUSYBOX, "cat", "/d/f").stdout == "kept\n"
    assert "data" in installation.webdock("volume", "ls", "-q").stdout
    kept = str(tmp_path / "data.tar")
    installation.webdock("volume", "export", "data", "-o", kept)
    installation.webdock("volume", "import", "restored", kept)
    assert installation.webdock("volume", "clone", "restored", "cloned").stdout == "cloned\n"
    assert (
        installation.webdock("run", "--rm", "-v", "cloned:/d:ro", BUSYBOX, "cat", "/d/f").stdout == "kept\n"
    )
    refused = installation.webdock("volume", "import", "never", f"{kept}.none", check=False)
    assert "cannot be read" in refused.stderr
    assert installation.webdock("volume", "ls", "-q").stdout.split() == ["cloned", "data", "restored"]
    installation.webdock("volume", "rm", "data", "restored", "cloned")


def test_stats_top_port_update_wait_and_rename(installation: Installation) -> None:
    installation.webdock(
        "run", "-d", "--name", "one", "-m", "64m", "-p", "127.0.0.1::80", BUSYBOX, "sleep", "1000"
    )
    assert "/ 64MiB" in installation.webdock("stats", "--no-stream").stdout
    assert "sleep 1000" in installation.webdock("top", "one").stdout
    assert installation.webdock("port", "one", "80").stdout.startswith("127.0.0.1:")
    installation.webdock("update", "-m", "128m", "--memory-swap", "-1", "one")
    assert installation.client.get("/containers/one/json")["HostConfig"]["Memory"] == 128 * 1024**2
    installation.webdock("rename", "one", "two")
    installation.webdock("kill", "-s", "TERM", "two")
    installation.webdock("kill", "two", check=False)
    assert installation.webdock("wait", "two").stdout.strip() in ("137", "143")


def test_system_verbs(installation: Installation) -> None:
    installation.webdock("run", "--name", "ended", BUSYBOX, "true")
    assert "Containers: 1" in installation.webdock("info").stdout
    assert "Images" in installation.webdock("df").stdout
    assert installation.webdock("version", "--format", "{{.Server.ApiVersion}}").stdout.strip()
    assert installation.webdock("container", "prune", check=False).returncode == 1  # nobody is there to ask
    assert "Total reclaimed space" in installation.webdock("container", "prune", "-f").stdout
    assert installation.client.get("/containers/json", {"all": True}) == []
    assert installation.webdock("status").stdout.startswith("engine: runs")


def test_accounts_are_made_listed_and_disabled_from_the_command_line(installation: Installation) -> None:
    password = "correct horse battery"  # typed by nobody
    added = installation.webdock("user", "add", "anna", "--role", "operator", input=f"{password}\n")
    assert "anna can log in, as operator" in added.stdout
    assert password not in added.stdout + added.stderr
    again = installation.webdock("user", "add", "anna", input=f"{password}\n", check=False)
    assert again.returncode == 1
    assert "cannot be added" in again.stderr
    installation.webdock("user", "disable", "anna")
    rows = [
        json.loads(line)
        for line in installation.webdock("user", "list", "--format", "json").stdout.splitlines()
    ]
    assert [row["State"] for row in rows if row["Name"] == "anna"] == ["disabled"]

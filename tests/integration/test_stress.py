"""Many containers and many clients at once: all is done, nothing is left, and an idle engine rests."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.installation import Installation, eventually
from webdock.cli.http import Refused

BUSYBOX = "webdock/busybox"
CONTAINERS = 200
IN_FLIGHT = 8
WARM_UP = 2 * IN_FLIGHT
SLACK = 3  # of what is held: the engine's own timers and tasks come and go
QUIET_S = 0.5  # for as long nothing changes in an engine that has settled
LEFT_TIMEOUT_S = 60.0  # a loaded machine takes its time to unmount
REST_S = 5.0  # over which the idle engine's processor time is taken
IDLE_SHARE = 0.02
RESIDENT_MIB = 160


def status(call: Callable[[], object]) -> int:
    """200 for a call that succeeds, else the refusal's status."""
    try:
        call()
    except Refused as error:
        return error.status
    return 200


def side_by_side(calls: Iterable[Callable[[], object]], workers: int = IN_FLIGHT) -> Counter[int]:
    with ThreadPoolExecutor(workers) as pool:
        return Counter(pool.map(status, calls))


def share_of_processor(pid: int) -> float:
    """How much of a processor it takes, over some seconds."""
    spent, began = processor_s(pid), time.monotonic()
    time.sleep(REST_S)
    return (processor_s(pid) - spent) / (time.monotonic() - began)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no resident memory")


def left(installation: Installation) -> dict[str, int]:
    """What containers hold: mounts, watchers, the engine's descriptors of each kind, records on disk."""
    home = str(installation.home)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    conmons = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            conmons += b"conmon" in (line := (process / "cmdline").read_bytes()) and home.encode() in line
        except OSError:
            continue
    return {
        "mounts": sum(home in line or str(installation.run) in line for line in mounts),
        "conmons": conmons,
        "records": len(list((installation.home / "engine" / "containers").iterdir())),
        **descriptors(installation.engine_pid()),
    }


def descriptors(pid: int) -> Counter[str]:
    """How many of each kind a process holds: {"socket": 12, "anon_inode:[pidfd]": 3, "/var/tmp/…": 1, …}."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind, colon, _ = os.readlink(entry).partition(":[")
        except OSError:
            continue  # closed meanwhile
        found[re.sub(r"[0-9a-f]{12,}", "*", kind) if colon or kind.startswith("/") else kind] += 1
    return found


def settled(installation: Installation) -> dict[str, int]:
    """What is held once it has not changed for a while."""
    seen, since = left(installation), time.monotonic()
    deadline = since + LEFT_TIMEOUT_S
    while time.monotonic() < min(since + QUIET_S, deadline):
        time.sleep(0.05)
        if (now := left(installation)) != seen:
            seen, since = now, time.monotonic()
    return seen


def goes_back_to(before: dict[str, int], installation: Installation) -> None:
    """Wait until no more is held than before; else fail with what is, and how much of it."""

    def more() -> dict[str, str]:
        return {
            what: f"{now}, not {before.get(what, 0)}"
            for what, now in left(installation).items()
            if now > before.get(what, 0) + SLACK
        }

    deadline = time.monotonic() + LEFT_TIMEOUT_S
    while (found := more()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not found, f"still held: {found}"


def test_200_containers_with_8_requests_in_flight_all_run_and_none_leaks(installation: Installation) -> None:
    client = installation.client
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "StopSignal": "KILL"}

    def run(number: int) -> None:
        made = client.post("/containers/create", {"name": f"many-{number}"}, body)
        client.post(f"/containers/{made['Id']}/start")

    def clear() -> Counter[int]:
        made = client.get("/containers/json", {"all": True})
        calls = [lambda one=one: client.delete(f"/containers/{one['Id']}", {"force": True}) for one in made]
        return side_by_side(calls)

    # Only an engine that has worked as hard holds all that it keeps ready: namespaces, threads, workers.
    assert side_by_side([lambda n=n: run(n) for n in range(WARM_UP)]) == {200: WARM_UP}
    assert clear() == {200: WARM_UP}
    before = settled(installation)
    assert side_by_side([lambda n=n: run(n) for n in range(CONTAINERS)]) == {200: CONTAINERS}
    running = client.get("/containers/json")
    assert len(running) == CONTAINERS
    assert {one["State"] for one in running} == {"running"}
    addresses = {one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for one in running}
    assert len(addresses) == CONTAINERS
    engine = installation.engine_pid()
    assert resident_mib(engine) < RESIDENT_MIB
    # Now and then the pages ask for statistics; between that, once what the starts left is done, it rests.
    eventually(lambda: share_of_processor(engine) < IDLE_SHARE, 120, "an engine that rests")
    assert clear() == {200: CONTAINERS}
    assert client.get("/containers/json", {"all": True}) == []
    goes_back_to(before, installation)


def test_exec_sessions_side_by_side_all_answer_and_none_leaks(installation: Installation) -> None:
    client = installation.client
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "StopSignal": "KILL"}
    client.post("/containers/create", {"name": "host"}, body)
    client.post("/containers/host/start")

    def session(number: int) -> None:
        made = client.post(
            "/containers/host/exec", None, {"Cmd": ["echo", f"word {number}"], "AttachStdout": True}
        )
        with closing(client.hijack(f"/exec/{made['Id']}/start", None, {"Detach": False})) as stream:
            output = b"".join(iter(stream.read, b""))
        assert f"word {number}\n".encode() in output
        assert client.get(f"/exec/{made['Id']}/json")["ExitCode"] == 0

    assert side_by_side([lambda n=n: session(n) for n in range(WARM_UP)]) == {200: WARM_UP}
    before = settled(installation)
    assert side_by_side([lambda n=n: session(n) for n in range(80)]) == {200: 80}
    goes_back_to(before, installation)


@pytest.mark.parametrize(
    "first",
    [
        b'{"Image":"webdock/busybox","Env":["' + b"x" * (20 << 20) + b'"]}',
        b"[" * (20 << 20),
        b'{"a":' * 100_000,
        b'{"Image":"webdock/busybox"' + b" " * (20 << 20),
        b'{"Image":"webdock/busybox","Labels":{' + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}}",
    ],
    ids=["20 MB of a string", "20 MB of brackets", "deep", "20 MB of blanks, cut", "wrong labels"],
)
def test_a_monstrous_body_is_400_and_the_engine_is_unharmed(installation: Installation, first: bytes) -> None:
    client, engine = installation.client, installation.engine_pid()
    with pytest.raises(Refused) as caught:
        client.open("POST", "/containers/create", None, first, {"Content-Type": "application/json"})
    assert caught.value.status in (400, 413)
    assert str(caught.value)
    assert client.get("/containers/json", {"all": True}) == []
    assert installation.engine_pid() == engine


WRONG: tuple[Any, ...] = (
    *("", "x", "a\0b", "x" * 5000, "/" * 300, -1, 7, 1 << 63, -(1 << 70), 1.5, True),
    *([], [1], ["x"], [None], ["a\0b"], [{}], {}, {"a": 1}, {"a": None}, {"a": ["x"]}),
)


def test_no_value_of_any_field_of_a_container_is_the_engines_mistake(installation: Installation) -> None:
    """Each field of an inspect document, given each wrong thing: made or refused with a reason, never 500."""
    client = installation.client
    client.post("/containers/create", {"name": "pattern"}, {"Image": BUSYBOX, "Cmd": ["true"]})
    pattern = client.get("/containers/pattern/json")
    base = {"Image": BUSYBOX, "Cmd": ["true"]}
    bodies = [{**base, key: value} for key in pattern["Config"] for value in WRONG]
    bodies += [{**base, "HostConfig": {key: value}} for key in pattern["HostConfig"] for value in WRONG]
    mistakes: list[str] = []

    def ask(body: dict[str, Any]) -> None:
        try:
            made = client.post("/containers/create", None, body)
        except Refused as error:
            if (error.status >= 500 and error.status != 501) or not str(error):
                mistakes.append(f"{error.status} {error} for {json.dumps(body)[:200]}")
            raise
        client.delete(f"/containers/{made['Id']}", {"v": True})

    seen = side_by_side([lambda body=body: ask(body) for body in bodies], workers=4)
    assert not mistakes, "\n".join(mistakes[:20])
    assert set(seen) <= {200, 400, 403, 404, 409, 501}
    assert [one["Names"] for one in client.get("/containers/json", {"all": True})] == [["/pattern"]]

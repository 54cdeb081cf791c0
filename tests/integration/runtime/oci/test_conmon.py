"""conmon and the runtimes, for real: output, input, exits, terminals, engines that die."""

# ruff: noqa: ASYNC110, PT012 - the world outside has no events to wait for
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.api.errors import Conflict, EngineError
from runtime.oci.conmon import Conmon, ConmonStream
from runtime.oci.runtime import CannotStart, Runtime

from .conftest import Yard, open_descriptors

PATIENCE_S = 60.0


async def drain(stream: ConmonStream) -> dict[int, bytes]:
    output = {1: b"", 2: b""}
    async with asyncio.timeout(PATIENCE_S):
        while (chunk := await stream.read()) is not None:
            output[chunk[0]] += chunk[1]
    return output


async def expect(stream: ConmonStream, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while text not in seen:
            chunk = await stream.read()
            assert chunk is not None, seen
            seen += chunk[1]
    return seen


def process(*args: str, tty: bool = False) -> dict[str, object]:
    return {
        "terminal": tty,
        "args": list(args),
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
    }


async def test_attached_before_start_sees_the_first_byte_and_the_exit_code(yard: Yard) -> None:
    handle = await yard.create(yard.bundle("sh", "-c", "echo out; echo err >&2; exit 3"))
    stream = await yard.conmon.attach(handle)
    await yard.conmon.start(handle)
    assert await drain(stream) == {1: b"out\n", 2: b"err\n"}
    info = await yard.conmon.wait_exit(handle)
    assert (info.code, info.oom_killed, info.lost) == (3, False, False)
    assert abs(info.finished_at - time.time()) < PATIENCE_S
    stream.close()


async def test_a_signal_gives_128_plus_its_number(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    await yard.runtime.kill(handle.id, signal.SIGKILL)
    assert (await yard.conmon.wait_exit(handle)).code == 137


async def test_input_reaches_the_program_and_half_close_ends_it(yard: Yard) -> None:
    handle = await yard.run("cat", stdin=True, stdin_once=True)
    stream = await yard.conmon.attach(handle)
    await stream.write(b"hello\n")
    await stream.close_stdin()
    await stream.close_stdin()
    assert await drain(stream) == {1: b"hello\n", 2: b""}
    assert (await yard.conmon.wait_exit(handle)).code == 0
    with pytest.raises(Conflict):
        await stream.write(b"more")
    stream.close()


async def test_input_stays_open_without_stdin_once(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.run("cat", stdin=True)
    first = await yard.conmon.attach(handle)
    await first.write(b"one\n")
    await expect(first, b"one\n")
    await first.close_stdin()
    first.close()
    second = await yard.conmon.attach(handle)
    await second.write(b"two\n")
    await expect(second, b"two\n")
    second.close()


async def test_a_viewer_that_leaves_does_not_end_the_input_of_another(crun_yard: Yard) -> None:
    yard = crun_yard
    before = open_descriptors()
    handle = await yard.create(yard.bundle("cat"), stdin=True, stdin_once=True)
    owner = await yard.conmon.attach(handle)
    viewer = await yard.conmon.attach(handle, stdin=False)
    await yard.conmon.start(handle)
    await owner.write(b"one\n")
    assert await expect(viewer, b"one\n") == await expect(owner, b"one\n")
    viewer.close()
    late = await yard.conmon.attach(handle, stdin=False)
    await owner.write(b"two\n")
    await expect(owner, b"two\n")
    await expect(late, b"two\n")
    late.close()
    await owner.close_stdin()
    await drain(owner)
    assert (await yard.conmon.wait_exit(handle)).code == 0
    owner.close()
    async with asyncio.timeout(PATIENCE_S):
        while open_descriptors() > before:
            await asyncio.sleep(0)


async def test_every_attacher_sees_everything(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.create(yard.bundle("seq", "20000"))
    streams = [await yard.conmon.attach(handle) for _ in range(4)]
    await yard.conmon.start(handle)
    expected = b"".join(b"%d\n" % n for n in range(1, 20001))
    for output in await asyncio.gather(*(drain(stream) for stream in streams)):
        assert output[1] == expected
    for stream in streams:
        stream.close()


async def test_output_is_complete_when_input_was_never_read(crun_yard: Yard) -> None:
    """conmon leaves with our input unread: the kernel says ECONNRESET before the last output."""
    yard = crun_yard
    handle = await yard.create(yard.bundle("sh", "-c", "sleep 0.1; seq 3000"), stdin=True, stdin_once=True)
    stream = await yard.conmon.attach(handle)
    await yard.conmon.start(handle)
    await stream.write(b"x" * 100_000)
    info = await yard.conmon.wait_exit(handle)
    assert info.code == 0
    assert (await drain(stream))[1].endswith(b"\n3000\n")
    stream.close()


async def test_a_slow_reader_stops_the_container_and_loses_nothing(crun_yard: Yard) -> None:
    yard = crun_yard
    size = 200 << 20
    bundle = yard.bundle("sh", "-c", f"yes 0123456789abcde | head -c {size}")
    handle = await yard.conmon.create(id=bundle.name, bundle=bundle, tty=False, stdin=False, log_path=None)
    stream = await yard.conmon.attach(handle)
    before = resident_bytes()
    await yard.conmon.start(handle)
    await asyncio.sleep(1)
    # Nobody read: the container waits, we hold nothing.
    assert yard.conmon.read_exit(bundle) is None
    assert resident_bytes() - before < 8 << 20
    total = 0
    async with asyncio.timeout(120):
        while (chunk := await stream.read()) is not None:
            total += len(chunk[1])
    assert total == size
    assert resident_bytes() - before < 16 << 20
    stream.close()
    assert (await yard.conmon.wait_exit(handle)).code == 0


async def test_a_paste_of_100_kb_arrives_whole_on_a_terminal(yard: Yard) -> None:
    paste = b"".join(b"%07d\n" % n for n in range(12_800))
    script = f"stty raw -echo; echo ready; head -c {len(paste)} | md5sum"
    handle = await yard.create(yard.bundle("sh", "-c", script, tty=True), tty=True, stdin=True)
    stream = await yard.conmon.attach(handle)
    await yard.conmon.start(handle)
    await expect(stream, b"ready")
    async with asyncio.timeout(PATIENCE_S):
        await stream.write(paste)
    import hashlib

    await expect(stream, hashlib.md5(paste).hexdigest().encode())
    stream.close()


async def test_writing_waits_while_the_program_does_not_read(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.run("sleep", "100", stdin=True, stdin_once=True)
    stream = await yard.conmon.attach(handle)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await stream.write(b"x" * (8 << 20))
    stream.close()
    assert (await yard.runtime.state(handle.id) or {})["status"] == "running"


async def test_resize_reaches_the_program(yard: Yard) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    handle = await yard.create(yard.bundle("sh", "-c", script, tty=True), tty=True, stdin=True)
    stream = await yard.conmon.attach(handle)
    yard.conmon.resize(handle, 40, 100)
    await yard.conmon.start(handle)
    await expect(stream, b"ready")
    yard.conmon.resize(handle, 33, 77)
    await expect(stream, b"33 77")
    stream.close()
    await yard.runtime.kill(handle.id, signal.SIGKILL)
    await yard.conmon.wait_exit(handle)
    with pytest.raises(Conflict):
        yard.conmon.resize(handle, 1, 1)
    with pytest.raises(Conflict):
        await yard.conmon.attach(handle)


async def test_the_log_goes_on_in_a_new_file_after_reopen(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.run("sh", "-c", "echo one; cat", stdin=True)
    stream = await yard.conmon.attach(handle)
    log = handle.dir / "log"
    async with asyncio.timeout(PATIENCE_S):
        while not log.exists() or b"one" not in log.read_bytes():
            await asyncio.sleep(0.01)
    log.rename(handle.dir / "log.1")
    yard.conmon.reopen_log(handle)
    async with asyncio.timeout(PATIENCE_S):
        while not log.exists():
            await asyncio.sleep(0.01)
    await stream.write(b"two\n")
    await expect(stream, b"two\n")
    assert b"stdout F two" in log.read_bytes()
    assert b"two" not in (handle.dir / "log.1").read_bytes()
    stream.close()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["/bin/nosuch"], 127, 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory'),
        (["/etc"], 126, 'exec: "/etc": permission denied'),
        (["/etc/plain"], 126, 'exec: "/etc/plain": permission denied'),
        ([""], 127, 'exec: "": executable file not found in $PATH'),
    ],
)
@pytest.mark.parametrize("tty", [False, True])
async def test_a_program_that_cannot_start_is_told_in_dockers_words(
    yard: Yard, args: list[str], code: int, words: str, tty: bool
) -> None:
    (yard.rootfs / "etc/plain").write_text("x")
    bundle = yard.bundle(*args, tty=tty)
    with pytest.raises(CannotStart) as caught:
        await yard.create(bundle, tty=tty)
    assert caught.value.exit_code == code
    assert words in caught.value.message
    assert caught.value.message.startswith(
        "failed to create task for container: failed to create shim task: OCI"
    )
    sleeper = await yard.run("sleep", "100")
    with pytest.raises(CannotStart) as caught:
        await yard.conmon.exec(
            id=sleeper.id,
            exec_id="e1",
            dir=bundle / "exec",
            process=lambda: process(*args, tty=tty),
            tty=tty,
            stdin=False,
        )
    assert caught.value.exit_code == code
    assert words in caught.value.message
    assert caught.value.message.startswith("OCI runtime exec failed: exec failed: unable to start")


async def test_an_exec_has_output_input_exit_code_and_outlives_its_starter(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    directory = handle.dir / "exec-1"
    session, stream = await yard.conmon.exec(
        id=handle.id,
        exec_id="e1",
        dir=directory,
        process=lambda: process("sh", "-c", "echo first; cat; exit 5"),
        tty=False,
        stdin=True,
    )
    assert stream is not None
    await stream.write(b"in\n")
    await expect(stream, b"in\n")
    adopted = Conmon(yard.runtime).adopt(directory)
    assert adopted == session
    await stream.close_stdin()
    await drain(stream)
    stream.close()
    assert (await yard.conmon.wait_exit(session)).code == 5
    assert yard.conmon.adopt(directory) is None
    assert (await yard.runtime.state(handle.id) or {})["status"] == "running"


async def test_a_terminal_exec_can_be_taken_up_again(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    session, stream = await yard.conmon.exec(
        id=handle.id,
        exec_id="e1",
        dir=handle.dir / "exec-1",
        process=lambda: process("sh", tty=True),
        tty=True,
        stdin=True,
    )
    assert stream is not None
    await stream.write(b"X=kept; tty\n")
    await expect(stream, b"/dev/pts/")
    stream.close()
    again = await Conmon(yard.runtime).attach(session)
    await again.write(b"echo val-$X\n")
    await expect(again, b"val-kept")
    await again.write(b"exit 9\n")
    await drain(again)
    again.close()
    assert (await yard.conmon.wait_exit(session)).code == 9


async def test_a_detached_exec_runs_without_anybody(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    session, stream = await yard.conmon.exec(
        id=handle.id,
        exec_id="e1",
        dir=handle.dir / "exec-1",
        process=lambda: process("sh", "-c", "seq 100000; exit 4"),
        tty=False,
        stdin=False,
        attach=False,
    )
    assert stream is None
    assert (await yard.conmon.wait_exit(session)).code == 4


async def test_running_out_of_memory_is_marked(yard: Yard) -> None:
    bundle = yard.bundle("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    spec = json.loads((bundle / "config.json").read_text())
    spec["linux"]["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    (bundle / "config.json").write_text(json.dumps(spec))
    handle = await yard.create(bundle)
    await yard.conmon.start(handle)
    info = await yard.conmon.wait_exit(handle)
    assert (info.code, info.oom_killed) == (137, True)


async def test_pause_stops_the_output_and_resume_continues_it(yard: Yard) -> None:
    handle = await yard.run("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    stream = await yard.conmon.attach(handle)
    await expect(stream, b"tick")
    await yard.runtime.pause(handle.id)
    assert (await yard.runtime.state(handle.id) or {})["status"] == "paused"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            while True:
                await stream.read()
    await yard.runtime.resume(handle.id)
    await expect(stream, b"tick")
    assert len(await yard.runtime.pids(handle.id)) >= 1
    stream.close()


async def test_limits_change_while_it_runs(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    await yard.runtime.update(handle.id, {"pids": {"limit": 7}, "memory": {"limit": 64 << 20}})
    from runtime import cgroups

    directory = cgroups.detect().directory("pids", f"{yard.cgroup}/{handle.id}")
    assert directory is not None
    assert (directory / "pids.max").read_text() == "7\n"


ENGINE = """
import asyncio, sys
from pathlib import Path
from runtime.oci.conmon import Conmon
from runtime.oci.runtime import Runtime

async def main():
    runtime = Runtime(sys.argv[1], Path(sys.argv[2]))
    conmon = Conmon(runtime)
    bundle = Path(sys.argv[3])
    handle = await conmon.create(id=bundle.name, bundle=bundle, tty=True, stdin=True, log_path=bundle / "log")
    stream = await conmon.attach(handle)
    await conmon.start(handle)
    await stream.read()
    print("ready", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_a_container_does_not_notice_that_its_engine_was_killed(yard: Yard) -> None:
    bundle = yard.bundle("sh", "-c", "echo ready; cat; exit 6", tty=True)
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, yard.runtime.binary, str(yard.runtime.root), str(bundle)],
        stdout=subprocess.PIPE,
    )
    assert engine.stdout is not None
    assert await asyncio.to_thread(engine.stdout.readline) == b"ready\n"
    engine.kill()
    engine.wait()
    engine.stdout.close()

    conmon = Conmon(Runtime(yard.runtime.binary, yard.runtime.root))
    handle = conmon.adopt(bundle)
    assert handle is not None
    assert (handle.tty, handle.stdin, handle.id) == (True, True, bundle.name)
    assert (await yard.runtime.state(handle.id) or {})["pid"] == handle.pid
    stream = await conmon.attach(handle)
    await stream.write(b"again\n")
    await expect(stream, b"again")
    await stream.write(b"\x04")
    await drain(stream)
    stream.close()
    assert (await conmon.wait_exit(handle)).code == 6
    assert conmon.adopt(bundle) is None


async def test_the_hosts_null_device_stays_the_hosts(yard: Yard) -> None:
    script = "head -c 1 | wc -c; test -c /proc/self/fd/0 && echo device"
    bundle = yard.bundle("sh", "-c", script, user={"uid": 1234, "gid": 1234})
    handle = await yard.create(bundle)
    stream = await yard.conmon.attach(handle)
    await yard.conmon.start(handle)
    assert (await drain(stream))[1].split() == [b"0", b"device"]
    stream.close()
    sleeper = await yard.run("sleep", "100")
    _, output = await yard.conmon.exec(
        id=sleeper.id,
        exec_id="e",
        dir=bundle / "exec",
        process=lambda: {**process("sh", "-c", script), "user": {"uid": 1234, "gid": 1234}},
        tty=False,
        stdin=False,
    )
    assert output is not None
    assert (await drain(output))[1].split() == [b"0", b"device"]
    output.close()
    status = os.stat("/dev/null")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o666)


async def test_conmon_holds_nothing_of_the_engine(crun_yard: Yard) -> None:
    yard = crun_yard
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        handle = await yard.create(yard.bundle("sleep", "100"))
    finally:
        os.close(secret)
    for pid in (handle.conmon_pid, handle.pid):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # it may close one meanwhile
                assert os.readlink(f"/proc/{pid}/fd/{fd}") != "/etc/hostname"
    assert os.getsid(handle.conmon_pid) != os.getsid(0)


async def test_a_conmon_that_was_killed_is_told_as_lost(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.run("sleep", "100")
    os.kill(handle.conmon_pid, signal.SIGKILL)
    info = await yard.conmon.wait_exit(handle)
    assert info.lost
    assert info.code == 255


async def test_cancelling_a_create_leaves_no_process(crun_yard: Yard) -> None:
    yard = crun_yard
    bundle = yard.bundle("sleep", "100")
    task = asyncio.ensure_future(yard.create(bundle))
    while not (bundle / "conmon.pid").exists():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await yard.conmon.abandon(bundle)
    await yard.runtime.delete(bundle.name, force=True)
    assert yard.conmon.adopt(bundle) is None
    assert await yard.runtime.state(bundle.name) is None


@pytest.mark.parametrize("started", [False, True])
async def test_abandoning_a_session_ends_it_at_once(crun_yard: Yard, started: bool) -> None:
    yard = crun_yard
    handle = await yard.create(yard.bundle("sleep", "100"))
    if started:
        await yard.conmon.start(handle)
    async with asyncio.timeout(PATIENCE_S):  # and the program would take longer
        await yard.conmon.abandon(handle.dir)
    assert yard.conmon.adopt(handle.dir) is None
    await yard.conmon.abandon(handle.dir)


async def test_a_terminals_socket_lies_in_its_sessions_directory(yard: Yard) -> None:
    container = await yard.run("sleep", "100")
    directory = container.dir / "exec-1"
    for _ in range(2):  # one whose program never came, and what it leaves does not stay
        birth = yard.conmon.foresee_exec(id=container.id, exec_id="e1", dir=directory, tty=True, stdin=False)
        async with asyncio.timeout(PATIENCE_S):
            while len(list(directory.glob("conmon-term.*"))) != 1:
                await asyncio.sleep(0.01)
        await birth.dismiss()
    session, stream = await yard.conmon.exec(
        id=container.id,
        exec_id="e1",
        dir=directory,
        process=lambda: process("tty", tty=True),
        tty=True,
        stdin=False,
    )
    assert stream is not None
    assert b"/dev/pts/" in (await drain(stream))[1]
    stream.close()
    assert (await yard.conmon.wait_exit(session)).code == 0
    assert not list(directory.glob("conmon-term.*"))


async def test_no_descriptor_is_left_after_a_hundred_sessions(crun_yard: Yard) -> None:
    yard = crun_yard
    handle = await yard.run("sleep", "100")
    before = open_descriptors()
    for n in range(50):
        session, stream = await yard.conmon.exec(
            id=handle.id,
            exec_id=f"e{n}",
            dir=handle.dir / f"exec-{n}",
            process=lambda: process("true"),
            tty=False,
            stdin=False,
        )
        assert stream is not None
        await drain(stream)
        stream.close()
        await yard.conmon.wait_exit(session)
        with pytest.raises(EngineError):
            await yard.conmon.exec(
                id=handle.id,
                exec_id="bad",
                dir=handle.dir / "bad",
                process=lambda: process("nosuch"),
                tty=False,
                stdin=False,
            )
    async with asyncio.timeout(PATIENCE_S):
        while open_descriptors() > before:
            await asyncio.sleep(0.01)


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError

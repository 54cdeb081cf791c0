"""conmon: the only place it is called; one per container and one per exec session, outliving the engine.

Never decides what an exit means.

Spec: conmon(8) 2.1; OCI runtime 1.1, Lifecycle.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, EngineError, Internal
from runtime.oci import deposit, directory, hold
from runtime.oci.attach import STDERR, STDOUT, ConmonStream, connect
from runtime.oci.birth import Birth, command, is_conmon, read_pid, serves
from runtime.oci.directory import ConmonHandle, ExitInfo
from runtime.oci.process import alive, gone, parent, state
from runtime.oci.runtime import Runtime
from runtime.oci.words import translate

__all__ = ["STDERR", "STDOUT", "Conmon", "ConmonHandle", "ConmonStream", "ExitInfo", "end_below"]

END_TIMEOUT_S = 10.0  # until a conmon whose container failed has left
SETTLE_TIMEOUT_S = 5.0  # until a conmon that was woken got some time on a CPU
SETTLE_PAUSE_S = 0.0005
NULL_DEVICE = Path("/dev/webdock-null")
PARKED = 64  # sockets of past viewers kept per session, see `attach`


class Conmon:
    """Starts, adopts and talks to the conmon processes of one runtime."""

    def __init__(self, runtime: Runtime, binary: str = "conmon", null: Path = NULL_DEVICE) -> None:
        """null: where to keep a null device for programs without input.

        crun makes the program's user the owner of its standard streams. Were one of them the host's own
        /dev/null, a container could take that away from everybody.
        """
        self.runtime = runtime
        self.binary = shutil.which(binary) or binary
        self._null = null
        _make_null(null)
        self._parked: dict[Path, tuple[list[socket.socket], Callable[[], None]]] = {}

    async def create(
        self,
        *,
        id: str,
        bundle: Path,
        tty: bool,
        stdin: bool,
        stdin_once: bool = False,
        log_path: Path | None,
    ) -> ConmonHandle:
        """Make a container from the bundle's config.json under a new conmon.

        Its program waits for `start`: attach before that and no output is missed.
        log_path: conmon's k8s-file log; None keeps none. Cancelling ends what was begun; after any error
        the caller still owes `Runtime.delete(force=True)`.
        Raises: CannotStart and what else `translate` gives.
        """
        once = stdin and stdin_once and not tty
        directory.prepare(bundle, id=id, exec_id=None, tty=tty, stdin=stdin, stdin_once=once)
        words = [
            *self._words(id=id, uuid=id, dir=bundle, tty=tty, stdin=stdin, stdin_once=once),
            *("-l", f"k8s-file:{log_path}" if log_path else "off"),
        ]
        async with Birth(words, bundle) as birth:
            birth.go(1)
            message = await birth.message("_OCI_SYNCPIPE")
        await self._check(bundle, message, exec=False)
        return directory.handle(bundle)

    async def start(self, handle: ConmonHandle, program: str = "") -> None:
        """Let the program of a created container run; whoever attached before sees its first byte.

        Raises: what `Runtime.start` does.
        """
        # Race: conmon takes one waiting attacher at a time and reads output in between. Connecting woke it,
        # so once it sleeps again it has taken them all.
        with contextlib.suppress(TimeoutError):  # starved for so long, the program rather starts than waits
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while state(handle.conmon_pid) == "R":  # noqa: ASYNC110 - the kernel tells no event of it
                    await asyncio.sleep(SETTLE_PAUSE_S)
        await self.runtime.start(handle.id, program)

    def foresee_exec(
        self, *, id: str, exec_id: str, dir: Path, tty: bool, stdin: bool, third: Path | None = None
    ) -> Birth:
        """Start the conmon of an exec session up to where it has to be told what to run.

        For `exec`, or to be dismissed. third: the program's descriptor 3, with a terminal.
        Raises: ToolError, OSError.
        """
        os.makedirs(dir, mode=0o700, exist_ok=True)
        once = stdin and not tty
        directory.prepare(dir, id=id, exec_id=exec_id, tty=tty, stdin=stdin, stdin_once=once)
        words = [
            *self._words(id=id, uuid=exec_id, dir=dir, tty=tty, stdin=stdin, stdin_once=once, third=third),
            *("-l", "off", "--exec", "--exec-attach", "--exec-process-spec", str(dir / "process.json")),
        ]
        birth = Birth(words, dir)
        birth.begin()
        birth.go(1)
        return birth

    async def exec(
        self,
        *,
        id: str,
        exec_id: str,
        dir: Path,
        process: Callable[[], dict[str, Any]],
        tty: bool,
        stdin: bool,
        attach: bool = True,
        lasting: bool = False,
        foreseen: Birth | None = None,
    ) -> tuple[ConmonHandle, ConmonStream | None]:
        """Run one more process in a running container, by a conmon of its own.

        process: makes an OCI `process`, in a thread while conmon is being loaded. attach: a stream connected
        before the process starts, so that no byte is lost; without it output goes nowhere until somebody
        attaches. lasting: `take_up` gives the stream to a later engine as this one left it. dir is made if
        need be. foreseen: its conmon, if it was started already.
        Raises: CannotStart and what else `translate` gives.
        """
        foreseen = foreseen or self.foresee_exec(id=id, exec_id=exec_id, dir=dir, tty=tty, stdin=stdin)
        stream: ConmonStream | None = None
        try:
            async with foreseen as birth:
                written, _ = await asyncio.gather(
                    asyncio.to_thread(lambda: directory.write_json(dir / "process.json", process())),
                    birth.message("_OCI_ATTACHPIPE"),
                    return_exceptions=True,
                )
                if isinstance(written, BaseException):
                    raise written
                if attach:
                    stream = ConmonStream(connect(dir), tty=tty, park=None)
                birth.go(2)
                message = await birth.message("_OCI_SYNCPIPE")
                if lasting and stream is not None:
                    birth.leave(stream.fileno())
            await self._check(dir, message, exec=True)
            handle = directory.handle(dir)
            if lasting and stream is not None:
                await _hold(handle, stream)
            return handle, stream
        except BaseException:
            if stream is not None:
                stream.close()
            raise

    async def attach(self, handle: ConmonHandle, *, stdin: bool = True) -> ConmonStream:
        """Connect one more attacher; without stdin it is a viewer, whose leaving ends nobody's input.

        Raises: Conflict when the session has ended.
        """
        # conmon ends the program's input when any attacher of a stdin-once session goes. So a viewer's socket
        # is kept half open until the session ends: conmon stops writing to it and does not see it leave.
        viewer = handle.stdin_once and not stdin
        if viewer and handle.dir in self._parked and len(self._parked[handle.dir][0]) >= PARKED:
            raise Conflict(f"session {handle.exec_id or handle.id} has had too many viewers")
        park = (lambda sock: self._keep(handle, sock)) if viewer else None
        return ConmonStream(connect(handle.dir), tty=handle.tty, park=park)

    async def take_up(self, handle: ConmonHandle) -> ConmonStream:
        """The lasting stream of an exec session: begins with the first byte the engine before did not read.

        Where conmon does not give it, a new one, which begins now. Raises: Conflict when it has ended.
        """
        if (sock := deposit.fetch(handle.conmon_pid)) is None:
            hold.let_go_on(handle.conmon_pid)
            return await self.attach(handle)
        stream = ConmonStream(sock, tty=handle.tty, park=None)
        await _hold(handle, stream)
        return stream

    def adopt(self, dir: Path) -> ConmonHandle | None:
        """The session an earlier engine started in this directory, if its conmon still runs."""
        try:
            handle = directory.handle(dir)
        except (EngineError, OSError, ValueError):
            return None
        return handle if is_conmon(handle.conmon_pid, dir) else None

    async def abandon(self, dir: Path) -> None:
        """Kill whatever was begun in a session directory, even half-made; returns when its conmon is gone."""
        pid = read_pid(dir / "conmon.pid")
        if pid is None or not is_conmon(pid, dir):
            return
        program = read_pid(dir / "pidfile")
        with contextlib.suppress(ProcessLookupError):
            if program is not None and parent(program) == pid:
                os.kill(program, signal.SIGKILL)  # a first process in its namespace ignores anything less
            else:
                os.kill(pid, signal.SIGTERM)  # conmon passes it to the runtime at work
            hold.let_go_on(pid)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await gone(pid)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await gone(pid)

    def resize(self, handle: ConmonHandle, height: int, width: int) -> None:
        """Set the terminal's size. Raises: Conflict when the session has ended."""
        directory.control(handle, f"1 {height} {width}\n")

    def reopen_log(self, handle: ConmonHandle) -> None:
        """After the log file was renamed: conmon goes on in a new one at its old path."""
        directory.control(handle, "2 0 0\n")

    read_exit = staticmethod(directory.read_exit)

    def watch_exit(self, handle: ConmonHandle, seen: Callable[[ExitInfo], None]) -> Callable[[], None]:
        """Call `seen` once, from the event loop, when the session has ended; gives the way to stop that."""
        loop = asyncio.get_running_loop()

        def report() -> None:
            seen(directory.read_exit(handle.dir) or directory.lost(handle))

        try:
            pidfd = os.pidfd_open(handle.conmon_pid)
        except ProcessLookupError:
            return loop.call_soon(report).cancel

        def stop() -> None:
            nonlocal pidfd
            if pidfd >= 0:
                loop.remove_reader(pidfd)
                os.close(pidfd)
                pidfd = -1

        def ended() -> None:
            stop()
            report()

        if _is_foreign(handle.conmon_pid, handle.dir):
            # Race: it ended and its pid went to somebody else before the pidfd was there.
            stop()
            return loop.call_soon(report).cancel
        loop.add_reader(pidfd, ended)
        return stop

    async def wait_exit(self, handle: ConmonHandle) -> ExitInfo:
        """The same as a coroutine; cancelling it only stops waiting."""
        future: asyncio.Future[ExitInfo] = asyncio.get_running_loop().create_future()
        stop = self.watch_exit(handle, lambda info: None if future.done() else future.set_result(info))
        try:
            return await future
        finally:
            stop()

    def close(self) -> None:
        """Let go of parked sockets; sessions go on."""
        for dir in list(self._parked):
            self._drop(dir)

    def _words(
        self,
        *,
        id: str,
        uuid: str,
        dir: Path,
        tty: bool,
        stdin: bool,
        stdin_once: bool,
        third: Path | None = None,
    ) -> list[str]:
        return [
            self.binary,
            *("--api-version", "1", "-c", id, "-u", uuid, "-n", id[:12]),
            *self._runtime_words(tty, stdin, third),
            *("--runtime-arg", f"--log={dir / 'runtime.log'}"),
            *("-b", str(dir), "-p", str(dir / "pidfile"), "-P", str(dir / "conmon.pid")),
            *("--persist-dir", str(dir), "--full-attach", "--no-sync-log", "--log-level", "warning"),
            *(("-t",) if tty else ()),
            *(("-i",) if stdin else ()),
            *(() if stdin_once else ("--leave-stdin-open",)),
        ]

    def _runtime_words(self, tty: bool, stdin: bool, third: Path | None = None) -> list[str]:
        """conmon gives the runtime /dev/null as a missing input, and in place of a terminal."""
        if tty:
            return self.runtime.conmon_arguments(self._null, "<>", third)
        return self.runtime.conmon_arguments(None if stdin else self._null)

    async def _check(self, dir: Path, message: bytes, *, exec: bool) -> None:
        """Raise what the runtime complained about, once its conmon has left."""
        try:
            answer = json.loads(message.splitlines()[0])
            if int(answer["data"]) > 0:
                return
        except (IndexError, KeyError, ValueError):
            answer = {}
        await self.abandon(dir)
        complaint = directory.read_text(dir / "runtime.log") or str(answer.get("message") or "")
        if not complaint and exec and not directory.read_text(dir / "conmon.log"):
            # Race: the container was killed under its session, and crun with it before it could complain.
            raise Conflict(f"the container of exec session {dir.name} ended before the session began")
        if not complaint:
            reason = directory.read_text(dir / "conmon.log") or "no reason given"
            raise Internal(f"conmon failed in {dir}: {reason}")
        raise translate(complaint, directory.program(dir, exec), exec=exec)

    def _keep(self, handle: ConmonHandle, sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_RD)
        except OSError:
            sock.close()
            return
        if handle.dir not in self._parked:
            self._parked[handle.dir] = ([], self.watch_exit(handle, lambda _: self._drop(handle.dir)))
        self._parked[handle.dir][0].append(sock)

    def _drop(self, dir: Path) -> None:
        sockets, stop = self._parked.pop(dir, ([], lambda: None))
        stop()
        for sock in sockets:
            sock.close()


async def end_below(*tops: Path) -> int:
    """End every conmon that serves a directory below these, whoever started it; how many there were.

    For an instance whose records nobody can read. Its programs are dead by now: a conmon that has seen that
    leaves by itself. Raises: TimeoutError when one stays.
    """
    found = [int(name) for name in os.listdir("/proc") if name.isdigit() and _serves_below(int(name), tops)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in found:
            if _serves_below(pid, tops):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    hold.let_go_on(pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await asyncio.gather(*(gone(pid) for pid in found))
            return len(found)
    raise TimeoutError(f"conmons {[pid for pid in found if alive(pid)]} do not end")


def _serves_below(pid: int, tops: Sequence[Path]) -> bool:
    words = command(pid)
    if os.path.basename(words[0]) != b"conmon" or b"-b" not in words[:-1]:
        return False
    served = Path(os.fsdecode(words[words.index(b"-b") + 1]))
    return any(top in served.parents for top in tops)


async def _hold(handle: ConmonHandle, stream: ConmonStream) -> None:
    """Take the session's terminal out of conmon's hands, where that is possible."""
    if handle.tty and (held := await hold.take(handle.conmon_pid, handle.pid)) is not None:
        stream.hold(held)


def _is_foreign(pid: int, dir: Path) -> bool:
    """Whether this pid is somebody else. Kernel: a process that is ending has no command line any more."""
    words = command(pid)
    return words != [b""] and not serves(words, dir)


def _make_null(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    status = os.lstat(path)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise Internal(f"{path} is not a null device")
    os.chown(path, 0, 0)
    os.chmod(path, 0o666)  # noqa: S103 - everybody may use it, as the host's own

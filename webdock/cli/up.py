"""``webdock up``: makes everything ready, starts engine (root) and web (no rights), supervises both.

It knows nothing of containers; the engine's API is asked only whether it answers and for the two starter
images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from webdock import preflight
from webdock.cli import instance as instances
from webdock.cli.directories import ensure_directories
from webdock.cli.errors import Failure
from webdock.cli.http import Client
from webdock.cli.instance import Instance
from webdock.cli.running import (
    UNITS,
    engine_answers,
    read_owner,
    run_by_systemd,
    stop_strays,
    stop_supervisor,
    take_locks,
    web_answers,
    write_owner,
)
from webdock.cli.serve import chosen, need_root, say
from webdock.cli.setup import (
    Program,
    SetupError,
    clone_root,
    place_program,
    program_stamp,
    repair_machine,
)
from webdock.cli.supervisor import Child, Log, StartFailed, Supervisor, echo_to_terminal
from webdock.cli.users import as_web_user, ensure_users

READY_TIMEOUT_S = 60.0
PREPARE_TIMEOUT_S = 300.0
OTHER_UP_TIMEOUT_S = 90.0  # how long a second `up` waits for the first to get ready
DOWN_TIMEOUT_S = 60.0
STARTER_IMAGES = ("webdock/hello:latest", "webdock/busybox:latest")
READY = "webdock-ready"  # what the detached supervisor says when both answer, with the link behind it
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def up_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument(
        "--detach", "-d", action="store_true", help="return when ready; `webdock down` stops it"
    )
    parser.add_argument("--supervise", metavar="FDS", help=argparse.SUPPRESS)


def up(options: argparse.Namespace) -> int:
    """Make everything ready and start it; a second ``up`` of the same program says so and does nothing, one
    of another program takes the first one's place.
    """
    need_root("up")
    os.umask(0o022)
    os.environ["PATH"] = f"{os.environ.get('PATH', SYSTEM_PATH)}:{SYSTEM_PATH}"
    instance = chosen(options)
    if options.supervise:
        return supervise_detached(instance, [int(fd) for fd in options.supervise.split(",")])

    if run_by_systemd(instance):
        print(
            f"webdock is running already, as services: {instance.url}. "
            f"Stop them: systemctl stop {' '.join(UNITS)}"
        )
        return 0
    try:
        while (locks := take_locks(instance)) is None:
            if already_running(instance):
                return 0
    except OSError as error:
        raise SetupError(f"{instance.home} cannot be used: {error.strerror}") from error
    if options.detach:
        return start_detached(instance, locks)
    return supervise(instance, locks, detached=False)


def already_running(instance: Instance) -> bool:
    """Wait until the other supervisor's instance is ready, then say where it is.

    False when it was of another program (this one was changed since, as a rule) and has been stopped: the
    caller starts its own. Its containers keep running.
    """
    deadline = time.monotonic() + OTHER_UP_TIMEOUT_S
    while True:
        owner = instance.owner() or read_owner(instance.run_lock)
        if owner:
            other = f"process {owner.get('pid')}"
            if owner.get("home") != str(instance.home) or owner.get("run") != str(instance.run):
                raise Failure(
                    f"another instance ({other}, home {owner.get('home')}, run {owner.get('run')}) uses one "
                    "of these directories: two instances need different --home, --run and --listen"
                )
            if owner.get("ready") and owner.get("program") != program_stamp(clone_root()):
                say(f"webdock runs ({other}), but not this program; restarting it, containers keep running")
                stop_supervisor(instance)
                return False
            if owner.get("ready"):
                print(f"webdock is running already ({other}): {owner.get('url')}")
                link = setup_link(instance, Path(str(owner["python"])), web_environment(instance, os.environ))
                if link:
                    print(f"Set the first administrator's password here (works once, within an hour): {link}")
                return True
        if time.monotonic() > deadline:
            raise Failure("another `webdock up` of this instance is still starting and does not get ready")
        time.sleep(0.1)
        fresh = take_locks(instance)
        if fresh is not None:  # the other one gave up meanwhile
            for fd in fresh:
                os.close(fd)
            raise Failure("another `webdock up` was starting this instance and failed; its output says why")


def start_detached(instance: Instance, locks: list[int]) -> int:
    """Hand the locks to a supervisor of its own session, and return when it says that all is ready."""
    instance.log_home.mkdir(mode=0o750, parents=True, exist_ok=True)
    ready_read, ready_write = os.pipe()
    argv = [
        sys.executable,
        "-I",
        "-m",
        "webdock",
        "up",
        "--supervise",
        ",".join(map(str, [*locks, ready_write])),
    ]
    with open(instance.log_home / "up.log", "ab") as log:
        process = subprocess.Popen(
            argv,
            env=instance.environ(os.environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[*locks, ready_write],
            start_new_session=True,
        )
    os.close(ready_write)
    for fd in locks:
        os.close(fd)
    # The supervisor writes lines for us and closes the pipe; "ready" and the link end a good start.
    ready, link = False, ""
    try:
        with os.fdopen(ready_read, encoding="utf-8") as messages:
            for line in messages:
                word, _, rest = line.partition(" ")
                if word == READY:
                    ready, link = True, rest.strip()
                else:
                    sys.stderr.write(line)
    except KeyboardInterrupt:
        process.terminate()
        process.wait(DOWN_TIMEOUT_S)
        raise
    if not ready:
        process.wait(DOWN_TIMEOUT_S)
        return 1
    announce(instance.url, link)
    return 0


def supervise_detached(instance: Instance, fds: list[int]) -> int:
    """The other end of ``start_detached``."""
    *locks, ready_write = fds
    for fd in fds:
        os.set_inheritable(fd, False)
    # Everything said until ready goes to the waiting terminal, later words to up.log.
    log_fd = os.dup(2)
    os.dup2(ready_write, 2)
    os.close(ready_write)

    def on_ready(link: str) -> None:
        sys.stderr.write(f"{READY} {link}\n")
        sys.stderr.flush()
        os.dup2(log_fd, 2)

    return supervise(instance, locks, detached=True, on_ready=on_ready)


def supervise(
    instance: Instance, locks: list[int], *, detached: bool, on_ready: Callable[[str], None] | None = None
) -> int:
    """Prepare, start, wait until both answer, then keep them running until told to stop."""

    write_owner(instance, locks, ready=False)
    for done in repair_machine():
        say(done)
    ensure_users(instance)
    ensure_directories(instance)
    checks = preflight.examine(instance)
    report = preflight.report(checks, quiet=True)
    if report:
        sys.stderr.write(report + "\n")
    if any(one.level == preflight.FAILURE for one in checks):
        raise Failure("this machine is not ready; the list above says what is missing")
    program = place_program(instance, say)
    stop_strays(instance)

    environ = instance.environ(os.environ)
    web_environ = web_environment(instance, os.environ)
    python = [str(program.python), "-I", "-m"]
    supervisor = Supervisor()

    def log(name: str) -> Log:
        return Log(instance.log_home / f"{name}.log", None if detached else echo_to_terminal(name))

    def engine_argv() -> list[str]:
        return ["setpriv", "--pdeathsig=TERM", "--", *python, "webdock", "engine"]

    try:
        engine = Child("engine", engine_argv(), environ, log("engine"), lambda: engine_answers(instance))
        supervisor.add(engine)
        prepare_web(instance, program, web_environ)
        supervisor.wait_until_ready(READY_TIMEOUT_S)
        web_argv = as_web_user(instance.web_user, [*python, "webdock", "web"], pdeathsig=True)
        supervisor.add(Child("web", web_argv, web_environ, log("web"), lambda: web_answers(instance)))
        ensure_starter_images(instance, program)
        supervisor.wait_until_ready(READY_TIMEOUT_S)
        link = setup_link(instance, program.python, web_environ)
        write_owner(instance, locks, ready=True, python=str(program.python), program=program.stamp)
        if on_ready:
            on_ready(link)
        else:
            announce(instance.url, link)
            sys.stderr.write("Ctrl-C stops engine and web; containers keep running.\n")
        supervisor.run()
        return 0
    except StartFailed as failed:
        sys.stderr.write(f"{failed.tail}\nwebdock: {failed}\n" if failed.tail else f"webdock: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        supervisor.close()


def web_environment(instance: Instance, base: Mapping[str, str]) -> dict[str, str]:
    """What the web process may know of the environment: our own variables, languages and proxies; no more."""
    keep = {
        key: value
        for key, value in base.items()
        if key.startswith("WEBDOCK_") or key in ("TZ", "LANG", "LC_ALL")
    }
    environ = instance.environ(keep)
    environ.setdefault("LANG", "C.UTF-8")
    environ.setdefault("WEBDOCK_STATIC_ROOT", str(instance.web_home / "static"))
    environ.update(PATH=SYSTEM_PATH, HOME=str(instance.web_home), DJANGO_SETTINGS_MODULE="webdock.settings")
    return environ


def prepare_web(instance: Instance, program: Program, environ: dict[str, str]) -> None:
    """Bring the database up to date and collect static files, as the web user.

    Static files are collected only when the program changed; the mark of that is root's, not the web user's.
    """

    mark = instance.home / "static.stamp"
    steps = {"migrate": ["migrate", "--noinput", "--verbosity=0"]}
    manifest = Path(environ["WEBDOCK_STATIC_ROOT"], "staticfiles.json")
    if not manifest.exists() or not mark.exists() or mark.read_text() != program.stamp:
        steps["collectstatic"] = ["collectstatic", "--noinput", "--clear", "--verbosity=0"]
    running = {
        name: subprocess.Popen(
            as_web_user(instance.web_user, [str(program.python), "-I", "-m", "django", *arguments]),
            env=environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for name, arguments in steps.items()
    }
    for name, process in running.items():
        try:
            said, _ = process.communicate(timeout=PREPARE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SetupError(
                f"`{name}` of the web side did not end within {PREPARE_TIMEOUT_S:.0f} s"
            ) from None
        if process.returncode != 0:
            raise SetupError(f"`{name}` of the web side failed:\n{said.decode(errors='replace').strip()}")
    if "collectstatic" in steps:
        mark.touch(mode=0o600)
        mark.write_text(program.stamp)


def ensure_starter_images(instance: Instance, program: Program) -> None:
    """Import the two starter images when the engine lacks them; the engine's own side makes them."""

    client = Client(f"unix://{instance.engine_socket}")
    known = {tag for image in client.get("/images/json") for tag in image.get("RepoTags") or ()}
    if all(name in known for name in STARTER_IMAGES):
        return
    say("making the two starter images")
    maker = subprocess.Popen(
        [str(program.python), "-I", "-m", "runtime.images.starter"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert maker.stdout is not None
    with maker.stdout as archive:
        chunks: Iterator[bytes] = iter(lambda: archive.read(65536), b"")
        for message in client.stream("POST", "/images/load", {"quiet": True}, chunks):
            if "error" in message:
                raise Failure(f"the starter images cannot be imported: {message['error']}")
    if maker.wait() != 0:
        raise Failure("the starter images cannot be made; is busybox-static installed?")


def setup_link(instance: Instance, python: Path, environ: Mapping[str, str]) -> str:
    """A fresh one-time link for the first administrator, "" when there is an administrator already.

    It is printed and never written down: whoever reads it may become administrator.
    """
    done = subprocess.run(
        as_web_user(instance.web_user, [str(python), "-I", "-m", "django", "setuplink"]),
        env=dict(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PREPARE_TIMEOUT_S,
    )
    if done.returncode == 0:
        printed = done.stdout.strip()  # whole when people reach the pages at another address
        return instance.url + printed if printed.startswith("/") else printed
    if "administrator already" in done.stderr:
        return ""
    raise SetupError(f"the link for the first administrator cannot be made:\n{done.stderr.strip()}")


def announce(url: str, link: str) -> None:
    """Print where the pages are, and the link with which the first administrator gets in."""
    print(f"webdock is ready: {url}")
    if link:
        print(f"Set the first administrator's password here (works once, within an hour): {link}")
    sys.stdout.flush()

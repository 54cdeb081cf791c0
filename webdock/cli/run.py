"""The verbs that put a container's process before this terminal: run, create, exec, attach, start.

Exit codes are the command's own; 125 says that the engine refused, 126 that the command cannot be run, 127
that there is none, as with docker.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import Any

from webdock.cli.arguments import container_options
from webdock.cli.errors import Failure
from webdock.cli.http import Answer, Client, Refused, find_host, segment
from webdock.cli.options import attached_streams, container_body
from webdock.cli.pairs import environment
from webdock.cli.terminal import (
    DEFAULT_DETACH_KEYS,
    Session,
    interrupt_at_end,
    is_terminal,
    on_resize,
    parse_keys,
    raw_mode,
    signals_to,
    window_size,
)

ENGINE_REFUSED, CANNOT_RUN, NOT_FOUND = 125, 126, 127


def connect(options: argparse.Namespace) -> Client:
    return Client(options.host or find_host(os.environ))


def image_and_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND [ARGUMENT…]")


def terminal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detach-keys", default=DEFAULT_DETACH_KEYS, metavar="KEYS", help="leave it running and go"
    )
    parser.add_argument(
        "--no-sig-proxy", action="store_true", help="signals end this command, not the container"
    )
    parser.add_argument("--sig-proxy", action="store_true", default=True, help=argparse.SUPPRESS)


# -- run and create ----------------------------------------------------------------------------------------


def run_options(parser: argparse.ArgumentParser) -> None:
    container_options(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and return")
    terminal_options(parser)
    image_and_command(parser)


def run(options: argparse.Namespace) -> int:
    """Create, attach, start, copy, and return the exit code; with -d, create and start only."""
    client = connect(options)
    need_terminal_for(options)
    if options.detach and options.attach:
        raise Failure("-d and -a exclude each other", ENGINE_REFUSED)
    container = create_container(client, options)
    try:
        if options.detach:
            with interrupt_at_end():
                start_container(client, container, options)
            print(container)
            return 0
        session, waiting = start_attached(client, container, options)
    except KeyboardInterrupt:
        remove_quietly(client, container)
        raise
    return finish(client, container, session, waiting, options)


def create_options(parser: argparse.ArgumentParser) -> None:
    container_options(parser)
    image_and_command(parser)


def create(options: argparse.Namespace) -> int:
    print(create_container(connect(options), options))
    return 0


def need_terminal_for(options: argparse.Namespace) -> None:
    if options.tty and options.interactive and not options.detach and not sys.stdin.isatty():
        raise Failure("-t needs a terminal, and standard input is none; leave -t out", 1)


def create_container(client: Client, options: argparse.Namespace) -> str:
    """Create, fetching the image first when it is missing; returns the id.

    Raises:
        Failure: with exit code 125 when the engine refuses.
    """
    body = container_body(options, os.environ)
    if options.tty:
        body["HostConfig"]["ConsoleSize"] = list(window_size())
    query = {"name": options.name, "platform": options.platform}
    if options.cidfile and os.path.exists(options.cidfile):
        raise Failure(f"--cidfile {options.cidfile} exists; remove it first", ENGINE_REFUSED)
    if options.pull == "always":
        fetch(client, options)
    try:
        answer = create_whole(client, query, body)
    except Refused as error:
        if error.status != 404 or options.pull != "missing" or "no such image" not in str(error).lower():
            raise Failure(str(error), ENGINE_REFUSED) from None
        sys.stderr.write(f"There is no image {options.image} here; fetching it\n")
        fetch(client, options)
        try:
            answer = create_whole(client, query, body)
        except Refused as again:
            raise Failure(str(again), ENGINE_REFUSED) from None
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    if options.cidfile:
        with open(options.cidfile, "w", encoding="ascii") as file:
            file.write(answer["Id"])
    return str(answer["Id"])


def create_whole(client: Client, query: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Create; after a Ctrl-C meanwhile there is no container that nobody knows the id of."""
    answer: dict[str, Any] = {}
    try:
        with interrupt_at_end():
            answer = client.post("/containers/create", query, body)
    except KeyboardInterrupt:
        if answer:
            remove_quietly(client, answer["Id"])
        raise
    return answer


def fetch(client: Client, options: argparse.Namespace) -> None:
    from webdock.cli.images import pull_image

    try:
        pull_image(client, options.image, platform=options.platform, quiet=options.quiet, out=sys.stderr)
    except Failure as error:
        raise Failure(str(error), ENGINE_REFUSED) from None


def start_container(client: Client, container: str, options: argparse.Namespace) -> None:
    """Start; a command that cannot be run ends with the shell's exit codes for that."""
    try:
        client.post(f"/containers/{container}/start")
    except Refused as error:
        raise Failure(str(error), start_failure_code(str(error))) from None


def start_failure_code(message: str) -> int:
    """Docker's exit code for a start that failed: 127 no such command, 126 not executable, else 125."""
    lower = message.lower()
    if any(words in lower for words in ("executable file not found", "no such file", "not found in")):
        return NOT_FOUND
    return CANNOT_RUN if "permission denied" in lower or "not executable" in lower else ENGINE_REFUSED


def start_attached(client: Client, container: str, options: argparse.Namespace) -> tuple[Session, Answer]:
    """Attach first, then start, so that the first byte and a quick exit are both seen.

    Returns the session to be run and the wait that will tell the exit code.
    """
    streams = attached_streams(options)
    keys = parse_keys(options.detach_keys)
    query = {"stream": True, "detachKeys": options.detach_keys, **dict.fromkeys(sorted(streams), True)}
    stream = client.hijack(f"/containers/{container}/attach", query)
    # Race: the engine answers the head of a wait once it watches, so an exit right after start is not missed.
    waiting = client.open(
        "POST", f"/containers/{container}/wait", {"condition": "removed" if options.rm else "next-exit"}
    )
    try:
        with interrupt_at_end():
            start_container(client, container, options)
    except Failure:
        stream.close()
        if options.rm:
            remove_quietly(client, container)
        raise
    return Session(stream, tty=options.tty, stdin="stdin" in streams, detach_keys=keys), waiting


def finish(
    client: Client, container: str, session: Session, waiting: Answer, options: argparse.Namespace
) -> int:
    """Run a session to its end; the container's exit code, 0 after the detach keys."""
    if hold(client, f"/containers/{container}", session, options, container=container):
        return 0
    return exit_code_of(waiting)


def remove_quietly(client: Client, container: str) -> None:
    try:
        client.delete(f"/containers/{container}", {"force": True, "v": True})
    except Failure:
        pass  # the engine removes it itself, or says so in its log


def hold(
    client: Client,
    path: str,
    session: Session,
    options: argparse.Namespace,
    *,
    container: str | None,
    resize: bool = True,
) -> bool:
    """Run a session with this terminal set up for it; True when detached.

    ``container`` gets our signals; ``path`` is whose terminal follows the size of this one.
    """

    def tell_size(rows: int, columns: int) -> None:
        client.post(f"{path}/resize", {"h": rows, "w": columns})

    with ExitStack() as stack:
        if container and options.sig_proxy and not options.no_sig_proxy:
            stack.enter_context(signals_to(client, container))
        if options.tty and is_terminal():
            if options.interactive:
                stack.enter_context(raw_mode())
            if resize:
                stack.enter_context(on_resize(tell_size))
        return session.run()


def exit_code_of(waiting: Answer) -> int:
    """The exit code out of the answer to a wait."""
    import json

    with waiting:
        content = waiting.read()
    try:
        answer = json.loads(content)
    except ValueError:
        raise Failure("the engine went away before the container ended", ENGINE_REFUSED) from None
    if problem := (answer.get("Error") or {}).get("Message"):
        sys.stderr.write(f"webdock: {problem}\n")
    return int(answer["StatusCode"])


# -- exec --------------------------------------------------------------------------------------------------


def exec_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--interactive", action="store_true", help="send it this standard input")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    parser.add_argument("-d", "--detach", action="store_true", help="let it run in the background")
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="KEY=VALUE", help="set a variable"
    )
    parser.add_argument("--env-file", action="append", default=[], metavar="FILE")
    parser.add_argument("-u", "--user", default="", metavar="USER[:GROUP]", help="whom it runs as")
    parser.add_argument("-w", "--workdir", default="", metavar="DIR", help="where it runs")
    parser.add_argument("--privileged", action="store_true", help="give it every right")
    terminal_options(parser)
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND [ARGUMENT…]")


def exec(options: argparse.Namespace) -> int:
    """Run a command in a container and return its exit code."""
    if not options.command:
        raise Failure("exec needs a command to run", ENGINE_REFUSED)
    need_terminal_for(options)
    client = connect(options)
    keys = parse_keys(options.detach_keys)
    rows, columns = window_size()
    size = {"ConsoleSize": [rows, columns]} if options.tty and rows else {}
    body: dict[str, Any] = {
        "AttachStdin": options.interactive and not options.detach,
        "AttachStdout": not options.detach,
        "AttachStderr": not options.detach,
        "DetachKeys": options.detach_keys,
        "Tty": options.tty,
        "Env": environment(options.env, options.env_file, os.environ),
        "Cmd": options.command,
        "User": options.user,
        "WorkingDir": options.workdir,
        "Privileged": options.privileged,
        **size,
    }
    path = f"/exec/{client.post(f'/containers/{segment(options.container)}/exec', None, body)['Id']}"
    start = {"Detach": options.detach, "Tty": options.tty, **size}
    try:
        if options.detach:
            client.post(f"{path}/start", None, start)
            return 0
        stream = client.hijack(f"{path}/start", None, start)
    except Refused as error:
        raise Failure(str(error), max(start_failure_code(str(error)), CANNOT_RUN)) from None
    session = Session(stream, tty=options.tty, stdin=options.interactive, detach_keys=keys)
    if hold(client, path, session, options, container=None):
        return 0
    return int(client.get(f"{path}/json").get("ExitCode") or 0)


# -- attach and start --------------------------------------------------------------------------------------


def attach_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-stdin", action="store_true", help="only look")
    terminal_options(parser)
    parser.add_argument("container", metavar="CONTAINER")


def attach(options: argparse.Namespace) -> int:
    """Attach to a running container; its exit code when it ends meanwhile, 0 after the detach keys."""
    client = connect(options)
    about = client.get(f"/containers/{segment(options.container)}/json")
    if not about["State"]["Running"]:
        raise Failure(f"the container {options.container} is not running; start it with `webdock start -ai`")
    if about["State"].get("Paused"):
        raise Failure(f"the container {options.container} is paused; `webdock unpause` lets it go on")
    options.tty = bool(about["Config"]["Tty"])
    options.interactive = bool(about["Config"]["OpenStdin"]) and not options.no_stdin
    need_terminal_for(argparse.Namespace(tty=options.tty, interactive=options.interactive, detach=False))
    waiting = client.open("POST", f"/containers/{about['Id']}/wait")
    return attach_to(client, about["Id"], options, waiting)


def attach_to(client: Client, container: str, options: argparse.Namespace, waiting: Answer) -> int:
    query = {
        "stream": True,
        "stdin": options.interactive,
        "stdout": True,
        "stderr": True,
        "detachKeys": options.detach_keys,
    }
    keys = parse_keys(options.detach_keys)
    stream = client.hijack(f"/containers/{container}/attach", query)
    session = Session(stream, tty=options.tty, stdin=options.interactive, detach_keys=keys)
    # A program that nobody can type into did not ask for a terminal's size: Apache takes SIGWINCH as a stop.
    resize = bool(options.interactive)
    if hold(client, f"/containers/{container}", session, options, container=container, resize=resize):
        return 0
    return exit_code_of(waiting)


def start_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--attach", action="store_true", help="show its output and wait for its end")
    parser.add_argument("-i", "--interactive", action="store_true", help="send it this standard input")
    terminal_options(parser)
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def start(options: argparse.Namespace) -> int:
    """Start containers; with -a or -i one of them, attached."""
    client = connect(options)
    if not options.attach and not options.interactive:
        from webdock.cli.containers import for_each

        return for_each(options.containers, lambda name: client.post(f"/containers/{segment(name)}/start"))
    if len(options.containers) != 1:
        raise Failure("-a and -i take one container", ENGINE_REFUSED)
    about = client.get(f"/containers/{segment(options.containers[0])}/json")
    if about["State"]["Running"]:
        options.no_stdin = not options.interactive
        options.container = about["Id"]
        return attach(options)
    options.tty = bool(about["Config"]["Tty"])
    options.interactive = options.interactive and bool(about["Config"]["OpenStdin"])
    options.rm = bool(about["HostConfig"]["AutoRemove"])
    options.detach = False
    need_terminal_for(options)
    options.attach = ["stdout", "stderr"] + (["stdin"] if options.interactive else [])
    session, waiting = start_attached(client, about["Id"], options)
    return finish(client, about["Id"], session, waiting, options)

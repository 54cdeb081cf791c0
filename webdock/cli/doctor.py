"""``webdock doctor``: what is wrong with this installation, each finding with what helps.

It looks and never mends (``webdock check --repair`` mends the machine). Each ``*_check`` judges facts it is
handed.
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.api.instances import ADMIN_GROUP
from webdock import preflight
from webdock.cli import instance as instances
from webdock.cli.command import program_version
from webdock.cli.errors import Failure
from webdock.cli.http import Client
from webdock.cli.instance import Instance
from webdock.cli.running import UNITS, ask_web, run_by_systemd
from webdock.cli.serve import chosen
from webdock.preflight import FAILURE, OK, WARNING, Check

COMMAND_TIMEOUT_S = 60
WEB_TIMEOUT_S = 5.0
LOG_TAIL_BYTES = 256 * 1024
START = "start it: sudo webdock up --detach"
TROUBLE = re.compile(  # as both processes write their lines, in either format
    r'^(\S+ \S+ (ERROR|CRITICAL) |\{"time": "[^"]+", "level": "(error|critical)").*', re.MULTILINE
)


def doctor_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print only what is not well")


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; 1 when one of them keeps webdock from working."""
    instance = chosen(options)
    findings = list(examine(instance))
    text = preflight.report(findings, quiet=options.quiet)
    print(text or "all is well")
    return 1 if any(one.level == FAILURE for one in findings) else 0


def examine(instance: Instance) -> Iterator[Check]:
    """Machine, configuration, directories, sockets, both processes and their logs."""
    web = web_health(instance)
    for check in preflight.examine(instance):
        if check.name != "address" or web is None:  # taken by our own pages is as it should be
            yield check
    yield configuration_check(*check_configuration(instance))
    yield from place_checks(instance)
    yield engine_check(ask_engine(instance), program_version())
    yield web_check(web, instance.url)
    for name in ("engine", "web"):
        log = instance.log_home / f"{name}.log"
        if log.is_file() and os.access(log, os.R_OK):
            yield log_check(name, tail(log), str(log))


# -- judging -----------------------------------------------------------------------------------------------


def configuration_check(code: int, said: str) -> Check:
    if code == 0:
        return Check("configuration", OK, said or "read")
    return Check("configuration", FAILURE, said, "docs/operations.md lists the keys and variables")


def mode_check(path: str, what: str, found: os.stat_result, mode: int, uid: int, gid: int) -> Check:
    """Whether a file or directory on which the wall rests is as it was made."""
    problems = []
    if stat.S_IMODE(found.st_mode) != mode:
        problems.append(f"mode {stat.S_IMODE(found.st_mode):04o} instead of {mode:04o}")
    if (found.st_uid, found.st_gid) != (uid, gid):
        problems.append(f"owner {found.st_uid}:{found.st_gid} instead of {uid}:{gid}")
    if problems:
        return Check(
            what, FAILURE, f"{path} has {', '.join(problems)}", "restart webdock: it puts them right"
        )
    return Check(what, OK, path)


def engine_check(answer: str | dict[str, str], version: str) -> Check:
    """``answer`` is what /version said, or why it said nothing."""
    if isinstance(answer, str):
        return Check(
            "engine", FAILURE, answer, "start it: sudo webdock up --detach; its log says why it ended"
        )
    if answer.get("Version") != version:
        return Check(
            "engine",
            WARNING,
            f"runs version {answer.get('Version')}, and this program is {version}",
            "restart it; containers keep running",
        )
    return Check("engine", OK, f"runs, {version} (API {answer.get('ApiVersion')})")


def web_check(answer: tuple[int, dict[str, object]] | None, url: str) -> Check:
    """``answer`` is status and body of /healthz; None when nobody answers."""
    if answer is None:
        return Check(
            "web", FAILURE, f"does not answer at {url}", "sudo webdock up --detach; web.log says why it ended"
        )
    status, body = answer
    if status != 200:
        return Check("web", FAILURE, f"answers {status}: {body.get('status')}", "web.log says more")
    engines = body.get("engines")
    away = [name for name, there in engines.items() if not there] if isinstance(engines, dict) else []
    if away:
        return Check(
            "web", WARNING, f"runs, but does not reach: {', '.join(away)}", "the page Engines says why"
        )
    return Check("web", OK, f"runs, {url}")


def log_check(name: str, text: str, path: str) -> Check:
    """Whether the newest lines of a log tell of trouble."""
    found = list(TROUBLE.finditer(text))
    if not found:
        return Check(f"{name} log", OK, f"no errors at the end of {path}")
    last = found[-1][0]
    return Check(f"{name} log", WARNING, f"{len(found)} errors at the end of {path}, the last: {last[:300]}")


# -- asking ------------------------------------------------------------------------------------------------


def check_configuration(instance: Instance) -> tuple[int, str]:
    """Have the engine read its configuration, and no more; exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "runtime.main", "--check-config"],
        env=instance.environ(os.environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def place_checks(instance: Instance) -> Iterator[Check]:
    try:
        user, admins = pwd.getpwnam(instance.web_user), grp.getgrnam(ADMIN_GROUP)
    except KeyError:
        missing = f"user {instance.web_user} and group {ADMIN_GROUP} are not there yet"
        yield Check("users", WARNING, missing, "`up` makes them")
        return
    yield Check("users", OK, f"the web side's is {instance.web_user}")
    for path, what, mode, uid, gid in (
        (instance.engine_home, "state", 0o700, 0, 0),
        (instance.web_home, "web state", 0o700, user.pw_uid, user.pw_gid),
        (instance.engine_socket, "engine.sock", 0o660, 0, admins.gr_gid),
        (instance.web_socket, "web.sock", 0o660, 0, user.pw_gid),
    ):
        try:
            yield mode_check(str(path), what, path.stat(), mode, uid, gid)
        except FileNotFoundError:
            continue  # not started yet, or stopped: the engine's own line says so
        except PermissionError:
            yield Check(what, WARNING, f"{path} cannot be looked at", "run it as root: sudo webdock doctor")
    socket = instance.engine_socket
    if socket.exists() and not os.access(socket, os.W_OK):
        yield Check("you", WARNING, f"may not use {socket}", f"sudo, or join the group {ADMIN_GROUP}")
    if run_by_systemd(instance):
        yield Check("supervisor", OK, f"systemd: {' '.join(UNITS)}")


def ask_engine(instance: Instance) -> str | dict[str, str]:
    try:
        return dict(Client(f"unix://{instance.engine_socket}").get("/version"))
    except Failure as error:
        return str(error)


def web_health(instance: Instance) -> tuple[int, dict[str, object]] | None:
    said = ask_web(instance, WEB_TIMEOUT_S)
    try:
        body = json.loads(said[1]) if said else None
    except ValueError:
        return None  # somebody else's page
    return (said[0], body if isinstance(body, dict) else {}) if said else None


def tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")

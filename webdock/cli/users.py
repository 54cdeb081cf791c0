"""Who an instance's web side runs as: a user and a group of its own, made by ``up`` and removed by a purge.

One user for all instances would let a web side that was taken over read the others' files and end their
processes. The group ``webdock-admin`` is the machine's and stays.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from runtime.api.instances import ADMIN_GROUP, DEFAULT_NAME
from webdock.cli.errors import Failure
from webdock.cli.instance import Instance

COMMAND_TIMEOUT_S = 60
BUSY_TIMEOUT_S = 60.0  # how long other programs may keep the machine's list of users locked
END_TIMEOUT_S = 20.0
PAUSE_S = 0.1

# Exit codes, from useradd(8), userdel(8), groupadd(8) and groupdel(8).
DONE, LOCKED, UID_TAKEN, GONE, EXISTS, IN_USE, GROUP_LOCKED = 0, 1, 4, 6, 9, 8, 10


class UserError(Failure):
    """A user or group that cannot be made or removed; the text says which, and what was answered."""


def ensure_users(instance: Instance) -> None:
    """Make the instance's user and group, and the group of those who may use every engine's own socket.

    Race: several `up` may do this at once; what another made is taken, and a locked list waited for.
    Raises: UserError when the system's own tools refuse.
    """
    if not exists(grp.getgrnam, ADMIN_GROUP):
        change(["groupadd", "--system", "--force", ADMIN_GROUP])
    name = instance.web_user
    if exists(pwd.getpwnam, name):
        return
    nologin = shutil.which("nologin", path="/usr/sbin:/sbin") or "/bin/false"
    group = ["--gid", name] if exists(grp.getgrnam, name) else ["--user-group"]
    options = ["--system", "--home-dir", "/nonexistent", "--no-create-home", "--shell", nologin]
    change(["useradd", *options, *group, name], well=(EXISTS,))


def remove_web_user(instance: Instance) -> None:
    """Remove user and group of a purged instance with every process that still runs as that user.

    The default home's stay: files in ``/etc/webdock`` are its group's, and ``scripts/install.sh --purge``
    removes both.
    """
    name = instance.web_user
    if name == DEFAULT_NAME:
        return
    if exists(pwd.getpwnam, name):
        uid = pwd.getpwnam(name).pw_uid
        # Race: a process that is being started becomes this user's only after it was looked for.
        change(["userdel", name], well=(GONE,), again=(IN_USE,), first=lambda: end_processes(uid))
    if exists(grp.getgrnam, name):
        change(["groupdel", name], well=(GONE,))


def end_processes(uid: int) -> None:
    """Kill what runs as this user until nothing does.

    Raises: UserError when something stays.
    """
    deadline = time.monotonic() + END_TIMEOUT_S
    while found := processes_of(uid):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise UserError(f"processes of user {uid} do not end: {found}")
        time.sleep(PAUSE_S)


def processes_of(uid: int) -> list[int]:
    """Processes that run as this user; those that have ended and wait for their parent do not count."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if str(uid) in fields.get("Uid", "").split() and not fields.get("State", "").startswith("Z"):
            found.append(int(process.name))
    return found


def exists(ask: Callable[[str], object], name: str) -> bool:
    try:
        ask(name)
    except KeyError:
        return False
    return True


def change(
    argv: list[str],
    well: tuple[int, ...] = (),
    again: tuple[int, ...] = (),
    first: Callable[[], None] = lambda: None,
) -> None:
    """Change the machine's users; the tools give up on a list that is locked, so they are run again.

    first: what is done before each try.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        first()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
        if done.returncode in (DONE, *well):
            return
        busy = done.returncode in (LOCKED, UID_TAKEN, GROUP_LOCKED, *again) and os.access("/etc", os.W_OK)
        if not busy or time.monotonic() > deadline:
            words = done.stderr.strip() or f"exit code {done.returncode}"
            raise UserError(f"`{' '.join(argv)}` failed: {words}")
        time.sleep(PAUSE_S)


def as_web_user(user: str, argv: list[str], *, pdeathsig: bool = False) -> list[str]:
    """Wrap a command so that it runs as this web user, without a capability or a way to get one."""
    return [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--no-new-privs",
        *(["--pdeathsig=TERM"] if pdeathsig else []),
        "--",
        *argv,
    ]

"""Where an instance lies, where its pages are, and what the web side is told to read."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from webdock.cli.instance import Instance, ListenError
from webdock.cli.users import as_web_user, exists
from webdock.preflight.check import FAILURE, OK, WARNING, Check, probe, read

FREE_SPACE_LOW_BYTES = 2 * 1024**3
READ_BY_WEB = ("WEBDOCK_SECRET_KEY_FILE", "WEBDOCK_METRICS_TOKEN_FILE", "WEBDOCK_OIDC_FILE")
READ_BY_PROVIDER = ("client_secret_file", "ca_file")  # keys in the file of WEBDOCK_OIDC_FILE


def space_check(free_bytes: int, where: str) -> Check:
    text = f"{free_bytes / 1024**3:.1f} GiB free under {where}"
    if free_bytes < FREE_SPACE_LOW_BYTES:
        return Check("disk", WARNING, text, "a pull of a usual image can fill that")
    return Check("disk", OK, text)


def home_check(instance: Instance) -> Check:
    """The web user must be able to walk to its directory under the home."""
    for path in (instance.home, instance.run):
        for parent in [path, *path.parents]:
            if parent.exists() and not parent.stat().st_mode & 0o001:
                return Check(
                    "directories",
                    FAILURE,
                    f"user {instance.web_user} cannot enter {parent}, so it cannot reach {path}",
                    "choose another --home and --run, or open the directory: chmod o+x " + str(parent),
                )
    return Check("directories", OK, f"{instance.home}, {instance.run}")


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def listen_check(where: str, error: OSError | None, holder: str, unprivileged_from: int, port: int) -> Check:
    """``error`` is what bind said; ``holder`` the process that has the port, as far as it can be seen."""
    if port < unprivileged_from:
        return Check(
            "address",
            FAILURE,
            f"port {port} needs rights the web process does not have",
            f"take a port from {unprivileged_from} on, and put a proxy before it",
        )
    if error is None:
        return Check("address", OK, f"{where} is free")
    if error.errno == errno.EADDRINUSE:
        by = f" by {holder}" if holder else ""
        return Check("address", FAILURE, f"{where} is taken{by}", "choose another: --listen ADDRESS:PORT")
    if error.errno == errno.EADDRNOTAVAIL:
        return Check("address", FAILURE, f"no interface of this machine has the address {where}")
    return Check("address", FAILURE, f"{where} cannot be used: {os.strerror(error.errno or 0)}")


def try_bind(host: str, port: int) -> OSError | None:
    """Bind the address once; None when that works."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except socket.gaierror:
        return OSError(errno.EADDRNOTAVAIL, "unknown host")
    except OSError as error:
        return error
    return None


def port_holder(port: int) -> str:
    """``nginx (process 812)`` for the process that listens on a TCP port, "" when it cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                return f"{read(f'{process}/comm').strip()} (process {process.name})"
        except OSError:
            continue
    return ""


def address_check(instance: Instance) -> Check:
    """Whether the pages' address is to be had, or is ours already."""
    try:
        host, port = instance.address
    except ListenError as error:
        return Check("address", FAILURE, str(error))
    where = instance.local_url.removeprefix("http://")
    refused = try_bind(host, port)
    owner = instance.owner()
    if (
        refused is not None
        and refused.errno == errno.EADDRINUSE
        and owner
        and owner.get("ready")
        and owner.get("listen") == instance.listen
    ):
        return Check("address", OK, f"{where} is this webdock's own")
    unprivileged_from = int(read("/proc/sys/net/ipv4/ip_unprivileged_port_start") or 1024)
    holder = port_holder(port) if refused is not None else ""
    return listen_check(where, refused, holder, unprivileged_from, port)


def named_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The files that variables have the web side read, and those that the provider's file names: who names
    it -> path.
    """
    named = {name: environ[name] for name in READ_BY_WEB if environ.get(name)}
    provider = named.get("WEBDOCK_OIDC_FILE", "")
    try:
        document = tomllib.loads(Path(provider).read_text()) if provider else {}
    except (OSError, ValueError):
        document = {}  # the web side says what is wrong with it
    more = {f"{key} in {provider}": document.get(key) for key in READ_BY_PROVIDER}
    return named | {name: path for name, path in more.items() if isinstance(path, str) and path}


def unreadable(user: str, paths: Iterable[str]) -> dict[str, str]:
    """Which of these files the user cannot read, tried as that user, and what was answered."""
    said = {path: probe(*as_web_user(user, ["head", "-c", "1", "--", path])) for path in paths}
    return {path: words.rpartition(": ")[2] for path, words in said.items() if words}


def named_files_check(user: str, files: Mapping[str, str], refused: Mapping[str, str]) -> Check:
    """``files`` is who names it -> path; ``refused`` says why the user cannot read a path."""
    lacking = [
        f"{name}: {user} cannot read {path}: {refused[path]}"
        for name, path in files.items()
        if path in refused
    ]
    if lacking:
        advice = f"let that user read it: chgrp {user} FILE, chmod g+r FILE, and chmod o+x its directories"
        return Check("named files", FAILURE, "; ".join(lacking), advice)
    return Check("named files", OK, ", ".join(files.values()) or "none")


def try_named_files(instance: Instance, environ: Mapping[str, str]) -> Check:
    """What the web side is told to read, tried as its user; not tried without root or that user."""
    user, files = instance.web_user, named_files(environ)
    if files and (os.geteuid() != 0 or not exists(pwd.getpwnam, user)):
        why = "needs root" if os.geteuid() != 0 else f"`up` makes the user {user}"
        return Check("named files", OK, f"not tried ({why}): {', '.join(files.values())}")
    return named_files_check(user, files, unreadable(user, files.values()))

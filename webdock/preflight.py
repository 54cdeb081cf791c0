"""What a machine must have before the engine can run on it, said in plain words; used by ``up`` and ``webdock
check``.

Each ``*_check`` judges facts it is handed and touches nothing; ``examine`` gathers the facts of this machine.
It never repairs anything (that is ``cli/setup.py``) and never loads Django, nor anything outside the standard
library.

Kernel: the versions named here are those in which the feature first appeared in mainline.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webdock.cli.instance import Instance, ListenError

OK, WARNING, FAILURE = "ok", "warning", "failure"

OLDEST_KERNEL = (5, 10)  # openat2 (5.6), pidfds (5.3) and time namespaces are all there
IDMAP_KERNEL = (5, 19)  # overlayfs over idmapped lower layers

FREE_SPACE_LOW_BYTES = 2 * 1024**3
PROBE_TIMEOUT_S = 10

#: program -> the Debian package that brings it, and what it is for
PROGRAMS = {
    "conmon": ("conmon", "keeps each container's terminal, log and exit status"),
    "nft": ("nftables", "publishes ports and gives containers a way out"),
    "ip": ("iproute2", "shows networks when something has to be looked into"),
    "mount": ("mount", "mounts root file systems"),
    "unshare": ("util-linux", "tries what the kernel allows"),
    "setpriv": ("util-linux", "takes every right from the web process"),
    "tar": ("tar", "unpacks layers"),
    "busybox": ("busybox-static", "the two starter images are made of it"),
}

SECCOMP_PROFILE = Path("/usr/share/containers/seccomp.json")
V1_CONTROLLERS = ("cpu", "memory", "pids", "devices", "freezer", "cpuset")
V2_CONTROLLERS = ("cpu", "memory", "pids")
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")


@dataclass(frozen=True)
class Check:
    """One line of the list: what was looked at, how it is, and what to do when it is not well."""

    name: str
    level: str
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Cgroups:
    """How the cgroup hierarchies are mounted."""

    mode: str  # "v2", "v1", "hybrid" or "none"
    v1: frozenset[str]  # controllers mounted as v1
    v2: frozenset[str]  # controllers the unified tree carries
    unified: str  # mount point of the unified tree, "" without one


# -- judging -----------------------------------------------------------------------------------------------


def machine_check(machine: str, word_bits: int) -> Check:
    if word_bits < 64 or machine not in ("x86_64", "aarch64"):
        return Check(
            "machine",
            FAILURE,
            f"this is a {word_bits}-bit {machine} system",
            "webdock runs on 64-bit x86_64 and aarch64 only",
        )
    return Check("machine", OK, f"64-bit, {machine}")


def parse_kernel(release: str) -> tuple[int, int]:
    """``6.1.0-18-amd64`` -> (6, 1); (0, 0) when there is no number in it."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def kernel_check(system: str, release: str) -> Check:
    if system != "Linux":
        return Check("kernel", FAILURE, f"this is {system}", "containers need Linux; use a virtual machine")
    if parse_kernel(release) < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        return Check(
            "kernel", FAILURE, f"Linux {release} is too old", f"webdock needs Linux {oldest} or newer"
        )
    return Check("kernel", OK, f"Linux {release}")


def root_check(uid: int) -> Check:
    if uid != 0:
        return Check(
            "root",
            FAILURE,
            f"running as user {uid}",
            "the engine has to be root: put sudo before the command",
        )
    return Check("root", OK, "running as root")


def parse_cgroups(mountinfo: str, unified_controllers: str) -> Cgroups:
    """Read the hierarchies out of /proc/self/mountinfo; ``unified_controllers`` is the text of
    cgroup.controllers.

    Spec: proc(5), /proc/pid/mountinfo; cgroups(7).
    """
    v1: set[str] = set()
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3:
            continue
        if tail[0] == "cgroup2" and (not unified or len(fields[4]) < len(unified)):
            unified = fields[4]
        elif tail[0] == "cgroup":
            v1.update(
                option
                for option in tail[2].split(",")
                if option not in ("rw", "ro", "xattr") and "=" not in option
            )
    v2 = frozenset(unified_controllers.split()) if unified else frozenset()
    if unified and not v1:
        mode = "v2"
    elif unified:
        mode = "hybrid"
    else:
        mode = "v1" if v1 else "none"
    return Cgroups(mode, frozenset(v1), v2, unified)


def cgroup_check(cgroups: Cgroups, *, crun: bool, runc: bool) -> Check:
    if cgroups.mode == "none":
        return Check(
            "cgroups",
            FAILURE,
            "no cgroup file system is mounted",
            "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup (webdock check --repair does it)",
        )
    if cgroups.mode == "v2":
        lacking = [name for name in V2_CONTROLLERS if name not in cgroups.v2]
        if lacking:
            return Check(
                "cgroups",
                WARNING,
                f"v2, but without {', '.join(lacking)}",
                "limits of that kind cannot be set; is this machine itself a container without delegation?",
            )
        return Check("cgroups", OK, "v2 (unified)")
    lacking = [name for name in V1_CONTROLLERS if name not in cgroups.v1]
    if lacking:
        return Check(
            "cgroups",
            WARNING,
            f"{cgroups.mode}, but without {', '.join(lacking)}",
            "limits of that kind cannot be set",
        )
    if cgroups.mode == "hybrid" and cgroups.v2:
        carried = ", ".join(sorted(cgroups.v2))
        if crun and runc:
            return Check(
                "cgroups",
                WARNING,
                f"hybrid, and the unified tree carries {carried}: crun refuses that, runc is used",
                "webdock check --repair mounts it as v1, then crun runs",
            )
        if not runc:
            return Check(
                "cgroups",
                FAILURE,
                f"hybrid, and the unified tree carries {carried}: crun refuses that",
                "webdock check --repair mounts it as v1; or install runc",
            )
    return Check("cgroups", OK, "hybrid (v1 controllers)" if cgroups.mode == "hybrid" else "v1")


def overlay_check(registered: bool, trial: str | None) -> Check:
    """``trial`` is what the kernel said to an overlay mounted where images will lie; None when not tried."""
    if trial:
        return Check(
            "overlayfs",
            FAILURE,
            f"mounting an overlay failed: {trial}",
            "load the module (modprobe overlay), and keep WEBDOCK_HOME on a local ext4, xfs or btrfs",
        )
    if not registered:
        return Check("overlayfs", FAILURE, "the kernel does not know overlayfs", "load it: modprobe overlay")
    return Check("overlayfs", OK, "works" if trial == "" else "known to the kernel")


def namespace_check(present: Iterable[str], max_user_namespaces: int, release: str) -> list[Check]:
    have = set(present)
    lacking = [name for name in NAMESPACES[:-1] if name not in have]
    if lacking:
        return [Check("namespaces", FAILURE, f"the kernel was built without {', '.join(lacking)} namespaces")]
    result = [Check("namespaces", OK, ", ".join(NAMESPACES[:-1]))]
    if "user" not in have or max_user_namespaces == 0:
        why = "the kernel has none" if "user" not in have else "user.max_user_namespaces is 0"
        advice = "container root will be this machine's root (sysctl user.max_user_namespaces=15000 allows)"
        result.append(Check("user namespaces", WARNING, f"not to be had: {why}", advice))
    elif parse_kernel(release) < IDMAP_KERNEL:
        newest = ".".join(map(str, IDMAP_KERNEL))
        result.append(
            Check(
                "user namespaces",
                WARNING,
                f"without idmapped layers, which came with Linux {newest}",
                "container root will be this machine's root",
            )
        )
    else:
        result.append(Check("user namespaces", OK, "with idmapped mounts"))
    return result


def nftables_check(trial: str | None) -> Check:
    """``trial`` is what nft said, "" for success, None when nft is not installed or we are not root."""
    if trial:
        return Check(
            "nftables", FAILURE, f"nft cannot speak to the kernel: {trial}", "load it: modprobe nf_tables"
        )
    return Check("nftables", OK, "works" if trial == "" else "not tried (needs root)")


def program_checks(found: dict[str, bool]) -> list[Check]:
    """``found`` says for each program, crun and runc among them, whether it is on PATH."""
    result = []
    if not found.get("crun") and not found.get("runc"):
        result.append(
            Check("OCI runtime", FAILURE, "neither crun nor runc is installed", "apt-get install crun runc")
        )
    else:
        names = " and ".join(name for name in ("crun", "runc") if found.get(name))
        result.append(Check("OCI runtime", OK, names))
    lacking = [name for name in PROGRAMS if not found.get(name)]
    for name in lacking:
        package, purpose = PROGRAMS[name]
        result.append(
            Check(name, FAILURE, f"{name} is not installed; it {purpose}", f"apt-get install {package}")
        )
    if not lacking:
        result.append(Check("programs", OK, ", ".join(PROGRAMS)))
    return result


def seccomp_check(present: bool) -> Check:
    if not present:
        return Check(
            "seccomp",
            FAILURE,
            f"{SECCOMP_PROFILE} is missing: containers would run without a system call filter",
            "apt-get install golang-github-containers-common",
        )
    return Check("seccomp", OK, str(SECCOMP_PROFILE))


def space_check(free_bytes: int, where: str) -> Check:
    text = f"{free_bytes / 1024**3:.1f} GiB free under {where}"
    if free_bytes < FREE_SPACE_LOW_BYTES:
        return Check("disk", WARNING, text, "a pull of a usual image can fill that")
    return Check("disk", OK, text)


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


# -- gathering ---------------------------------------------------------------------------------------------


def read(path: str) -> str:
    """A file's text, "" when there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def current_cgroups() -> Cgroups:
    """The cgroup hierarchies of this machine as they are mounted now."""
    mountinfo = read("/proc/self/mountinfo")
    unified = parse_cgroups(mountinfo, "").unified
    return parse_cgroups(mountinfo, read(f"{unified}/cgroup.controllers") if unified else "")


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def try_overlay(home: Path) -> str | None:
    """Mount an overlay inside a private mount namespace on ``home``'s file system; "" or the kernel's
    words.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return None
    where = nearest_existing(home)
    try:
        scratch = tempfile.mkdtemp(prefix=".webdock-probe-", dir=where)
    except OSError as error:
        return f"{where} cannot be written: {error.strerror}"
    try:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{scratch}/{name}")
        options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
        return probe("unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", options, f"{scratch}/merged")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def probe(*argv: str) -> str:
    """Run a program that should succeed; "" when it did, else the last line it wrote."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def find_program(name: str) -> str | None:
    """Look a program up on PATH and in the places root's PATH has but a user's may lack."""
    return shutil.which(
        name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    )


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


def examine(instance: Instance) -> list[Check]:
    """Everything this machine is asked, in the order a person would want to read it."""
    release = platform.release()
    found = {name: find_program(name) is not None for name in (*PROGRAMS, "crun", "runc")}
    registered = "overlay" in read("/proc/filesystems").split()
    nft = find_program("nft")
    root = os.geteuid() == 0
    users = read("/proc/sys/user/max_user_namespaces").strip()
    where = nearest_existing(instance.home)
    return [
        machine_check(platform.machine(), 64 if platform.architecture()[0] == "64bit" else 32),
        kernel_check(platform.system(), release),
        root_check(os.geteuid()),
        cgroup_check(current_cgroups(), crun=found["crun"], runc=found["runc"]),
        *namespace_check((p.name for p in Path("/proc/self/ns").iterdir()), int(users or 0), release),
        overlay_check(registered, try_overlay(instance.home)),
        nftables_check(probe(nft, "list", "tables") if nft and root else None),
        *program_checks(found),
        seccomp_check(SECCOMP_PROFILE.is_file()),
        home_check(instance),
        space_check(shutil.disk_usage(where).free, str(where)),
        address_check(instance),
    ]


def report(checks: Iterable[Check], *, quiet: bool = False) -> str:
    """The list as text; ``quiet`` leaves out what is well."""
    lines = []
    for check in checks:
        if quiet and check.level == OK:
            continue
        mark = {OK: "ok  ", WARNING: "warn", FAILURE: "FAIL"}[check.level]
        lines.append(f"{mark}  {check.name}: {check.text}")
        if check.advice:
            lines.append(f"      → {check.advice}")
    return "\n".join(lines)

"""Makes a machine ready and decides where the program runs from; every step can be repeated.

It makes a copy of the program where the web user can read it, and repairs what ``preflight`` finds
repairable. It starts nothing and never touches containers. All of it needs root.
"""

from __future__ import annotations

import grp
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from webdock.cli.directories import put_right
from webdock.cli.errors import Failure
from webdock.cli.instance import Instance
from webdock.cli.users import as_web_user
from webdock.preflight.cgroups import current_cgroups
from webdock.preflight.check import read

#: What the program consists of, relative to the clone; anything else (tests, docs) is not needed to run it.
PROGRAM = (
    "webdock",
    "containers_app",
    "images_app",
    "runtime",
    "templates",
    "static",
    "locale",
    "pyproject.toml",
)

MODULES = ("overlay", "nf_tables", "bridge", "veth")
COMMAND_TIMEOUT_S = 60
READ_TRIAL = "import django, webdock, containers_app, images_app, runtime"


class SetupError(Failure):
    """A step that could not be done; the text says which, and what was answered."""


@dataclass(frozen=True)
class Program:
    """The code that engine and web run from."""

    python: Path  # interpreter with everything in requirements.txt
    root: Path  # directory that holds the packages
    stamp: str  # changes whenever a file of it does


def clone_root() -> Path:
    """The directory this very code lies in."""
    return Path(__file__).resolve().parents[2]


# -- the machine -------------------------------------------------------------------------------------------


def repair_machine() -> list[str]:
    """Load missing modules and mount what cgroups lack; returns what was done, in words."""
    done = []
    known = read("/proc/filesystems").split()
    if "overlay" not in known:
        for module in MODULES:
            subprocess.run(["modprobe", "-q", module], check=False, timeout=COMMAND_TIMEOUT_S)
    cgroups = current_cgroups()
    if cgroups.mode == "none" and mount_cgroup("cgroup2", "/sys/fs/cgroup", "cgroup2", ""):
        done.append("mounted the unified cgroup tree on /sys/fs/cgroup")
    if cgroups.mode == "hybrid":
        # crun before 1.9 takes a unified tree with controllers for a v2 machine whose other controllers are
        # missing.
        for controller in sorted(cgroups.v2 - cgroups.v1):
            if mount_cgroup("cgroup", f"/sys/fs/cgroup/{controller}", controller, controller):
                done.append(f"mounted cgroup controller {controller} as v1")
    return done


def mount_cgroup(kind: str, where: str, source: str, options: str) -> bool:
    """Mount one hierarchy; False when the kernel does not let us, which ``preflight`` then reports."""
    try:
        os.makedirs(where, exist_ok=True)
    except OSError:
        return False
    argv = ["mount", "-t", kind, *(["-o", options] if options else []), source, where]
    mounted = (
        subprocess.run(argv, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S).returncode == 0
    )
    if not mounted and where != "/sys/fs/cgroup":
        try:
            os.rmdir(where)
        except OSError:
            pass  # an empty directory is no harm
    return mounted


def command(*argv: str) -> None:
    """Run a system tool that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(argv)} failed: {done.stderr.strip() or done.returncode}")


# -- where the program runs from ---------------------------------------------------------------------------


def program_files(root: Path) -> Iterator[Path]:
    """Every file the program consists of, in a fixed order."""
    for name in PROGRAM:
        top = root / name
        if top.is_file():
            yield top
        for directory, subdirectories, names in os.walk(top):
            subdirectories[:] = sorted(d for d in subdirectories if d != "__pycache__")
            yield from (Path(directory, n) for n in sorted(names) if not n.endswith(".pyc"))


def program_stamp(root: Path) -> str:
    """A digest of names, sizes and times of the program's files, and of what is installed beside them."""
    digest = hashlib.sha256(sys.version.encode())
    installed = Path(sys.prefix, ".installed-requirements")
    for path in [*program_files(root), *([installed] if installed.exists() else [])]:
        about = path.stat()
        digest.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def place_program(instance: Instance, say: Callable[[str], None]) -> Program:
    """Decide where engine and web run from: here when the web user can read it, else a copy under the home.

    Raises:
        SetupError: when even the copy cannot be read.
    """
    root = clone_root()
    stamp = program_stamp(root)
    here = Program(Path(sys.executable), root, stamp)
    user = instance.web_user
    if can_read(here, user):
        return here
    copy = Program(instance.app_home / "venv/bin/python", instance.app_home / "src", stamp)
    mark = instance.app_home / "stamp"
    if not mark.is_file() or mark.read_text() != stamp:
        say(f"installing a copy in {instance.app_home}: user {user} cannot read {root}")
        install_copy(here, instance.app_home, stamp)
        put_right(instance.app_home, 0o750, 0, grp.getgrnam(user).gr_gid, os.O_DIRECTORY)
    if not can_read(copy, user):
        raise SetupError(f"user {user} can read neither {root} nor {instance.app_home}")
    return copy


def can_read(program: Program, user: str) -> bool:
    """Try the real thing: import the program as the web user."""
    argv = as_web_user(user, [str(program.python), "-I", "-B", "-c", READ_TRIAL])
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        done = subprocess.run(argv, env=environ, cwd="/", capture_output=True, timeout=COMMAND_TIMEOUT_S)
    except OSError as error:
        raise SetupError(f"setpriv cannot be run: {error.strerror}") from error
    return done.returncode == 0


def install_copy(source: Program, target: Path, stamp: str) -> None:
    """Put program and packages where everyone may read them; the old copy is replaced in one rename each."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for path in program_files(source.root):
        copied = fresh / "src" / path.relative_to(source.root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
    command(base_python(), "-m", "venv", "--without-pip", str(fresh / "venv"))
    packages = Path(f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")
    shutil.copytree(
        Path(sys.prefix) / packages, fresh / "venv" / packages, copy_function=share_file, dirs_exist_ok=True
    )
    pth = fresh / "venv" / packages / "webdock.pth"
    pth.unlink(missing_ok=True)
    pth.write_text(f"{target / 'src'}\n")
    open_to_readers(fresh)
    (fresh / "stamp").write_text(stamp)
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def base_python() -> str:
    """The interpreter below this virtual environment, or the distribution's when it lies under /root."""
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if base.startswith("/root/"):
        base = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    if not os.access(base, os.X_OK):
        raise SetupError(
            f"{base} is missing: the web user needs a Python outside /root; install python3 and python3-venv"
        )
    return base


def share_file(source: str, target: str) -> None:
    """Hard-link a package's file when everybody may read it already, else copy it."""
    if os.lstat(source).st_mode & stat.S_IROTH and not os.path.islink(source):
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another file system, or too many links: a copy does as well
    shutil.copy2(source, target, follow_symlinks=False)


def open_to_readers(top: Path) -> None:
    """Give everyone the reading rights the owner has, and nobody but the owner the right to write."""
    for directory, _, names in os.walk(top):
        os.chmod(directory, 0o755)  # noqa: S103 - a program, not data: everyone may read it
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode) and not mode & stat.S_IROTH:
                os.chmod(path, 0o755 if mode & stat.S_IXUSR else 0o644)

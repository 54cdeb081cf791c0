"""The instance's user namespace: pinned as a file, and the state directory seen with its ids.

Both live in the run directory and survive the engine, as the containers that use them do; after a reboot
they are made anew, with whatever base is free then, since nothing on disk knows it.

Spec: user_namespaces(7); systemd's UIDs and GIDs document, range 1879048192..2147483647 "unused".
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from runtime.api.errors import NotSupported
from runtime.idmap import MAP_SIZE, IdMap
from runtime.snapshots import mount

FIRST_BASE = 0x7000_0000
BASES = 0x0FFF  # blocks of MAP_SIZE ids from FIRST_BASE on
RESERVED = ("/etc/subuid", "/etc/subgid")
CLOSED = ("mounts", "views", "volumes")  # in the run directory: root file systems and volumes lie below


def prepare(home: Path, run: Path, instance: str) -> IdMap:
    """Pin the namespace and mount the view, or find both; proves that overlays work on it.

    Blocks for some milliseconds. Raises: NotSupported with the reason, leaving nothing mounted.
    """
    userns, view = run / "userns", run / "view"
    try:
        base = _pinned_base(run)
        if base is None:
            release(run)
            base = _free_base(instance)
            _pin(run, base)
        if not mount.is_mounted(view):
            view.mkdir(mode=0o700, parents=True, exist_ok=True)
            mount.idmapped(home, view, userns)
        mapping = IdMap(base, userns, home, view)
        _prove(mapping, run)
        return mapping
    except (OSError, subprocess.SubprocessError) as error:
        release(run)
        raise NotSupported(f"user namespaces cannot be used here: {error}") from error


def release(run: Path) -> None:
    """Unmount both; containers that use them are not disturbed. Idempotent."""
    for path in (run / "view", run / "userns"):
        while mount.unmount(path):
            pass
    for name in ("userns", "userns.base"):
        (run / name).unlink(missing_ok=True)


def shut_out(run: Path, mapping: IdMap | None) -> None:
    """Let nobody but root, and the root of mapped containers, go where containers' files are mounted.

    A root file system is as open to everybody as its image says, and the host has other users.
    """
    for name in CLOSED:
        (run / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(run / name, 0, mapping.base if mapping else 0)
        os.chmod(run / name, 0o710)  # noqa: S103 - the group is that root's


def mappable(path: Path, mapping: IdMap, *, recursive: bool = True) -> bool:
    """Whether a host path can be bound into a mapped container with its ids mapped (`Mount.idmap`)."""
    try:
        mount.idmapped(path, None, mapping.userns, recursive=recursive)
    except OSError:
        return False
    return True


def _pinned_base(run: Path) -> int | None:
    """The base of a namespace pinned by an earlier engine of this boot."""
    if not mount.is_mounted(run / "userns"):
        return None
    try:
        return int((run / "userns.base").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _free_base(instance: str) -> int:
    """A block of ids nobody was promised; instances start looking at different ones."""
    taken = [block for path in RESERVED for block in _blocks(path)]
    first = int.from_bytes(hashlib.sha256(instance.encode()).digest()[:4], "big")
    for n in range(BASES):
        base = FIRST_BASE + (first + n) % BASES * MAP_SIZE
        if not any(start < base + MAP_SIZE and base < start + size for start, size in taken):
            return base
    raise OSError("every block of ids is promised in /etc/subuid")


def _blocks(path: str) -> list[tuple[int, int]]:
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
    fields = [line.split(":") for line in lines]
    return [(int(f[1]), int(f[2])) for f in fields if len(f) == 3 and f[1].isdigit() and f[2].isdigit()]


def _pin(run: Path, base: int) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "userns").touch(mode=0o600)
    (run / "userns.base").touch(mode=0o600)
    (run / "userns.base").write_text(f"{base}\n")
    with subprocess.Popen(
        ["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"\n")
        if holder.stdout.read(1) != b"\n":  # it answers once it is in its new namespace
            raise OSError("the kernel makes no user namespace")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text(f"0 {base} {MAP_SIZE}\n")
        mount.bind(f"/proc/{holder.pid}/ns/user", run / "userns")
        holder.stdin.close()
        holder.wait(timeout=10)


def _prove(mapping: IdMap, run: Path) -> None:
    """Write through an overlay with mapped layers above and below, and look at the ids on disk."""
    with tempfile.TemporaryDirectory(prefix="userns-probe-", dir=mapping.home) as name:
        real, seen = Path(name), mapping.seen(Path(name))
        for part in ("lower", "upper", "work"):
            (real / part).mkdir()
        (real / "lower/file").touch()
        target = Path(tempfile.mkdtemp(prefix="userns-probe-", dir=run))
        try:
            with mount.acting_as(mapping.base):
                mount.mount(
                    "overlay",
                    target,
                    "overlay",
                    options=f"lowerdir={seen / 'lower'},upperdir={seen / 'upper'},workdir={seen / 'work'}",
                )
            try:
                os.chown(target / "file", mapping.to_host(7), mapping.to_host(8))
                status = (real / "upper/file").stat()
            finally:
                mount.unmount(target)
        finally:
            target.rmdir()
        if (status.st_uid, status.st_gid) != (7, 8):
            raise OSError("overlayfs does not map ids on this kernel")

"""What is in a volume: making it, mounting it, filling it from an image, measuring and emptying it.

Blocking, but for ``copy``. Owns no records. Files in volumes are written by containers, so links in them are
never followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from pathlib import Path

from runtime.api.errors import Internal
from runtime.snapshots import mount as kernel
from runtime.volumes.options import MS_BIND, MS_REC, MountPlan
from runtime.volumes.records import Volume, sync, write

COPY_TIMEOUT_S = 3600  # an image's directory may hold many gigabytes
DATA_MODE = 0o755

MS_REMOUNT = 32


def make(volume: Volume) -> None:
    """Bring a new volume into being, with its record, by one rename.

    Raises: OSError.
    """
    appear(volume, prepare(volume))


def prepare(volume: Volume) -> Path:
    """A new volume with its record beside the others, where nobody sees it; the files go into its ``_data``.

    Raises: OSError; nothing is left then.
    """
    beside = volume.directory.parent / f".new-{secrets.token_hex(8)}"
    try:
        beside.mkdir(mode=0o701)
        data = beside / "_data"
        data.mkdir()
        data.chmod(DATA_MODE)  # whatever the umask says
        write(volume, beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return beside


def appear(volume: Volume, beside: Path) -> None:
    """Let a prepared volume be seen.

    Raises: OSError; nothing is left then.
    """
    try:
        beside.rename(volume.directory)
        sync(volume.directory.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def is_mounted(path: Path) -> bool:
    return kernel.is_mounted(path)


def mount(plan: MountPlan, target: Path) -> None:
    """Raises: OSError with the kernel's reason."""
    if plan.host_name is not None:
        found = socket.getaddrinfo(plan.host_name, None, type=socket.SOCK_STREAM)
        plan = plan.with_address(str(found[0][4][0]))
    target.mkdir(parents=True, exist_ok=True)
    if is_mounted(target):
        return
    try:
        kernel.mount(plan.device, target, plan.kind, plan.flags, plan.data)
        if plan.is_bind and plan.flags & ~(MS_BIND | MS_REC):
            # Kernel: a new bind has its source's flags; others are set by a second call.
            kernel.mount("none", target, "none", plan.flags | MS_REMOUNT)
    except BaseException:
        unmount(target)
        raise


def unmount(target: Path) -> None:
    """Take the mount and its mount point away; a missing one is no error.

    Raises: OSError.
    """
    while target.exists() and is_mounted(target):
        kernel.unmount(target)
    with contextlib.suppress(OSError):
        target.rmdir()


def is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


async def copy(source: Path, target: Path) -> None:
    """Copy a directory's contents, and its own owner and mode, with everything that belongs to files.

    Cancelling ends the copy; what was copied stays for the caller to clear.
    Raises: OSError with the tool's last words, TimeoutError.
    """
    program = await asyncio.create_subprocess_exec(
        *("cp", "--archive", "--reflink=auto", "--one-file-system", "--no-target-directory", "--"),
        str(source),
        str(target),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
    )
    try:
        async with asyncio.timeout(COPY_TIMEOUT_S):
            _, words = await program.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()
        raise
    if program.returncode:
        lines = words.decode(errors="replace").strip().splitlines()
        raise OSError(lines[-1] if lines else f"cp: exit code {program.returncode}")


def clear(directory: Path) -> None:
    """Empty a directory and give it a new one's owner and mode."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
    os.chown(directory, 0, 0)
    directory.chmod(DATA_MODE)


async def fill(volume: Volume, source: Path) -> bool:
    """Copy a directory into a volume that is in place and empty; False: it has files already.

    Raises: Internal; the volume is empty again then.
    """
    if not await asyncio.to_thread(is_empty, volume.mountpoint):
        return False
    own = volume.plan is None
    if own:
        volume.filling = True
        await asyncio.to_thread(write, volume)
    try:
        await copy(source, volume.mountpoint)
    except (OSError, TimeoutError, asyncio.CancelledError) as error:
        await asyncio.to_thread(clear, volume.mountpoint)
        if isinstance(error, asyncio.CancelledError):
            raise
        raise Internal(f"volume {volume.name} cannot be filled from the image: {error}") from None
    finally:
        if own:
            volume.filling = False
            await asyncio.to_thread(write, volume)
    return True


def size(volume: Volume) -> int:
    """Bytes on disk, each file once however many names it has; -1 for a volume that is somebody's mount."""
    if volume.plan is not None:
        return -1
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [str(volume.mountpoint)]
    while pending:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    key = (status.st_dev, status.st_ino)
                    if status.st_nlink > 1 and key in seen:
                        continue
                    seen.add(key)
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return total

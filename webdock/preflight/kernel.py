"""What machine this is, and what its kernel can.

Kernel: the versions named here are those in which the feature first appeared in mainline.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from webdock.preflight.check import FAILURE, OK, WARNING, Check, probe
from webdock.preflight.places import nearest_existing

OLDEST_KERNEL = (5, 10)  # openat2 (5.6), pidfds (5.3) and time namespaces are all there
IDMAP_KERNEL = (5, 19)  # overlayfs over idmapped lower layers

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")


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

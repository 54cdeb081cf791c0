"""The programs and files that the distribution's packages bring."""

from __future__ import annotations

from pathlib import Path

from webdock.preflight.check import FAILURE, OK, Check

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

"""Seccomp profiles in Docker's JSON form, resolved into the OCI form for one container.

The distribution's default profile (golang-github-containers-common) allows more than Docker's: mounting,
new namespaces and the kernel's key rings without any capability. `tighten` takes that back.

Spec: OCI runtime 1.1 config-linux.md, Seccomp; Docker's profile format (names, includes, excludes, archMap).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from runtime.api.errors import InvalidArgument, NotSupported

DEFAULT_PROFILES = ("/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json")
EPERM, ENOSYS = 1, 38

# Docker's rules for what the distribution's profile leaves open: allowed with one of these capabilities only.
GATED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree"),
            *("umount", "umount2", "unshare", "setns"),
        ),
        ("CAP_SYS_ADMIN",),
    ),
    "syslog": ("CAP_SYS_ADMIN", "CAP_SYSLOG"),
    "reboot": ("CAP_SYS_BOOT",),
    **dict.fromkeys(("get_mempolicy", "mbind", "set_mempolicy"), ("CAP_SYS_NICE",)),
    "pidfd_getfd": ("CAP_SYS_PTRACE",),
    **dict.fromkeys(("keyctl", "add_key", "request_key"), ()),  # the key rings are not namespaced
}
NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW* of clone(2)

_ARCHES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
}
_OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


@cache
def load_default() -> dict[str, Any]:
    """The distribution's default profile in Docker's form, read once. Raises: NotSupported when missing."""
    for path in DEFAULT_PROFILES:
        try:
            profile: dict[str, Any] = json.loads(Path(path).read_bytes())
        except FileNotFoundError:
            continue
        return profile
    raise NotSupported(f"no seccomp profile is installed: {' or '.join(DEFAULT_PROFILES)} is missing")


def parse(text: str) -> dict[str, Any]:
    """A profile a client sent (`--security-opt seccomp=…`). Raises: InvalidArgument in Docker's words."""
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"opening seccomp profile failed: {error}") from error
    if not isinstance(profile, dict) or not isinstance(profile.get("syscalls", []), list):
        raise InvalidArgument("opening seccomp profile failed: it is not a profile")
    if "architectures" in profile and "archMap" in profile:
        raise InvalidArgument("use either 'architectures' or 'archMap'")
    resolve(profile, capabilities=(), arch="x86_64", kernel=(6, 1))
    return profile


def default(*, capabilities: Iterable[str], arch: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """The OCI form of the default profile, tightened; cached per set of capabilities."""
    return _default(frozenset(capabilities), arch, kernel)


@cache
def _default(capabilities: frozenset[str], arch: str, kernel: tuple[int, int]) -> dict[str, Any]:
    return tighten(resolve(load_default(), capabilities=capabilities, arch=arch, kernel=kernel), capabilities)


def resolve(
    profile: dict[str, Any], *, capabilities: Iterable[str], arch: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """A profile's rules that hold for these capabilities, architecture and kernel, as OCI `linux.seccomp`.

    Raises: InvalidArgument for what the format does not know.
    """
    held = frozenset(capabilities)
    rules = []
    for number, rule in enumerate(profile.get("syscalls") or ()):
        if not isinstance(rule, dict):
            raise InvalidArgument(f"seccomp profile: syscalls[{number}] is not an object")
        names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
        if rule.get("name") and rule.get("names"):
            raise InvalidArgument("use either 'name' or 'names' in a rule of the seccomp profile")
        if names and _applies(rule, held, arch, kernel):
            rules.append(_rule(names, rule))
    resolved: dict[str, Any] = {
        "defaultAction": str(profile.get("defaultAction", "SCMP_ACT_ERRNO")),
        "architectures": _architectures(profile, arch),
        "syscalls": rules,
    }
    if profile.get("defaultErrnoRet") is not None:
        resolved["defaultErrnoRet"] = int(profile["defaultErrnoRet"])
    if profile.get("flags"):
        resolved["flags"] = list(profile["flags"])
    return resolved


def tighten(resolved: dict[str, Any], capabilities: Iterable[str]) -> dict[str, Any]:
    """The OCI form without what Docker's default refuses to these capabilities."""
    held = frozenset(capabilities)
    closed = {name for name, openers in GATED.items() if not held.intersection(openers)}
    confined = "CAP_SYS_ADMIN" not in held
    rules = []
    for rule in resolved["syscalls"]:
        taken = closed | ({"clone", "clone3"} if confined and rule["action"] == "SCMP_ACT_ALLOW" else set())
        names = [name for name in rule["names"] if name not in taken]
        if names:
            rules.append({**rule, "names": names})
    rules.append({"names": sorted(closed), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM})
    if confined:
        no_namespace = {"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]})
        # clone3's flags lie in memory, where a filter cannot look: programs fall back to clone on ENOSYS.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    return {**resolved, "syscalls": rules}


def _applies(rule: dict[str, Any], held: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    short = _ARCHES.get(arch, (arch, ""))[0]
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and short not in includes["arches"]:
        return False
    if short in (excludes.get("arches") or ()):
        return False
    if not held.issuperset(includes.get("caps") or ()):
        return False
    if held.intersection(excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _rule(names: list[str], rule: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"names": list(names), "action": str(rule.get("action", ""))}
    if not made["action"].startswith("SCMP_ACT_"):
        raise InvalidArgument(f"seccomp profile: unknown action {made['action']!r}")
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = int(rule["errnoRet"])
    if args := rule.get("args"):
        made["args"] = [_argument(argument) for argument in args]
    return made


def _argument(argument: dict[str, Any]) -> dict[str, Any]:
    if argument.get("op") not in _OPERATORS:
        raise InvalidArgument(f"seccomp profile: unknown operator {argument.get('op')!r}")
    return {
        "index": int(argument["index"]),
        "value": int(argument["value"]),
        "valueTwo": int(argument.get("valueTwo") or 0),
        "op": argument["op"],
    }


def _architectures(profile: dict[str, Any], arch: str) -> list[str]:
    if profile.get("architectures"):
        return list(profile["architectures"])
    name = _ARCHES.get(arch, ("", ""))[1]
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == name:
            return [name, *(entry.get("subArchitectures") or ())]
    return [name] if name else []


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.split(".")[0] or 0)

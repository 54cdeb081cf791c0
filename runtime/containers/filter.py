"""Seccomp rules compiled to BPF by libseccomp, once per rule set instead of by crun for every container.

crun takes a compiled filter from an annotation (`ANNOTATION`); compiling the default rules for three
architectures costs it about 10 ms per start. The rules stay in the spec as well: a runtime that does not
know the annotation, as runc, compiles them as always.

Spec: seccomp_rule_add(3), seccomp_export_bpf(3); crun(1), run.oci.seccomp_bpf_data.
"""

from __future__ import annotations

import base64
import ctypes
import json
import logging
import os
from functools import cache
from typing import Any

ANNOTATION = "run.oci.seccomp_bpf_data"
CACHED = 64  # rule sets kept compiled

log = logging.getLogger("webdock.containers")

_EEXIST, _EDOM, _SYSCALL_UNKNOWN = 17, 33, -1
_ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_OPERATORS = {
    f"SCMP_CMP_{name}": number
    for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)
}
_EPERM = 1


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


_compiled: dict[str, str | None] = {}


def compiled(rules: dict[str, Any]) -> str | None:
    """The value of ANNOTATION for an OCI `linux.seccomp`, cached; None: it is left to the runtime."""
    key = json.dumps(rules, sort_keys=True)
    if key not in _compiled:
        if len(_compiled) >= CACHED:
            _compiled.clear()
        try:
            _compiled[key] = base64.b64encode(compile_rules(rules)).decode()
        except (OSError, KeyError, ValueError) as error:
            log.info("seccomp rules are left to the runtime: %s", error)
            _compiled[key] = None
    return _compiled[key]


def compile_rules(rules: dict[str, Any]) -> bytes:
    """The BPF program. Raises: OSError without libseccomp, KeyError or ValueError for odd rules."""
    if rules.get("flags") or rules.get("listenerPath"):
        raise ValueError("flags and listeners are given with the filter, not in it")
    lib = _library()
    fallback = _action(rules["defaultAction"], rules.get("defaultErrnoRet"))
    context = lib.seccomp_init(fallback)
    if not context:
        raise ValueError(f"unknown default action {rules['defaultAction']}")
    try:
        for name in rules.get("architectures") or ():
            token = lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if not token or lib.seccomp_arch_add(context, token) not in (0, -_EEXIST, -_EDOM):
                raise ValueError(f"unknown architecture {name}")
        for rule in rules.get("syscalls") or ():
            _add(lib, context, rule, fallback)
        return _export(lib, context)
    finally:
        lib.seccomp_release(context)


def _add(lib: ctypes.CDLL, context: int, rule: dict[str, Any], fallback: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == fallback:
        return
    comparisons = [
        _Comparison(a["index"], _OPERATORS[a["op"]], a["value"], a.get("valueTwo", 0))
        for a in rule.get("args") or ()
    ]
    # Two conditions on one argument are alternatives, and so rules of their own.
    indexes = [comparison.arg for comparison in comparisons]
    alternatives = [comparisons] if len(indexes) == len(set(indexes)) else [[one] for one in comparisons]
    for name in rule["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number == _SYSCALL_UNKNOWN:
            continue  # newer than this library: the default action holds
        for conditions in alternatives:
            array = (_Comparison * len(conditions))(*conditions)
            result = lib.seccomp_rule_add_array(context, action, number, len(conditions), array)
            if result not in (0, -_EEXIST, -_EDOM):
                raise ValueError(f"rule for {name}: {os.strerror(-result)}")


def _export(lib: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        result = lib.seccomp_export_bpf(context, fd)
        if result:
            raise OSError(-result, os.strerror(-result), "seccomp_export_bpf")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _action(name: str, number: int | None) -> int:
    base = _ACTIONS[name]
    return base | ((_EPERM if number is None else number) & 0xFFFF) if name in _WITH_NUMBER else base


@cache
def _library() -> ctypes.CDLL:
    """crun itself needs this library, so it is there; its version tells which calls it knows."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_release.argtypes = [ctypes.c_void_p]
    lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    ]
    lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return lib

"""Seccomp profiles: what holds for which capabilities, and what Docker refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.api.errors import InvalidArgument
from runtime.containers import filter, seccomp
from runtime.containers.capabilities import ALL, DEFAULT

HOST = {"arch": "x86_64", "kernel": (6, 1)}


def allowed(rules: dict[str, Any]) -> set[str]:
    return {
        name
        for rule in rules["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


def test_the_default_profile_refuses_what_dockers_refuses() -> None:
    rules = seccomp.default(capabilities=DEFAULT, **HOST)
    names = allowed(rules)
    assert {"read", "execve", "fork", "ptrace", "chroot", "futex", "io_pgetevents"} - {
        "io_pgetevents"
    } <= names
    refused = {"mount", "umount2", "unshare", "setns", "keyctl", "add_key", "request_key", "bpf", "reboot"}
    assert not names & (refused | {"clone", "clone3", "kexec_load", "init_module", "perf_event_open"})
    for rule in rules["syscalls"]:
        assert rule["names"]
    clone = [rule for rule in rules["syscalls"] if "clone" in rule["names"]]
    assert clone == [
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ]


def test_sys_admin_may_mount_and_make_namespaces() -> None:
    names = allowed(seccomp.default(capabilities=[*DEFAULT, "CAP_SYS_ADMIN"], **HOST))
    assert {"mount", "umount2", "unshare", "setns", "clone", "clone3", "bpf"} <= names
    assert "keyctl" not in names


def test_every_gate_opens_with_its_capability_only() -> None:
    for name, openers in seccomp.GATED.items():
        assert name not in allowed(seccomp.default(capabilities=DEFAULT, **HOST))
        for opener in openers:
            assert name in allowed(seccomp.default(capabilities=[opener], **HOST)), (name, opener)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_architectures_are_the_machines_and_its_older_ones(arch: str) -> None:
    rules = seccomp.default(capabilities=DEFAULT, arch=arch, kernel=(6, 1))
    expected = {
        "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    }
    assert rules["architectures"] == expected[arch]
    assert ("arch_prctl" in allowed(rules)) == (arch == "x86_64")


def test_includes_and_excludes_decide() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X", "CAP_Y"]}},
            {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_X"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.11"}},
            {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["e"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["arm64"]}},
            {"name": "f", "action": "SCMP_ACT_ALLOW"},
        ],
    }

    def names(caps: list[str], arch: str, kernel: tuple[int, int]) -> str:
        return "".join(sorted(allowed(seccomp.resolve(profile, capabilities=caps, arch=arch, kernel=kernel))))

    assert names([], "x86_64", (5, 10)) == "bef"
    assert names(["CAP_X"], "x86_64", (5, 11)) == "cef"
    assert names(["CAP_X", "CAP_Y"], "aarch64", (6, 0)) == "acdf"
    assert seccomp.resolve(profile, capabilities=[], **HOST)["defaultErrnoRet"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "opening seccomp profile failed"),
        ("[]", "opening seccomp profile failed"),
        ('{"syscalls": [5]}', "is not an object"),
        ('{"syscalls": [{"names": ["a"], "action": "ALLOW"}]}', "unknown action"),
        ('{"syscalls": [{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}]}', "'name' or 'names'"),
        (
            '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"op": "?"}]}]}',
            "unknown operator",
        ),
        ('{"architectures": ["SCMP_ARCH_X86"], "archMap": []}', "use either"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        seccomp.parse(text)


def test_the_default_rules_compile_once_and_are_the_same_every_time() -> None:
    rules = seccomp.default(capabilities=DEFAULT, **HOST)
    program = filter.compile_rules(rules)
    assert len(program) % 8 == 0
    assert len(program) > 1000
    assert filter.compile_rules(rules) == program
    assert filter.compiled(rules) is filter.compiled(json.loads(json.dumps(rules)))


def test_rules_that_cannot_be_compiled_here_are_left_to_the_runtime() -> None:
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert filter.compiled({**rules, "flags": ["SECCOMP_FILTER_FLAG_LOG"]}) is None
    assert filter.compiled({**rules, "architectures": ["SCMP_ARCH_NOSUCH"]}) is None
    assert filter.compiled({**rules, "defaultAction": "SCMP_ACT_NOTIFY"}) is None
    unknown = {"names": ["nosuchcall", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}
    assert filter.compiled({**rules, "syscalls": [unknown]}) is not None


def test_privileged_rules_still_compile() -> None:
    assert filter.compile_rules(seccomp.default(capabilities=ALL, **HOST))

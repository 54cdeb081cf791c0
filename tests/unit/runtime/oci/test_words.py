"""Complaints of crun and runc in Docker's words."""

from __future__ import annotations

import pytest

from runtime.api.errors import Internal, InvalidArgument
from runtime.oci.words import CannotStart, translate

CREATE = "failed to create task for container: failed to create shim task: OCI runtime create failed: "


NOT_FOUND = "executable file `{}` not found in $PATH: No such file or directory\n"
MOUNTS = "Are you trying to mount a directory onto a file (or vice-versa)?"


def runc(cause: str) -> str:
    text = f"runc create failed: unable to start container process: {cause}".replace('"', r"\"")
    return f'time="2026-01-02T03:04:05Z" level=error msg="{text}"\n'


@pytest.mark.parametrize(
    ("message", "program", "code", "words"),
    [
        (NOT_FOUND.format("foo"), "foo", 127, 'exec: "foo": executable file not found in $PATH'),
        (NOT_FOUND.format("/foo"), "/foo", 127, 'exec: "/foo": stat /foo: no such file or directory'),
        (
            "executable file 'foo' not found: No such file",
            "foo",
            127,
            'exec: "foo": executable file not found',
        ),
        ("open executable: Permission denied", "/x", 126, 'exec: "/x": permission denied'),
        ("open executable: Operation not permitted", "/etc", 126, 'exec: "/etc": permission denied'),
        ("open executable: Operation not permitted", "", 127, 'exec: "": executable file not found in $PATH'),
        ("chdir `/root/x`: Permission denied", "sh", 126, "chdir `/root/x`: permission denied"),
        ("mount `/a` to `etc/passwd`: Not a directory", "sh", 127, MOUNTS),
        (runc('exec: "foo": executable file not found in $PATH'), "foo", 127, 'exec: "foo": executable file'),
        (
            runc('exec: "/foo": stat /foo: no such file or directory'),
            "/foo",
            127,
            'exec: "/foo": stat /foo: no',
        ),
        (runc('exec: "/etc": permission denied'), "/etc", 126, 'exec: "/etc": permission denied'),
        ('exec failed: exec: "/x": permission denied', "/x", 126, 'exec: "/x": permission denied'),
    ],
)
def test_what_cannot_start_has_dockers_words_and_exit_code(
    message: str, program: str, code: int, words: str
) -> None:
    error = translate(message, program)
    assert isinstance(error, CannotStart)
    assert error.status == 400
    assert error.exit_code == code
    assert error.message.startswith(f"{CREATE}unable to start container process: ")
    assert words in error.message
    assert error.message.count("unable to start container process") == 1


def test_exec_has_its_own_beginning() -> None:
    error = translate("executable file `foo` not found in $PATH: No such file or directory", "foo", exec=True)
    assert error.message == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'exec: "foo": executable file not found in $PATH: unknown'
    )


@pytest.mark.parametrize(
    "message",
    [
        "OOM: the memory limit could be too low: read from sync socket: Connection reset by peer",
        "error stat'ing file `/nosuch`: No such file or directory",
        "",
    ],
)
def test_everything_else_is_the_engines_failure(message: str) -> None:
    error = translate(message, "sh")
    assert isinstance(error, Internal)
    assert error.message.endswith(": unknown")


@pytest.mark.parametrize(
    "message",
    [
        "writing file `cpuset.cpus`: Numerical result out of range",
        "writing file `pids.max`: Invalid argument",
        "setrlimit `RLIMIT_NOFILE`: Operation not permitted",
        "write to /proc/sys/net/core/somaxconn: Invalid argument",
        runc("error setting rlimits for ready process: operation not permitted"),
        runc('failed to write "9": write /sys/fs/cgroup/pids/x/pids.max: invalid argument'),
    ],
)
def test_a_value_the_kernel_refuses_is_the_clients_mistake(message: str) -> None:
    error = translate(message, "sh")
    assert type(error) is InvalidArgument
    assert error.message.endswith(": unknown")


def test_runcs_warnings_are_not_taken_for_the_cause() -> None:
    text = 'time="x" level=warning msg="unable to get oom kill count"\n' + runc("the cause")
    assert translate(text, "sh").message == f"{CREATE}unable to start container process: the cause: unknown"

"""What crun and runc complain about, in the words and exit codes Docker's clients look for; pure.

The `docker` command reads these texts to choose its own exit code, so they are part of the API.

Spec: OCI runtime 1.1, Lifecycle; Docker API 1.47 ContainerStart (400 and 500).
"""

from __future__ import annotations

import re

from runtime.api.errors import EngineError, Internal, InvalidArgument

EXIT_NOT_FOUND = 127
EXIT_NOT_STARTABLE = 126
EXIT_FAILED = 128

_CREATE = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_EXEC = "OCI runtime exec failed: exec failed: "
_MOUNT_HINT = (
    "Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)
_RUNC_FIELD = re.compile(r'(?:^|\s)level=(?P<level>\w+) msg="(?P<text>(?:[^"\\]|\\.)*)"')
_RUNC_CALL = re.compile(r"^(?:runc (?:create|exec|run|start) failed|exec failed): ")
_CRUN_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z: ")
# A value the kernel does not take: of a limit, in a control group's file or by setrlimit, or of a sysctl.
_REFUSED_VALUE = re.compile(
    r"writ(?:e|ing)\b.*: (?:invalid argument|numerical result out of range)"
    r"|rlimit.*: operation not permitted",
    re.IGNORECASE | re.DOTALL,
)
_CRUN_NOT_FOUND = re.compile(r"executable file [`'](?P<file>.*)[`'] not found")


class CannotStart(InvalidArgument):
    """The program could not be started: Docker's words, status 400; the container's exit code is `exit_code`.

    127: not found in the image, or a mount that does not fit; 126: found but not startable.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def translate(message: str, program: str, *, exec: bool = False) -> EngineError:
    """A runtime's complaint about create, start or exec of `program` as the error to raise.

    CannotStart for what is wrong with program or mounts, InvalidArgument for a value the kernel refuses,
    Internal for everything else.
    """
    cause = _cause(message)
    low = cause.lower()
    prefix = (_EXEC if exec else _CREATE) + "unable to start container process: "
    if (missing := _CRUN_NOT_FOUND.search(cause)) or "executable file not found" in low:
        name = program or (missing["file"] if missing else "")
        what = (
            f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
        )
        return CannotStart(f'{prefix}exec: "{name}": {what}: unknown', EXIT_NOT_FOUND)
    if low.startswith("open executable: "):
        # crun: also for a directory (EPERM) and for an empty name, which runc calls not found.
        if not program:
            return CannotStart(
                f'{prefix}exec: "": executable file not found in $PATH: unknown', EXIT_NOT_FOUND
            )
        return CannotStart(f'{prefix}exec: "{program}": permission denied: unknown', EXIT_NOT_STARTABLE)
    text = f"{prefix}{cause}: unknown"
    if "not a directory" in low and "chdir" not in low:
        return CannotStart(f"{text}: {_MOUNT_HINT}", EXIT_NOT_FOUND)
    if program and program in cause and "no such file or directory" in low:
        return CannotStart(text, EXIT_NOT_FOUND)
    if "permission denied" in low or "is a directory" in low:
        return CannotStart(text, EXIT_NOT_STARTABLE)
    if not exec and _REFUSED_VALUE.search(cause):
        return InvalidArgument(text)
    return Internal(text)


def _cause(message: str) -> str:
    """The sentence that matters: runc's last error without its logging, crun's without its time stamp."""
    message = message.strip()
    fields = [field for field in _RUNC_FIELD.finditer(message) if field["level"] in ("error", "fatal")]
    if fields:
        text = re.sub(r"\\(.)", r"\1", fields[-1]["text"])
    else:
        lines = [_CRUN_STAMP.sub("", line) for line in message.splitlines() if line.strip()]
        text = _lower_first_errno("; ".join(lines))
    text = _RUNC_CALL.sub("", text).removeprefix("unable to start container process: ")
    return text or "the runtime gave no reason"


def _lower_first_errno(text: str) -> str:
    """crun ends with strerror's capital letters, Go (and so Docker's clients) with small ones."""
    head, colon, errno = text.rpartition(": ")
    return f"{head}{colon}{errno[:1].lower()}{errno[1:]}" if colon else text

"""Copies files out of and into a container's file system, from a process locked into it.

Run as a process of its own for one job: it enters the container's root (and user namespace, when it has one),
so that the container's links, however they change meanwhile, lead nowhere else, and ids are the container's.
The job comes as an argument, archives go over standard input and output, and a pipe takes one line of JSON
before the data: `{"stat": {...}}` or `{"error": kind, "message": text}`, and another error when one follows.

Opens neither devices nor fifos.

Spec: Docker API 1.47, ContainerArchiveInfo, ContainerArchive, PutContainerArchive, ContainerExport.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, BinaryIO

from runtime.containers.tarbox.entrance import enter
from runtime.containers.tarbox.inward import put
from runtime.containers.tarbox.looks import describe, list_directory
from runtime.containers.tarbox.outward import Archive, get
from runtime.containers.tarbox.report import Refused, tell
from runtime.images.compression import CompressionError
from runtime.images.paths import UnpackError
from runtime.images.tarfields import TarError

RECURSION_MAX = 10_000  # deeper than any path of 4095 bytes
_ERRORS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EROFS: "forbidden",
    errno.EEXIST: "invalid",
    errno.ELOOP: "invalid",
    errno.ENAMETOOLONG: "invalid",
}


def main(job: dict[str, Any], report: BinaryIO) -> int:
    """Do one job; the exit code is 0 when it was done."""
    os.umask(0)
    sys.setrecursionlimit(RECURSION_MAX)
    try:
        enter(job)
        match job["work"]:
            case "stat":
                tell(report, {"stat": describe(job["path"])})
            case "list":
                list_directory(job["path"], job["entries_max"], report)
            case "get":
                get(job["path"], report, own=job.get("own", False))
            case "export":
                tell(report, {"stat": {}})
                archive = Archive(sys.stdout.buffer)
                archive.children(b"", b"")
                archive.end()
            case "put":
                tell(report, {"stat": {}})
                put(job)
    except Refused as error:
        tell(report, {"error": error.kind, "message": str(error)})
    except (UnpackError, TarError, CompressionError) as error:
        tell(report, {"error": "invalid", "message": str(error)})
    except BrokenPipeError:
        return 1  # nobody wants the rest
    except OSError as error:
        kind = _ERRORS.get(error.errno or 0, "internal")
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        tell(report, {"error": kind, "message": f"{name}{error.strerror}"})
    else:
        return 0
    return 1

"""The process that unpacks and packs layers: a fork server that the engine keeps while there is work.

It imports everything once and forks a child per layer, which costs 2 ms instead of 30. A child gets the
blob, the directory to fill and a socket; it locks itself into the directory and reports. A child of its own,
without any rights, reads the blob while the engine still writes it, and decompresses. Both end when the
engine's end of the socket closes.
Owns the protocol's other half (``workers.py`` has this one's counterpart) and nothing on disk.

Messages, one packet each: engine to child ``<Q?`` (bytes of the blob that can be read, whether these are
all); child to engine JSON: ``{"read": bytes}`` now and then, ``{"implied": [paths]}``, and at last
``{"done": {...}}`` or ``{"failed": kind, "message": text, "errno": number}``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from runtime.images.check import compare
from runtime.images.compression import CompressionError, decompressed
from runtime.images.pack import pack
from runtime.images.paths import UnpackError
from runtime.images.tarfields import TarError
from runtime.images.unpack import Limits, Unpacked, unpack

READ_BYTES = 1 << 18  # of the blob at once
PACK_BYTES = 1 << 20  # written at once
PIPE_BYTES = 1 << 20  # decompressed and not yet unpacked
NOBODY = 65534
NOTE_S = 0.1  # between two progress notes
PACKET_BYTES = 32 << 10  # of one message with paths
RECURSION_MAX = 10_000  # deeper than any path of 4095 bytes

GROWTH = struct.Struct("<Q?")

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
_libc = ctypes.CDLL(None, use_errno=True)


def main(control_descriptor: int) -> None:
    """Serve jobs from the control socket until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for the engine
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    os.umask(0)
    sys.setrecursionlimit(RECURSION_MAX)
    gc.freeze()
    control = socket.socket(fileno=control_descriptor)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, 3)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _child(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _child(job: dict[str, Any], job_descriptor: int, blob: int, directory: int) -> None:
    gc.disable()
    report = socket.socket(fileno=job_descriptor)
    try:
        os.fchdir(directory)
        os.close(directory)
        os.chroot(".")
        message = _WORK[job["work"]](job, report, blob)
    except BaseException as error:
        message = _failure(error)
    try:
        report.send(json.dumps(message).encode())
    finally:
        os._exit(0)


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, _Told):
        return error.message
    if isinstance(error, (UnpackError, TarError, CompressionError)):
        return {"failed": "layer", "message": str(error), "errno": 0}
    if isinstance(error, MemoryError):
        return {"failed": "disk", "message": os.strerror(errno.ENOMEM), "errno": errno.ENOMEM}
    if isinstance(error, OSError):
        number = error.errno or errno.EIO
        return {"failed": "disk", "message": error.strerror or str(error), "errno": number}
    # A mistake of ours: the engine must hear of it, as this process has nowhere to write a trace.
    return {"failed": "bug", "message": f"{type(error).__name__}: {error}", "errno": 0}


def _unpack(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    limits = Limits(**job["limits"])
    archive = _Archive(report, blob, limits.bytes_max)
    unpacked = unpack(archive.pieces(), limits, job["opaque"])
    _send_implied(report, unpacked)
    return {
        "done": {
            "diff_id": archive.diff_id,
            "tar_bytes": archive.tar_bytes,
            "size_bytes": unpacked.size_bytes,
            "entries": unpacked.entries,
        }
    }


def _compare(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    """Only a look: how the directory differs from the blob."""
    archive = _Archive(report, blob, job["limits"]["bytes_max"])
    return {"done": {"differences": compare(archive.pieces())}}


def _pack(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    """The other way round: the directory becomes a layer in the blob's file."""

    with open(blob, "wb", buffering=PACK_BYTES) as file:

        def write(data: bytes) -> None:
            try:
                if not report.recv(1, socket.MSG_DONTWAIT):
                    os._exit(0)
            except BlockingIOError:
                pass  # the engine is still there
            file.write(data)

        pack(write, job["opaque"])
    return {"done": {}}


_WORK = {"unpack": _unpack, "pack": _pack, "compare": _compare}


class _Told(Exception):
    """Something failed in the process that decompresses; it has said what."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__(message["message"])
        self.message = message


class _Archive:
    """The decompressed blob, from a process of its own that has no rights and no files.

    Decompressors are the one place where foreign bytes meet code in C. Two processes also share the work as
    well as two threads of one interpreter would, which hinder each other where there are many small files.
    """

    diff_id: str  # known after the last piece
    tar_bytes: int

    def __init__(self, report: socket.socket, blob: int, bytes_max: int) -> None:
        self._data, data = os.pipe()
        self._words, words = os.pipe()
        fcntl.fcntl(data, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        parent = os.getpid()
        if os.fork() == 0:
            os.close(self._data)
            os.close(self._words)
            try:
                _give_up_rights(parent)
                with open(words, "wb", buffering=0) as said:
                    said.write(json.dumps(_decompress(report, blob, data, bytes_max)).encode())
            finally:
                # Whoever reads may have found fault with the archive and ended: that is its to report.
                os._exit(0)
        os.close(data)
        os.close(words)

    def pieces(self) -> Iterator[bytes]:
        """Raises: _Told."""
        while piece := os.read(self._data, PIPE_BYTES):
            yield piece
        with open(self._words, "rb") as words:
            said = words.read()
        if not said:
            raise UnpackError("the blob cannot be decompressed: the process that tried has died")
        message = json.loads(said)
        if "failed" in message:
            raise _Told(message)
        self.diff_id, self.tar_bytes = message["diff_id"], message["tar_bytes"]


def _decompress(report: socket.socket, blob: int, data: int, bytes_max: int) -> dict[str, Any]:
    hasher = hashlib.sha256()
    total = 0
    try:
        for piece in decompressed(_blob(report, blob)):
            hasher.update(piece)
            total += len(piece)
            if total > bytes_max:
                raise UnpackError(f"the layer unpacks to more than {bytes_max} bytes")
            view = memoryview(piece)
            while len(view):
                view = view[os.write(data, view) :]
    except BaseException as error:
        return _failure(error)
    return {"diff_id": f"sha256:{hasher.hexdigest()}", "tar_bytes": total}


def _give_up_rights(parent: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Kernel: changing the user takes this back, so it comes last.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _blob(report: socket.socket, blob: int) -> Iterator[bytes]:
    """The blob, as far as it is there; waits for more."""
    at = available = 0
    complete = False
    noted_at = time.monotonic()
    while True:
        flags = 0 if at >= available and not complete else socket.MSG_DONTWAIT
        try:
            message = report.recv(GROWTH.size, flags)
            if not message:
                os._exit(0)  # the engine has closed its end
            available, complete = GROWTH.unpack(message)
            continue  # only the newest of several counts
        except BlockingIOError:
            pass
        if at >= available:
            return
        data = os.pread(blob, min(READ_BYTES, available - at), at)
        if not data:
            raise OSError(errno.EIO, "the blob is shorter than it was said to be")
        at += len(data)
        yield data
        now = time.monotonic()
        if now - noted_at >= NOTE_S:
            noted_at = now
            report.send(json.dumps({"read": at}).encode())


def _send_implied(report: socket.socket, unpacked: Unpacked) -> None:
    batch: list[str] = []
    size = 0
    for path in unpacked.implied:
        batch.append(path)
        size += len(path) * 6 + 4  # escaped at worst
        if size > PACKET_BYTES:
            report.send(json.dumps({"implied": batch}).encode())
            batch, size = [], 0
    if batch:
        report.send(json.dumps({"implied": batch}).encode())

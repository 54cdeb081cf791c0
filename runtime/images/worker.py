"""The process that unpacks and packs layers: a fork server that the engine keeps while there is work.

It imports everything once and forks a child per layer, which costs 2 ms instead of 30. A child gets the
blob, the directory to fill and a socket; it locks itself into the directory, reads the blob while the
engine still writes it, and reports. It ends when the engine's end of the socket closes.
Owns the protocol's other half (``workers.py`` has this one's counterpart) and nothing on disk.

Messages, one packet each: engine to child ``<Q?`` (bytes of the blob that can be read, whether these are
all); child to engine JSON: ``{"read": bytes}`` now and then, ``{"implied": [paths]}``, and at last
``{"done": {...}}`` or ``{"failed": kind, "message": text, "errno": number}``.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
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
QUEUE_PIECES = 4  # decompressed pieces between the two threads
NOTE_S = 0.1  # between two progress notes
PACKET_BYTES = 32 << 10  # of one message with paths
RECURSION_MAX = 10_000  # deeper than any path of 4095 bytes

GROWTH = struct.Struct("<Q?")


class _Abandoned(Exception):
    """The engine has closed its end."""


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
    except (UnpackError, TarError, CompressionError) as error:
        message = {"failed": "layer", "message": str(error), "errno": 0}
    except OSError as error:
        message = {
            "failed": "disk",
            "message": error.strerror or str(error),
            "errno": error.errno or errno.EIO,
        }
    except _Abandoned:
        os._exit(0)
    except MemoryError:
        message = {"failed": "disk", "message": os.strerror(errno.ENOMEM), "errno": errno.ENOMEM}
    except BaseException as error:
        # A mistake of ours: the engine must hear of it, as this process has nowhere to write a trace.
        message = {"failed": "bug", "message": f"{type(error).__name__}: {error}", "errno": 0}
    try:
        report.send(json.dumps(message).encode())
    finally:
        os._exit(0)


def _unpack(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    hasher = hashlib.sha256()
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(QUEUE_PIECES)
    limits = Limits(**job["limits"])
    total = 0

    def produce() -> None:
        nonlocal total
        try:
            for piece in decompressed(_blob(report, blob)):
                hasher.update(piece)
                total += len(piece)
                if total > limits.bytes_max:
                    raise UnpackError(f"the layer unpacks to more than {limits.bytes_max} bytes")
                pieces.put(piece)
        except _Abandoned:
            os._exit(0)
        except BaseException as error:
            pieces.put(error)
        else:
            pieces.put(None)

    def consume() -> Iterator[bytes]:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    threading.Thread(target=produce, daemon=True).start()
    unpacked = unpack(consume(), limits, job["opaque"])
    _send_implied(report, unpacked)
    return {
        "done": {
            "diff_id": f"sha256:{hasher.hexdigest()}",
            "tar_bytes": total,
            "size_bytes": unpacked.size_bytes,
            "entries": unpacked.entries,
        }
    }


def _pack(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    """The other way round: the directory becomes a layer in the blob's file."""

    with open(blob, "wb", buffering=PACK_BYTES) as file:

        def write(data: bytes) -> None:
            try:
                if not report.recv(1, socket.MSG_DONTWAIT):
                    raise _Abandoned
            except BlockingIOError:
                pass  # the engine is still there
            file.write(data)

        pack(write, job["opaque"])
    return {"done": {}}


def _compare(job: dict[str, Any], report: socket.socket, blob: int) -> dict[str, Any]:
    """Only a look: how the directory differs from the blob."""
    return {"done": {"differences": compare(decompressed(_blob(report, blob)))}}


_WORK = {"unpack": _unpack, "pack": _pack, "compare": _compare}


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
                raise _Abandoned
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

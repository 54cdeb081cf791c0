"""A socket left in a conmon's keeping: it outlives the engine, with what was sent on it and not yet read.

A descriptor that is on its way through a unix socket is as good as open. conmon holds one end of its start
pipe, here a socket, for as long as it lives and reads from it no more once it has begun: what is sent there
stays. A later engine takes a copy of that end, and looks at what lies there without taking it away.

Kernel: unix(7), SCM_RIGHTS and MSG_PEEK; pidfd_getfd(2) (5.6), which asks for the rights of ptrace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from pathlib import Path

VARIABLE = "_OCI_STARTPIPE"
_SYS_PIDFD_GETFD = 438
_ONE = struct.Struct("i")

_libc = ctypes.CDLL(None, use_errno=True)


def leave(pipe: int, fd: int) -> None:
    """Leave a descriptor with the conmon at the other end of this socket, which has read its last word."""
    with socket.socket(fileno=os.dup(pipe)) as way, contextlib.suppress(OSError):
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _ONE.pack(fd))
        way.sendmsg([b"\0"], [rights], socket.MSG_DONTWAIT)


def fetch(conmon_pid: int) -> socket.socket | None:
    """The socket that was left with this conmon; None when there is none or this kernel does not give it."""
    try:
        words = Path(f"/proc/{conmon_pid}/environ").read_bytes().split(b"\0")
        number = next(int(word.split(b"=")[1]) for word in words if word.startswith(VARIABLE.encode() + b"="))
        with socket.socket(fileno=copy(conmon_pid, number)) as way:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            _data, rights, _flags, _address = way.recvmsg(16, socket.CMSG_SPACE(_ONE.size), flags)
        found = socket.socket(fileno=_ONE.unpack(rights[0][2])[0])
    except (OSError, ValueError, StopIteration, IndexError, struct.error):
        return None
    found.setblocking(False)
    return found


def copy(pid: int, number: int) -> int:
    """Raises: OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(number), ctypes.c_uint(0)
        )
    finally:
        os.close(pidfd)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd

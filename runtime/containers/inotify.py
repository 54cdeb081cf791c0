"""Changes in directories, told by the kernel: one inotify descriptor for the whole engine.

The standard library has no inotify, so its three calls are made through ctypes, here only.

Kernel: inotify(7); a full queue is told as "everything may have changed".
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
_Q_OVERFLOW = 0x00004000
_IGNORED = 0x00008000
_ONLYDIR = 0x01000000

READ_BYTES = 64 << 10

_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Calls back when something in a watched directory is written, made or moved in.

    A directory may be watched several times; the kernel's watch ends with the last one.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._watches: dict[int, list[Callable[[], None]]] = {}
        self._numbers: dict[Path, int] = {}

    def watch(self, directory: Path, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change, several close ones at once; gives the way to stop that.

        Raises: OSError when the directory is not there or the kernel's limit is reached.
        """
        if self._fd < 0:
            self._open()
        number = self._numbers.get(directory)
        if number is None:
            mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE | _ONLYDIR
            number = _check(_libc.inotify_add_watch(self._fd, os.fsencode(directory), mask))
            self._numbers[directory] = number
            self._watches[number] = []
        self._watches[number].append(changed)

        def stop() -> None:
            callbacks = self._watches.get(number)
            if callbacks is None or changed not in callbacks:
                return
            callbacks.remove(changed)
            if not callbacks:
                self._watches.pop(number, None)
                self._numbers.pop(directory, None)
                if self._fd >= 0:
                    _libc.inotify_rm_watch(self._fd, number)

        return stop

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._watches.clear()
        self._numbers.clear()

    def _open(self) -> None:
        self._fd = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        told: set[int] = set()
        at = 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size + length
            if mask & _Q_OVERFLOW:
                told.update(self._watches)
            elif mask & _IGNORED:
                self._forget(number)  # the directory was removed
            else:
                told.add(number)
        for number in told:
            for changed in tuple(self._watches.get(number, ())):
                changed()

    def _forget(self, number: int) -> None:
        for changed in self._watches.pop(number, ()):
            changed()
        for directory, known in tuple(self._numbers.items()):
            if known == number:
                del self._numbers[directory]


def _check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result

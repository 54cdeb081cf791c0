"""The web process's memory: given back when it is free, and looked through less often."""

from __future__ import annotations

import contextlib
import ctypes
import gc

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BYTES = 128 << 10


def settle() -> None:
    """Call once, when everything is loaded.

    glibc raises its bound of what it maps apart with the first large buffer that is freed; from then on the
    buffers of floods lie in the heap, between what stays, and never go back. A set bound keeps them apart.
    What start-up made stays for good, so that the collector need not walk through it: that takes longer than
    the echo of a key.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    gc.collect()
    gc.freeze()

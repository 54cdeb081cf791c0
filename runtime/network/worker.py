"""A thread of its own for blocking calls to the kernel, one after the other.

What was begun is finished: cancelling the caller never leaves a call running unattended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Worker:
    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[[], Result]) -> Result:
        """The call's result, or what it raised.

        Cancelling waits for the call's end before it passes on, so that the caller may undo it at once.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                result = await asyncio.shield(future)
                break
            except asyncio.CancelledError as error:
                if future.cancelled():
                    raise
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return result

    def submit(self, call: Callable[[], object]) -> None:
        """Have it done after everything before it; the call itself handles its errors."""
        self._executor.submit(call)

    async def idle(self) -> None:
        """Wait until everything submitted so far is done."""
        await self.run(lambda: None)

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._executor.shutdown(wait=True)

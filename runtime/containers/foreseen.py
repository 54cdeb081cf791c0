"""The conmons of exec sessions that were made and will most likely be started at once.

A client that makes a session starts it in its next request. conmon is loaded meanwhile and waits; one that
nobody asks for is let go after a moment. Never runs a program: what conmon is to run is written at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from runtime.containers.actions import Actions
from runtime.oci.birth import Birth
from runtime.oci.process import ToolError

log = logging.getLogger("webdock.containers")

FORESEEN = 8  # waiting at once; a session beyond gets its conmon when it is started
FORESEEN_S = 1.0  # for which one waits


class Foreseen:
    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._births: dict[str, Birth] = {}  # by session id
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def add(self, exec_id: str, begin: Callable[[], Birth], wanted: Callable[[], bool]) -> None:
        """Begin one as soon as what is under way, the answer to the client, is done."""
        asyncio.get_running_loop().call_soon(self._begin, exec_id, begin, wanted)

    def _begin(self, exec_id: str, begin: Callable[[], Birth], wanted: Callable[[], bool]) -> None:
        if len(self._births) >= FORESEEN or not wanted():
            return
        try:
            self._births[exec_id] = begin()
        except (ToolError, OSError) as error:
            log.debug("exec %s: no conmon beforehand: %s", exec_id[:12], error)  # the start will say so
            return
        later = asyncio.get_running_loop().call_later(FORESEEN_S, self.dismiss, exec_id)
        self._timers[exec_id] = later

    async def take(self, exec_id: str) -> Birth | None:
        """The session's conmon, if there is one; after a dismissed one has left the session's directory."""
        if (leaving := self._leaving.get(exec_id)) is not None:
            await asyncio.shield(leaving)
        return self._pop(exec_id)

    def dismiss(self, exec_id: str) -> asyncio.Task[None] | None:
        """Let the session's conmon go; a task that ends when it has left its directory, None without one."""
        if (birth := self._pop(exec_id)) is not None:
            leaving = self._actions.begin(birth.dismiss(), f"dismissal of the conmon of exec {exec_id[:12]}")
            self._leaving[exec_id] = leaving
            leaving.add_done_callback(lambda _: self._leaving.pop(exec_id, None))
        return self._leaving.get(exec_id)

    def close(self) -> None:
        """Let all of them go."""
        for exec_id in list(self._births):
            self.dismiss(exec_id)

    def _pop(self, exec_id: str) -> Birth | None:
        if (timer := self._timers.pop(exec_id, None)) is not None:
            timer.cancel()
        return self._births.pop(exec_id, None)

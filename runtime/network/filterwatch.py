"""Looking after the packet filter: our table, and our rules in other people's tables.

Somebody may flush everything, reload a firewall or start Docker at any time. The kernel tells of every
change, and a moment later, when it is quiet, what is missing is put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from runtime.network.bridge import Bridges
from runtime.network.elements import Element
from runtime.network.foreign import ForeignFilters
from runtime.network.nft import drain, notices
from runtime.network.worker import Worker

QUIET_S = 0.2  # after a change before we look; reloading a firewall is many changes

log = logging.getLogger(__name__)


class FilterWatch:
    """One instance's care for the packet filter; ``elements`` are what its table shall hold."""

    def __init__(
        self,
        kernel: Bridges,
        foreign: ForeignFilters,
        path: Worker,
        elements: Callable[[], Iterable[Element]],
    ) -> None:
        self._kernel = kernel
        self._foreign = foreign
        self._path = path
        self._elements = elements
        self._notices = notices()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._notices, self._changed)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._notices)
        self._notices.close()

    def load(self) -> None:
        """Load the whole table and our rules elsewhere; in the path thread.

        Raises: OSError.
        """
        self._kernel.load(self._elements())
        self._ensure_foreign()

    def _changed(self) -> None:
        own = {self._kernel.filter_port, self._foreign.filter_port}
        if drain(self._notices, own) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._look)

    def _look(self) -> None:
        self._timer = None
        elements = list(self._elements())

        def work() -> None:
            try:
                if not self._kernel.loaded():
                    log.warning("the packet filter's table was removed by somebody; it is loaded again")
                    self._kernel.load(elements)
                self._ensure_foreign()
            except OSError as error:
                log.error("the packet filter could not be looked after: %s", error)

        self._path.submit(work)

    def _ensure_foreign(self) -> None:
        """Our rules in other tables; without them packets may be dropped, but nothing else fails."""
        try:
            changed = self._foreign.ensure()
        except OSError as error:
            log.error("bridges could not be let through another packet filter: %s", error)
            return
        if changed:
            log.info("bridges were let through %d chains of other packet filters", changed)

"""The containers this engine knows, while it runs: records with their locks, runs and waiters.

Owns looking up by id, prefix and name, and who has which name. All calls come from the event loop's thread.
Never saves and never changes a state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from runtime.api.errors import Conflict, InvalidArgument, NotFound
from runtime.containers.names import make_up
from runtime.containers.record import Record
from runtime.containers.restart import Backoff
from runtime.containers.state import ACTIVE
from runtime.containers.streams import Attachment
from runtime.oci.conmon import ConmonHandle, ExitInfo

CANDIDATES_SHOWN = 8

WaitResult = dict[str, Any]


class Run:
    """One life of a container, from its start until its exit was seen."""

    __slots__ = ("exited", "handle", "started_ns", "stop_watching")

    def __init__(self, handle: ConmonHandle) -> None:
        self.handle = handle
        self.started_ns = 0  # just before its program began
        self.exited: asyncio.Future[ExitInfo] = asyncio.get_running_loop().create_future()
        self.stop_watching: Callable[[], None] = lambda: None


class Container:
    """One container, alive or not."""

    __slots__ = (
        "attachments",
        "backoff",
        "exec_ids",
        "health",
        "keep",
        "lock",
        "record",
        "removed",
        "removing",
        "restart_timer",
        "run",
        "stop_watching",
        "waiters",
    )

    def __init__(self, record: Record) -> None:
        self.record = record
        self.lock = (
            asyncio.Lock()
        )  # held by every verb while it changes something, never while waiting for people
        self.run: Run | None = None
        self.removing = False  # somebody is removing it; nobody else may begin
        self.removed: list[asyncio.Future[WaitResult]] = []
        self.waiters: list[asyncio.Future[WaitResult]] = []  # for its next exit
        self.attachments: set[Attachment] = set()  # waiting for its next start
        self.backoff = Backoff()
        self.restart_timer: asyncio.TimerHandle | None = None
        self.exec_ids: dict[str, None] = {}  # running sessions, oldest first
        self.health: asyncio.Task[None] | None = None
        self.stop_watching: Callable[[], object] = lambda: None  # its log's size, and the mark of lost memory
        self.keep = 0  # auto-remove is put off while this is not 0 (restart)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def active(self) -> bool:
        return self.record.state in ACTIVE

    def end_attachments(self) -> None:
        """Tell those who wait for its start that there is none to wait for."""
        while self.attachments:
            self.attachments.pop().end()

    def tell_exit(self, error: str = "") -> None:
        """Wake those who wait for an exit."""
        _tell(self.waiters, self._result(error))

    def tell_removed(self, error: str = "") -> None:
        """Wake everybody: there will be no other exit."""
        result = self._result(error)
        _tell(self.removed, result)
        if not error:
            _tell(self.waiters, result)

    def waiter(self, waiters: list[asyncio.Future[WaitResult]]) -> asyncio.Future[WaitResult]:
        """One more who waits, in one of the two lists; leaves it when he gives up."""
        future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        waiters.append(future)
        future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
        return future

    def result(self) -> WaitResult:
        return self._result("")

    def _result(self, error: str) -> WaitResult:
        return {"StatusCode": self.record.exit_code, "Error": {"Message": error} if error else None}


class Table:
    """All containers by id and name."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._names: dict[str, str] = {}  # name -> id, also of containers being made

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def get(self, id: str) -> Container | None:
        return self._by_id.get(id)

    def find(self, ref: str) -> Container:
        """By id, name or unique id prefix, in this order.

        Raises: NotFound in Docker's words; InvalidArgument naming the candidates of an ambiguous prefix.
        """
        if found := self._by_id.get(ref):
            return found
        if (id := self._names.get(ref.removeprefix("/"))) and (found := self._by_id.get(id)):
            return found
        matching = [id for id in self._by_id if id.startswith(ref)] if ref else []
        if len(matching) == 1:
            return self._by_id[matching[0]]
        if matching:
            names = [
                f"{id[:12]} ({self._by_id[id].record.name})" for id in sorted(matching)[:CANDIDATES_SHOWN]
            ]
            more = f" and {len(matching) - CANDIDATES_SHOWN} more" if len(matching) > CANDIDATES_SHOWN else ""
            raise InvalidArgument(f"multiple IDs found with provided prefix: {ref}: {', '.join(names)}{more}")
        raise NotFound(f"No such container: {ref}")

    def claim(self, name: str | None, id: str) -> str:
        """Give a name to an id; None makes one up. Raises: Conflict in Docker's words."""
        if name is None:
            name = make_up(self._names)
        if (owner := self._names.get(name)) is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._names[name] = id
        return name

    def release(self, name: str, id: str) -> None:
        """The opposite of `claim`."""
        if self._names.get(name) == id:
            del self._names[name]

    def add(self, container: Container) -> None:
        self._by_id[container.id] = container

    def remove(self, container: Container) -> None:
        self._by_id.pop(container.id, None)
        self.release(container.record.name, container.id)


def _tell(waiters: list[asyncio.Future[WaitResult]], result: WaitResult) -> None:
    for future in tuple(waiters):
        if not future.done():
            future.set_result(dict(result))
    waiters.clear()

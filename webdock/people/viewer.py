"""Who is looking: the person of the running request or socket, for whatever asks on their behalf.

Set by the middleware and the socket base only. Without one (sync, start-up, commands) nothing is hidden.
Tasks started for a person keep them, as tasks copy their context.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from webdock.people.standing import Person, Standing, standing


@dataclass
class Viewer:
    """A person whose standing was read already; a socket's guard puts a newer one in."""

    user: Person
    succeeds: str = ""  # id of the container that is being made anew: what is made is whose that one is
    claims: str = ""  # what the label of the next container says by which it is found again

    @property
    def standing(self) -> Standing:
        return standing(self.user)


_viewer: ContextVar[Viewer | None] = ContextVar("webdock_viewer", default=None)


def current() -> Viewer | None:
    """The viewer, None for work of the process itself."""
    return _viewer.get()


def look_as(viewer: Viewer | None) -> None:
    """From here on, in this context and its tasks, this is who looks."""
    _viewer.set(viewer)

"""The errors that cross the wall between engine and client.

    EngineError                 status
    ├── NotModified             304   already in the asked state
    ├── InvalidArgument         400   the request itself is wrong
    ├── Unauthorized            401   a registry or engine wants other credentials
    ├── Forbidden               403   policy or rights refuse it
    ├── NotFound                404   no such object
    ├── Conflict                409   the object's state or name stands against it
    ├── Internal                500   the engine or one of its tools failed
    ├── NotSupported            501   known, but this engine cannot do it
    └── Unavailable             503   the engine is starting, stopping or overloaded
    Only seen by clients:
    ├── EngineUnreachable       nobody answers on the socket
    └── PeerProtocolError       somebody answers, but not the Engine API

Texts are for people: lower case, no full stop, what was tried on which id, and why not. Where known
clients match words ("No such container: x"), Docker's words are used.

Spec: Docker API 1.47, ErrorResponse ``{"message": "..."}``.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything an engine answers with; ``status`` is the HTTP status it travels as."""

    status = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class NotModified(EngineError):
    status = 304


class InvalidArgument(EngineError):
    status = 400


class Unauthorized(EngineError):
    status = 401


class Forbidden(EngineError):
    status = 403


class NotFound(EngineError):
    status = 404


class Conflict(EngineError):
    status = 409


class Internal(EngineError):
    status = 500


class NotSupported(EngineError):
    status = 501


class Unavailable(EngineError):
    status = 503


class EngineUnreachable(EngineError):
    """Client side: the socket is not there, refuses us, or closed before an answer."""

    status = 503

    def __init__(self, message: str = "", *, asked: bool = True) -> None:
        super().__init__(message)
        self.asked = asked  # the request may have reached it, and been carried out


class PeerProtocolError(EngineError):
    """Client side: the answer is not what the Engine API says."""

    status = 502


_BY_STATUS: dict[int, type[EngineError]] = {
    kind.status: kind
    for kind in (
        NotModified,
        InvalidArgument,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        Internal,
        NotSupported,
        Unavailable,
    )
}


def to_status(error: EngineError) -> int:
    """The HTTP status an error travels as."""
    return error.status


def from_status(status: int, message: str) -> EngineError:
    """The error a client raises for a status; unknown ones fall to the nearest family."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = InvalidArgument if 400 <= status < 500 else Internal
    return kind(message)

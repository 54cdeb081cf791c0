"""The short way between a websocket and its consumer, without a queue, a task or a turn of the loop between.

An ASGI extension of our own server, for what a person waits for with every key; whoever does not use it gets
everything through ``receive`` and ``send``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EXTENSION = "webdock.direct"  # of the scope of a websocket


@dataclass
class Direct:
    """One websocket's; both ways keep the order with what goes the long way."""

    send: Callable[[bytes], None]  # a binary message; nothing happens once the socket is closed
    take: Callable[[bytes | str], bool] | None = None  # the consumer's; False: the message is queued instead

"""The messages of pull, push and load on a terminal (a line with a bar per layer) or in a file (a line per
change).

Spec: Docker API 1.47, ImageCreate: a stream of objects with ``status``, ``id``, ``progressDetail``,
``error``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from webdock.cli import output
from webdock.cli.errors import Failure

BAR_CHARS = 50


def show(messages: Iterable[Mapping[str, Any]], out: TextIO) -> None:
    """Draw messages until they end.

    Raises:
        Failure: when the engine reports that it failed.
    """
    board = Board(out) if out.isatty() else None
    last: dict[str, str] = {}
    for message in messages:
        if error := message.get("error") or (message.get("errorDetail") or {}).get("message"):
            raise Failure(str(error))
        if "stream" in message:
            out.write(output.one_line(message["stream"].rstrip("\n")) + "\n")
        elif board:
            board.put(message)
        elif "status" in message:
            # Without a terminal only changes of state are told, not every kilobyte.
            layer, status = str(message.get("id", "")), str(message["status"])
            if not layer or last.get(layer) != status:
                last[layer] = status
                out.write(output.one_line(f"{layer}: {status}" if layer else status) + "\n")
    out.flush()


class Board:
    """Lines that are drawn over: each layer keeps its line, everything else scrolls past above."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines: dict[str, int] = {}

    def put(self, message: Mapping[str, Any]) -> None:
        layer = str(message.get("id", ""))
        text = self._fit(layer, message)
        if not layer or "status" not in message:
            self._out.write(f"{text}\n")
            self._lines.clear()  # what follows a plain line starts a new block
        elif layer in self._lines:
            up = len(self._lines) - self._lines[layer]
            self._out.write(f"\x1b[{up}A\r\x1b[2K{text}\x1b[{up}B\r")
        else:
            self._lines[layer] = len(self._lines)
            self._out.write(f"{text}\n")
        self._out.flush()

    def _fit(self, layer: str, message: Mapping[str, Any]) -> str:
        status = output.one_line(message.get("status", ""))
        head = f"{layer}: {status}" if layer else status
        detail = message.get("progressDetail") or {}
        current, total = detail.get("current", 0), detail.get("total", 0)
        columns = shutil.get_terminal_size().columns
        if current and total:
            head += f" {bar(current, total)}  {output.size(current)}/{output.size(total)}"
        elif current:
            head += f" {output.size(current)}"
        return head[: max(20, columns - 1)]


def bar(current: int, total: int) -> str:
    """``[=====>     ]``."""
    filled = min(BAR_CHARS, BAR_CHARS * current // total)
    return "[" + "=" * max(0, filled - 1) + (">" if filled else "") + " " * (BAR_CHARS - filled) + "]"

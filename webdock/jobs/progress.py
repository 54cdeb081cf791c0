"""How far a job is: a total, the newest news of each part. Reads the engine's progress documents; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.api.errors import Internal
from webdock.engines.wording import sentence

PARTS_MAX = 256  # of one job (the image specification's own limit is 127 layers)
STATUS_MAX_CHARS = 200
DONE_STATUSES = ("Pull complete", "Download complete", "Already exists", "Pushed", "Layer already exists")


@dataclass
class Part:
    """The newest news of one layer or step."""

    id: str
    status: str = ""
    current: int = 0
    total: int = 0


@dataclass
class Progress:
    """A sentence, a total of its own (0: the sum of the parts), the parts in the order they were heard of."""

    message: str = ""
    current: int = 0
    total: int = 0
    parts: dict[str, Part] = field(default_factory=dict)

    def sums(self) -> tuple[int, int]:
        """Done and whole, in bytes or steps; (0, 0) while nothing is known."""
        if self.total:
            return min(self.current, self.total), self.total
        known = [one for one in self.parts.values() if one.total > 0]
        return sum(min(one.current, one.total) for one in known), sum(one.total for one in known)

    def part(self, id: str, status: str, current: int = 0, total: int = 0) -> None:
        """News of one part; parts beyond PARTS_MAX are not shown."""
        if id not in self.parts and len(self.parts) >= PARTS_MAX:
            return
        one = self.parts.setdefault(id, Part(id))
        one.status = status[:STATUS_MAX_CHARS]
        if total:
            one.current, one.total = current, total
        elif one.total and status.startswith(DONE_STATUSES):
            one.current = one.total

    def take(self, news: dict[str, Any]) -> None:
        """Apply one progress document of a pull, push, load or import.

        Raises: Internal when it says that the work failed.
        """
        if news.get("error") or news.get("errorDetail"):
            detail = news.get("errorDetail") or {}
            raise Internal(str(detail.get("message") or news.get("error")))
        status, id = str(news.get("status") or news.get("stream") or ""), str(news.get("id") or "")
        detail = news.get("progressDetail") or {}
        if not id or status.startswith("Pulling from "):
            self.message = sentence(status) or self.message
            return
        self.part(id, status, int(detail.get("current") or 0), int(detail.get("total") or 0))

    def as_list(self) -> list[dict[str, Any]]:
        """The parts as pages take them."""
        return [
            {"id": one.id, "status": one.status, "current": one.current, "total": one.total}
            for one in self.parts.values()
        ]

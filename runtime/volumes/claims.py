"""Who will use a volume and is not known to the containers' room yet: containers being made, file copies."""

from __future__ import annotations


class Claims:
    """Holders by the volume's name; a volume that has one is not removed."""

    def __init__(self) -> None:
        self._holders: dict[str, set[str]] = {}

    def take(self, name: str, holder: str) -> None:
        self._holders.setdefault(name, set()).add(holder)

    def give_back(self, name: str, holder: str) -> None:
        """Idempotent."""
        holders = self._holders.get(name, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(name, None)

    def release(self, holder: str) -> None:
        """Give back everything this one holds."""
        for name in list(self._holders):
            self.give_back(name, holder)

    def of(self, name: str) -> set[str]:
        return set(self._holders.get(name, ()))

"""Volumes with mount options: mounted while somebody uses them, one mount for all of their users.

Owns who uses which mount. Holds no locks: the store calls it under the volume's.
"""

from __future__ import annotations

import asyncio
import logging

from runtime.api.errors import Internal
from runtime.volumes import content
from runtime.volumes.records import Volume

log = logging.getLogger(__name__)


class Mounts:
    def __init__(self) -> None:
        self._users: dict[str, set[str]] = {}  # name -> running containers, and who copies files just now

    def used(self, volume: Volume) -> bool:
        return bool(self._users.get(volume.name))

    def adopt(self, volume: Volume, users: set[str]) -> None:
        """Take up what an engine before this one mounted, or take it away when nobody uses it. Blocks."""
        if volume.plan is None:
            return
        if users and content.is_mounted(volume.mountpoint):
            self._users[volume.name] = users
        else:
            self.unmount(volume)

    async def take(self, volume: Volume, user: str) -> None:
        """Have it mounted for this user; plain volumes need no mount.

        Raises: Internal with the mount's own reason.
        """
        if volume.plan is None:
            return
        users = self._users.setdefault(volume.name, set())
        if not users:
            try:
                await asyncio.to_thread(content.mount, volume.plan, volume.mountpoint)
            except (OSError, TimeoutError) as error:
                del self._users[volume.name]
                raise Internal(
                    f"error while mounting volume '{volume.mountpoint}': "
                    f"failed to mount local volume: {error}"
                ) from None
        users.add(user)

    async def give_back(self, volume: Volume, user: str) -> None:
        """This user is done with it; the last one takes the mount away. Idempotent."""
        if volume.plan is None:
            return
        users = self._users.get(volume.name, set())
        users.discard(user)
        if not users:
            self._users.pop(volume.name, None)
            await asyncio.to_thread(self.unmount, volume)

    def unmount(self, volume: Volume) -> None:
        """Blocks. What cannot be unmounted is logged."""
        try:
            content.unmount(volume.mountpoint)
        except OSError as error:
            log.error("volume %s cannot be unmounted: %s", volume.name, error)

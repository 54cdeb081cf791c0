"""Named volumes: directories that outlive containers, and what is mounted for them when they are used.

    <home>/volumes/<name>/record.json   what was asked for
    <home>/volumes/<name>/_data         the files; of a volume with mount options never used
    <run>/volumes/<name>                where a volume with mount options is mounted while it is used

A volume appears by one rename and disappears by one rename, so a crash leaves either of them whole; what
lies under a name with a dot is swept at start. Who uses a volume is asked of the containers' room. The only
calls of mount(2) are those of ``runtime.snapshots.mount``.

Spec: Docker API 1.47, Volume; Docker's local volume driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, Internal, InvalidArgument, NotFound
from runtime.events import EventHub
from runtime.network.filters import Filters
from runtime.volumes import content
from runtime.volumes.claims import Claims
from runtime.volumes.mounts import Mounts
from runtime.volumes.options import parse_options
from runtime.volumes.records import Volume, read, write
from runtime.volumes.requests import check_name, texts
from runtime.volumes.selection import ANONYMOUS_LABEL, listed, pruned

VOLUMES_MAX = 20_000
COPYING_WAIT_S = 3.0  # of a removal for those who look at the files just now; a page that lists them is quick

InUse = Callable[[str], list[tuple[str, bool]]]
_Names = list[str]
_Bodies = list[dict[str, Any]]

log = logging.getLogger(__name__)


class Volumes:
    """The volumes of one engine."""

    def __init__(self, root: Path, run: Path, events: EventHub, in_use: InUse) -> None:
        """``run`` is where volumes with options are mounted; ``in_use`` gives (container id, running) of
        every container that names a volume, also of stopped ones."""
        self._root = root
        self._run = run
        self._events = events
        self._in_use = in_use
        self._all: dict[str, Volume] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._claims = Claims()
        self._copying: dict[str, set[asyncio.Event]] = {}  # name -> set when that copy has ended
        self._mounts = Mounts()

    async def start(self) -> None:
        """Read the records, sweep what a crash left, unmount what no running container uses."""
        await asyncio.to_thread(self._load)

    def _load(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o711)
        for entry in sorted(self._root.iterdir()):
            if entry.name.startswith("."):
                shutil.rmtree(entry, ignore_errors=True)
                continue
            try:
                volume = read(entry, self._run)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("volume %s cannot be read: %s", entry.name, error)
                continue
            if volume.filling:
                content.clear(volume.directory / "_data")
                volume.filling = False
                write(volume)
            self._all[volume.name] = volume
        for name, volume in self._all.items():
            self._mounts.adopt(volume, {id for id, running in self._in_use(name) if running})

    async def close(self) -> None:
        """Nothing to give back: mounts stay for who uses them."""

    # -- for containers

    async def ensure(
        self,
        name: str | None,
        *,
        holder: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume of that name, made when it is missing; None makes an anonymous one (64 hex digits).

        Until ``release(holder)`` it counts as used by ``holder``, the container being made.
        Raises: InvalidArgument, Conflict (another driver), Internal.
        """
        anonymous = not name
        wanted = name or secrets.token_hex(32)
        given = dict(labels or {})
        if anonymous:
            given[ANONYMOUS_LABEL] = ""
        self._claims.take(wanted, holder)
        try:
            return await self._create(wanted, driver, dict(options or {}), given or None)
        except BaseException:
            self._claims.give_back(wanted, holder)
            raise

    def release(self, holder: str) -> None:
        """The container is known to ``in_use`` now, or was not made after all."""
        self._claims.release(holder)

    def get(self, name: str) -> Volume:
        """Raises: NotFound."""
        try:
            return self._all[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def path(self, name: str) -> Path:
        """Where its files are; of a volume with options only while it is mounted.

        Raises: NotFound.
        """
        return self.get(name).mountpoint

    async def mount(
        self,
        name: str,
        container_id: str,
        *,
        destination: str = "",
        read_only: bool = False,
        propagation: str = "",
    ) -> Path:
        """Have the volume's files in place for a container that starts; once per container and volume.

        Raises: NotFound, Internal with the mount's own reason.
        """
        async with self._lock(name):
            volume = self.get(name)
            await self._mounts.take(volume, container_id)
        attributes = {
            "container": container_id,
            "destination": destination,
            "driver": volume.driver,
            "propagation": propagation,
            "read/write": "false" if read_only else "true",
        }
        self._events.publish("volume", "mount", name, attributes)
        return volume.mountpoint

    async def unmount(self, name: str, container_id: str) -> None:
        """The container does not use it any more; the last one takes the mount away. Idempotent."""
        async with self._lock(name):
            volume = self._all.get(name)
            if volume is None:
                return
            await self._mounts.give_back(volume, container_id)
        self._events.publish("volume", "unmount", name, {"container": container_id, "driver": volume.driver})

    async def populate(self, name: str, source: Path, holder: str) -> bool:
        """Fill an empty volume with a directory of an image: owners, modes, times, links and extended
        attributes as they are there, also of the directory itself. Whether it was empty.

        A copy that a crash cut short is thrown away at the next start. On a full disk the volume is empty
        again.
        Raises: NotFound, Internal.
        """
        async with self._lock(name):
            volume = self.get(name)
            if volume.plan is not None and volume.plan.kind == "tmpfs":
                return False  # it would be gone with this very mount
            await self._mounts.take(volume, holder)
            try:
                return await content.fill(volume, source)
            finally:
                await self._mounts.give_back(volume, holder)

    # -- for whoever copies files

    @contextlib.asynccontextmanager
    async def borrowed(self, name: str) -> AsyncIterator[Path]:
        """Where its files are, kept in place for the block: it is not removed, and mounted when it has to be.

        Raises: NotFound, Conflict for a tmpfs that no running container uses, Internal with the mount's own
        reason.
        """
        self.get(name)
        holder = f"copying-files-{secrets.token_hex(4)}"
        ended = asyncio.Event()
        self._claims.take(name, holder)
        self._copying.setdefault(name, set()).add(ended)
        try:
            async with self._lock(name):
                volume = self.get(name)
                if volume.plan is not None and volume.plan.kind == "tmpfs" and not self._mounts.used(volume):
                    raise Conflict(
                        f"volume {name} is a tmpfs: it has files only while a running container uses it"
                    )
                await self._mounts.take(volume, holder)
            yield volume.mountpoint
        finally:
            try:
                async with self._lock(name):
                    if (taken := self._all.get(name)) is not None:
                        await self._mounts.give_back(taken, holder)
            finally:
                self._claims.give_back(name, holder)
                ended.set()
                self._copying[name].discard(ended)
                if not self._copying[name]:
                    del self._copying[name]

    @contextlib.asynccontextmanager
    async def filling(self, name: str, labels: Mapping[str, str] | None) -> AsyncIterator[Path]:
        """A new volume, for the block to fill: nobody sees it before the block has ended, and when the block
        fails, or the engine dies meanwhile, there was none.

        Raises: InvalidArgument, Conflict when there is one of that name, Internal.
        """
        check_name(name)
        given = texts(labels, "labels")
        async with self._lock(name):
            if name in self._all:
                raise Conflict(f"a volume with the name {name} already exists; choose a different name")
            self._check_room()
            volume = Volume.new(name, self._root / name, self._run, {}, given, None)
            with _making(name):
                beside = await asyncio.to_thread(content.prepare, volume)
            try:
                yield beside / "_data"
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, beside, ignore_errors=True)
                raise
            with _making(name):
                await asyncio.to_thread(content.appear, volume, beside)
            self._made(volume)

    # -- /volumes

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Body of POST /volumes/create in, a Volume out; an existing one of that name is the answer, too.

        Raises: InvalidArgument, NotFound (driver), Conflict, Internal.
        """
        name = body.get("Name") or ""
        labels = texts(body.get("Labels"), "labels")
        if not isinstance(name, str):
            raise InvalidArgument("invalid volume name: must be a string")
        if not name:
            labels = {**(labels or {}), ANONYMOUS_LABEL: ""}
        options = texts(body.get("DriverOpts"), "driver options")
        driver = body.get("Driver") or ""
        if body.get("ClusterVolumeSpec"):
            raise InvalidArgument("cluster volumes are not supported by this engine")
        volume = await self._create(name or secrets.token_hex(32), str(driver), options or {}, labels)
        return volume.describe()

    async def _create(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str] | None
    ) -> Volume:
        check_name(name)
        if driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        plan = parse_options(options)
        async with self._lock(name):
            found = self._all.get(name)
            if found is not None:
                if found.options != options and options:
                    raise Conflict(
                        f"a volume with the name {name} already exists with other options; choose a "
                        "different name or remove it"
                    )
                return found
            volume = Volume.new(name, self._root / name, self._run, options, labels, plan)
            self._check_room()
            with _making(name):
                await asyncio.to_thread(content.make, volume)
            self._made(volume)
            return volume

    def _check_room(self) -> None:
        if len(self._all) >= VOLUMES_MAX:
            raise Conflict(f"this engine has {VOLUMES_MAX} volumes already")

    def _made(self, volume: Volume) -> None:
        self._all[volume.name] = volume
        self._events.publish("volume", "create", volume.name, {"driver": volume.driver})

    async def list(self, filters: Filters | None = None) -> dict[str, Any]:
        """Body of GET /volumes, by name.

        Raises: InvalidArgument for an unknown filter.
        """
        shows = listed(filters, lambda name: bool(self._users(name)))
        found = [volume for volume in self._sorted() if shows(volume)]
        return {"Volumes": [volume.describe() for volume in found], "Warnings": None}

    def _sorted(self) -> Iterable[Volume]:
        return sorted(self._all.values(), key=lambda volume: volume.name)

    def _users(self, name: str) -> _Names:
        users = [id for id, _ in self._in_use(name)]
        return users + sorted(self._claims.of(name) - set(users))

    async def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """Body of GET /volumes/{name}; with ``size`` also what GET /system/df says of it.

        Raises: NotFound.
        """
        volume = self.get(name)
        return await self._with_usage(volume) if size else volume.describe()

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume and its files.

        Raises: NotFound (not with force), Conflict when a container, also a stopped one, uses it, Internal.
        """
        if name not in self._all and force:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COPYING_WAIT_S):
                for ended in tuple(self._copying.get(name, ())):
                    await ended.wait()
        async with self._lock(name):
            await self._remove(self.get(name))

    async def _remove(self, volume: Volume) -> None:
        users = self._users(volume.name)
        if users:
            raise Conflict(f"remove {volume.name}: volume is in use - [{', '.join(users)}]")
        gone = self._root / f".gone-{secrets.token_hex(8)}"
        try:
            if volume.plan is not None:
                await asyncio.to_thread(self._mounts.unmount, volume)
            await asyncio.to_thread(volume.directory.rename, gone)
        except OSError as error:
            raise Internal(f"remove {volume.name}: {error}") from error
        del self._all[volume.name]
        # From here on it is gone; files that cannot be deleted now are swept at the next start.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(shutil.rmtree, gone)
        self._events.publish("volume", "destroy", volume.name, {"driver": volume.driver})

    async def prune(self, filters: Filters | None = None) -> dict[str, Any]:
        """Delete anonymous volumes no container names; with the filter ``all=true`` named ones, too.

        Raises: InvalidArgument for an unknown filter.
        """
        takes = pruned(filters)
        deleted: _Names = []
        reclaimed = 0
        for volume in filter(takes, list(self._sorted())):
            async with self._lock(volume.name):
                if volume.name not in self._all or self._users(volume.name):
                    continue
                size = await asyncio.to_thread(content.size, volume)
                try:
                    await self._remove(volume)
                except (Conflict, Internal) as error:
                    log.warning("volume %s was not pruned: %s", volume.name, error)
                    continue
            deleted.append(volume.name)
            reclaimed += max(0, size)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    async def usage(self) -> _Bodies:
        """Volumes with UsageData, for GET /system/df; a size that is not ours to count is -1."""
        return [await self._with_usage(volume) for volume in self._sorted()]

    async def _with_usage(self, volume: Volume) -> dict[str, Any]:
        size = await asyncio.to_thread(content.size, volume)
        users = len(self._in_use(volume.name))
        return {**volume.describe(), "UsageData": {"Size": size, "RefCount": users}}

    def _lock(self, name: str) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


@contextlib.contextmanager
def _making(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Internal(f"volume {name} cannot be created: {error}") from error

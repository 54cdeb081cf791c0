"""Files of the fake engine's volumes: a dictionary of paths per volume, with the directories they imply."""

from __future__ import annotations

import io
import posixpath
import stat
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING

from runtime.api.errors import Conflict, InvalidArgument, NotFound
from tests.fakes.rooms import Body, now

if TYPE_CHECKING:
    from tests.fakes.networks import FakeVolumes

DIRECTORY = stat.S_IFDIR | 0o755
FILE = stat.S_IFREG | 0o644


class FakeVolumeFiles:
    def __init__(self, volumes: FakeVolumes) -> None:
        self._volumes = volumes
        self.files: dict[str, dict[str, bytes]] = {}  # volume -> {"/etc/motd": b"..."}

    async def _of(self, name: str) -> dict[str, bytes]:
        await self._volumes.inspect(name)
        return self.files.setdefault(name, {})

    async def _at(self, name: str, path: str) -> tuple[str, bytes | None]:
        """The clean path, and the file there; None for a directory."""
        files, path = await self._of(name), _absolute(path)
        if path in files:
            return path, files[path]
        if path == "/" or any(inner.startswith(f"{path}/") for inner in files):
            return path, None
        raise NotFound(f"Could not find the file {path} in volume {name}")

    async def stat(self, name: str, path: str) -> Body:
        path, data = await self._at(name, path)
        mode = (1 << 31) | 0o755 if data is None else 0o644
        shown = posixpath.basename(path) or "/"
        return {"name": shown, "size": len(data or b""), "mode": mode, "mtime": now(), "linkTarget": ""}

    async def list(self, name: str, path: str) -> Body:
        path, data = await self._at(name, path)
        if data is not None:
            raise InvalidArgument(f"{path} is not a directory")
        start = path.rstrip("/") + "/"
        found: dict[str, int | None] = {}
        for inner, content in (await self._of(name)).items():
            if inner.startswith(start):
                first, _, deeper = inner[len(start) :].partition("/")
                found[first] = None if deeper else len(content)
        entries = [
            {
                "name": one,
                "exact": True,
                "size": size or 0,
                "mode": DIRECTORY if size is None else FILE,
                "mtime": now(),
                "uid": 0,
                "gid": 0,
                "linkTarget": "",
            }
            for one, size in sorted(found.items())
        ]
        return {"Path": path, "Total": len(entries), "Entries": entries}

    async def get(self, name: str, path: str) -> tuple[Body, AsyncGenerator[bytes, None]]:
        described = await self.stat(name, path)
        path, data = await self._at(name, path)
        base = posixpath.basename(path)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            if data is None:
                top = tarfile.TarInfo(base or ".")
                top.type, top.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(top)
            for inner, content in (await self._of(name)).items():
                if inner == path or inner.startswith(path.rstrip("/") + "/"):
                    member = tarfile.TarInfo(posixpath.join(base, inner[len(path) :].lstrip("/")).rstrip("/"))
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield out.getvalue()

        return described, chunks()

    async def put(self, name: str, path: str, data: AsyncIterator[bytes], *, careful: bool) -> None:
        files = await self._of(name)
        path, at = await self._at(name, path)
        if at is not None:
            raise InvalidArgument("extraction point is not a directory")
        sent = b"".join([chunk async for chunk in data])
        try:
            with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
                for member in archive:
                    if (file := archive.extractfile(member)) is not None:
                        files[_absolute(f"{path}/{member.name}")] = file.read()
        except tarfile.TarError as error:
            raise InvalidArgument(f"the archive cannot be read: {error}") from None

    async def clone(self, source: str, target: str, labels: Mapping[str, str] | None) -> Body:
        files = await self._of(source)
        if target in self._volumes._all:
            raise Conflict(f"a volume with the name {target} already exists; choose a different name")
        made = await self._volumes.create({"Name": target, "Labels": dict(labels or {})})
        self.files[target] = dict(files)
        return made


def _absolute(path: str) -> str:
    return "/" + posixpath.normpath("/" + path).lstrip("/")

"""A small file of a container as text, and back with its owner and mode; directories made, things removed.

Paths are the container's: nothing here touches a file of this machine.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

from containers_app.files import run_inside
from runtime.api.client import ByteStream, EngineClient
from runtime.api.errors import Conflict, InvalidArgument, NotFound

TEXT_MAX_BYTES = 256 << 10
ARCHIVE_MAX_BYTES = TEXT_MAX_BYTES + (64 << 10)  # with heads and padding


@dataclass(frozen=True)
class SmallText:
    """One file as it was read."""

    path: str
    text: str
    mark: str  # another one when the content changed
    mode: int
    uid: int
    gid: int
    crlf: bool  # its lines end as a browser's form sends them


async def read_text(client: EngineClient, id: str, path: str) -> SmallText:
    """Raises: NotFound, InvalidArgument (no file, too long, no text), what else the engine answers."""
    return await small_text(client.container_archive(id, path), path)


async def small_text(archive: ByteStream, path: str) -> SmallText:
    """The one file of a tar. Raises: as ``read_text``."""
    await archive.open()
    data = bytearray()
    try:
        async for piece in archive:
            data += piece
            if len(data) > ARCHIVE_MAX_BYTES:
                break  # its head is there and says what it is
    finally:
        archive.close()
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
            info = tar.next()
            file = tar.extractfile(info) if info is not None and info.isreg() else None
            if info is None or file is None:
                raise InvalidArgument(_("%(path)s is not a file") % {"path": path})
            if info.size > TEXT_MAX_BYTES:
                raise InvalidArgument(
                    _("%(path)s is longer than 256 KiB; download it instead") % {"path": path}
                )
            content = file.read()
    except tarfile.TarError:
        raise InvalidArgument(_("%(path)s is not a file") % {"path": path}) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidArgument(_("%(path)s is not text; download it instead") % {"path": path})
    mark = hashlib.sha256(content).hexdigest()[:32]
    return SmallText(path, text, mark, info.mode & 0o7777, info.uid, info.gid, "\r\n" in text)


async def write_text(client: EngineClient, id: str, path: str, text: str, mark: str) -> None:
    """Put the text in the place of what was read under this mark, with the file's owner and mode.

    Raises: Conflict when the file changed since, InvalidArgument, what the engine answers.
    """
    before = await read_text(client, id, path)
    if before.mark != mark:
        raise Conflict(_("%(path)s was changed meanwhile; load it again") % {"path": path})
    plain = text.replace("\r\n", "\n")
    content = (plain.replace("\n", "\r\n") if before.crlf else plain).encode()
    if len(content) > TEXT_MAX_BYTES:
        raise InvalidArgument(_("a text is at most 256 KiB"))
    info = tarfile.TarInfo(posixpath.basename(path))
    info.size, info.mode, info.uid, info.gid = len(content), before.mode, before.uid, before.gid
    await _put(client, id, posixpath.dirname(path), info, content)


async def make_directory(client: EngineClient, id: str, parent: str, name: str) -> str:
    """An empty directory; its path. Raises: InvalidArgument, Conflict, what the engine answers."""
    name = name.strip()
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise InvalidArgument(_("name: a name without a slash"))
    path = posixpath.join(parent, name)
    try:
        await client.container_archive_stat(id, path)
    except NotFound:
        pass
    else:
        raise Conflict(_("%(path)s is there already") % {"path": path})
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    await _put(client, id, parent, info, b"")
    return path


async def remove_path(client: EngineClient, id: str, path: str) -> None:
    """A file, or a directory with everything in it. Raises: InvalidArgument, what the engine answers."""
    if path == "/":
        raise InvalidArgument(_("the root cannot be removed"))
    code, output = await run_inside(client, id, ["rm", "-rf", "--", path], errors=True)
    if code == 127:
        raise InvalidArgument(_("this container has no rm that could remove it"))
    if code:
        why = output.decode("utf-8", "replace").strip()[:500]
        raise InvalidArgument(_("%(path)s could not be removed: %(why)s") % {"path": path, "why": why})


async def _put(client: EngineClient, id: str, directory: str, info: tarfile.TarInfo, content: bytes) -> None:
    info.mtime = int(time.time())

    async def body() -> AsyncIterator[bytes]:
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield content + b"\0" * (-len(content) % 512 + 1024)

    await client.container_archive_put(id, directory or "/", body())

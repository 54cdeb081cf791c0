"""The files inside a container: list a directory, read a file, bring one in.

Lists by asking a running container's own shell, which knows every mount, and falls back to the head of an
archive. Paths are the container's: nothing here touches a file of this machine.
"""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable, InvalidArgument, NotFound
from webdock.engines.filepaths import crumbs
from webdock.engines.tarstream import file_of, tar_head, tar_tail

ENTRIES_MAX = 2000
LIST_TIMEOUT_S = 10.0
LIST_MAX_BYTES = 4 << 20  # of a listing
UPLOAD_MAX_BYTES = 256 << 20
CHUNK_BYTES = 256 << 10

# Names end with NUL and numbers come one line each: a name may hold anything but NUL and a slash.
SCRIPT = r"""
cd -- "$1" 2>/dev/null || exit 3
set -- *
[ -e "$1" ] || [ -L "$1" ] || shift
for f in .[!.]* ..?*; do
  if [ -e "$f" ] || [ -L "$f" ]; then set -- "$@" "$f"; fi
done
[ $# -gt 0 ] || exit 0
[ $# -le 2000 ] || exit 4
stat -c "%f %s %Y %u %g" -- "$@" || exit 5
for f do printf "%s\0" "$f"; done
for f do if [ -L "$f" ]; then readlink -- "$f"; fi; printf "\0"; done
"""

KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


@dataclass(frozen=True)
class Entry:
    """One name in a directory."""

    name: str  # shown; what is not UTF-8 is replaced
    path: str  # "" when its name is not UTF-8: an address cannot carry it
    kind: str  # directory, file, link, other
    size: int
    mode: str  # "drwxr-xr-x"
    mtime: datetime
    owner: str  # "0:0"
    target: str  # of a link


async def list_directory(client: EngineClient, id: str, path: str) -> list[Entry]:
    """The entries, directories first.

    Raises: NotFound, InvalidArgument (too many, or no shell to ask), what else the engine answers.
    """
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            code, output = await run_inside(client, id, ["sh", "-c", SCRIPT, "sh", path])
    except TimeoutError:
        raise EngineUnreachable(_("the container did not answer in time")) from None
    if code == 3:
        raise NotFound(_("no such directory: %(path)s") % {"path": path})
    if code == 4:
        raise InvalidArgument(_("more than %(n)d names are in %(path)s") % {"n": ENTRIES_MAX, "path": path})
    if code:
        raise InvalidArgument(_("this container has no shell that could list its files"))
    return sorted(parse_listing(output, path), key=lambda one: (one.kind != "directory", one.name.lower()))


async def run_inside(
    client: EngineClient, id: str, command: list[str], *, errors: bool = False
) -> tuple[int, bytes]:
    """Exit code and output of a command run as root, ``errors`` with what it complains; 127 when it is not
    there."""
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": errors, "Tty": False, "User": "0"}
    exec_id = await client.exec_create(id, body)
    output = bytearray()
    try:
        async with await client.exec_start(exec_id, tty=False) as stream:
            while (piece := await stream.read()) is not None:
                output += piece[1]
                if len(output) > LIST_MAX_BYTES:
                    raise InvalidArgument(_("the listing is too long"))
    except NotFound:
        return 127, b""
    answer = await client.exec_inspect(exec_id)
    while answer.get("Running"):  # Race: the stream may close a moment before the exit is noted
        await asyncio.sleep(0.02)
        answer = await client.exec_inspect(exec_id)
    code = answer.get("ExitCode")
    return (127 if code is None else int(code)), bytes(output)


def parse_listing(output: bytes, path: str) -> Iterator[Entry]:
    """The entries a run of SCRIPT printed; pure."""
    # Every entry has two NULs, one after its name and one after its target, so their number is known.
    count = output.count(b"\0") // 2
    *lines, rest = output.split(b"\n", count)
    parts = rest.split(b"\0")
    names, targets = parts[:count], parts[count : 2 * count]
    if len(lines) != count or len(targets) != count:
        raise InvalidArgument(_("the listing cannot be read"))
    for line, name, target in zip(lines, names, targets, strict=True):
        mode_text, size, mtime, user, group = line.split(b" ")
        mode = int(mode_text, 16)
        shown = name.decode("utf-8", "replace")
        exact = shown.encode() == name
        yield Entry(
            name=shown,
            path=posixpath.join(path, shown) if exact else "",
            kind=KINDS.get(stat.S_IFMT(mode), "other"),
            size=int(size),
            mode=stat.filemode(mode),
            mtime=datetime.fromtimestamp(int(mtime), UTC),
            owner=f"{user.decode()}:{group.decode()}",
            target=target.removesuffix(b"\n").decode("utf-8", "replace"),
        )


async def open_file(client: EngineClient, id: str, path: str) -> tuple[int, AsyncIterator[bytes]]:
    """Size and content of a regular file; links are followed by the engine.

    Raises: NotFound, InvalidArgument (a directory or something else), what else the engine answers.
    """
    return await file_of(client.container_archive(id, path), path)


async def bring_in(client: EngineClient, id: str, directory: str, upload: UploadedFile) -> str:
    """Put an uploaded file into a directory of the container; the path it has there.

    Raises: InvalidArgument naming the field, what the engine answers.
    """
    name = posixpath.basename((upload.name or "").replace("\\", "/"))
    if name in ("", ".", "..") or "\0" in name:
        raise InvalidArgument(_("file: it needs a name"))
    size = int(upload.size or 0)
    if size > UPLOAD_MAX_BYTES:
        raise InvalidArgument(_("file: at most 256 MiB"))

    async def body() -> AsyncIterator[bytes]:
        yield tar_head(name, size, int(datetime.now(UTC).timestamp()))
        while chunk := await sync_to_async(upload.read)(CHUNK_BYTES):
            yield chunk
        yield tar_tail(size)

    await client.container_archive_put(id, directory, body())
    return posixpath.join(directory, name)


async def directory_context(client: EngineClient, id: str, path: str) -> dict[str, Any]:
    """What the Files tab shows of a directory."""
    try:
        entries = await list_directory(client, id, path)
    except EngineError as error:
        return {"path": path, "crumbs": crumbs(path), "entries": [], "files_error": error}
    return {"path": path, "crumbs": crumbs(path), "entries": entries, "files_error": None}

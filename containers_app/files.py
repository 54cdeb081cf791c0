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
from webdock.engines.signs import written_out
from webdock.engines.tarstream import file_of, tar_head, tar_tail

PAGE_ENTRIES = 1000  # of a directory at once
LIST_TIMEOUT_S = 10.0
LIST_MAX_BYTES = 4 << 20  # of a listing
UPLOAD_MAX_BYTES = 256 << 20
CHUNK_BYTES = 256 << 10

# The number of names first, then those of one page: $2 were on earlier ones. Names end with NUL and numbers
# come one line each: a name may hold anything but NUL and a slash.
SCRIPT = r"""
cd -- "$1" 2>/dev/null || exit 3
from=$2 most=$3
set -- *
[ -e "$1" ] || [ -L "$1" ] || shift
for f in .[!.]* ..?*; do
  if [ -e "$f" ] || [ -L "$f" ]; then set -- "$@" "$f"; fi
done
echo $#
[ $# -gt "$from" ] || exit 0
shift "$from"
if [ $# -gt "$most" ]; then
  i=0 page=
  while [ $i -lt "$most" ]; do i=$((i + 1)); page="$page \"\${$i}\""; done
  eval "set -- $page"
fi
stat -c "%f %s %Y %u %g" -- "$@" || exit 5
for f do printf "%s\0" "$f"; done
for f do if [ -L "$f" ]; then readlink -- "$f"; fi; printf "\0"; done
"""

KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


@dataclass(frozen=True)
class Entry:
    """One name in a directory."""

    name: str  # shown: hidden signs, and bytes that are not UTF-8, are written out
    path: str  # "" when its name is not UTF-8: an address cannot carry it
    kind: str  # directory, file, link, other
    size: int
    mode: str  # "drwxr-xr-x"
    mtime: datetime
    owner: str  # "0:0"
    target: str  # of a link


async def list_directory(
    client: EngineClient, id: str, path: str, earlier: int = 0
) -> tuple[int, list[Entry]]:
    """How many there are, and those of one page, directories first; ``earlier`` ones are on pages before.

    Raises: NotFound, InvalidArgument (no shell to ask), what else the engine answers.
    """
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            command = ["sh", "-c", SCRIPT, "sh", path, str(earlier), str(PAGE_ENTRIES)]
            code, output = await run_inside(client, id, command)
    except TimeoutError:
        raise EngineUnreachable(_("the container did not answer in time")) from None
    if code == 3:
        raise NotFound(_("no such directory: %(path)s") % {"path": path})
    if code:
        raise InvalidArgument(_("this container has no shell that could list its files"))
    total, entries = parse_listing(output, path)
    return total, sorted(entries, key=lambda one: (one.kind != "directory", one.name.lower()))


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


def parse_listing(output: bytes, path: str) -> tuple[int, list[Entry]]:
    """What a run of SCRIPT printed: how many names there are, and the entries of the page; pure."""
    total, _line_end, rest = output.partition(b"\n")
    if not total.isdigit():
        raise InvalidArgument(_("the listing cannot be read"))
    return int(total), list(_entries(rest, path))


def _entries(output: bytes, path: str) -> Iterator[Entry]:
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
        exact = name.decode("utf-8", "surrogateescape")
        yield Entry(
            name=written_out(exact),
            path=posixpath.join(path, exact) if _utf8(exact) else "",
            kind=KINDS.get(stat.S_IFMT(mode), "other"),
            size=int(size),
            mode=stat.filemode(mode),
            mtime=datetime.fromtimestamp(int(mtime), UTC),
            owner=f"{user.decode()}:{group.decode()}",
            target=written_out(target.removesuffix(b"\n").decode("utf-8", "surrogateescape")),
        )


def _utf8(text: str) -> bool:
    return not any("\udc80" <= sign <= "\udcff" for sign in text)


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


async def directory_context(client: EngineClient, id: str, path: str, number: int = 1) -> dict[str, Any]:
    """What the Files tab shows of a directory: its page of this number."""
    shown: dict[str, Any] = {"path": path, "crumbs": crumbs(path), "entries": [], "files_error": None}
    earlier = (number - 1) * PAGE_ENTRIES
    try:
        total, entries = await list_directory(client, id, path, earlier)
    except EngineError as error:
        return shown | {"files_error": error}
    more = {"total": total, "first": earlier + 1, "last": earlier + len(entries)}
    if total > PAGE_ENTRIES:
        more |= {"before": number - 1, "after": number + 1 if more["last"] < total else 0, "paged": True}
    return shown | {"entries": entries, **more}

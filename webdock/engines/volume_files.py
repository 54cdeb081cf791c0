"""Files of a volume: read one, take a directory away as a tar, bring one in, restore, clone; audited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from posixpath import basename, dirname, join
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument
from runtime.api.streams import ByteStream
from webdock.engines.audit import Actor, actor_of, audited
from webdock.engines.clients import client as client_of
from webdock.engines.filepaths import clean_path
from webdock.engines.models import current_engine
from webdock.engines.pages import answer, page
from webdock.engines.resources import NAME, perform_on
from webdock.engines.tarstream import file_of, tar_head, tar_tail
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.people.rights import requires

UPLOAD_MAX_BYTES = 256 << 20  # of one file
RESTORE_MAX_BYTES = 1 << 30  # of a tar; larger ones go through `webdock volume import`
VIEW_MAX_BYTES = 256 << 10  # of a file shown as text
CHUNK_BYTES = 256 << 10


def _page_of(name: str, path: str = "/") -> str:
    return f"{reverse('volume-detail', args=[name])}?{urlencode({'path': path})}"


async def _opened(request: HttpRequest, name: str, path: str) -> tuple[int, AsyncGenerator[bytes, None]]:
    """A file of the volume, with its audit row. Raises: EngineError."""
    engine = await sync_to_async(current_engine)()
    async with audited(
        await actor_of(request),
        "volume.file.read",
        engine=engine.alias,
        kind="volume",
        id=name,
        name=name,
        detail=path,
    ):
        client = client_of(engine.alias)
        try:
            return await file_of(client.volume_archive(name, path), path)
        except InvalidArgument:
            # The archive of a link is the link.
            target = (await client.volume_archive_stat(name, path))["linkTarget"]
            if not target:
                raise
            return await file_of(client.volume_archive(name, target), path)


@requires("files")
@require_GET
async def volume_file_view(request: HttpRequest, name: str) -> HttpResponse:
    """The beginning of a file as text; what is no text is offered for download."""
    path = "/"
    try:
        path = clean_path(request.GET.get("path", ""))
        size, content = await _opened(request, name, path)
    except EngineError as error:
        return await answer(request, False, explain(error), _page_of(name), status=error.status)
    data = b""
    try:
        async for piece in content:
            data += piece
            if len(data) >= VIEW_MAX_BYTES:
                break
    except EngineError as error:
        return await answer(request, False, explain(error), _page_of(name), status=error.status)
    finally:
        await content.aclose()
    data = data[:VIEW_MAX_BYTES]
    context = {
        "name": name,
        "path": path,
        "directory": dirname(path),
        "file": basename(path),
        "size": size,
        "text": None if b"\0" in data else data.decode("utf-8", "replace"),
        "cut": size > len(data),
    }
    return await page(request, "volumes/file.html", context)


@requires("files")
@require_GET
async def volume_file_read(request: HttpRequest, name: str) -> HttpResponseBase:
    """Download one file."""
    path = "/"
    try:
        path = clean_path(request.GET.get("path", ""))
        size, content = await _opened(request, name, path)
    except EngineError as error:
        return await answer(
            request, False, explain(error), _page_of(name, dirname(path)), status=error.status
        )
    return _download(content, basename(path), "application/octet-stream", size)


@requires("files")
@require_GET
async def volume_archive(request: HttpRequest, name: str) -> HttpResponseBase:
    """Download a directory, or the whole volume, as a tar."""
    engine = await sync_to_async(current_engine)()
    path = "/"
    try:
        path = clean_path(request.GET.get("path", "/"))
        async with audited(
            await actor_of(request),
            "volume.download",
            engine=engine.alias,
            kind="volume",
            id=name,
            name=name,
            detail=path,
        ):
            archive = client_of(engine.alias).volume_archive(name, path)
            await archive.open()
    except EngineError as error:
        return await answer(request, False, explain(error), _page_of(name), status=error.status)
    file = f"{basename(path) or name}.tar"
    return _download(_pieces(archive), file, "application/x-tar")


async def _pieces(archive: ByteStream) -> AsyncIterator[bytes]:
    try:
        async for piece in archive:
            yield piece
    finally:
        archive.close()


def _download(
    content: AsyncIterator[bytes], name: str, kind: str, size: int | None = None
) -> StreamingHttpResponse:
    """Never shown as a page of ours."""
    headers = {
        "Content-Type": kind,
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
    }
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingHttpResponse(content, headers=headers)


@requires("files", "volumes")
@require_POST
async def volume_file_write(request: HttpRequest, name: str) -> HttpResponse:
    """Bring a file into a directory of the volume."""
    upload = request.FILES.get("file")
    back = _page_of(name)
    try:
        directory = clean_path(request.POST.get("path", "/"))
        back = _page_of(name, directory)
        file, size = _named(upload, UPLOAD_MAX_BYTES)
        assert upload is not None

        async def body() -> AsyncIterator[bytes]:
            yield tar_head(file, size, int(datetime.now(UTC).timestamp()))
            async for piece in _read(upload):
                yield piece
            yield tar_tail(size)

        detail = f"{join(directory, file)} {size} bytes"
        put = _put(await actor_of(request), "volume.file.write", name, directory, body(), detail)
        await carried_out(put, name="upload")
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    message = _("%(path)s was brought in.") % {"path": join(directory, file)}
    return await answer(request, True, message, back)


@requires("files", "volumes")
@require_POST
async def volume_restore(request: HttpRequest, name: str) -> HttpResponse:
    """Unpack a tar into the volume; what is there and not in the tar stays."""
    upload = request.FILES.get("file")
    back = _page_of(name)
    try:
        file, size = _named(upload, RESTORE_MAX_BYTES)
        assert upload is not None
        detail = f"{file} {size} bytes"
        put = _put(await actor_of(request), "volume.restore", name, "/", _read(upload), detail)
        await carried_out(put, name="restore")
    except EngineError as error:
        return await answer(request, False, explain(error), back, status=error.status)
    return await answer(request, True, _("%(file)s was unpacked into it.") % {"file": file}, back)


def _named(upload: UploadedFile | None, most_bytes: int) -> tuple[str, int]:
    """Name and size of an upload. Raises: InvalidArgument naming the field."""
    if upload is None:
        raise InvalidArgument(_("file: choose one"))
    file = basename((upload.name or "").replace("\\", "/"))
    if file in ("", ".", "..") or "\0" in file:
        raise InvalidArgument(_("file: it needs a name"))
    if (upload.size or 0) > most_bytes:
        raise InvalidArgument(_("file: at most %(n)d MiB") % {"n": most_bytes >> 20})
    return file, int(upload.size or 0)


async def _read(upload: UploadedFile) -> AsyncIterator[bytes]:
    while chunk := await sync_to_async(upload.read)(CHUNK_BYTES):
        yield chunk


async def _put(
    actor: Actor, action: str, name: str, path: str, data: AsyncIterator[bytes], detail: str
) -> None:
    engine = await sync_to_async(current_engine)()
    async with audited(actor, action, engine=engine.alias, kind="volume", id=name, name=name, detail=detail):
        client = client_of(engine.alias)
        await client.volume_archive_put(name, path, data, no_overwrite_dir_non_dir=True)


@requires("files", "volumes")
@require_POST
async def volume_clone(request: HttpRequest, name: str) -> HttpResponse:
    """A new volume with the same files."""
    copy = request.POST.get("name", "").strip()
    if NAME.fullmatch(copy) is None:
        message = _("name: letters, digits, _ . and -, the first one a letter or digit")
        return await answer(request, False, message, _page_of(name), status=400)

    async def ask(client: EngineClient) -> str:
        await client.volume_clone(name, {"Name": copy})
        return _("The volume %(name)s has the same files now.") % {"name": copy}

    return await perform_on(request, "volume.clone", "volume", name, ask, detail=copy)

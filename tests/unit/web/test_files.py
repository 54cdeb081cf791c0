"""Files inside containers: list, read, bring in; tars cut at every byte; bodies that are too long."""

from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from containers_app.files import SCRIPT, Entry, bring_in, parse_listing
from containers_app.small_texts import TEXT_MAX_BYTES, read_text, write_text
from runtime.api.client import EngineClient
from runtime.api.errors import InvalidArgument
from tests.unit.web.conftest import make_container
from webdock.engines.filepaths import clean_path, crumbs
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.engines.tarstream import FileOfTar, NotAFile, tar_head, tar_tail
from webdock.web import BODY_MAX_BYTES, body_limit

CONTENT = "grüße\n".encode() * 300


def tar_of(name: str, content: bytes, form: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.type = len(content), kind
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["file", "n" * 95, "long/" * 30 + "ü"])
def test_a_file_comes_out_of_every_kind_of_tar(form: int, name: str) -> None:
    if form == tarfile.USTAR_FORMAT and len(name) > 99:
        name = "n" * 99
    file = FileOfTar()
    assert file.feed(tar_of(name, CONTENT, form)) == CONTENT
    assert (file.size, file.complete) == (len(CONTENT), True)


def test_a_tar_cut_at_every_byte_gives_the_same_file() -> None:
    data = tar_of("long/" * 30, b"content", tarfile.GNU_FORMAT)
    for cut in range(len(data)):
        file = FileOfTar()
        assert file.feed(data[:cut]) + file.feed(data[cut:]) == b"content"


@given(st.binary(max_size=2000))
def test_a_broken_tar_never_fails_otherwise(data: bytes) -> None:
    try:
        FileOfTar().feed(data)
    except NotAFile:
        pass


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_what_has_no_content_is_no_file(kind: bytes) -> None:
    with pytest.raises(NotAFile):
        FileOfTar().feed(tar_of("x", b"", tarfile.PAX_FORMAT, kind))


@pytest.mark.parametrize("name", ["a", "ü" * 100, "new\nline"])
@pytest.mark.parametrize("size", [0, 1, 512, 513])
def test_what_we_send_is_a_tar(name: str, size: int) -> None:
    data = tar_head(name, size, 1) + b"x" * size + tar_tail(size)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive.getmembers()
        taken = archive.extractfile(member)
        assert taken is not None
        assert (member.name, taken.read()) == (name, b"x" * size)


def test_paths_are_absolute_and_normal() -> None:
    assert clean_path("etc/../../../x//y/") == "/x/y"
    assert clean_path("//a") == "/a"
    assert clean_path("") == "/"
    for bad in ("\0", "x" * 5000):
        with pytest.raises(InvalidArgument):
            clean_path(bad)
    assert crumbs("/etc/ssl") == [("/", "/"), ("etc", "/etc"), ("ssl", "/etc/ssl")]


@pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"]])
def test_the_listing_tells_every_kind_of_name(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "directory").mkdir()
    for name in ("plain", ".hidden", "..odd", "two words", "new\nline", "-rf", "41ed 1 1 0 0\nx", "*"):
        (tmp_path / name).write_text("12345")
    (tmp_path / "link").symlink_to("nowhere\nat all")
    (tmp_path / b"\xff".decode("utf-8", "surrogateescape")).write_text("")
    total, entries = listed(shell, tmp_path, 0, 100)
    found = {entry.name: entry for entry in entries}
    assert total == len(found)
    assert set(found) == {
        "directory", "plain", ".hidden", "..odd", "two words", "new␊line", "-rf", "41ed 1 1 0 0␊x", "*",
        "link", "⟨FF⟩",
    }  # fmt: skip
    assert (found["plain"].size, found["plain"].kind, found["plain"].path) == (5, "file", "/here/plain")
    assert found["new␊line"].path == "/here/new\nline"
    assert found["directory"].mode == "drwxr-xr-x"
    assert (found["link"].kind, found["link"].target) == ("link", "nowhere␊at all")
    assert found["⟨FF⟩"].path == ""


def listed(shell: list[str], path: Path, earlier: int, most: int) -> tuple[int, list[Entry]]:
    command = [*shell, "-c", SCRIPT, "sh", str(path), str(earlier), str(most)]
    return parse_listing(subprocess.run(command, capture_output=True, check=True).stdout, "/here")


@pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"]])
def test_a_long_directory_is_listed_in_pages(tmp_path: Path, shell: list[str]) -> None:
    names = [f"file {number:03}" for number in range(25)]
    for name in names:
        (tmp_path / name).touch()
    seen = []
    for earlier in (0, 10, 20):
        total, entries = listed(shell, tmp_path, earlier, 10)
        assert total == 25
        seen += [entry.name for entry in entries]
    assert seen == names
    assert listed(shell, tmp_path, 30, 10) == (25, [])


@pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"]])
def test_the_listing_of_nothing_and_of_no_directory(tmp_path: Path, shell: list[str]) -> None:
    assert listed(shell, tmp_path, 0, 10) == (0, [])
    with pytest.raises(subprocess.CalledProcessError) as gone:
        listed(shell, tmp_path / "x", 0, 10)
    assert gone.value.returncode == 3
    with pytest.raises(InvalidArgument):
        parse_listing(b"not\0a\0listing", "/")


async def test_the_files_tab_lists_reads_and_brings_in(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, tmp_path: Path
) -> None:
    id = await make_container(api, "web")
    (tmp_path / "shown").write_text("x")
    page = await as_operator.get(f"/containers/{id}/files/", {"path": str(tmp_path)})
    assert [entry.name for entry in page.context["entries"]] == ["shown"]
    assert b"shown" in page.content
    upload = {"path": "/srv", "file": SimpleUploadedFile("../../notes.txt", CONTENT)}
    answer = await as_operator.post(
        f"/containers/{id}/files/upload/", upload, headers={"accept": "application/json"}
    )
    assert answer.json() == {"ok": True, "message": "/srv/notes.txt was brought in."}
    answer = await as_operator.get(f"/containers/{id}/files/download/", {"path": "/srv/notes.txt"})
    body = b"".join([piece async for piece in answer.streaming_content])
    assert body == CONTENT
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="notes.txt"'
    details = [entry.detail async for entry in AuditEntry.objects.filter(result="ok").order_by("pk")]
    assert details == [str(tmp_path), f"/srv notes.txt {len(CONTENT)} bytes", "/srv/notes.txt"]


async def test_files_that_are_not_there_are_said_plainly(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    headers = {"accept": "application/json"}
    gone = await as_operator.get(f"/containers/{id}/files/download/", {"path": "/no/such"}, headers=headers)
    assert gone.status_code == 404
    assert (await as_operator.get(f"/containers/{id}/files/", {"path": "/no/such"})).status_code == 302
    assert (await as_operator.get(f"/containers/{id}/files/", {"path": "\0"})).status_code == 404
    missing = await as_operator.post(f"/containers/{id}/files/upload/", {"path": "/srv"}, headers=headers)
    assert missing.status_code == 400
    assert missing.json()["message"] == "File: choose one."


async def test_files_are_for_operators(synced: EngineSync, api: EngineClient, as_viewer: AsyncClient) -> None:
    id = await make_container(api, "web")
    page = await as_viewer.get(f"/containers/{id}/files/", {"path": "/"})
    assert page.status_code == 200
    assert "entries" not in page.context
    assert (
        await as_viewer.get(f"/containers/{id}/files/download/", {"path": "/etc/shadow"})
    ).status_code == 403
    assert (await as_viewer.post(f"/containers/{id}/files/upload/")).status_code == 403


def test_bodies_are_short_but_for_uploads() -> None:
    assert body_limit(b"/containers/run/") == BODY_MAX_BYTES
    assert body_limit(b"/x?/files/upload/") == BODY_MAX_BYTES
    assert body_limit(b"/containers/" + b"a" * 64 + b"/files/upload/?x=1") > 100 << 20


async def send(url: str, head: str, body: bytes) -> bytes:
    """What the server answers to raw bytes before it closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode())
    try:
        for at in range(0, len(body), 65536):
            writer.write(body[at : at + 65536])
            await writer.drain()
    except ConnectionError:
        pass
    try:
        answer = await asyncio.wait_for(reader.read(4096), 10)
    except ConnectionError:
        answer = b""
    writer.close()
    return answer


async def test_a_body_that_is_too_long_is_cut_before_it_is_taken_in(web: Any) -> None:
    long = BODY_MAX_BYTES + 1
    declared = await send(web.url, f"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: {long}\r\n\r\n", b"")
    assert declared.startswith(b"HTTP/1.1 413")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = "POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = await send(web.url, head, chunk * (long // 65536 + 2))
    assert chunked[:12] in (b"HTTP/1.1 413", b"")
    fine = await send(web.url, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"")
    assert fine.startswith(b"HTTP/1.1 200")


async def test_a_small_text_is_edited_unless_it_changed_meanwhile(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await bring_in(api, id, "/etc", SimpleUploadedFile("app.conf", b"<a>\nb=1\n"))
    path = f"/containers/{id}/files/edit/"
    page = await as_operator.get(path, {"path": "/etc/app.conf"})
    assert page.status_code == 200
    assert b"&lt;a&gt;\nb=1\n" in page.content
    form = {"path": "/etc/app.conf", "mark": page.context["file"].mark, "text": "<a>\r\nb=2\r\n"}
    json = {"accept": "application/json"}
    answer = await as_operator.post(path, form, headers=json)
    assert answer.json() == {"ok": True, "message": "/etc/app.conf was saved."}
    assert (await read_text(api, id, "/etc/app.conf")).text == "<a>\nb=2\n"
    again = await as_operator.post(path, form, headers=json)  # another tab, or the form sent twice
    assert again.status_code == 409
    assert "changed meanwhile" in again.json()["message"]
    actions = [entry.action async for entry in AuditEntry.objects.order_by("pk")]
    assert actions == ["container.file.read", "container.file.write", "container.file.write"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a\0b", b"x" * (TEXT_MAX_BYTES + 1), b"y" * (2 * TEXT_MAX_BYTES)]
)
async def test_what_is_no_small_text_is_not_edited(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, content: bytes
) -> None:
    id = await make_container(api, "web")
    await bring_in(api, id, "/", SimpleUploadedFile("x", content))
    answer = await as_operator.get(f"/containers/{id}/files/edit/", {"path": "/x"}, follow=True)
    assert b"download it instead" in answer.content


async def test_line_ends_of_a_file_stay(api: EngineClient) -> None:
    id = await make_container(api, "web")
    await bring_in(api, id, "/", SimpleUploadedFile("dos", b"a\r\nb\r\n"))
    await write_text(api, id, "/dos", "a\r\nc\r\n", (await read_text(api, id, "/dos")).mark)
    assert (await read_text(api, id, "/dos")).text == "a\r\nc\r\n"


async def test_directories_are_made_and_things_removed(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, tmp_path: Path
) -> None:
    id = await make_container(api, "web")
    json = {"accept": "application/json"}
    made = await as_operator.post(
        f"/containers/{id}/files/mkdir/", {"path": "/srv", "name": "new"}, headers=json
    )
    assert made.json() == {"ok": True, "message": "/srv/new was made."}
    for name in ("", "..", "a/b", "x" * 300):
        bad = await as_operator.post(
            f"/containers/{id}/files/mkdir/", {"path": "/", "name": name}, headers=json
        )
        assert bad.status_code == 400, name
    gone = tmp_path / "-rf\n<b>"  # of the fake's containers, which are this machine's processes
    gone.mkdir()
    (gone / "inside").write_text("x")
    path = f"/containers/{id}/files/remove/"
    page = await as_operator.get(path, {"path": str(gone), "directory": "1"})
    assert b"everything in it" in page.content
    assert b"<b>" not in page.content
    assert gone.exists()
    answer = await as_operator.post(path, {"path": str(gone)}, headers=json)
    assert answer.status_code == 200
    assert not gone.exists()
    refused = await as_operator.post(path, {"path": "/"}, headers=json)
    assert refused.status_code == 400


async def test_files_are_changed_by_operators_only(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    id = await make_container(api, "web")
    for path in ("edit/", "mkdir/", "remove/"):
        assert (await as_viewer.post(f"/containers/{id}/files/{path}", {"path": "/x"})).status_code == 403
        assert (await as_stranger.post(f"/containers/{id}/files/{path}", {"path": "/x"})).status_code == 302

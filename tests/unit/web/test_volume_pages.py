"""The page of one volume: its files, an engine that shows none, and what leaves an audit row."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from runtime.api.client import EngineClient
from runtime.api.errors import NotFound
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import make_container
from webdock.engines import volume_files
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.web import BODY_MAX_BYTES, body_limit

JSON = {"accept": "application/json"}


@pytest.fixture
async def volume(synced: EngineSync, fake: FakeEngine, api: EngineClient) -> str:
    """A volume with three files, one of them no text."""
    await api.volume_create({"Name": "data", "Labels": {"team": "blue"}, "DriverOpts": {"o": "size=1m"}})
    fake.rooms.volume_files.files["data"] = {
        "/notes.txt": b"<b>gr\xc3\xbc\xc3\x9fe</b>\n",
        "/config/app.conf": b"listen = 80\n",
        "/blob": b"\0\1\2",
    }
    return "data"


async def body_of(answer: Any) -> bytes:
    return b"".join([piece async for piece in answer.streaming_content])


async def audit() -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.order_by("pk")
    return [(row.action, row.result, row.object_name) async for row in rows]


async def test_the_page_shows_what_it_is_who_uses_it_and_its_files(
    volume: str, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "db", HostConfig={"Binds": ["data:/var/lib/db"]})
    answer = await as_operator.get("/volumes/data/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert [one["container_id"] for one in answer.context["used_by"]] == [id]
    assert [(one.name, one.kind) for one in answer.context["entries"]] == [
        ("config", "directory"),
        ("blob", "file"),
        ("notes.txt", "file"),
    ]
    assert answer.context["lost"] == ["blob", "config", "notes.txt"]
    for words in ("team=blue", "size=1m", f"/containers/{id}/", "/volumes/data/archive/"):
        assert words in text
    inner = await as_operator.get("/volumes/data/", {"path": "/config/../config"})
    assert [one.path for one in inner.context["entries"]] == ["/config/app.conf"]
    assert inner.context["lost"] == ["blob", "config", "notes.txt"]
    assert (await as_operator.get("/volumes/nothing/")).status_code == 404
    file = await as_operator.get("/volumes/data/", {"path": "/notes.txt"})
    assert file.headers["Location"] == "/volumes/data/files/view/?path=%2Fnotes.txt"
    gone = await as_operator.get("/volumes/data/", {"path": "/nowhere"})
    assert "Could not find the file" in gone.context["files_error"]


async def test_no_name_is_hidden_by_what_is_asked_of_all(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    for name in ("create", "prune"):
        await api.volume_create({"Name": name})
        await api.network_create({"Name": name})
        assert (await as_operator.get(f"/volumes/{name}/")).context["name"] == name
        assert (await as_operator.get(f"/networks/{name}/")).status_code == 200


async def test_files_are_for_people_with_the_right(
    volume: str, as_viewer: AsyncClient, as_stranger: AsyncClient, as_operator: AsyncClient
) -> None:
    shown = await as_viewer.get("/volumes/data/")
    assert shown.status_code == 200
    assert "notes.txt" not in shown.content.decode()
    for path in ("files/view", "files/read", "archive"):
        assert (await as_viewer.get(f"/volumes/data/{path}/?path=/notes.txt")).status_code == 403
        assert (await as_stranger.get(f"/volumes/data/{path}/", headers=JSON)).status_code == 401
        assert (await as_operator.post(f"/volumes/data/{path}/")).status_code == 405
    for path in ("files/upload", "restore", "clone"):
        assert (await as_viewer.post(f"/volumes/data/{path}/", headers=JSON)).status_code == 403
        assert (await as_stranger.post(f"/volumes/data/{path}/", headers=JSON)).status_code == 401
        assert (await as_operator.get(f"/volumes/data/{path}/")).status_code == 405
        assert (await as_operator.post(f"/volumes/data/{path}/", headers=JSON)).status_code == 400
    assert {action for action, _, _ in await audit()} <= {"right.refused"}


async def test_files_and_archives_come_out_with_an_audit_row(volume: str, as_operator: AsyncClient) -> None:
    view = await as_operator.get("/volumes/data/files/view/", {"path": "/notes.txt"})
    assert "&lt;b&gt;grüße&lt;/b&gt;" in view.content.decode()
    assert "<b>gr" not in view.content.decode()
    blob = await as_operator.get("/volumes/data/files/view/", {"path": "/blob"})
    assert blob.context["text"] is None
    read = await as_operator.get("/volumes/data/files/read/", {"path": "/notes.txt"})
    assert read.headers["Content-Disposition"] == 'attachment; filename="notes.txt"'
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert await body_of(read) == b"<b>gr\xc3\xbc\xc3\x9fe</b>\n"
    whole = await as_operator.get("/volumes/data/archive/")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="data.tar"'
    with tarfile.open(fileobj=io.BytesIO(await body_of(whole))) as archive:
        assert {"notes.txt", "blob", "config/app.conf"} <= set(archive.getnames())
    part = await as_operator.get("/volumes/data/archive/", {"path": "/config"})
    assert part.headers["Content-Disposition"] == 'attachment; filename="config.tar"'
    await body_of(part)
    missing = await as_operator.get("/volumes/data/files/read/", {"path": "/x"}, headers=JSON)
    assert missing.status_code == 404
    assert await audit() == [
        ("volume.file.read", "ok", "data"),
        ("volume.file.read", "ok", "data"),
        ("volume.file.read", "ok", "data"),
        ("volume.download", "ok", "data"),
        ("volume.download", "ok", "data"),
        ("volume.file.read", "refused", "data"),
    ]


async def test_a_long_file_is_shown_from_its_beginning(
    volume: str, fake: FakeEngine, as_operator: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_files, "VIEW_MAX_BYTES", 10)
    fake.rooms.volume_files.files["data"]["/long"] = b"0123456789abc"
    view = await as_operator.get("/volumes/data/files/view/", {"path": "/long"})
    assert (view.context["text"], view.context["cut"]) == ("0123456789", True)


async def test_files_go_in_a_tar_is_restored_and_the_volume_cloned(
    volume: str, fake: FakeEngine, as_operator: AsyncClient
) -> None:
    upload = {"path": "/config", "file": SimpleUploadedFile("more.conf", b"x = 1\n")}
    answer = await as_operator.post("/volumes/data/files/upload/", upload, headers=JSON)
    assert answer.json() == {"ok": True, "message": "/config/more.conf was brought in."}
    assert fake.rooms.volume_files.files["data"]["/config/more.conf"] == b"x = 1\n"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("back/again")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"yes"))
    tar = {"file": SimpleUploadedFile("data.tar", out.getvalue())}
    answer = await as_operator.post("/volumes/data/restore/", tar)
    assert answer.headers["Location"] == "/volumes/data/?path=%2F"
    assert fake.rooms.volume_files.files["data"]["/back/again"] == b"yes"
    nonsense = {"file": SimpleUploadedFile("data.tar", b"nonsense" * 100)}
    answer = await as_operator.post("/volumes/data/restore/", nonsense, headers=JSON)
    assert answer.status_code == 400
    clone = {"name": "copy"}
    assert (await as_operator.post("/volumes/data/clone/", clone, headers=JSON)).json()["ok"] is True
    assert fake.rooms.volume_files.files["copy"]["/back/again"] == b"yes"
    again = await as_operator.post("/volumes/data/clone/", clone, headers=JSON)
    assert again.status_code == 409
    bad = await as_operator.post("/volumes/data/clone/", {"name": "a/b"}, headers=JSON)
    assert bad.json()["message"].startswith("name")
    assert await audit() == [
        ("volume.file.write", "ok", "data"),
        ("volume.restore", "ok", "data"),
        ("volume.restore", "refused", "data"),
        ("volume.clone", "ok", "data"),
        ("volume.clone", "refused", "data"),
    ]


async def test_what_is_too_large_is_refused_before_the_engine_is_asked(
    volume: str, as_operator: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_files, "UPLOAD_MAX_BYTES", 1 << 20)
    upload = {"path": "/", "file": SimpleUploadedFile("big", bytes((1 << 20) + 1))}
    answer = await as_operator.post("/volumes/data/files/upload/", upload, headers=JSON)
    assert answer.json()["message"] == "File: at most 1 MiB."
    assert body_limit(b"/volumes/data/files/upload/") > volume_files.UPLOAD_MAX_BYTES > BODY_MAX_BYTES >> 3
    assert body_limit(b"/dock/volumes/data/restore/?x") > volume_files.RESTORE_MAX_BYTES
    assert body_limit(b"/elsewhere/restore/") == BODY_MAX_BYTES


async def test_another_engine_says_what_is_not_possible(
    volume: str, as_operator: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def missing(*_: object) -> None:
        raise NotFound("page not found")

    async def inspect(self: EngineClient, name: str, *, size: bool = False) -> dict[str, Any]:
        return {"Name": name, "Driver": "local", "Mountpoint": "/x", "Labels": None, "Options": None}

    monkeypatch.setattr(EngineClient, "volume_files", missing)
    monkeypatch.setattr(EngineClient, "volume_inspect", inspect)
    answer = await as_operator.get("/volumes/data/")
    text = answer.content.decode()
    assert "on webdock&#x27;s own engine only" in text
    assert "/volumes/data/archive/" not in text
    assert "/volumes/data/clone/" not in text
    assert "/volumes/data/remove/" in text


async def test_the_list_asks_for_sizes_beside_the_page(
    volume: str, fake: FakeEngine, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    page = (await as_viewer.get("/volumes/")).content.decode()
    assert 'data-size-of="data"' in page
    assert 'href="/volumes/data/"' in page
    answer = await as_viewer.get("/volumes/-/sizes/", headers=JSON)
    assert json.loads(answer.content)["sizes"].keys() == {"data"}
    assert (await as_stranger.get("/volumes/-/sizes/", headers=JSON)).status_code == 401


async def test_the_page_says_when_the_engine_is_away(transactional_db: None, as_viewer: AsyncClient) -> None:
    answer = await as_viewer.get("/volumes/data/")
    assert answer.status_code == 200
    assert "does not answer" in answer.context["error"]

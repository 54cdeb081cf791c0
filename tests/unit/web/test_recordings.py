"""Recordings: what is written, who is told, who sees them, and what is forgotten."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from containers_app import reaper
from containers_app.models import Recording, TerminalSession
from containers_app.recorder import Recorder, cast_file, text_file, write_text
from tests.unit.web.conftest import Connect, browser_of, eventually
from tests.unit.web.test_terminal import shell
from webdock.engines.models import AuditEntry

__all__ = ["shell"]
db = pytest.mark.django_db(transaction=True)
JSON = {"accept": "application/json"}


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.WEB_DIR = tmp_path
    return tmp_path


async def test_a_recording_is_an_asciicast_with_whole_characters(home: Path) -> None:
    recorder = Recorder("one", rows=24, columns=80, title="sh", screen=b"before")
    for byte in "grüße\r\n".encode():
        recorder.output(bytes([byte]))
    recorder.resize(30, 100)
    recorder.output(b"\x1b[31mred\x1b[0m\xff")
    await recorder.close()
    head, *events = [json.loads(line) for line in cast_file("one").read_text().splitlines()]
    assert (head["version"], head["width"], head["height"]) == (2, 80, 24)
    assert "".join(text for _at, kind, text in events if kind == "o") == (
        "beforegrüße\r\n\x1b[31mred\x1b[0m\N{REPLACEMENT CHARACTER}"
    )
    assert [text for _at, kind, text in events if kind == "r"] == ["100x30"]
    times = [event[0] for event in events]
    assert times == sorted(times)
    assert "beforegrüße\nred" in text_file("one").read_text()
    assert cast_file("one").stat().st_mode & 0o777 == 0o600


def test_a_recording_cut_in_the_middle_still_gives_its_text(home: Path) -> None:
    (home / "recordings").mkdir()
    cast_file("cut").write_text('{"version": 2}\n[0.1, "o", "whole\\r\\n"]\n[0.2, "o", "hal')
    write_text("cut")
    assert text_file("cut").read_text() == "whole\n"


async def test_a_recording_ends_when_its_file_is_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containers_app.recorder.FILE_MAX_BYTES", 1000)
    monkeypatch.setattr("containers_app.recorder.WAITING_MAX_BYTES", 100)
    recorder = Recorder("one", rows=24, columns=80, title="sh", screen=b"")
    told: list[bool] = []
    recorder.full = lambda: told.append(True)
    for _n in range(100):
        recorder.output(b"x" * 200)
        await recorder.room()
    assert told
    assert cast_file("one").stat().st_size < 2000
    await recorder.close()


async def test_a_disk_without_room_ends_the_recording_and_not_the_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder("one", rows=24, columns=80, title="sh", screen=b"")
    told: list[bool] = []
    recorder.full = lambda: told.append(True)

    def no_room(events: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder, "_write_events", no_room)
    monkeypatch.setattr("containers_app.recorder.WAITING_MAX_BYTES", 0)
    recorder.output(b"x")
    await recorder.room()
    recorder.output(b"y")
    await recorder.room()
    await recorder.close()
    assert told == [True]


async def record(browser: AsyncClient, session: TerminalSession, on: str) -> Any:
    return await browser.post(f"/terminals/{session.pk}/record/", {"on": on}, headers=JSON)


@db
async def test_everybody_there_is_told_and_it_is_played_searched_and_removed(
    shell: Any, operator: User, as_operator: AsyncClient, as_admin: AsyncClient, as_viewer: AsyncClient
) -> None:
    screen, _id = await shell()
    session = await TerminalSession.objects.aget()
    await screen.type("echo be''fore\n")
    await screen.until(b"before")
    assert (await record(as_admin, session, "on")).status_code == 404
    assert (await record(as_operator, session, "on")).json()["ok"]
    while {"type": "recording", "on": True} not in screen.controls:
        await screen.step()
    await screen.type("echo nee''dle\n")
    await screen.until(b"needle")
    row = await Recording.objects.aget()
    path = f"/recordings/{row.pk}/"
    assert (await as_operator.post(f"{path}remove/", headers=JSON)).status_code == 409
    assert (await record(as_operator, session, "")).json()["ok"]
    while screen.controls[-1] != {"type": "recording", "on": False}:
        await screen.step()
    row = await Recording.objects.aget()
    assert row.ended_at is not None
    assert row.size_bytes == cast_file(row.pk).stat().st_size
    found = (await as_operator.get("/recordings/?q=NEEDLE")).content.decode()
    assert str(row.pk) in found
    assert "needle" in found
    assert str(row.pk) not in (await as_operator.get("/recordings/?q=haystack")).content.decode()
    played = await as_operator.get(path)
    assert "'wasm-unsafe-eval'" in played.headers["Content-Security-Policy"]
    cast = await as_operator.get(f"{path}cast/")
    text = b"".join([piece async for piece in cast]).decode()
    cast.close()
    assert "before" in text
    assert "needle" in text
    other = await User.objects.acreate_user("other", password="x")
    await other.groups.aadd(await operator.groups.aget())
    stranger = await browser_of(other)
    for address in (path, f"{path}cast/"):
        assert (await stranger.get(address)).status_code == 404
        assert (await as_viewer.get(address)).status_code == 403
        answer = await as_admin.get(address)
        assert answer.status_code == 200
        answer.close()
    assert str(row.pk) not in (await stranger.get("/recordings/")).content.decode()
    assert (await as_operator.post(f"{path}remove/", headers=JSON)).json()["ok"]
    assert not cast_file(row.pk).exists()
    assert {"terminal.record", "recording.view", "recording.remove"} <= {
        entry.action async for entry in AuditEntry.objects.all()
    }


@db
async def test_the_settings_record_all_or_none(
    shell: Any, operator: User, as_operator: AsyncClient, connect: Connect, settings: Any
) -> None:
    settings.RECORD_TERMINALS = "always"
    screen, _id = await shell()
    assert (await screen.control("recording"))["on"] is True
    session = await TerminalSession.objects.aget()
    assert (await record(as_operator, session, "")).status_code == 409
    await screen.type("exit\n")
    await screen.until_closed()

    async def ended() -> bool:
        return await Recording.objects.exclude(ended_at=None).aexists()

    await eventually(ended)
    settings.RECORD_TERMINALS = "never"
    other, _id = await shell()
    assert (await other.control("recording"))["on"] is False


@db
async def test_old_recordings_go_and_unfinished_ones_are_ended(home: Path, operator: User) -> None:
    (home / "recordings").mkdir()
    common = {"user": operator, "engine_alias": "local", "container_id": "c", "columns": 80, "rows": 24}
    old = await Recording.objects.acreate(**common, ended_at=timezone.now() - timedelta(days=91))
    cut = await Recording.objects.acreate(**common)
    lost = await Recording.objects.acreate(**common)
    for row in (old, cut):
        cast_file(row.pk).write_text('{"version": 2}\n[0.1, "o", "text"]\n')
    await reaper.reap_once()
    assert [row.pk async for row in Recording.objects.all()] == [cut.pk]
    assert (await Recording.objects.aget()).ended_at is not None
    assert text_file(cut.pk).read_text() == "text"
    assert not cast_file(old.pk).exists()
    assert lost.pk != cut.pk

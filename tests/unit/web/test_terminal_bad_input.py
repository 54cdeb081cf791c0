"""Bad input at terminals, from browsers and programs that are broken or mean harm: it reaches nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from containers_app import terminal_stream
from containers_app.models import TerminalSession
from containers_app.recorder import Recorder, cast_file, text_file
from containers_app.terminal_hub import hubs
from runtime.api.client import EngineClient
from tests.unit.web.conftest import Connect, browser_of, closing, eventually, make_container
from tests.unit.web.test_terminal import Screen, shell
from tests.unit.web.test_terminal_hub import again
from tests.unit.web.test_terminal_sharing import guest, share
from webdock.engines.consumers import TEXT_MAX_CHARS
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

__all__ = ["guest", "shell"]
db = pytest.mark.django_db(transaction=True)

NONSENSE = (
    " ",
    "{",
    "null",
    '"resize"',
    "1e999",
    "[" * 50_000,
    '{"type": null}',
    '{"type": ["resize"]}',
    '{"type": {"type": "end"}}',
    '{"type": "credit"}',
    '{"type": "credit", "bytes": -1}',
    '{"type": "credit", "bytes": 1' + "0" * 400 + "}",
    '{"type": "credit", "bytes": NaN}',
    '{"type": "resize", "cols": 0, "rows": 0}',
    '{"type": "resize", "cols": true, "rows": 24}',
    '{"type": "resize", "cols": 80}',
    '{"type": "END"}',
    '{"type": "\\ud800"}',
)
# A title, the clipboard, links, and everything a program may ask its terminal.
HOSTILE = (
    b"\x1b]0;<img src=x onerror=alert(1)>\x07\x1b]52;c;c3RvbGVu\x07"
    b"\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07"
    b"\x1b[c\x1b[>c\x1b[5n\x1b[6n\x1b[21t\x1b[>q\x1bP$qm\x1b\\\x1b]10;?\x07\x05\x1bZ\x9b0c\x9d52;c;eA==\x9c"
)


@db
async def test_control_messages_of_nonsense_change_nothing(shell: Any) -> None:
    screen, _id = await shell()
    for text in NONSENSE:
        await screen.socket.send_to(text_data=text)
    await screen.type("echo al''ive; stty size\n")
    await screen.until(rb"alive\s+30 100")


@db
async def test_a_control_message_too_long_closes_the_socket_and_not_the_session(
    shell: Any, operator: User, connect: Connect
) -> None:
    screen, _id = await shell()
    await screen.socket.send_to(text_data=json.dumps({"type": "x" * TEXT_MAX_CHARS}))
    assert (await screen.until_closed())[0] == 1011
    session = await TerminalSession.objects.aget()
    other = await again(operator, connect, session)
    await other.type("echo al''ive\n")
    await other.until(b"alive")


@db
async def test_a_session_whose_container_was_removed_is_gone(
    shell: Any, api: EngineClient, operator: User, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody there to see it go, too."""
    monkeypatch.setattr(terminal_stream, "LINGER_S", 0.0)
    screen, id = await shell()
    session = await TerminalSession.objects.aget()
    await screen.socket.disconnect()

    async def let_go() -> bool:
        return session.pk not in hubs

    await eventually(let_go)
    await api.container_remove(id, force=True)
    assert (await closing(await connect(await browser_of(operator), f"/ws/terminal/{session.pk}/")))[
        0
    ] == 4404
    assert (await TerminalSession.objects.aget()).ended_at is not None


@db
async def test_a_page_token_used_by_somebody_else_counts_for_them_alone(
    shell: Any, operator: User, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    """Or what the page typed would be taken as arrived, and be lost."""
    await shell()
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest", types="on")
    page = await again(operator, connect, session, "?page=one-and-only")
    await page.type("echo mi''ne\n")
    await page.until(b"mine")
    thief = await again(guest, connect, session, "?page=one-and-only")
    assert (await thief.control("ready"))["taken"] is None
    await thief.type("# not yours\n")
    await page.until(b"yours")
    back = await again(operator, connect, session, "?page=one-and-only")
    assert (await back.control("ready"))["taken"] == len("echo mi''ne\n")


@db
async def test_one_window_of_those_who_type_answers_questions(
    shell: Any, operator: User, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    """So that a question is answered once, and never by somebody who looks on."""
    one, _id = await shell()
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest")
    watcher = await again(guest, connect, session)
    two = await again(operator, connect, session)

    async def answering(count: int, *screens: Screen) -> list[bool]:
        said = []
        for screen in screens:
            while len((latest(screen) or {"people": ()})["people"]) != count:
                await screen.step()
            said.append(bool((latest(screen) or {})["answers"]))
        return said

    assert await answering(3, one, watcher, two) == [True, False, False]
    await one.socket.disconnect()
    assert await answering(2, watcher, two) == [False, True]
    await two.socket.disconnect()
    assert await answering(1, watcher) == [False]


def latest(screen: Screen) -> dict[str, Any] | None:
    people = [message for message in screen.controls if message["type"] == "people"]
    return people[-1] if people else None


@db
async def test_hostile_output_goes_to_windows_as_bytes_and_comes_back_from_none(
    shell: Any, as_operator: AsyncClient, guest: User, connect: Connect
) -> None:
    """The server reads nothing out of it: no control message, no title, no input."""
    screen, _id = await shell("sh", "-c", "stty raw -echo; printf ready; cat; cat")
    await screen.until(b"ready")
    session = await TerminalSession.objects.aget()
    await share(as_operator, session, user="guest")
    watcher = await again(guest, connect, session)
    said = len(watcher.controls)
    await screen.type(HOSTILE + b"#end")
    await watcher.until(b"#end")
    assert HOSTILE in watcher.bytes
    assert {message["type"] for message in watcher.controls[said:]} <= {
        "replay",
        "people",
        "size",
        "recording",
    }
    assert (await TerminalSession.objects.aget()).title == "sh"
    await watcher.type(b"\x1b[?1;2c answered")
    await screen.type(b"#last")
    await screen.until(b"#last")
    assert b"answered" not in screen.bytes


async def test_a_recording_of_hostile_output_is_lines_of_json_and_plain_text(
    settings: Any, tmp_path: Path
) -> None:
    settings.WEB_DIR = tmp_path
    recorder = Recorder("bad", rows=24, columns=80, title='"}\n[0,"o","\x1b]52;c;eA==\x07', screen=b"")
    recorder.output(HOSTILE + b'needle"]\n[1, "o", "\xe2\x80\xa8more\r\n')
    await recorder.close()
    head, *events = [json.loads(line) for line in cast_file("bad").read_text().split("\n")[:-1]]
    assert head["version"] == 2
    assert all(kind == "o" for _at, kind, _text in events)
    text = text_file("bad").read_text()
    assert "needle" in text
    assert not [char for char in text if not char.isprintable() and char not in "\n\t\u2028"]


@db
@pytest.mark.parametrize("name", ["\x1b]0;title\x07\n\r../../\x9bx.txt", "-rf *;$(reboot)`id`\u202e.txt"])
async def test_an_upload_with_a_name_full_of_escapes_carries_none(
    name: str, synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    upload = {"path": "/srv", "file": SimpleUploadedFile("x.txt", b"content")}
    upload["file"].name = name  # type: ignore[attr-defined]
    answer = await as_operator.post(
        f"/containers/{id}/files/upload/", upload, headers={"accept": "application/json"}
    )
    said = answer.json()
    assert said["ok"]
    entry = await AuditEntry.objects.filter(action="container.file.write").alatest("pk")
    for text in (said["message"], entry.detail):
        assert text.isprintable()

"""The engine's own log: who asked what, with which verdict; without bodies; rotated; root's alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Forbidden
from runtime.server import audit
from runtime.server.audit import AuditLog, verdict, worth_a_line
from tests.fakes.engine import FakeEngine


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]


def test_what_changes_opens_or_is_refused_is_worth_a_line() -> None:
    assert worth_a_line("POST", "container_start", 204)
    assert worth_a_line("DELETE", "container_remove", 409)
    assert worth_a_line("GET", "container_archive", 200)
    assert worth_a_line("GET", "", 403)
    assert not worth_a_line("GET", "container_list", 200)
    assert not worth_a_line("HEAD", "ping", 200)
    assert [verdict(status) for status in (200, 304, 403, 404, 500)] == [
        "allowed",
        "allowed",
        "refused",
        "invalid",
        "failed",
    ]


def test_the_file_is_its_owners_alone_and_only_grows(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit")
    log.open()
    log.note(path="one\ntwo")
    log.close()
    log.open()
    log.note(path="three")
    log.close()
    assert [line["path"] for line in lines(tmp_path / "audit")] == ["one\ntwo", "three"]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_a_full_file_makes_room_and_the_oldest_goes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(audit, "FILE_MAX_BYTES", 200)
    monkeypatch.setattr(audit, "FILES_MAX", 3)
    log = AuditLog(tmp_path)
    log.open()
    for number in range(20):
        log.note(path="x" * 80, number=number)
    log.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    kept = [
        json.loads(line)["number"]
        for name in reversed(names)
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert kept == list(range(20 - len(kept), 20))


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        AuditLog(tmp_path).open()


async def test_requests_are_written_down_with_peer_actor_and_verdict() -> None:
    async with FakeEngine() as engine:
        engine.add_image("busybox:latest", Cmd=["sleep", "1000"])
        secret = {"Image": "busybox:latest", "Env": ["PASSWORD=hunter2"]}
        async with EngineClient(engine.web_url) as client:
            client.own_headers = lambda: {audit.ACTOR_HEADER: "J%C3%BCrgen"}  # type: ignore[method-assign]
            made = await client.container_create(secret, name="one")
            await client.container_list()
            with pytest.raises(Forbidden):
                await client.container_create({**secret, "HostConfig": {"Privileged": True}})
            await client.container_start(made["Id"])
            async with await client.container_attach(made["Id"]):
                pass
        rows = lines(engine.rooms.config.home / "audit")
    assert [(row["operation"], row["verdict"]) for row in rows[:2]] == [
        ("container_create", "allowed"),
        ("container_create", "refused"),
    ]
    assert [row["event"] for row in rows if row["operation"] == "container_attach"][:1] == ["begin"]
    assert {row["actor"] for row in rows} == {"Jürgen"}
    assert {row["socket"] for row in rows} == {"web"}
    assert rows[0]["path"].endswith("/containers/create?name=one")
    assert isinstance(rows[0]["uid"], int)
    assert isinstance(rows[0]["pid"], int)
    assert rows[0]["status"] == 201
    assert rows[0]["duration_ms"] >= 0
    assert "hunter2" not in json.dumps(rows)

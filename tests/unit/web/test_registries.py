"""Registries: who may keep passwords, how they are kept, what is tried, and the local one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient

from runtime.api.client import EngineClient
from runtime.api.errors import InvalidArgument
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually
from tests.unit.web.test_jobs import ended
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.jobs.running import board
from webdock.registries import credentials
from webdock.registries.hosts import clean_host, clean_mirrors, host_of
from webdock.registries.models import Credential

JSON = {"accept": "application/json"}
HOST = "registry.example.org"
FORM = {"host": HOST, "username": "anna", "password": "s3cret words", "mirrors": "https://mirror.example.org"}


async def save(browser: AsyncClient, **more: str) -> Any:
    return await browser.post("/registries/save/", {**FORM, **more}, headers=JSON)


async def test_a_registry_is_tried_saved_and_used(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient, settings: Any
) -> None:
    assert (await save(as_admin)).json() == {"ok": True, "message": f"{HOST} was saved."}
    row = next(one for one in await api.registry_list() if one["Host"] == HOST)
    assert (row["Mirrors"], row["Source"]) == (["https://mirror.example.org"], "set")
    kept = await Credential.objects.aget(host=HOST)
    assert b"s3cret" not in bytes(kept.sealed)
    assert await credentials.auth_for(f"{HOST}/team/app:1") == {
        "username": "anna",
        "password": "s3cret words",
        "serveraddress": HOST,
    }
    assert await credentials.auth_for("redis:8") is None
    assert settings.REGISTRIES_KEY_FILE.stat().st_mode & 0o777 == 0o600
    page = (await as_admin.get("/registries/")).content.decode()
    assert "anna" in page
    assert "mirror.example.org" in page
    assert "s3cret" not in page
    said = str([vars(entry) async for entry in AuditEntry.objects.all()])
    assert "registry.save" in said
    assert "s3cret" not in said


async def test_a_wrong_password_is_not_kept_unless_asked_for(
    synced: EngineSync, as_admin: AsyncClient
) -> None:
    answer = await save(as_admin, password="wrong")
    assert answer.status_code == 400
    assert "https://registry.example.org" in answer.json()["message"]
    assert not await Credential.objects.aexists()
    assert (await save(as_admin, password="wrong", anyway="1")).json()["ok"] is True
    assert await Credential.objects.aexists()


async def test_a_kept_password_stays_and_never_goes_to_new_places(
    synced: EngineSync, as_admin: AsyncClient
) -> None:
    await save(as_admin)
    assert (await save(as_admin, password="", mirrors="")).json()["ok"] is True
    assert (await credentials.stored(HOST) or {})["password"] == "s3cret words"
    for more in ({"token_hosts": "evil.example.net"}, {"insecure": "1"}):
        for path in ("/registries/save/", "/registries/test/"):
            answer = await as_admin.post(path, {**FORM, "password": "", **more}, headers=JSON)
            assert answer.status_code == 400, more
            assert answer.json()["message"].lower().startswith("password")
    assert (await save(as_admin, password="", username="berta")).status_code == 400
    assert (await save(as_admin, password="", username="")).json()["ok"] is True
    assert await credentials.stored(HOST) is None


async def test_a_lost_key_says_so(synced: EngineSync, as_admin: AsyncClient, settings: Any) -> None:
    await save(as_admin)
    settings.REGISTRIES_KEY_FILE.unlink()
    with pytest.raises(InvalidArgument, match="save it again"):
        await credentials.stored(HOST)


async def test_a_registry_is_tested_without_being_kept(synced: EngineSync, as_admin: AsyncClient) -> None:
    answer = (await as_admin.post("/registries/test/", FORM, headers=JSON)).json()
    assert (answer["works"], answer["message"]) == (True, f"{HOST} answers.")
    assert [one["Mirror"] for one in answer["tried"]] == [True, False]
    bad = (await as_admin.post("/registries/test/", {**FORM, "password": "wrong"}, headers=JSON)).json()
    assert bad["works"] is False
    assert not await Credential.objects.aexists()


async def test_a_registry_is_forgotten(synced: EngineSync, api: EngineClient, as_admin: AsyncClient) -> None:
    await save(as_admin)
    gone = {"host": HOST}
    assert (await as_admin.post("/registries/remove/", gone, headers=JSON)).json()["ok"] is True
    assert not await Credential.objects.aexists()
    assert all(one["Host"] != HOST for one in await api.registry_list())
    assert (await as_admin.post("/registries/remove/", gone, headers=JSON)).status_code == 404
    bad = await as_admin.post("/registries/remove/", {"host": "a b"}, headers=JSON)
    assert bad.status_code == 400


async def test_only_who_has_the_right_sees_and_changes_registries(
    synced: EngineSync, as_operator: AsyncClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    for browser in (as_operator, as_viewer):
        assert (await browser.get("/registries/", headers=JSON)).status_code == 403
    assert (await as_stranger.get("/registries/", headers=JSON)).status_code == 401
    for verb in ("save", "test", "remove", "local"):
        path = f"/registries/{verb}/"
        assert (await as_operator.post(path, FORM, headers=JSON)).status_code == 403, verb
        assert (await as_stranger.post(path, FORM, headers=JSON)).status_code == 401, verb


async def test_verbs_of_registries_are_by_post(as_admin: AsyncClient) -> None:
    for verb in ("save", "test", "remove", "local"):
        assert (await as_admin.get(f"/registries/{verb}/")).status_code == 405, verb
    assert (await as_admin.post("/registries/")).status_code == 405


async def test_the_page_says_when_the_engine_is_away(as_admin: AsyncClient) -> None:
    answer = await as_admin.get("/registries/")
    assert answer.status_code == 200
    assert "does not answer" in answer.context["error"]


@pytest.mark.parametrize(
    "more",
    [
        {"host": ""},
        {"host": "a b"},
        {"host": "../x"},
        {"mirrors": "ftp://x"},
        {"mirrors": "https://user:word@mirror"},
        {"token_hosts": "a/b"},
        {"username": "", "password": "x"},
    ],
)
async def test_the_form_names_the_field_that_is_wrong(as_admin: AsyncClient, more: dict[str, str]) -> None:
    answer = await save(as_admin, **more)
    assert answer.status_code == 400
    assert answer.json()["message"].partition(":")[0] in ("host", "mirrors", "token_hosts", "username")


def test_registries_of_references() -> None:
    for reference, host in (
        ("redis", "docker.io"),
        ("team/app:1", "docker.io"),
        ("docker.io/library/redis", "docker.io"),
        ("localhost/app", "localhost"),
        ("127.0.0.1:5000/a/b@sha256:0", "127.0.0.1:5000"),
        ("Registry.Example.org/a", "registry.example.org"),
    ):
        assert host_of(reference) == host, reference
    assert clean_host(" https://index.docker.io/v1/ ") == "docker.io"
    assert clean_mirrors("m.example.org\n\nhttp://10.0.0.5:5000/\nm.example.org") == [
        "https://m.example.org",
        "http://10.0.0.5:5000",
    ]


async def test_the_kept_password_goes_with_a_pull(
    synced: EngineSync, fake: FakeEngine, as_admin: AsyncClient
) -> None:
    fake.offer(f"{HOST}/team/app:1", password="s3cret words")
    await save(as_admin)
    answer = await as_admin.post("/images/pull/", {"reference": f"{HOST}/team/app:1"})
    job = board().get(answer.json()["pull"])
    assert job is not None
    assert (await ended(job)).state == "done"


async def test_a_local_registry_in_one_click(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_admin: AsyncClient
) -> None:
    fake.offer("registry:2", config={"Cmd": ["sleep", "1000"]})
    answer = await as_admin.post("/registries/local/", headers=JSON)
    assert answer.json()["ok"] is True
    (job,) = board().all()
    row = await ended(job)
    assert (row.state, row.kind) == ("done", "registry"), row.message
    assert "127.0.0.1:5000" in row.message
    made = await api.container_inspect("local-registry")
    assert made["State"]["Running"] is True
    assert made["HostConfig"]["PortBindings"]["5000/tcp"][0]["HostIp"] == "127.0.0.1"
    assert (await api.volume_inspect("local-registry"))["Name"] == "local-registry"

    async def shown() -> bool:
        return b"Its container" in (await as_admin.get("/registries/")).content

    await eventually(shown)
    # Asked for again: what is there is taken as it is.
    await as_admin.post("/registries/local/", headers=JSON)
    assert (await ended(board().all()[0])).state == "done"


async def test_a_local_registry_without_its_image_says_what_else_there_is(
    synced: EngineSync, as_admin: AsyncClient
) -> None:
    await as_admin.post("/registries/local/", headers=JSON)
    (job,) = board().all()
    row = await ended(job)
    assert row.state == "failed"
    assert "docker-registry" in row.message

"""Pages and verbs of containers: they work, refuse other methods, three people, side effects."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import AsyncClient

from containers_app.models import Container, TerminalSession
from containers_app.why import start_failure
from runtime.api.client import EngineClient
from runtime.api.errors import NotFound
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.jobs.models import Job

JSON = {"accept": "application/json"}
TABS = ["", "logs/", "terminal/", "stats/", "files/", "events/", "inspect/"]


async def seen(id: str, **fields: Any) -> Container:
    """The row, once it is there and looks like this."""
    await eventually(lambda: Container.objects.filter(container_id=id, **fields).aexists())
    return await Container.objects.select_related("engine").aget(container_id=id)


async def last_audit(action: str) -> AuditEntry:
    entry = await AuditEntry.objects.filter(action=action).afirst()
    assert entry is not None, f"nothing was written about {action}"
    return entry


async def test_list_shows_containers_and_marks_its_rows(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id, state="running")
    answer = await as_viewer.get("/containers/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert f'data-id="{id}"' in text
    assert 'data-rows="containers"' in text
    assert answer.context["counts"]["running"] == 1
    assert answer.context["cursor"] >= 1


async def test_list_filters_sorts_and_pages(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    web = await make_container(api, "web", Labels={"com.example.team": "shop"})
    database = await make_container(api, "database", start=False, Labels={"com.example.team": "ops"})
    await seen(web, state="running")
    await seen(database)

    async def names(query: str) -> list[str]:
        answer = await as_viewer.get(f"/containers/?{query}")
        assert answer.status_code == 200, query
        return [row.name for row in answer.context["rows"]]

    assert await names("sort=name") == ["database", "web"]
    assert await names("sort=-name") == ["web", "database"]
    assert await names("state=running") == ["web"]
    assert await names("state=stopped") == ["database"]
    assert await names("q=DATA") == ["database"]
    assert await names(f"q={web[:8]}") == ["web"]
    assert await names("label=com.example.team") in (["web", "database"], ["database", "web"])
    assert await names("label=com.example.team%3Dshop") == ["web"]
    assert await names("network=nowhere") == []
    assert await names("image=busybox:latest&sort=name") == ["database", "web"]
    for nonsense in (
        "page=99",
        "page=x",
        "sort=;drop",
        "state=asleep",
        "q=%25%00",
        "label=%3D",
        "network=%22",
    ):
        await names(nonsense)


async def test_a_list_of_none_teaches(transactional_db: None, as_viewer: AsyncClient) -> None:
    answer = await as_viewer.get("/containers/")
    assert b"Run your first container" in answer.content


async def test_every_tab_works_for_an_admin(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    id = await make_container(api, "web", Env=["A=1", "TOKEN=topsecret"])
    await seen(id, state="running")
    for tab in TABS:
        answer = await as_admin.get(f"/containers/{id}/{tab}")
        assert answer.status_code == 200, tab
        assert (await as_admin.post(f"/containers/{id}/{tab}")).status_code == 405, tab
    assert b"topsecret" not in (await as_admin.get(f"/containers/{id}/")).content
    assert b"topsecret" in (await as_admin.get(f"/containers/{id}/inspect/")).content


async def test_a_viewer_sees_no_secrets_and_no_terminal(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "web", Env=["TOKEN=topsecret"])
    await seen(id)
    for tab in TABS:
        answer = await as_viewer.get(f"/containers/{id}/{tab}")
        assert answer.status_code == (403 if tab == "terminal/" else 200), tab
        assert b"topsecret" not in answer.content, tab


async def test_every_tab_is_404_for_an_unknown_container(synced: EngineSync, as_admin: AsyncClient) -> None:
    for tab in TABS:
        assert (await as_admin.get(f"/containers/{'f' * 64}/{tab}")).status_code == 404
    assert (await as_admin.get("/containers/short/")).status_code == 404


async def test_a_name_or_the_beginning_of_an_id_leads_to_the_page(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    ids = [await make_container(api, name) for name in ("web", "db")]
    for id in ids:
        await seen(id)
    for ref, id in (("web", ids[0]), (ids[1][:12], ids[1])):
        answer = await as_viewer.get(f"/containers/{ref}/")
        assert (answer.status_code, answer.headers["location"]) == (302, f"/containers/{id}/")
    await api.container_rename("web", "shop")
    await seen(ids[0], name="shop")
    assert (await as_viewer.get("/containers/web/")).status_code == 404


async def test_a_container_the_sync_has_not_seen_is_looked_at(
    transactional_db: None, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "fresh")
    assert (await as_viewer.get(f"/containers/{id}/")).status_code == 200


async def test_a_removed_container_is_shown_as_it_was(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    await api.container_remove(id, force=True)
    await seen(id, removed_at__isnull=False)
    answer = await as_operator.get(f"/containers/{id}/")
    assert answer.status_code == 200
    assert b"has been removed" in answer.content
    assert (await as_operator.post(f"/containers/{id}/start/", headers=JSON)).status_code == 404


async def test_the_page_says_why_a_container_stopped(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "web", "sh", "-c", "echo could not bind >&2; exit 3")
    await seen(id, state="exited")
    answer = await as_viewer.get(f"/containers/{id}/")
    why = answer.context["why"]
    assert why["tone"] == "bad"
    assert "Exit code 3." in why["details"]
    assert why["log"] == "could not bind"
    assert b"could not bind" in answer.content


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ('exec: "nginx": executable file not found in $PATH', "The program “nginx” was not found in the image."),  # noqa: E501
        ('exec: "/x": stat /x: no such file or directory', "The program “/x” was not found in the image."),
        ('exec: "/etc": permission denied', "The program “/etc” is in the image, but may not be executed."),
        ("writing cpu.max: invalid argument", "Writing cpu.max: invalid argument."),
    ],
)  # fmt: skip
def test_why_it_was_not_started_is_told_without_the_words_of_programs(said: str, plain: str) -> None:
    create = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    assert start_failure(f"{create}unable to start container process: {said}: unknown") == plain
    assert start_failure("") == ""


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [("start", "created", "running"), ("stop", "running", "exited"), ("kill", "running", "exited"),
     ("pause", "running", "paused"), ("restart", "running", "running")],
)  # fmt: skip
async def test_a_verb_asks_the_engine_and_the_row_follows(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, verb: str, before: str, after: str
) -> None:
    id = await make_container(api, "web", start=before == "running")
    await seen(id, state=before)
    answer = await as_operator.post(f"/containers/{id}/{verb}/", {"timeout": "1"}, headers=JSON)
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    await seen(id, state=after)
    entry = await last_audit(f"container.{verb}")
    assert (entry.username, entry.result, entry.object_id, entry.object_name) == ("operator", "ok", id, "web")
    assert entry.duration_ms is not None
    assert entry.address == "127.0.0.1"


async def test_unpause_rename_and_remove(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await api.container_pause(id)
    await seen(id, state="paused")
    assert (await as_operator.post(f"/containers/{id}/unpause/", headers=JSON)).json()["ok"]
    answer = await as_operator.post(f"/containers/{id}/rename/", {"name": "shop"}, headers=JSON)
    assert answer.json() == {"ok": True, "message": "web was renamed."}
    await seen(id, name="shop", state="running")
    refused = await as_operator.post(f"/containers/{id}/remove/", headers=JSON)
    assert refused.status_code == 409
    assert refused.json()["ok"] is False
    assert "running" in refused.json()["message"]
    assert (await last_audit("container.remove")).result == "refused"
    answer = await as_operator.post(f"/containers/{id}/remove/", {"force": "1"}, headers=JSON)
    assert answer.json()["ok"] is True
    await seen(id, removed_at__isnull=False)


async def test_a_verb_that_is_so_already_says_so(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(f"/containers/{id}/start/", headers=JSON)
    assert answer.json() == {"ok": True, "message": "web is running already."}
    assert (await last_audit("container.start")).detail == "already so"


async def test_a_verb_from_a_form_goes_back_with_a_message(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(f"/containers/{id}/kill/", follow=True)
    assert answer.redirect_chain == [(f"/containers/{id}/", 302)]
    assert b"was sent the signal" in answer.content
    answer = await as_operator.post(f"/containers/{id}/remove/", follow=True)
    assert answer.redirect_chain == [("/containers/", 302)]


@pytest.mark.parametrize(
    ("verb", "data", "word"),
    [
        ("stop", {"timeout": "soon"}, "timeout"),
        ("kill", {"signal": "; rm"}, "signal"),
        ("rename", {}, "name"),
    ],
)
async def test_a_verb_names_the_field_it_cannot_read(
    synced: EngineSync,
    api: EngineClient,
    as_operator: AsyncClient,
    verb: str,
    data: dict[str, str],
    word: str,
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(f"/containers/{id}/{verb}/", data, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(word)


async def test_verbs_are_for_operators_and_by_post(
    synced: EngineSync,
    api: EngineClient,
    as_viewer: AsyncClient,
    as_stranger: AsyncClient,
    as_admin: AsyncClient,
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    for verb in ("start", "stop", "restart", "kill", "pause", "unpause", "remove", "rename"):
        path = f"/containers/{id}/{verb}/"
        assert (await as_viewer.post(path, headers=JSON)).status_code == 403, verb
        assert (await as_stranger.post(path, headers=JSON)).status_code == 401, verb
        assert (await as_admin.get(path)).status_code == 405, verb
    assert (await api.container_inspect(id))["State"]["Status"] == "running"
    assert not await AuditEntry.objects.filter(action__startswith="container.").aexists()


async def test_verbs_need_the_token_of_the_page(synced: EngineSync, api: EngineClient, operator: Any) -> None:
    id = await make_container(api, "web")
    await seen(id)
    browser = AsyncClient(enforce_csrf_checks=True)
    await browser.aforce_login(operator)
    assert (await browser.post(f"/containers/{id}/kill/", headers=JSON)).status_code == 403
    page = (await browser.get("/containers/")).content.decode()
    token = page.split('name="csrf-token" content="')[1].split('"')[0]
    answer = await browser.post(f"/containers/{id}/kill/", headers={**JSON, "x-csrftoken": token})
    assert answer.json()["ok"] is True


async def test_a_verb_without_an_engine_says_so_plainly(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    await fake.go_away()
    answer = await as_operator.post(f"/containers/{id}/stop/", headers=JSON)
    assert answer.status_code == 503
    assert "engine does not answer" in answer.json()["message"]
    assert (await last_audit("container.stop")).result == "failed"
    assert (await as_operator.get("/containers/")).status_code == 200
    assert (await as_operator.get(f"/containers/{id}/")).status_code == 200


async def test_a_verb_is_carried_out_when_the_asker_leaves(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web", "sh", "-c", "trap 'sleep 0.3; exit 0' TERM; sleep 1000 & wait")
    await seen(id, state="running")
    asking = asyncio.create_task(as_operator.post(f"/containers/{id}/stop/", headers=JSON))
    await eventually(lambda: AuditEntry.objects.filter(action="container.stop").aexists())
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await seen(id, state="exited")
    await eventually(lambda: AuditEntry.objects.filter(action="container.stop", result="ok").aexists())


async def test_bulk_answers_for_each_in_the_order_asked(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    one, two = await make_container(api, "one"), await make_container(api, "two", start=False)
    await seen(one, state="running")
    await seen(two)
    data = {"verb": "pause", "ids": [two, "f" * 64, one]}
    answer = (await as_operator.post("/containers/bulk/", data, headers=JSON)).json()
    assert [(item["id"], item["ok"]) for item in answer["results"]] == [
        (two, False),
        ("f" * 64, False),
        (one, True),
    ]
    assert answer["ok"] is False
    assert answer["results"][0]["name"] == "two"
    await seen(one, state="paused")
    for bad in ({"verb": "explode", "ids": [one]}, {"verb": "stop"}, {"verb": "stop", "ids": ["x"] * 501}):
        assert (await as_operator.post("/containers/bulk/", bad, headers=JSON)).status_code == 400
    assert (await as_operator.get("/containers/bulk/")).status_code == 405


async def test_bulk_goes_side_by_side(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, tmp_path: Path
) -> None:
    # Each goes when it sees that the five others are asked to go, too.
    script = """
    trap 'touch "$1/asked-$2"; until [ $(ls "$1" | wc -l) = 12 ]; do sleep 0.05; done; kill $!; exit 7' TERM
    touch "$1/ready-$2"
    sleep 1000 & wait
    """
    ids = [
        await make_container(api, f"c{n}", "sh", "-c", script, "sh", str(tmp_path), str(n)) for n in range(6)
    ]
    for id in ids:
        await seen(id, state="running")

    async def ready() -> bool:
        return len(list(tmp_path.iterdir())) == len(ids)

    await eventually(ready)
    answer = await as_operator.post("/containers/bulk/", {"verb": "stop", "ids": ids}, headers=JSON)
    assert answer.json()["ok"] is True
    for id in ids:
        assert (await api.container_inspect(id))["State"]["ExitCode"] == 7


# Run


FORM = {"image": "busybox:latest", "restart": "no"}


async def test_run_makes_starts_and_shows_the_container(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    form = {
        **FORM,
        "name": "shop",
        "command": "sleep 'one thousand'",
        "entrypoint": "sh -c true",
        "env": "A=1\nB=2",
        "ports": "8080:80",
        "labels": "team=shop",
        "memory": "64m",
        "cpus": "0.5",
        "pids": "50",
        "workdir": "/tmp",
        "user": "nobody",
        "hostname": "shop",
        "tty": "on",
        "open_stdin": "on",
        "restart": "on-failure:5",
    }
    answer = await as_operator.post("/containers/run/", form)
    assert answer.status_code == 302
    id = answer["Location"].split("/")[2]
    body = await api.container_inspect(id)
    assert body["Name"] == "/shop"
    assert (body["Path"], body["Args"]) == ("sh", ["-c", "true", "sleep", "one thousand"])
    assert {"A=1", "B=2"} <= set(body["Config"]["Env"])
    assert body["Config"]["User"] == "nobody"
    assert body["Config"]["Tty"] is True
    assert (body["HostConfig"]["Memory"], body["HostConfig"]["NanoCpus"]) == (64 << 20, 500_000_000)
    assert body["HostConfig"]["PidsLimit"] == 50
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert body["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    entry = await last_audit("container.create")
    assert (entry.object_id, entry.object_name, entry.detail) == (id, "shop", "busybox:latest")
    assert (await as_operator.get(answer["Location"])).status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image", "", "required"),
        ("image", "no such", "not the name"),
        ("image", "missing:1", "No such image"),
        ("name", "-bad", "starts with a letter"),
        ("ports", "80:x", "not a port"),
        ("env", "=1", "not KEY=VALUE"),
        ("volumes", "data:relative", "starts with /"),
        ("memory", "lots", "not a size"),
        ("cpus", "none", "number"),
        ("pids", "-2", "greater"),
        ("workdir", "tmp", "starts with /"),
        ("command", "echo 'x", "never closed"),
        ("restart", "maybe", "restart policy"),
        ("network", "shop ip=x", "not an address"),
        ("devices", "null", "/dev/name"),
        ("health_interval", "soon", "not a time"),
    ],
)
async def test_run_names_the_field_that_is_wrong(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, field: str, value: str, words: str
) -> None:
    answer = await as_operator.post("/containers/run/", {**FORM, field: value})
    assert answer.status_code == 400
    assert words in " ".join(answer.context["form"].errors[field])
    assert not await api.container_list(all=True)


async def test_what_only_the_engine_knows_is_said_of_the_form_as_a_whole(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    answer = await as_operator.post("/containers/run/", {**FORM, "network": "nowhere"})
    assert answer.status_code == 400
    assert "nowhere" in " ".join(answer.context["form"].non_field_errors())
    assert not await api.container_list(all=True)


async def test_run_joins_every_network_or_makes_nothing(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    await api.network_create({"Name": "front"})
    answer = await as_operator.post("/containers/run/", {**FORM, "network": "front alias=www\nnowhere"})
    assert answer.status_code == 400
    assert not await api.container_list(all=True)
    answer = await as_operator.post("/containers/run/", {**FORM, "network": "front alias=www\nbridge"})
    body = await api.container_inspect(answer["Location"].split("/")[2])
    assert body["NetworkSettings"]["Networks"].keys() == {"front", "bridge"}
    assert body["NetworkSettings"]["Networks"]["front"]["Aliases"] == ["www"]


async def test_run_with_a_name_that_is_taken(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    await make_container(api, "shop")
    answer = await as_operator.post("/containers/run/", {**FORM, "name": "shop"})
    assert answer.status_code == 400
    assert "already in use" in answer.context["form"].errors["name"][0]
    assert (await last_audit("container.create")).result == "refused"


async def test_run_with_a_command_that_is_not_there_keeps_the_container_and_says_why(
    synced: EngineSync, as_operator: AsyncClient
) -> None:
    answer = await as_operator.post("/containers/run/", {**FORM, "command": "no-such-program"}, follow=True)
    assert answer.status_code == 200
    assert b"did not start" in answer.content
    assert b"no-such-program" in answer.content


async def test_run_is_for_operators(
    synced: EngineSync, as_viewer: AsyncClient, as_stranger: AsyncClient, as_operator: AsyncClient
) -> None:
    assert (await as_viewer.post("/containers/run/", FORM)).status_code == 403
    assert (await as_viewer.get("/containers/run/")).status_code == 403
    assert (await as_stranger.post("/containers/run/", FORM)).status_code == 302
    answer = await as_operator.get("/containers/run/?image=busybox:latest")
    assert answer.status_code == 200
    assert b'value="busybox:latest"' in answer.content
    assert "busybox:latest" in answer.context["images"]
    assert (await as_operator.put("/containers/run/")).status_code == 405


async def test_names_of_containers_never_become_markup(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    evil = "<script>alert(1)</script>"
    id = await make_container(api, "web", "sleep", "1000", evil, Labels={evil: evil}, Env=[f"A={evil}"])
    await seen(id)
    for path in (
        "/containers/",
        *(f"/containers/{id}/{tab}" for tab in TABS),
        "/admin/containers_app/container/",
    ):
        assert evil.encode() not in (await as_admin.get(path)).content, path


# Opening terminals


async def test_terminal_open_finds_a_shell_and_leaves_an_audit_row(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(
        f"/containers/{id}/terminal/open/", {"cols": "120", "rows": "40"}, headers=JSON
    )
    opened = answer.json()
    assert (answer.status_code, opened["ok"]) == (200, True)
    shells = opened["shells"]
    assert shells[0].rpartition("/")[2] == opened["title"]
    assert {"sh", opened["title"]} <= {path.rpartition("/")[2] for path in shells}
    again = await as_operator.post(f"/containers/{id}/terminal/open/", {"command": shells[-1]}, headers=JSON)
    assert again.json()["title"] == shells[-1].rpartition("/")[2]
    assert (
        f'data-shells="{" ".join(shells)}"'
        in (await as_operator.get(f"/containers/{id}/terminal/")).content.decode()
    )
    session = await TerminalSession.objects.aget(pk=opened["session"])
    assert opened["websocket"] == f"/ws/terminal/{session.pk}/"
    assert (session.columns, session.rows, session.kind) == (120, 40, "shell")
    assert (await last_audit("container.shell")).result == "ok"


@pytest.mark.parametrize("tells", [True, False])
async def test_terminal_open_says_what_exists_when_there_is_no_shell(
    synced: EngineSync,
    api: EngineClient,
    as_operator: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    fake: FakeEngine,
    tells: bool,
) -> None:
    async def shells(ref: str) -> list[str]:
        if not tells:
            raise NotFound("page not found")
        return []

    monkeypatch.setattr(fake.rooms.containers, "shells", shells)
    monkeypatch.setattr("containers_app.shells.SH_QUESTION", ["/no/sh", "-c", ""])
    monkeypatch.setattr("containers_app.shells.OTHERS", (["/no/bash"],))
    monkeypatch.setattr("containers_app.shells._found", {})
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(f"/containers/{id}/terminal/open/", headers=JSON)
    assert answer.status_code == 409
    assert "no shell" in answer.json()["message"]
    assert "sleep" in answer.json()["message"]
    assert answer.json()["programs"] == ["sleep"]
    assert not await TerminalSession.objects.aexists()


async def test_terminal_open_of_a_stopped_container(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web", start=False)
    await seen(id)
    for kind in ("shell", "attach"):
        answer = await as_operator.post(f"/containers/{id}/terminal/open/", {"kind": kind}, headers=JSON)
        assert answer.status_code == 409
        assert "not running" in answer.json()["message"]
        assert (await last_audit(f"container.{kind}")).result == "refused"


@pytest.mark.parametrize("data", [{"kind": "root"}, {"command": "echo 'x"}])
async def test_terminal_open_names_the_field_it_cannot_read(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, data: dict[str, str]
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    answer = await as_operator.post(f"/containers/{id}/terminal/open/", data, headers=JSON)
    assert answer.status_code == 400
    assert json.loads(answer.content)["message"].startswith(next(iter(data)))


async def test_terminal_open_is_for_people_with_the_right(
    synced: EngineSync,
    api: EngineClient,
    as_viewer: AsyncClient,
    as_stranger: AsyncClient,
    as_admin: AsyncClient,
) -> None:
    id = await make_container(api, "web")
    await seen(id)
    path = f"/containers/{id}/terminal/open/"
    assert (await as_viewer.post(path, headers=JSON)).status_code == 403
    assert (await as_stranger.post(path, headers=JSON)).status_code == 401
    assert (await as_admin.get(path)).status_code == 405


async def test_run_offers_to_pull_an_image_that_is_missing(
    synced: EngineSync, as_operator: AsyncClient
) -> None:
    answer = await as_operator.post("/containers/run/", {**FORM, "image": "missing:1"})
    assert answer.context["missing_image"] == "missing:1"
    answer = await as_operator.post("/containers/run/", {**FORM, "image": "bad name"})
    assert "missing_image" not in answer.context


async def test_an_image_that_was_missing_is_pulled_and_run(
    synced: EngineSync, api: EngineClient, fake: FakeEngine, as_operator: AsyncClient
) -> None:
    fake.offer("missing:1")
    token = uuid4().hex
    form = {**FORM, "image": "missing:1", "name": "late", "command": "sleep 1000", "token": token}
    first = await as_operator.post("/containers/run/", form)
    assert (first.status_code, first.context["token"]) == (400, token)  # the page that offers the pull
    asked = await as_operator.post("/images/pull/", {"reference": "missing:1"}, headers=JSON)
    await eventually(Job.objects.filter(pk=asked.json()["pull"], state="done").aexists)
    answer = await as_operator.post("/containers/run/", form)
    made = await api.container_inspect("late")
    assert answer.headers["location"] == f"/containers/{made['Id']}/"
    assert made["State"]["Running"]
    again = await as_operator.post("/containers/run/", form)  # sent twice, made once
    assert again.headers["location"] == f"/containers/{made['Id']}/"
    assert len(await api.container_list(all=True)) == 1


async def test_run_like_another_makes_the_same_again(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    form = {
        **FORM,
        "name": "first",
        "command": "sleep 'one thousand'",
        "env": "A=1",
        "ports": "127.0.0.1:8080:80\n53:53/udp",
        "volumes": "data:/data",
        "labels": "team=shop",
        "memory": "64m",
        "cpus": "0.5",
        "pids": "50",
        "workdir": "/tmp",
        "tty": "on",
        "restart": "on-failure:5",
    }
    made = (await as_operator.post("/containers/run/", form))["Location"].split("/")[2]
    page = await as_operator.get(f"/containers/run/?from={made}")
    initial = page.context["form"].initial
    again = {key: "on" if value is True else value for key, value in initial.items() if value is not False}
    assert "name" not in again
    again["from"] = made
    answer = await as_operator.post("/containers/run/", again)
    assert answer.status_code == 302, answer.context["form"].errors
    one = await api.container_inspect(made)
    two = await api.container_inspect(answer["Location"].split("/")[2])
    assert one["HostConfig"] == two["HostConfig"]
    assert one["Config"]["Labels"].pop("webdock.claim") != two["Config"]["Labels"].pop("webdock.claim")
    for key in ("Cmd", "Env", "Labels", "WorkingDir", "Tty", "ExposedPorts", "Image"):
        assert one["Config"].get(key) == two["Config"].get(key), key
    assert (await as_operator.get(f"/containers/run/?from={'f' * 64}")).status_code == 404


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (("stop", {"timeout": "1"}), ("remove", {"force": "1"})),
        (("restart", {"timeout": "0"}), ("remove", {"force": "1"})),
        (("pause", {}), ("stop", {"timeout": "0"})),
        (("kill", {}), ("restart", {"timeout": "0"})),
        (("rename", {"name": "this"}), ("rename", {"name": "that"})),
        (("rename", {"name": "this"}), ("remove", {"force": "1"})),
        (("remove", {"force": "1"}), ("remove", {"force": "1"})),
    ],
    ids=lambda verb: verb[0],
)
async def test_two_tabs_that_want_contrary_things_each_hear_what_became_of_theirs(
    synced: EngineSync,
    api: EngineClient,
    as_operator: AsyncClient,
    here: tuple[str, dict[str, str]],
    there: tuple[str, dict[str, str]],
) -> None:
    for first, second in ((here, there), (there, here)):
        id = await make_container(api, "torn")
        await eventually(Container.objects.filter(container_id=id, state="running").aexists)
        asked = [
            as_operator.post(f"/containers/{id}/{verb}/", fields, headers=JSON)
            for verb, fields in (first, second)
        ]
        answers = await asyncio.gather(*asked)
        for answer in answers:
            assert answer.status_code < 500, answer.content
            assert answer.json()["message"].endswith((".", "!")), answer.content
        assert any(answer.json()["ok"] for answer in answers)
        with contextlib.suppress(NotFound):
            await api.container_remove(id, force=True)
        await eventually(Container.objects.filter(container_id=id, removed_at__isnull=False).aexists)

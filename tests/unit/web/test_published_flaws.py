"""Flaws that were published of dashboards like this one: each class has a test of its name."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.models import Container
from runtime.api import types
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, Forbidden, InvalidArgument
from runtime.config import PolicyConfig, parse_config
from runtime.images import reference
from runtime.server.decode import Query, load_json, shape
from runtime.server.explain import explain
from runtime.server.policy import Asked, Facts, Policy
from tests.unit.web.conftest import browser_of, closing, eventually, make_container
from webdock.engines.sync import EngineSync
from webdock.people import holding
from webdock.people.models import Belonging

ROOT = Path(__file__).resolve().parents[3]
JSON = {"accept": "application/json"}
POLICY = Policy(PolicyConfig())
WILD = {"Id": "f" * 64, "HostConfig": {"Privileged": True}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/build"),
        ("POST", "/v1.47/session"),
        ("POST", "/grpc"),
        ("POST", "/plugins/pull"),
        ("POST", "/swarm/init"),
        ("GET", "/containers/x/../../info"),
        ("POST", "//containers//create/"),
        ("PATCH", "/containers/create"),
    ],
)
def test_routes_unknown_to_the_proxy_are_refused(method: str, path: str) -> None:
    assert not explain({"method": method, "path": path}, PolicyConfig()).allowed


def test_checks_of_create_are_checks_of_update_too() -> None:
    for body in ({"Devices": [{"PathOnHost": "/dev/sda"}]}, {"DeviceCgroupRules": ["b *:* rwm"]}):
        for operation, asks in (("container_create", {"HostConfig": body}), ("container_update", body)):
            with pytest.raises(Forbidden):
                POLICY.check(Asked(operation, {"ref": "x"}, body=asks), Facts())


@pytest.mark.parametrize(
    "text",
    [
        '{"HostConfig": {"Privileged": false}, "hostconfig": {"Privileged": true}}',  # the last one counts
        '{"HostConfig": {"privileged": true}}',
        '{"HostConfig": {"PRIVILEGED": true, "Privileged": null, "privileged": true}}',
        '{"HostConfig": {"Privileged": 1}}',
        '{"HostConfig": {"Unheard": true}}',
        '{"hostConfig": {"binds": ["/:/x"]}}',
    ],
)
def test_there_is_no_body_the_policy_did_not_see(text: str) -> None:
    def decide() -> None:
        body = shape(load_json(text.encode()), types.ContainerCreateBody, strict=True)
        POLICY.check(Asked("container_create", body={"Image": "x", **body}), Facts())

    with pytest.raises((Forbidden, InvalidArgument)):
        decide()


def test_exec_needs_rights_of_its_own() -> None:
    about = Facts(containers={"x": WILD})
    with pytest.raises(Forbidden):
        POLICY.check(Asked("exec_create", {"ref": "x"}, body={"Cmd": ["sh"]}), about)
    with pytest.raises(Forbidden):
        POLICY.check(Asked("exec_create", {"ref": "y"}, body={"Cmd": ["sh"], "Privileged": True}), Facts())


async def test_what_a_list_hides_exec_files_and_logs_hide_as_well(
    synced: EngineSync, api: EngineClient, operator: User, admin: User, connect: Any
) -> None:
    id = await make_container(api, "zebra42")
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    await Belonging.objects.acreate(kind="container", object_id=id, owner=admin)
    browser = await browser_of(operator)
    assert "zebra42" not in (await browser.get("/containers/")).content.decode()
    answer = await browser.post(f"/containers/{id}/terminal/open/", {"kind": "shell"}, headers=JSON)
    assert answer.status_code == 404
    assert (await browser.get(f"/containers/{id}/files/download/?path=/etc/passwd")).status_code == 404
    assert (await closing(await connect(browser, f"/ws/logs/{id}/")))[0] == 4404


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://testserver:8080",
        "http://sub.testserver",
        "https://testserver",
    ],
)
async def test_no_websocket_opens_for_another_sites_page(
    origin: str | None, admin: User, connect: Any
) -> None:
    socket = await connect(await browser_of(admin), "/ws/rows/containers/", origin=origin)
    assert (await closing(socket))[0] == 4403


async def test_a_token_in_an_address_opens_nothing(operator: User, as_stranger: AsyncClient) -> None:
    browser = await browser_of(operator)
    made = await browser.post("/account/tokens/make/", {"name": "x", "days": "1"})
    token = made.context["token"]
    for query in (f"token={token}", f"access_token={token}", f"Authorization=Bearer%20{token}"):
        assert (await as_stranger.get(f"/api/version?{query}")).status_code == 401


async def test_no_socket_outlives_the_logout(
    operator: User, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "RECHECK_S", 3600.0)
    browser = await browser_of(operator)
    socket = await connect(browser, "/ws/rows/containers/")
    await eventually(_held, 20)
    await browser.post("/logout/")
    assert (await closing(socket, 20))[0] == 4401


async def _held() -> bool:
    return bool(holding._waiting)


@pytest.mark.parametrize(
    "path", ["/srv/ro/../../etc", "/srv/ro/..", "/srv/rw/x", "/srv//../etc", "/srv/\0/x"]
)
def test_no_path_climbs_out_of_an_allowed_directory(path: str) -> None:
    text = '[policy]\nallowed_binds = ["/srv/rw", "/srv/ro:ro"]'
    config = parse_config(text, file=Path("x"), home=Path("/h"), run=Path("/r")).policy
    host = {"Binds": [f"{path}:/x:ro"]}
    with pytest.raises(Forbidden):
        Policy(config).check(Asked("container_create", body={"Image": "x", "HostConfig": host}), Facts())


@pytest.mark.parametrize(
    "name",
    [
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "gopher://x/y",
        "x@y:z/../..",
        "unix:///run/x.sock",
    ],
)
def test_no_registry_address_becomes_a_request_elsewhere(name: str) -> None:
    with pytest.raises(InvalidArgument):
        reference.parse(name)
    with pytest.raises(EngineError):
        POLICY.check(Asked("image_create", query=Query([("fromSrc", name)])), Facts())


def test_no_privileged_code_builds_a_shell_string() -> None:
    found = []
    for path in (ROOT / "runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            shell = any(key.arg == "shell" and ast.unparse(key.value) != "False" for key in node.keywords)
            if shell or name in ("os.system", "os.popen", "asyncio.create_subprocess_shell"):
                found.append(f"{path}:{node.lineno}")
    assert found == []

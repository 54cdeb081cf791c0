"""`policy explain` says what the server would, and totals are counted over all containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import Forbidden
from runtime.config import PolicyConfig
from runtime.server.explain import BadRequest, explain
from runtime.server.policy import Asked, Facts, Policy
from runtime.server.totals import Totals, added, limits_of
from webdock.cli import command

STRICT = PolicyConfig()
CREATE = {"method": "POST", "path": "/v1.41/containers/create?name=x"}


def test_a_harmless_request_is_allowed() -> None:
    verdict = explain({**CREATE, "body": {"Image": "busybox"}}, STRICT)
    assert verdict.allowed
    assert (verdict.request, verdict.operation) == ("POST /v1.41/containers/create", "container_create")
    assert verdict.depends == ()


def test_every_reason_is_told() -> None:
    host = {"Privileged": True, "PidMode": "host", "Binds": ["/etc:/x"]}
    verdict = explain({**CREATE, "body": {"Image": "busybox", "HostConfig": host}}, STRICT)
    assert verdict.reasons == (
        "a privileged container",
        "PidMode 'host'",
        "host path /etc (policy.allowed_binds)",
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"path": "/swarm"}, "no such operation"),
        ({"path": "//containers/../info"}, "no such operation"),
        ({"path": "/v9.9/info"}, "client version 9.9 is too new"),
        ({**CREATE, "body": {"Imagination": 1}}, "unknown field Imagination"),
        ({**CREATE, "body": {"HostConfig": {"Privileged": "yes"}}}, "HostConfig.Privileged: expected"),
        ({"path": "/info?secret=1"}, "the query parameter 'secret' of info"),
    ],
)
def test_what_the_server_refuses_before_the_policy_is_refused(document: Any, reason: str) -> None:
    verdict = explain(document, STRICT)
    assert not verdict.allowed
    assert reason in verdict.reasons[0]


def test_what_depends_on_the_engine_is_named_and_can_be_told() -> None:
    asks = {"method": "POST", "path": "/containers/db/exec", "body": {"Cmd": ["sh"]}}
    assert explain(asks, STRICT).depends == ("container db",)
    wild = {"Id": "f" * 64, "HostConfig": {"Privileged": True}}
    told = explain({**asks, "state": {"containers": {"db": wild}}}, STRICT)
    assert told.depends == ()
    assert told.reasons == ("entering container ffffffffffff: a privileged container",)
    mounts = {"Image": "x", "HostConfig": {"Binds": ["data:/d"], "NetworkMode": "shop"}}
    assert explain({**CREATE, "body": mounts}, STRICT).depends == ("volume data", "network shop")


@pytest.mark.parametrize(
    "document",
    [None, [], "x", {}, {"path": 1}, {"path": "/info", "more": 1}, {"path": "/info", "method": "GET /x"},
     {"path": "/info", "state": {"containers": []}}, {"path": "/info", "state": {"unknown": {}}}],
)  # fmt: skip
def test_what_is_no_request_is_a_mistake(document: Any) -> None:
    with pytest.raises(BadRequest):
        explain(document, STRICT)


def test_the_command_exits_0_1_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "engine.toml"
    config.write_text('[policy]\nallowed_images = ["webdock/*"]\n')
    file = tmp_path / "request.json"
    common = ["policy", "explain", f"--config={config}", str(file)]
    file.write_text(json.dumps({**CREATE, "body": {"Image": "webdock/busybox"}}))
    assert command.run(common) == 0
    assert capsys.readouterr().out == "allowed: POST /v1.41/containers/create (container_create)\n"
    file.write_text(json.dumps([{**CREATE, "body": {"Image": "redis"}}, {"path": "/info"}]))
    assert command.run([*common, "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["allowed"] for row in rows] == [False, True]
    assert rows[0]["reasons"] == ["image redis (policy.allowed_images)"]
    file.write_text("{")
    assert command.run(common) == 2
    file.write_text(json.dumps({"path": 1}))
    assert command.run(common) == 2


LIMITED = PolicyConfig(memory_total_bytes=1 << 30, cpus_total=2.0)


@pytest.mark.parametrize(
    ("host", "others", "reason"),
    [
        ({"Memory": 1 << 29, "NanoCpus": 10**9}, Totals(1 << 29, 10**9), None),
        ({"NanoCpus": 10**9}, Totals(), "without Memory"),
        ({"Memory": 1 << 20}, Totals(), "without NanoCpus"),
        ({"Memory": 1 << 29, "NanoCpus": 10**9}, Totals((1 << 29) + 1, 0), r"policy\.memory_total"),
        ({"Memory": 1 << 20, "CpuQuota": 150_000}, Totals(0, 10**9), r"policy\.cpus_total"),
        (
            {"Memory": 9, "CpuQuota": 15_000, "CpuPeriod": 10_000},
            Totals(0, 10**9),
            r"policy\.cpus_total",
        ),
    ],
)
def test_totals_are_kept_by_create(host: Any, others: Totals, reason: str | None) -> None:
    asked = Asked("container_create", body={"Image": "x", "HostConfig": host})
    if reason is None:
        Policy(LIMITED).check(asked, Facts(others=others))
        return
    with pytest.raises(Forbidden, match=reason):
        Policy(LIMITED).check(asked, Facts(others=others))


def test_totals_are_kept_by_update() -> None:
    one = {"Id": "c" * 64, "HostConfig": {"Memory": 1 << 28, "NanoCpus": 10**9}}
    about = Facts(containers={"one": one}, others=Totals(1 << 29, 10**9))
    Policy(LIMITED).check(Asked("container_update", {"ref": "one"}, body={"Memory": 1 << 29}), about)
    Policy(LIMITED).check(Asked("container_update", {"ref": "one"}, body={"CpuShares": 5}), about)
    with pytest.raises(Forbidden, match="memory_total"):
        Policy(LIMITED).check(Asked("container_update", {"ref": "one"}, body={"Memory": 3 << 28}), about)
    with pytest.raises(Forbidden, match="cpus_total"):
        Policy(LIMITED).check(Asked("container_update", {"ref": "one"}, body={"NanoCpus": 2 * 10**9}), about)


def test_limits_are_added_up_whatever_their_spelling() -> None:
    hosts = [{"Memory": 5, "NanoCpus": 10}, {}, {"CpuQuota": 50_000}, {"CpuQuota": -1, "Memory": None}]
    assert added(hosts) == Totals(5, 10 + 5 * 10**8)
    assert limits_of({"CpuQuota": 100, "CpuPeriod": 50}) == Totals(0, 2 * 10**9)

"""/metrics: who may read it, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from containers_app.models import Container
from runtime.api.client import EngineClient
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.sync import EngineSync
from webdock.environ import BadVariable, secret


def values(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """{sample name: {label values: value}}, through Prometheus' own parser."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_token_opens_the_metrics_and_they_name_every_running_container(
    synced: EngineSync, api: EngineClient, settings: Any
) -> None:
    settings.METRICS_TOKEN = "s3cret"
    id = await make_container(api, "web")
    await eventually(Container.objects.filter(container_id=id, state="running").aexists)
    answer = await AsyncClient().get("/metrics", headers={"Authorization": "Bearer s3cret"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    found = values(answer.content.decode())
    assert found["webdock_engine_connected"] == {next(iter(found["webdock_engine_connected"])): 1}
    assert found["webdock_containers"][("running",)] == 1
    measured = [set(labels) for labels in found["webdock_container_memory_bytes"]]
    assert measured == [{"web", id[:12], "busybox:latest"}]
    assert found["webdock_container_cpu_seconds_total"].keys() == found["webdock_container_pids"].keys()


@pytest.mark.parametrize("shown", ["", "Bearer wrong", "Bearer ", "Basic s3cret", "s3cret"])
async def test_without_the_token_nothing_is_told(shown: str, transactional_db: None, settings: Any) -> None:
    settings.METRICS_TOKEN = "s3cret"
    answer = await AsyncClient().get("/metrics", headers={"Authorization": shown})
    assert answer.status_code == 401
    assert b"webdock_" not in answer.content


async def test_no_token_configured_means_none_is_right(transactional_db: None, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    answer = await AsyncClient().get("/metrics", headers={"Authorization": "Bearer "})
    assert answer.status_code == 401


async def test_a_login_opens_the_metrics_to_administrators_only(
    as_admin: AsyncClient, as_viewer: AsyncClient
) -> None:
    assert (await as_admin.get("/metrics")).status_code == 200  # an engine that is away is told, not an error
    assert (await as_viewer.get("/metrics")).status_code == 403
    assert (await as_admin.post("/metrics")).status_code == 405


def test_token_is_read_from_the_first_line_of_a_file(tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("  s3cret \nmore\n")
    assert secret({"WEBDOCK_X_FILE": str(file)}, "WEBDOCK_X_FILE") == "s3cret"
    assert secret({}, "WEBDOCK_X_FILE") == ""
    file.write_text("\n")
    with pytest.raises(BadVariable, match="WEBDOCK_X_FILE"):
        secret({"WEBDOCK_X_FILE": str(file)}, "WEBDOCK_X_FILE")
    with pytest.raises(BadVariable, match="cannot be read"):
        secret({"WEBDOCK_X_FILE": str(tmp_path / "none")}, "WEBDOCK_X_FILE")

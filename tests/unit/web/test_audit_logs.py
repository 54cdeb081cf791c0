"""The pages' audit log beside the engine's own: the same after honest work, and not after anything else."""

from __future__ import annotations

import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.test import AsyncClient

from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import make_container
from tests.unit.web.test_container_pages import seen
from webdock.cli.audit import read_log
from webdock.cli.comparison import Difference, compare
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync


@pytest.fixture
def confined(fake: FakeEngine, web_settings: Any) -> FakeEngine:
    """The pages ask over the confined socket, as they do in earnest; whoever has ``fake.url`` is root."""
    web_settings.WEBDOCK_RUN = Path(fake.web_url.removeprefix("unix://")).parent
    web_settings.ENGINES = {"local": fake.web_url}
    return fake


async def compared(engine: FakeEngine) -> Difference:
    out = StringIO()
    await sync_to_async(call_command)("auditrows", "--since=0", f"--until={time.time() + 60}", stdout=out)
    _head, *rows = (json.loads(line) for line in out.getvalue().splitlines())
    lines = read_log(engine.rooms.config.home / "audit")
    return compare(lines, rows, since=0, until=time.time() + 60, tolerance_s=1)


async def test_honest_work_is_in_both_and_a_removed_row_or_a_call_past_the_pages_is_told(
    confined: FakeEngine, synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await seen(id, state="running")
    assert (await as_admin.get(f"/containers/{id}/files/?path=/tmp")).status_code == 200
    for verb in ("stop", "start", "kill"):
        answer = await as_admin.post(f"/containers/{id}/{verb}/", headers={"accept": "application/json"})
        assert answer.status_code == 200, answer.content
    opened = await as_admin.post(f"/containers/{id}/rename/", {"name": "shop"})
    assert opened.status_code == 302
    before = await compared(confined)
    assert not before.found, before
    assert before.compared[0] >= 5  # the four verbs and the listing's exec
    assert before.others >= 2  # what root did

    await AuditEntry.objects.filter(action="container.stop").adelete()
    [missed] = (await compared(confined)).calls
    assert (missed.operation, missed.actor) == ("container_stop", "admin")

    async with EngineClient(confined.web_url) as taken_over:
        await taken_over.container_start(id)
    told = (await compared(confined)).calls
    assert [call.operation for call in told] == ["container_stop", "container_start"]
    assert told[1].line["pid"]

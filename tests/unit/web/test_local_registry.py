"""The registry in one click: the engine hears that it speaks plain HTTP, and nothing root said is lost."""

from __future__ import annotations

from pathlib import Path

from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from webdock.registries import local


async def test_plain_http_is_allowed_once_and_roots_word_is_kept(tmp_path: Path) -> None:
    async with (
        FakeEngine(tmp_path) as fake,
        EngineClient(fake.web_url) as pages,
        EngineClient(fake.url) as root,
    ):
        assert not (await local.look(pages)).reachable
        await local.allow(pages)
        assert (await local.look(pages)).reachable
        [row] = [row for row in await pages.registry_list() if row["Host"] == local.HOST]
        assert (row["Insecure"], row["Local"]) == (True, False)
        await root.registry_set(local.HOST, {"Local": True})
        await local.allow(pages)
        [row] = [row for row in await pages.registry_list() if row["Host"] == local.HOST]
        assert (row["Insecure"], row["Local"]) == (True, True)

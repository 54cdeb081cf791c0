"""What the self-test tells the browser of the request that arrived."""

from __future__ import annotations

from typing import Any

from django.test import AsyncClient


async def test_selftest_says_what_arrived(as_admin: AsyncClient, settings: Any) -> None:
    settings.BEHIND_PROXY = False
    answer = await as_admin.get(
        "/selftest/", headers={"x-forwarded-proto": "https", "x-forwarded-for": "10.9.8.7"}
    )
    assert answer.status_code == 200
    seen = answer.context["seen"]
    assert (seen["scheme"], seen["host"], seen["path"]) == ("http", "testserver", "/selftest/")
    assert (seen["believes"], seen["proto"], seen["forwarded"]) == ("no", "https", "10.9.8.7")
    assert seen["address"] != "10.9.8.7"


async def test_selftest_is_for_administrators(as_viewer: AsyncClient) -> None:
    assert (await as_viewer.get("/selftest/")).status_code == 403
    assert (await as_viewer.post("/selftest/post/")).status_code == 403


async def test_selftest_takes_a_form(as_admin: AsyncClient) -> None:
    assert (await as_admin.post("/selftest/post/")).json() == {"ok": True}
    assert (await as_admin.get("/selftest/post/")).status_code == 405

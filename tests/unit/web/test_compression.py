"""Pages travel compressed to who takes that; downloads, short answers and everybody else get them plain."""

from __future__ import annotations

import gzip

from django.test import AsyncClient

GZIP = {"accept-encoding": "gzip, deflate, br"}


async def test_a_page_is_compressed_for_who_takes_it(as_viewer: AsyncClient) -> None:
    plain = await as_viewer.get("/containers/")
    packed = await as_viewer.get("/containers/", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.content) < len(plain.content) / 3
    assert b"</html>" in gzip.decompress(packed.content)
    assert all("Accept-Encoding" in answer.headers["Vary"] for answer in (plain, packed))
    assert packed.headers["Cache-Control"] == "no-store"


async def test_the_length_of_a_page_tells_nothing_of_what_is_in_it(as_viewer: AsyncClient) -> None:
    lengths = {len((await as_viewer.get("/containers/", headers=GZIP)).content) for _visit in range(12)}
    assert len(lengths) > 1


async def test_answers_of_other_kinds_stay_as_they_are(as_viewer: AsyncClient) -> None:
    for path in ("/healthz", "/static/css/tokens.css"):
        answer = await as_viewer.get(path, headers=GZIP)
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers, path

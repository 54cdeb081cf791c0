"""Static files as they are gathered for serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

from webdock.engines.static import STYLES, HashedStorage


def test_the_styles_of_every_page_are_one_file_in_their_order(tmp_path: Path, settings: Any) -> None:
    source, served = tmp_path / "source", tmp_path / "served"
    for place in (source / "css", served / "css"):
        place.mkdir(parents=True)
        for name in STYLES:
            (place.parent / name).write_text(f".of {{ content: '{name}'; }}\n")
    storage = HashedStorage(location=str(served), base_url="/static/")
    paths = {name: (FileSystemStorage(location=str(source)), name) for name in STYLES}
    assert storage.styles == STYLES
    for _time in range(2):  # gathered again over what is there
        list(storage.post_process(dict(paths)))
        (name,) = storage.styles
        text = (served / storage.stored_name(name)).read_text()
        assert [text.index(one) for one in STYLES] == sorted(text.index(one) for one in STYLES)
        assert (served / f"{storage.stored_name(name)}.gz").exists() or len(text) < 1000


async def test_before_they_are_gathered_a_page_asks_for_each(as_stranger: Any) -> None:
    page = (await as_stranger.get("/login/")).content.decode()
    places = [page.index(f'href="/static/{name}"') for name in STYLES]
    assert places == sorted(places)

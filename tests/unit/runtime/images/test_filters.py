from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api.errors import InvalidArgument, NotFound
from runtime.images.content import ContentStore
from runtime.images.filters import PRUNE_FILTERS, check, flag, matching_names, select
from runtime.images.store import Change, ImageRecord, ImageStore
from tests.fakes.image_files import Image, Layer, file, tar
from tests.unit.runtime.images.test_store import record


def made(content: ContentStore, text: str, created: str, labels: dict[str, str], *names: str) -> ImageRecord:
    image = Image([Layer(tar(file(text)))], config={"created": created, "config": {"Labels": labels}})
    return record(content, image, *names)


@pytest.fixture
async def store(tmp_path: Path) -> ImageStore:
    content = ContentStore(tmp_path)
    content.prepare()
    store = ImageStore(tmp_path, content)
    store.load()
    records = [
        made(content, "old", "2020-01-01T00:00:00Z", {"a": "1"}, "debian:11"),
        made(
            content, "new", "2024-01-01T00:00:00Z", {"a": "2", "b": ""}, "debian:12", "h.example/team/app:v1"
        ),
        made(content, "none", "2022-01-01T00:00:00Z", {}),
    ]
    await store.change(lambda: Change(records))
    return store


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {"debian:11", "debian:12", "<none>"}),
        ({"dangling": ["true"]}, {"<none>"}),
        ({"dangling": ["0"]}, {"debian:11", "debian:12"}),
        ({"label": ["a"]}, {"debian:11", "debian:12"}),
        ({"label": ["a=2"]}, {"debian:12"}),
        ({"label": ["a", "b"]}, {"debian:12"}),
        ({"reference": ["debian"]}, {"debian:11", "debian:12"}),
        ({"reference": ["debian:1*"]}, {"debian:11", "debian:12"}),
        ({"reference": ["debian:11"]}, {"debian:11"}),
        ({"reference": ["*/team/app"]}, {"debian:12"}),
        ({"reference": ["*"]}, {"debian:11", "debian:12"}),
        ({"reference": ["docker.io/library/debian:11"]}, {"debian:11"}),
        ({"reference": ["nope"]}, set()),
        ({"before": ["debian:12"]}, {"debian:11", "<none>"}),
        ({"since": ["debian:11"]}, {"debian:12", "<none>"}),
        ({"until": ["2021-01-01T00:00:00Z"]}, {"debian:11"}),
        ({"since": ["debian:11"], "before": ["debian:12"]}, {"<none>"}),
    ],
)
async def test_select(store: ImageStore, filters: dict[str, list[str]], names: set[str]) -> None:
    found = select(store, filters, store.get, 2_000_000_000)
    assert {image.tags[0] if image.tags else "<none>" for image in found} == names


async def test_a_reference_filter_lets_through_the_names_it_matches(store: ImageStore) -> None:
    assert matching_names(store.get("debian:12"), ["debian"]) == ["debian:12"]


async def test_what_a_filter_cannot_take_is_refused(store: ImageStore) -> None:
    for filters in ({"nope": ["x"]}, {"dangling": ["maybe"]}, {"until": ["soon"]}):
        with pytest.raises(InvalidArgument):
            select(store, filters, store.get, 0)
    with pytest.raises(NotFound):
        select(store, {"before": ["nope"]}, store.get, 0)


def test_check_and_flag() -> None:
    check({"label!": ["x"]}, PRUNE_FILTERS)
    with pytest.raises(InvalidArgument, match="invalid filter 'reference'"):
        check({"reference": ["x"]}, PRUNE_FILTERS)
    assert flag({}, "x") is None
    assert flag({"x": ["True"]}, "x") is True
    with pytest.raises(InvalidArgument):
        flag({"x": ["true", "false"]}, "x")

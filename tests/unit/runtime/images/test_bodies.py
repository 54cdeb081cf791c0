from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images import bodies
from runtime.images.content import ContentStore
from runtime.images.store import ImageRecord
from tests.fakes.image_files import Image, Layer, file, simple, tar
from tests.unit.runtime.images.test_store import record


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path)
    store.prepare()
    return store


def test_a_summary_has_every_required_key(content: ContentStore) -> None:
    image = record(content, simple(), "a", "a@sha256:" + "d" * 64)
    body = bodies.summary(image, containers=2, shared_bytes=-1)
    assert body == {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": ["a:latest"],
        "RepoDigests": ["a@sha256:" + "d" * 64],
        "Created": 1704164645,
        "Size": 5,
        "SharedSize": -1,
        "Labels": None,
        "Containers": 2,
    }


def test_a_filter_narrows_tags_and_keeps_their_digests(content: ContentStore) -> None:
    digest = "sha256:" + "d" * 64
    image = record(content, simple(), "a", "b:5/c", f"a@{digest}", f"b:5/c@{digest}")
    body = bodies.summary(image, containers=-1, shared_bytes=-1, names=["a:latest"])
    assert (body["RepoTags"], body["RepoDigests"]) == (["a:latest"], [f"a@{digest}"])


def test_inspect_shows_the_whole_configuration(content: ContentStore) -> None:
    image = replace(record(content, simple(), "a"), tagged_s=1704164645.0)
    body = bodies.inspect(image, driver="overlay2", directories={"UpperDir": "/x"})
    assert body["Id"] == image.id
    assert body["Config"]["Cmd"] == ["sh"]
    assert set(body["Config"]) >= {"Env", "Entrypoint", "Labels", "Volumes", "WorkingDir", "OnBuild"}
    assert body["RootFS"] == {"Type": "layers", "Layers": list(image.diff_ids)}
    assert body["GraphDriver"] == {"Name": "overlay2", "Data": {"UpperDir": "/x"}}
    assert body["Metadata"]["LastTagTime"] == "2024-01-02T03:04:05.000000000Z"
    assert body["Created"] == "2024-01-02T03:04:05.678901234Z"


def with_history(content: ContentStore, *entries: dict[str, object]) -> ImageRecord:
    layers = [Layer(tar(file(str(at)))) for at in range(2)]
    return record(content, Image(layers, config={"history": list(entries)}), "a")


def test_history_is_newest_first_and_counts_empty_layers_as_nothing(content: ContentStore) -> None:
    image = with_history(
        content,
        {"created": "2024-01-01T00:00:00Z", "created_by": "ADD"},
        {"created_by": "ENV", "empty_layer": True},
        {"created_by": "RUN", "comment": "c"},
    )
    rows = bodies.history(image, [10, 20], {image.id: ["a:latest"]})
    assert [(row["CreatedBy"], row["Size"]) for row in rows] == [("RUN", 20), ("ENV", 0), ("ADD", 10)]
    assert [row["Id"] for row in rows] == [image.id, "<missing>", "<missing>"]
    assert rows[0]["Tags"] == ["a:latest"]
    assert rows[2]["Created"] == 1704067200


def test_a_history_that_does_not_fit_the_layers_is_replaced(content: ContentStore) -> None:
    rows = bodies.history(with_history(content, {"created_by": "x"}), [10, 20], {})
    assert [row["Size"] for row in rows] == [20, 10]

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api.errors import Conflict
from runtime.images.content import ContentStore
from runtime.images.remove import Removal, plan
from runtime.images.store import Change, ImageRecord, ImageStore
from tests.fakes.image_files import simple
from tests.unit.runtime.images.test_store import record

DIGEST = "sha256:" + "d" * 64
STOPPED, RUNNING = [("c" * 64, False)], [("f" * 64, True)]


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path)
    store.prepare()
    return store


@pytest.fixture
def store(content: ContentStore) -> ImageStore:
    store = ImageStore(content.root, content)
    store.load()
    return store


async def put(content: ContentStore, store: ImageStore, *names: str, text: str = "a") -> ImageRecord:
    made = record(content, simple(text), *names)
    await store.change(lambda: Change([made]))
    return made


def remove(
    store: ImageStore, ref: str, *, force: bool = False, users: list[tuple[str, bool]] | None = None
) -> Removal:
    image, name = store.resolve(ref)
    return plan(store, lambda id: users or [], image, name, force=force, prune=True)


def told(removal: Removal) -> list[str]:
    return [name.familiar for _, name in removal.untagged] + [image.id for image in removal.deleted]


async def test_one_name_of_several_is_only_taken_away(content: ContentStore, store: ImageStore) -> None:
    await put(content, store, "a:1", "a:2", f"a@{DIGEST}")
    removal = remove(store, "a:1")
    assert told(removal) == ["a:1"]
    assert removal.kept is not None
    assert removal.kept.tags == ["a:2"]


async def test_the_last_name_takes_the_digests_and_the_image_along(
    content: ContentStore, store: ImageStore
) -> None:
    image = await put(content, store, "a:1", f"a@{DIGEST}")
    removal = remove(store, "a:1")
    assert told(removal) == ["a:1", f"a@{DIGEST}", image.id]
    assert removal.change == Change([], [image.id])


async def test_an_id_takes_all_when_there_is_one_name(content: ContentStore, store: ImageStore) -> None:
    image = await put(content, store, "a:1", f"a@{DIGEST}")
    assert told(remove(store, image.id[7:19])) == ["a:1", f"a@{DIGEST}", image.id]


async def test_an_id_with_several_names_must_be_forced(content: ContentStore, store: ImageStore) -> None:
    image = await put(content, store, "a:1", "b:1")
    with pytest.raises(Conflict) as caught:
        remove(store, image.id)
    assert caught.value.message == (
        f"conflict: unable to delete {image.id[7:19]} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert told(remove(store, image.id, force=True)) == ["a:1", "b:1", image.id]


async def test_a_stopped_container_holds_the_last_name(content: ContentStore, store: ImageStore) -> None:
    image = await put(content, store, "a:1")
    with pytest.raises(Conflict) as caught:
        remove(store, "a:1", users=STOPPED)
    assert caught.value.message == (
        'conflict: unable to remove repository reference "a:1" (must force) - '
        f"container {'c' * 12} is using its referenced image {image.id[7:19]}"
    )
    assert told(remove(store, "a:1", users=STOPPED, force=True)) == ["a:1", image.id]


async def test_a_stopped_container_holds_the_id(content: ContentStore, store: ImageStore) -> None:
    image = await put(content, store, "a:1")
    with pytest.raises(
        Conflict, match=rf"must be forced\) - image is being used by stopped container {'c' * 12}"
    ):
        remove(store, image.id, users=STOPPED)


async def test_a_running_container_cannot_be_forced(content: ContentStore, store: ImageStore) -> None:
    image = await put(content, store, "a:1")
    with pytest.raises(
        Conflict, match=rf"cannot be forced\) - image is being used by running container {'f' * 12}"
    ):
        remove(store, image.id, users=RUNNING, force=True)


async def test_forcing_the_name_of_a_running_containers_image_only_unnames_it(
    content: ContentStore, store: ImageStore
) -> None:
    await put(content, store, "a:1")
    removal = remove(store, "a:1", users=RUNNING, force=True)
    assert told(removal) == ["a:1"]
    assert removal.kept is not None
    assert removal.kept.names == ()


async def test_a_second_name_may_go_while_a_container_runs(content: ContentStore, store: ImageStore) -> None:
    await put(content, store, "a:1", "a:2")
    assert told(remove(store, "a:1", users=RUNNING)) == ["a:1"]


async def test_an_image_with_children_stays_and_an_unnamed_parent_goes_with_the_child(
    content: ContentStore, store: ImageStore
) -> None:
    parent = await put(content, store, "parent")
    child = replace(record(content, simple("child"), "child"), parent=parent.id)
    await store.change(lambda: Change([child]))
    with pytest.raises(Conflict, match="dependent child images"):
        remove(store, parent.id)
    removal = remove(store, "parent")
    assert told(removal) == ["parent:latest"]
    await store.change(lambda: removal.change)
    assert told(remove(store, "child")) == ["child:latest", child.id, parent.id]

"""Promises about images: list, inspect, history, tags, removal, archives, words of errors."""

from __future__ import annotations

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from runtime.api.streams import JsonStream
from runtime.api.types import ImageLayers, LayerChange
from tests.conformance.api import Api
from tests.conformance.conftest import BUSYBOX, HELLO, MakeContainer, UnderTest
from tests.fakes.image_files import simple
from tests.fakes.registry import FakeRegistry


@pytest.fixture
async def tag(client: EngineClient, name: str) -> str:
    """A tag of our own on the busybox image; removed with the test's last image."""
    await client.image_tag(BUSYBOX, repo=f"cf/{name}", tag="one")
    return f"cf/{name}:one"


@pytest.fixture(autouse=True)
async def _clean(client: EngineClient, name: str):  # type: ignore[no-untyped-def]
    yield
    for image in await client.image_list():
        for full in image["RepoTags"] or ():
            if full.startswith(f"cf/{name}"):
                await client.image_remove(full, force=True)


async def test_a_registry_on_loopback_needs_no_configuration(client: EngineClient, engine: UnderTest) -> None:
    if engine.kind == "fake":
        return
    registry = await FakeRegistry().start()
    name = f"{registry.host}/team/app:v1"
    try:
        registry.put("team/app", "v1", simple())
        told = [item async for item in client.image_pull(name)]
        assert not [item for item in told if "error" in item]
        assert name in (await client.image_inspect(name))["RepoTags"]
        await client.image_remove(name)
    finally:
        await registry.stop()


async def test_list_has_the_starter_images(client: EngineClient) -> None:
    tags = {tag for image in await client.image_list() for tag in image["RepoTags"] or ()}
    assert {HELLO, BUSYBOX} <= tags


async def test_ids_are_digests_and_sizes_numbers(client: EngineClient) -> None:
    for image in await client.image_list():
        assert image["Id"].startswith("sha256:")
        assert len(image["Id"]) == 71
        assert image["Size"] > 0
        assert image["Created"] > 0


@pytest.mark.parametrize("short", [12, 20, 64])
async def test_ids_and_their_prefixes_lead_to_the_image(client: EngineClient, short: int) -> None:
    full = (await client.image_inspect(BUSYBOX))["Id"]
    bare = full.removeprefix("sha256:")[:short]
    for ref in (bare, f"sha256:{bare}", "webdock/busybox", f"docker.io/{BUSYBOX}"):
        assert (await client.image_inspect(ref))["Id"] == full


async def test_inspect_tells_configuration_and_layers(client: EngineClient) -> None:
    image = await client.image_inspect(BUSYBOX)
    assert BUSYBOX in image["RepoTags"]
    assert image["Os"] == "linux"
    assert image["Architecture"]
    assert image["Config"]["Cmd"] == ["sh"]
    assert image["RootFS"]["Type"] == "layers"
    assert all(layer.startswith("sha256:") for layer in image["RootFS"]["Layers"])


async def test_history_begins_with_the_image(client: EngineClient) -> None:
    full = (await client.image_inspect(BUSYBOX))["Id"]
    history = await client.image_history(BUSYBOX)
    assert history[0]["Id"] == full
    assert BUSYBOX in history[0]["Tags"]
    assert all(isinstance(entry["Size"], int) for entry in history)


@pytest.mark.parametrize("look", ["json", "history"])
async def test_an_unknown_image_is_not_found(api: Api, look: str) -> None:
    answer = await api("GET", f"/images/no/such/{look}")
    assert answer.status == 404
    assert answer.message.lower().endswith("no such image: no/such:latest")


@pytest.mark.parametrize("bad", ["UPPER", "a//b", "a:b:c", "-x", "a:" + "x" * 200])
async def test_a_bad_reference_is_refused(client: EngineClient, engine: UnderTest, bad: str) -> None:
    with pytest.raises((InvalidArgument, NotFound)):
        await client.image_inspect(bad)
    with pytest.raises(InvalidArgument if engine.ours else EngineError, match=r"invalid|No such image"):
        await client.image_tag(BUSYBOX, repo=bad)


async def test_a_tag_is_another_name(client: EngineClient, tag: str) -> None:
    image = await client.image_inspect(BUSYBOX)
    assert {BUSYBOX, tag} <= set(image["RepoTags"])
    assert (await client.image_inspect(tag))["Id"] == image["Id"]


async def test_tag_answers_201(api: Api, name: str) -> None:
    assert (await api("POST", f"/images/{BUSYBOX}/tag?repo=cf/{name}&tag=two")).status == 201
    assert (await api("POST", f"/images/no/such/tag?repo=cf/{name}")).status == 404


async def test_removing_one_of_several_tags_only_untags(client: EngineClient, tag: str) -> None:
    assert await client.image_remove(tag) == [{"Untagged": tag}]
    assert (await client.image_inspect(BUSYBOX))["Id"]


async def test_an_id_with_several_tags_is_removed_only_by_force(client: EngineClient, tag: str) -> None:
    full = (await client.image_inspect(tag))["Id"]
    with pytest.raises(Conflict, match="image is referenced in multiple repositories"):
        await client.image_remove(full)


async def test_an_image_in_use_is_not_removed(client: EngineClient, make_container: MakeContainer) -> None:
    container = await make_container("sleep", "1000", image=BUSYBOX, start=True)
    with pytest.raises(Conflict, match="container") as caught:
        await client.image_remove(BUSYBOX)
    assert container[:12] in caught.value.message


async def test_removing_nothing_is_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound, match=r"(?i)no such image: no/such:latest"):
        await client.image_remove("no/such")


async def test_reference_and_dangling_filters(client: EngineClient, tag: str) -> None:
    found = await client.image_list(filters={"reference": [tag.split(":")[0]]})
    assert len(found) == 1
    assert tag in found[0]["RepoTags"]
    dangling = await client.image_list(filters={"dangling": ["true"]})
    assert all(not image["RepoTags"] or image["RepoTags"] == ["<none>:<none>"] for image in dangling)


async def test_an_unknown_filter_is_refused(client: EngineClient, engine: UnderTest) -> None:
    with pytest.raises(InvalidArgument if engine.ours else EngineError, match=r"(?i)invalid filter"):
        await client.image_list(filters={"colour": ["green"]})


async def test_save_and_load_bring_a_tag_back(client: EngineClient, tag: str) -> None:
    archive = b"".join([chunk async for chunk in client.image_save([tag])])
    await client.image_remove(tag)
    told = [line async for line in client.image_load(archive)]
    assert any(tag in line.get("stream", "") for line in told)
    assert (await client.image_inspect(tag))["Id"]


async def failed(lines: JsonStream) -> bool:
    """Whether a stream of progress was refused, or ended with an error."""
    try:
        return any("error" in line for line in [line async for line in lines])
    except EngineError:
        return True


async def test_rubbish_is_not_loaded(client: EngineClient) -> None:
    assert await failed(client.image_load(b"this is not a tar archive" * 1000))


async def test_commit_makes_an_image_of_a_container(
    client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    container = await make_container("true", start=True)
    await client.container_wait(container)
    made = await client.container_commit(container, repo=f"cf/{name}", tag="made", comment="why", author="me")
    assert made.startswith("sha256:")
    assert (await client.image_inspect(f"cf/{name}:made"))["Id"] == made


async def test_a_pull_of_nothing_says_so(client: EngineClient) -> None:
    assert await failed(client.image_pull("localhost:1/no/such"))


async def test_create_without_a_source_is_refused(api: Api, engine: UnderTest) -> None:
    assert (await api("POST", "/images/create")).status in ((400,) if engine.ours else (400, 404, 500))


async def test_sizes_are_told_when_they_are_asked_for(
    client: EngineClient, tag: str, engine: UnderTest
) -> None:
    plain = {image["Id"]: image for image in await client.image_list()}
    assert {image["SharedSize"] for image in plain.values()} == {-1}
    for image in await client.image_list(shared_size=True, manifests=True):
        if engine.ours:  # from 1.42 and 1.47 on
            assert 0 <= image["SharedSize"] <= image["Size"]
            sizes = [(one["Available"], one["ImageData"]["Size"]["Unpacked"]) for one in image["Manifests"]]
            assert sizes == [(True, image["Size"])]
            assert image["Manifests"][0]["Size"]["Total"] > image["Size"]


async def test_layers_tell_what_they_change(client: EngineClient, engine: UnderTest, api: Api) -> None:
    if not engine.ours:
        with pytest.raises(NotFound):
            await client.image_layers(BUSYBOX)
        return
    inspected = await client.image_inspect(BUSYBOX)
    layers = await client.image_layers(BUSYBOX)
    assert layers.keys() == ImageLayers.__annotations__.keys()
    assert [layer["DiffID"] for layer in layers["Layers"]] == inspected["RootFS"]["Layers"]
    assert sum(layer["Unpacked"] for layer in layers["Layers"]) == layers["Size"] == inspected["Size"]
    assert layers["SharedSize"] + layers["UniqueSize"] == layers["Size"]
    assert all(layer["Size"] > 0 and layer["Images"] >= 1 for layer in layers["Layers"])
    whole = await client.image_layer_changes(BUSYBOX, "0")
    assert whole["Next"] == ""
    assert {change["Kind"] for change in whole["Changes"]} == {"added"}
    assert all(change.keys() == LayerChange.__annotations__.keys() for change in whole["Changes"])
    paged, after = [], ""
    while True:
        page = await client.image_layer_changes(
            BUSYBOX, inspected["RootFS"]["Layers"][0], limit=1, after=after
        )
        paged += page["Changes"]
        after = page["Next"]
        if not after:
            break
    assert paged == whole["Changes"]
    top = await client.image_layer_changes(BUSYBOX, "0", depth=1)
    assert [one["Path"] for one in top["Changes"]] == [
        one["Path"] for one in paged if one["Path"].count("/") == 1
    ]
    for path in ("/layers/99/changes", "/layers/sha256:0/changes"):
        assert (await api("GET", f"/images/{BUSYBOX}{path}")).status == 404
    assert (await api("GET", "/images/cf/none/layers")).status == 404

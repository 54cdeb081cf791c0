"""Endpoints of images and of what registries say about them."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from aiohttp import web

from runtime.api.errors import InvalidArgument
from runtime.images import reference
from runtime.images.ask import searched
from runtime.images.changes import CHANGES_DEFAULT, Asked
from runtime.server.answer import TAR, byte_stream, empty_answer, json_answer, progress_stream
from runtime.server.call import Call

NO_NONE_VERSION = (1, 43)  # up to here clients read "<none>:<none>"
VIRTUAL_SIZE_VERSION = (1, 44)  # up to here clients read VirtualSize


async def image_list(call: Call) -> web.StreamResponse:
    query = call.query
    images = call.engine.images.list(
        all=query.flag("all"),
        filters=query.filters(),
        shared_size=query.flag("shared-size"),
        manifests=query.flag("manifests"),
    )
    return json_answer([_sized(call, _tagged(call, image)) for image in images])


async def image_inspect(call: Call) -> web.StreamResponse:
    return json_answer(_made_of(_sized(call, call.engine.images.inspect(call.ref))))


def _made_of(image: dict[str, Any]) -> dict[str, Any]:
    """The container an image was made of.

    Differs: Docker leaves this out from 1.45 on. docker-compose 1 asks in the newest version and wants it
    nevertheless, to recreate a container with its volumes.
    """
    return {"Container": "", "ContainerConfig": image["Config"], **image}


def _tagged(call: Call, image: dict[str, Any]) -> dict[str, Any]:
    """Older clients know an image without a name by these names."""
    if call.version >= NO_NONE_VERSION or image["RepoTags"] or image["RepoDigests"]:
        return image
    return {**image, "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}


def _sized(call: Call, image: dict[str, Any]) -> dict[str, Any]:
    return image if call.version >= VIRTUAL_SIZE_VERSION else {**image, "VirtualSize": image["Size"]}


async def image_history(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.images.history(call.ref))


async def image_layers(call: Call) -> web.StreamResponse:
    """webdock's own: what is known of each layer."""
    return json_answer(call.engine.images.layers(call.ref))


async def image_layer_changes(call: Call) -> web.StreamResponse:
    """webdock's own: the files of one layer, against those below it."""
    query = call.query
    asked = Asked(
        below=query.text("path", "/"),
        depth=query.integer("depth") or 0,
        after=query.text("after"),
        limit=query.integer("limit") or CHANGES_DEFAULT,
    )
    return json_answer(await call.engine.images.changes(call.ref, call.params["layer"], asked))


async def image_create(call: Call) -> web.StreamResponse:
    query, images = call.query, call.engine.images
    platform = query.text("platform") or None
    source = query.text("fromSrc")
    if query.text("fromImage"):
        _reach(call, query.text("fromImage"))
        items = images.pull(
            query.text("fromImage"), query.text("tag") or None, platform=platform, auth=registry_auth(call)
        )
        return await progress_stream(call, items)
    if not source:
        raise InvalidArgument("image create takes fromImage or fromSrc")
    if source != "-":
        raise InvalidArgument("fromSrc takes only -, the archive is the request's body")
    items = images.import_(
        call.upload(),
        repo=query.text("repo"),
        tag=query.text("tag"),
        message=query.text("message"),
        changes=query.texts("changes"),
        platform=platform,
    )
    return await progress_stream(call, items)


async def image_load(call: Call) -> web.StreamResponse:
    items = call.engine.images.load(call.upload(), quiet=call.query.flag("quiet"))
    return await progress_stream(call, items, begun=True)  # as Docker: clients look for it in the body


async def image_save(call: Call) -> web.StreamResponse:
    refs = [call.ref] if call.params else call.query.texts("names")
    if not refs:
        raise InvalidArgument("no images named to save")
    return await byte_stream(call, call.engine.images.save(refs), TAR)


async def image_push(call: Call) -> web.StreamResponse:
    _reach(call, call.ref)
    items = call.engine.images.push(call.ref, call.query.text("tag") or None, auth=registry_auth(call))
    return await progress_stream(call, items)


async def image_tag(call: Call) -> web.StreamResponse:
    await call.engine.images.tag(call.ref, call.query.text("repo"), call.query.text("tag"))
    return empty_answer(201)


async def image_remove(call: Call) -> web.StreamResponse:
    query = call.query
    return json_answer(
        await call.engine.images.remove(call.ref, force=query.flag("force"), prune=not query.flag("noprune"))
    )


async def image_verify(call: Call) -> web.StreamResponse:
    """webdock's own: look at every byte of images, and mend what can be mended."""
    query = call.query
    items = call.engine.images.verify(query.texts("names"), repair=query.flag("repair"))
    return await progress_stream(call, items)


async def image_prune(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.images.prune(call.query.filters()))


async def image_search(call: Call) -> web.StreamResponse:
    query = call.query
    if not query.text("term"):
        raise InvalidArgument("bad parameter: 'term' cannot be empty")
    limit = query.integer("limit")
    host, _ = searched(query.text("term"))
    call.engine.images.registries.reach(host, confined=call.confined)
    found = await call.engine.images.search(query.text("term"), limit, query.filters())
    return json_answer(found)


async def distribution_inspect(call: Call) -> web.StreamResponse:
    _reach(call, call.ref)
    return json_answer(await call.engine.images.distribution(call.ref, registry_auth(call)))


def _reach(call: Call, name: str) -> None:
    """What is no name is refused by whoever reads it next."""
    try:
        domain = reference.parse(name).domain
    except InvalidArgument:
        return
    call.engine.images.registries.reach(domain, confined=call.confined)


def registry_auth(call: Call) -> dict[str, Any] | None:
    """What X-Registry-Auth says: base64, URL-safe or not, padded or not, over JSON.

    As with Docker, one that says something else is none: clients send a word there to push without a login.
    """
    text = call.request.headers.get("X-Registry-Auth", "").strip()
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
        value = json.loads(data) if data.strip() else {}
    except (binascii.Error, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    return {key: item for key, item in value.items() if isinstance(item, str) and item} or None

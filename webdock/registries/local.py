"""A registry on this machine in one click: a container of the registry image, a volume, a loopback port.

The engine connects to a loopback port that its own container publishes; it only has to be told that plain
HTTP is spoken there. Where it does not let the pages say so, the outcome tells which line of engine.toml is
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, Forbidden, NotFound, NotSupported
from webdock.engines.audit import Actor
from webdock.engines.clients import client as client_of
from webdock.engines.wording import explain
from webdock.jobs.running import LiveJob, start

IMAGE = "registry:2"
CONTAINER = "local-registry"
VOLUME = "local-registry"
PORT = 5000
HOST = f"127.0.0.1:{PORT}"
DATA = "/var/lib/registry"
KIND = "registry"
STEPS = 4


@dataclass(frozen=True)
class Local:
    """What is there of the local registry."""

    host: str = HOST
    image: str = IMAGE
    container: str = ""  # its id
    running: bool = False
    has_image: bool = False
    reachable: bool = False  # the engine may speak plain HTTP to it


async def look(client: EngineClient) -> Local:
    """What is there; an engine that does not answer has nothing."""
    try:
        rows = await client.registry_list()
        reachable = any(row["Host"] == HOST and row["Insecure"] for row in rows)
    except EngineError:
        reachable = False
    try:
        has_image = bool(await client.image_list(filters={"reference": [IMAGE]}))
        made = await client.container_inspect(CONTAINER)
    except NotFound:
        return Local(has_image=has_image, reachable=reachable)
    except EngineError:
        return Local()
    running = bool((made.get("State") or {}).get("Running"))
    return Local(container=str(made["Id"]), running=running, has_image=has_image, reachable=reachable)


def start_local(actor: Actor, alias: str) -> LiveJob:
    """Begin, or join the one that runs. Raises: TooMany."""

    async def work(job: LiveJob) -> str:
        client = client_of(alias)
        job.progress.total = STEPS
        await _have_image(client, job)
        _step(job, 1, _("making the volume and the container"))
        await client.volume_create({"Name": VOLUME})
        id = await _have_container(client)
        _step(job, 2, _("starting it"))
        if not (await client.container_inspect(id))["State"]["Running"]:
            await client.container_start(id)
        _step(job, 3, _("trying it"))
        await allow(client)
        return await _tried(client)

    return start(
        actor,
        KIND,
        work,
        engine=alias,
        object_kind="registry",
        action="registry.local",
        subject=HOST,
        cancels="registries",
        sees="registries",
    )


def _step(job: LiveJob, number: int, words: str) -> None:
    job.progress.current, job.progress.message = number, words
    job.tell()


async def _have_image(client: EngineClient, job: LiveJob) -> None:
    try:
        await client.image_inspect(IMAGE)
        return
    except NotFound:
        pass
    _step(job, 0, _("pulling %(image)s") % {"image": IMAGE})
    try:
        async with client.image_pull(IMAGE) as progress:
            async for news in progress:
                job.progress.take(news)
                job.tell()
    except EngineError as error:
        message = _("%(image)s could not be pulled: %(why)s Debian's docker-registry does the same.")
        raise type(error)(message % {"image": IMAGE, "why": explain(error)}) from None


async def _have_container(client: EngineClient) -> str:
    """The container's id; one of this name that is there already is taken as it is."""
    try:
        return str((await client.container_inspect(CONTAINER))["Id"])
    except NotFound:
        pass
    body: dict[str, Any] = {
        "Image": IMAGE,
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "HostConfig": {
            "PortBindings": {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(PORT)}]},
            "Mounts": [{"Type": "volume", "Source": VOLUME, "Target": DATA}],
            "RestartPolicy": {"Name": "unless-stopped"},
        },
    }
    return (await client.container_create(body, name=CONTAINER))["Id"]


async def allow(client: EngineClient) -> None:
    """Tell the engine that plain HTTP is spoken there; one that takes no word of ours is left as it is."""
    try:
        rows = {row["Host"]: row for row in await client.registry_list()}
        row = rows.get(HOST)
        if row is None or not (row["Insecure"] or row["Source"] == "config"):
            await client.registry_set(HOST, {"Insecure": True, "Local": bool(row and row["Local"])})
    except (Conflict, Forbidden, NotFound, NotSupported):
        pass  # what is missing is told when it is tried


async def _tried(client: EngineClient) -> str:
    try:
        result = await client.registry_test(HOST)
        works = result["Ok"]
    except EngineError:
        works = False
    if works:
        return _("The registry runs at %(host)s. Tag an image %(host)s/name and push it.") % {"host": HOST}
    return _(
        "The registry runs at %(host)s. Before images can be pushed to it, root allows it in engine.toml: "
        '“[registries."%(host)s"]” with “insecure = true” and “local = true”.'
    ) % {"host": HOST}

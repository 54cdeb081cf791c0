"""Images of the fake engine: records in memory, a "registry" of names that can be pulled."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, InvalidArgument, NotFound, Unauthorized
from runtime.events import EventHub
from runtime.images import reference
from runtime.images.changes import Asked
from runtime.images.registries import Registries, host_of
from tests.fakes.rooms import Body, check_filters, find, labels_match, now

HELLO = "webdock/hello:latest"
BUSYBOX = "webdock/busybox:latest"
LIST_FILTERS = ("dangling", "label", "before", "since", "reference", "until")


@dataclass
class Image:
    id: str
    config: Body
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    size: int = 1_200_000
    created: str = field(default_factory=now)
    created_at: int = field(default_factory=lambda: int(time.time()))


@dataclass
class Pullable:
    """What the fake registry has under a name."""

    layers: tuple[int, ...] = (400_000, 800_000)  # bytes
    step_s: float = 0.0  # between two progress documents
    error: str = ""  # instead of the image
    password: str = ""  # needed for it
    config: Body = field(default_factory=lambda: {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/bin:/bin"]})


class FakeImages:
    def __init__(self, events: EventHub, state: Path) -> None:
        self._all: dict[str, Image] = {}
        self._events = events
        state.mkdir(exist_ok=True)
        self.registries = Registries(state / "registries.json", {}, {})
        self.made_by = "/bin/sh -c #(nop) ADD file in / "  # of each layer, says its history
        self.in_use: Callable[[str], list[tuple[str, bool]]] = lambda image_id: []
        self.registry: dict[str, Pullable] = {}
        self.pushed: dict[str, Body | None] = {}  # what was sent along, by name
        self.add("webdock/hello", "latest", config={"Cmd": ["/bin/echo", "Hello from webdock!"]})
        self.add(
            "webdock/busybox",
            "latest",
            config={
                "Cmd": ["sh"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
        )

    def add(self, repo: str, tag: str, *, config: Body | None = None, layers: int = 2) -> str:
        """An image out of thin air; returns its id."""
        config = dict(config or {})
        digest = hashlib.sha256(json.dumps([repo, tag, config, len(self._all)]).encode()).hexdigest()
        image = Image(f"sha256:{digest}", config)
        image.layers = [
            f"sha256:{hashlib.sha256(f'{digest}{n}'.encode()).hexdigest()}" for n in range(layers)
        ]
        self._all[image.id] = image
        if repo:
            self._move_tag(image, f"{repo}:{tag or 'latest'}")
        return image.id

    def _move_tag(self, image: Image, tag: str) -> None:
        for other in self._all.values():
            if tag in other.tags:
                other.tags.remove(tag)
        image.tags.append(tag)

    def get(self, ref: str) -> Image:
        if not ref:
            raise InvalidArgument("invalid reference format")
        if not ref.startswith("sha256:") and not all(char in "0123456789abcdef" for char in ref):
            named = reference.parse(ref)
            full = named.familiar if named.tag or named.digest else f"{named.familiar}:latest"
        else:
            full = f"{ref}:latest"
        for image in self._all.values():
            if full in image.tags or ref in image.digests:
                return image
        bare = {key.removeprefix("sha256:"): image for key, image in self._all.items()}
        try:
            found: Image = find(bare, ref.removeprefix("sha256:"), "image", {})
        except NotFound:
            raise NotFound(f"No such image: {full}") from None
        return found

    def list(
        self,
        *,
        all: bool = False,
        filters: dict[str, list[str]],
        shared_size: bool = False,
        manifests: bool = False,
    ) -> list[Body]:
        check_filters(filters, LIST_FILTERS)
        rows = []
        for image in sorted(self._all.values(), key=lambda one: one.created_at, reverse=True):
            if "label" in filters and not labels_match(image.config.get("Labels") or {}, filters["label"]):
                continue
            if "dangling" in filters and (filters["dangling"][0] in ("true", "1")) == bool(image.tags):
                continue
            if "reference" in filters and not any(
                tag == wanted or tag.split(":")[0] == wanted
                for tag in image.tags
                for wanted in filters["reference"]
            ):
                continue
            rows.append(self._summary(image))
            if shared_size:
                rows[-1]["SharedSize"] = 0
            if manifests:
                rows[-1]["Manifests"] = [self._manifest(image)]
        return rows

    def _summary(self, image: Image) -> Body:
        return {
            "Id": image.id,
            "ParentId": "",
            "RepoTags": list(image.tags),
            "RepoDigests": list(image.digests),
            "Created": image.created_at,
            "Size": image.size,
            "SharedSize": -1,
            "Labels": image.config.get("Labels"),
            "Containers": -1,
        }

    def _manifest(self, image: Image) -> Body:
        kind = "application/vnd.oci.image.manifest.v1+json"
        return {
            "ID": image.id,
            "Descriptor": {"mediaType": kind, "digest": image.id, "size": 500},
            "Available": True,
            "Size": {"Content": image.size // 2, "Total": image.size + image.size // 2},
            "Kind": "image",
            "ImageData": {
                "Platform": {"architecture": "amd64", "os": "linux"},
                "Containers": [container for container, _ in self.in_use(image.id)],
                "Size": {"Unpacked": image.size},
            },
        }

    def layers(self, ref: str) -> Body:
        image = self.get(ref)
        size = image.size // max(1, len(image.layers))
        return {
            "Id": image.id,
            "Size": image.size,
            "SharedSize": 0,
            "UniqueSize": image.size,
            "Layers": [
                {
                    "DiffID": layer,
                    "ChainID": layer,
                    "Digest": layer,
                    "MediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "Size": size // 2,
                    "Unpacked": size,
                    "Images": 1,
                    "Created": image.created,
                    "CreatedBy": self.made_by,
                    "Comment": "",
                }
                for layer in image.layers
            ],
        }

    async def changes(self, ref: str, layer: str, asked: Asked) -> Body:
        """Each layer has /bin with two programs; an upper one changes the second and removes a file."""
        image = self.get(ref)
        at = int(layer) if layer.isdecimal() else [*image.layers, layer].index(layer)
        if at >= len(image.layers):
            raise NotFound(f"No such layer: {layer} of image {image.id[7:19]}")
        rows = [
            _change("/bin", "kept" if at else "added", "directory", 0o755, 0),
            _change(f"/bin/program{at}", "added", "file", 0o755, 4000),
            _change("/bin/sh", "changed" if at else "added", "file", 0o755, 9000),
            *([_change("/etc/motd", "removed", "file", 0o644, 60)] if at else []),
        ]
        below = asked.below.rstrip("/") + "/"
        rows = [row for row in rows if row["Path"].startswith(below)]
        if asked.depth:
            rows = [row for row in rows if row["Path"][len(below) :].count("/") < asked.depth]
        start = int(asked.after or 0)
        more = str(start + asked.limit) if start + asked.limit < len(rows) else ""
        return {"Changes": rows[start : start + asked.limit], "Next": more}

    def inspect(self, ref: str) -> Body:
        image = self.get(ref)
        return {
            "Id": image.id,
            "RepoTags": list(image.tags),
            "RepoDigests": list(image.digests),
            "Parent": "",
            "Comment": "",
            "Created": image.created,
            "DockerVersion": "",
            "Author": "",
            "Config": image.config,
            "Architecture": "amd64",
            "Os": "linux",
            "Size": image.size,
            "GraphDriver": {"Name": "overlay2", "Data": {}},
            "RootFS": {"Type": "layers", "Layers": list(image.layers)},
            "Metadata": {"LastTagTime": image.created},
        }

    def history(self, ref: str) -> list[Body]:
        image = self.get(ref)
        rows = []
        for number, _ in enumerate(reversed(image.layers)):
            rows.append(
                {
                    "Id": image.id if not number else "<missing>",
                    "Created": image.created_at,
                    "CreatedBy": "/bin/sh -c #(nop) ADD file in / ",
                    "Tags": (list(image.tags) or None) if not number else None,
                    "Size": image.size // max(1, len(image.layers)),
                    "Comment": "",
                }
            )
        return rows

    async def verify(self, refs: list[str], *, repair: bool = False) -> AsyncIterator[Body]:
        images = [self.get(ref) for ref in refs] if refs else list(self._all.values())
        yield {"verified": len(images), "findings": 0}

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        image = self.get(ref)
        named = reference.parse_with_tag(repo, tag or None)
        full = named.familiar if named.tag else f"{named.familiar}:latest"
        if full not in image.tags:
            self._move_tag(image, full)
        self._events.publish("image", "tag", image.id, {"name": full})

    async def remove(self, ref: str, *, force: bool = False, prune: bool = True) -> list[Body]:
        image = self.get(ref)
        bare = ref.removeprefix("sha256:")
        by_id = image.id.removeprefix("sha256:").startswith(bare)
        users = self.in_use(image.id)
        if by_id and len(image.tags) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {bare[:12]} (must be forced) - image is referenced in multiple "
                "repositories"
            )
        gone = list(image.tags) if by_id else [ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest"]
        last = by_id or len(image.tags) <= 1
        running = [container for container, runs in users if runs]
        if last and running:
            raise Conflict(
                f'conflict: unable to remove repository reference "{ref}" (cannot be forced) - image is '
                f"being used by running container {running[0][:12]}"
                if by_id and force
                else f'conflict: unable to remove repository reference "{ref}" (must force) - container '
                f"{running[0][:12]} is using its referenced image {image.id[7:19]}"
            )
        if last and users and not force:
            raise Conflict(
                f'conflict: unable to remove repository reference "{ref}" (must force) - container '
                f"{users[0][0][:12]} is using its referenced image {image.id[7:19]}"
            )
        answer: list[Body] = []
        for tag in gone:
            if tag in image.tags:
                image.tags.remove(tag)
                answer.append({"Untagged": tag})
                self._events.publish("image", "untag", image.id, {"name": image.id})
        if not image.tags and not users:
            del self._all[image.id]
            answer.append({"Deleted": image.id})
            self._events.publish("image", "delete", image.id, {"name": image.id})
        return answer

    async def prune(self, filters: dict[str, list[str]]) -> Body:
        check_filters(filters, ("dangling", "until", "label", "label!"))
        everything = filters.get("dangling", ["true"])[0] in ("false", "0")
        answer: list[Body] = []
        for image in list(self._all.values()):
            if not self.in_use(image.id) and (everything or not image.tags):
                del self._all[image.id]
                answer += [{"Untagged": tag} for tag in image.tags]
                answer.append({"Deleted": image.id})
        return {"ImagesDeleted": answer or None, "SpaceReclaimed": 0}

    async def pull(
        self, ref: str, tag: str | None, *, platform: str | None, auth: Body | None
    ) -> AsyncIterator[Body]:
        named = reference.parse_with_tag(ref, tag)
        full = named.familiar if named.tag or named.digest else f"{named.familiar}:latest"
        found = self.registry.get(full)
        if found is None:
            raise NotFound(
                f"pull access denied for {named.familiar_name}, repository does not exist or may require "
                "'docker login'"
            )
        if found.password and (auth or {}).get("password") != found.password:
            raise Unauthorized(f"unauthorized: authentication required for {full}")
        yield {"status": f"Pulling from {named.path}", "id": full.rpartition(":")[2]}
        ids = [hashlib.sha256(f"{full}{n}".encode()).hexdigest()[:12] for n in range(len(found.layers))]
        for layer in ids:
            yield {"status": "Pulling fs layer", "progressDetail": {}, "id": layer}
        for layer, total in zip(ids, found.layers, strict=True):
            for current in range(0, total + 1, max(1, total // 4)):
                yield {
                    "status": "Downloading",
                    "progressDetail": {"current": current, "total": total},
                    "progress": f"{current}B/{total}B",
                    "id": layer,
                }
                await asyncio.sleep(found.step_s)
            yield {"status": "Download complete", "progressDetail": {}, "id": layer}
            yield {"status": "Pull complete", "progressDetail": {}, "id": layer}
        if found.error:
            yield {"errorDetail": {"message": found.error}, "error": found.error}
            return
        repo, _, name = full.rpartition(":")
        made = self.add(repo, name, config=found.config, layers=len(found.layers))
        self._all[made].size = sum(found.layers)
        self._all[made].digests.append(f"{repo}@{made}")
        self._events.publish("image", "pull", full, {"name": named.familiar_name})
        yield {"status": f"Digest: {made}"}
        yield {"status": f"Status: Downloaded newer image for {full}"}

    async def load(self, body: AsyncIterator[bytes], *, quiet: bool = False) -> AsyncIterator[Body]:
        data = b"".join([chunk async for chunk in body])
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                file = archive.extractfile("manifest.json")
                assert file is not None
                manifest = json.load(file)
        except (tarfile.TarError, KeyError, ValueError):
            raise InvalidArgument("invalid archive: does not contain a manifest.json") from None
        for entry in manifest:
            for full in entry["RepoTags"]:
                repo, _, tag = full.rpartition(":")
                made = self.add(repo, tag, config=entry.get("Config_") or {"Cmd": ["sh"]})
                self._events.publish("image", "load", made, {"name": full})
                yield {"stream": f"Loaded image: {full}\n"}

    async def import_(
        self,
        body: AsyncIterator[bytes],
        *,
        repo: str,
        tag: str,
        message: str,
        changes: list[str],
        platform: str | None,
    ) -> AsyncIterator[Body]:
        async for _ in body:
            pass
        yield {"status": self.add(repo, tag, config={}, layers=1)}

    async def save(self, refs: list[str]) -> AsyncIterator[bytes]:
        manifest = []
        for ref in refs:
            image = self.get(ref)
            manifest.append(
                {"Config": "c.json", "RepoTags": list(image.tags), "Layers": [], "Config_": image.config}
            )
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            data = json.dumps(manifest).encode()
            member = tarfile.TarInfo("manifest.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        yield out.getvalue()

    async def push(self, ref: str, tag: str | None, *, auth: Body | None) -> AsyncIterator[Body]:
        image = self.get(f"{ref}:{tag}" if tag else ref)
        self.pushed[f"{ref}:{tag or 'latest'}"] = auth
        yield {"status": f"The push refers to repository [{ref}]"}
        yield {"status": f"{tag or 'latest'}: digest: {image.id} size: 500"}

    async def search(self, term: str, limit: int | None, filters: Any) -> list[Body]:
        rows = [
            {
                "name": name.split(":")[0],
                "description": "",
                "is_official": False,
                "is_automated": False,
                "star_count": 0,
            }
            for name in self.registry
            if term in name
        ]
        return rows[:limit]

    async def distribution(self, ref: str, auth: Body | None) -> Body:
        if ref not in self.registry:
            raise NotFound(f"manifest unknown: {ref}")
        digest = "sha256:" + hashlib.sha256(ref.encode()).hexdigest()
        kind = "application/vnd.oci.image.manifest.v1+json"
        return {
            "Descriptor": {"mediaType": kind, "digest": digest, "size": 500},
            "Platforms": [{"architecture": "amd64", "os": "linux"}],
        }

    async def authenticate(self, auth: Body) -> Body:
        if auth.get("password") == "wrong":
            raise Unauthorized("unauthorized: incorrect username or password")
        return {"Status": "Login Succeeded", "IdentityToken": ""}

    async def try_registry(self, host: str, body: Body, auth: Body | None) -> Body:
        _, mirrors = self.registries.with_changes(host, body)  # type: ignore[arg-type]
        wrong = (auth or {}).get("password") == "wrong"
        rows = [_tried(url, mirror=True, wrong=False) for url in mirrors.get(host_of(host), ())]
        rows.append(_tried(f"https://{host_of(host)}", mirror=False, wrong=wrong))
        return {"Host": host_of(host), "Ok": not wrong, "Tried": rows}


def _change(path: str, kind: str, type: str, mode: int, size: int) -> Body:
    return {
        "Path": path,
        "Kind": kind,
        "Type": type,
        "Mode": mode,
        "UID": 0,
        "GID": 0,
        "Size": size,
        "Link": "",
    }


def _tried(url: str, *, mirror: bool, wrong: bool) -> Body:
    return {
        "Url": url,
        "Mirror": mirror,
        "Ok": not wrong,
        "Auth": "basic",
        "Failed": "credentials" if wrong else "",
        "Message": "unauthorized: incorrect username or password" if wrong else "",
    }

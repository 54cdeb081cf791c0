"""EngineClient: the Engine API for programs, one method per endpoint.

Owns the connections to one engine. Never retries, never caches, never interprets: what the engine says is
returned as it stands, and what it refuses is raised as the class of ``runtime.api.errors`` for its status.
Works against this engine, Docker from 20.10 on, and others that speak the API.

Spec: Docker API 1.47.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from runtime.api.errors import EngineError, EngineUnreachable, PeerProtocolError, from_status
from runtime.api.streams import BUFFER_BYTES, ByteStream, ClientStream, Inlet, JsonStream, LogStream, Place
from runtime.api.types import (
    Change,
    ContainerCreated,
    ImageLayers,
    LayerChanges,
    PathStat,
    RegistryBody,
    RegistryRow,
    RegistryTest,
    VolumeListing,
    WaitResult,
)

API_VERSION = (1, 47)  # the newest this client speaks
CALL_TIMEOUT_S = 60.0  # a short call, head and body
CONNECT_TIMEOUT_S = 10.0
USAGE_IDS = 400  # of one question; they stand in the request line
IDLE_S = 10.0  # a pooled connection is dropped after this, before any engine would
CONNECTIONS = 64  # at once to one engine, streams not counted
HEAD_MAX_BYTES = 64 << 10  # head of the answer to an upgrade
ERROR_MAX_BYTES = 64 << 10  # body of a refusal
PAST_HEADER = "Webdock-Past"  # ours: so many bytes of a stream were written before
PLACE_HEADER = "Webdock-Place"  # ours: where a kept terminal session is

Body = Mapping[str, Any]
Filters = Mapping[str, list[str]]
Upload = AsyncIterator[bytes] | bytes

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?$")


class EngineClient:
    """One engine.

    ``url`` is ``unix:///path``, ``tcp://host:port``, ``http://host:port`` or ``https://host:port``; with
    ``tls`` a tcp URL speaks TLS. Used from one event loop; ``close`` it, or use ``async with``.
    """

    def __init__(
        self, url: str, *, timeout_s: float = CALL_TIMEOUT_S, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        self.url = url
        self._tls = tls
        self._timeout_s = timeout_s
        self._path: str | None = None
        self._host, self._port = "localhost", 0
        if parts.scheme == "unix" and parts.path.startswith("/"):
            self._path = parts.path
        elif parts.scheme in ("tcp", "http", "https") and parts.hostname:
            secure = parts.scheme == "https" or (parts.scheme == "tcp" and tls is not None)
            if secure and tls is None:
                self._tls = ssl.create_default_context()
            self._host = parts.hostname
            self._port = parts.port or (2376 if secure else 2375)
        else:
            raise ValueError(
                f"an engine is unix:///path, tcp://host:port or http(s)://host:port, got {url!r}"
            )
        if self._path is not None or parts.scheme == "http":
            self._tls = None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base = (
            "http://engine"
            if self._path is not None
            else f"{'https' if self._tls else 'http'}://{host}:{self._port}"
        )
        self._session: aiohttp.ClientSession | None = None
        self._version: tuple[int, int] | None = None
        self._negotiating = asyncio.Lock()

    async def close(self) -> None:
        """Close every pooled connection; open streams are closed by their owners."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # System

    async def ping(self) -> dict[str, str]:
        """The engine's ``_ping`` headers, lower case ("api-version", "ostype", "server", ...)."""
        async with await self._send("GET", "/_ping", versioned=False) as response:
            await self._text(response)
            return {key.lower(): value for key, value in response.headers.items()}

    async def api_version(self) -> tuple[int, int]:
        """The version spoken with this engine: the older of its newest and ours."""
        if self._version is None:
            async with self._negotiating:
                if self._version is None:
                    headers = await self.ping()
                    found = re.fullmatch(r"(\d+)\.(\d+)", headers.get("api-version", "1.24"))
                    if found is None:
                        raise PeerProtocolError(f"api version {headers['api-version']!r} from {self.url}")
                    self._version = min(API_VERSION, (int(found[1]), int(found[2])))
        return self._version

    async def version(self) -> dict[str, Any]:
        return await self._object("GET", "/version")

    async def info(self) -> dict[str, Any]:
        return await self._object("GET", "/info")

    async def system_df(self, types: list[str] | None = None) -> dict[str, Any]:
        """What is taken on disk; ``types`` limits it (container, image, volume)."""
        return await self._object("GET", "/system/df", [("type", kind) for kind in types or ()])

    async def auth(self, credentials: Body) -> dict[str, Any]:
        """Try registry credentials ({"username", "password", "serveraddress"})."""
        return await self._object("POST", "/auth", body=credentials)

    def events(
        self, *, since: float | None = None, until: float | None = None, filters: Filters | None = None
    ) -> JsonStream:
        """Events as they happen. ``open`` it (or ``async with``) before listing, and no change is missed."""
        query = _query(since=_moment(since), until=_moment(until), filters=_filters(filters))
        return self._json_stream("GET", "/events", query)

    # Containers

    async def container_list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        size: bool = False,
        filters: Filters | None = None,
    ) -> list[dict[str, Any]]:
        query = _query(all=all, limit=limit, size=size, filters=_filters(filters))
        return await self._list("GET", "/containers/json", query)

    async def container_create(
        self, body: Body, *, name: str | None = None, platform: str | None = None
    ) -> ContainerCreated:
        """Make a container; ``body`` is ContainerConfig with HostConfig and NetworkingConfig.

        Returns {"Id": "...", "Warnings": [...]}.
        """
        query = _query(name=name, platform=platform)
        return cast(ContainerCreated, await self._object("POST", "/containers/create", query, body=body))

    async def container_inspect(self, ref: str, *, size: bool = False) -> dict[str, Any]:
        return await self._object("GET", f"/containers/{_seg(ref)}/json", _query(size=size))

    async def container_start(self, ref: str, *, detach_keys: str | None = None) -> None:
        """Raises: NotModified when it runs already."""
        await self._nothing("POST", f"/containers/{_seg(ref)}/start", _query(detachKeys=detach_keys))

    async def container_stop(
        self, ref: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Returns when it has stopped; without ``timeout_s`` the container's own stop timeout holds.

        Raises: NotModified when it is not running.
        """
        query = _query(t=timeout_s, signal=signal)
        await self._nothing("POST", f"/containers/{_seg(ref)}/stop", query, patient=True)

    async def container_restart(
        self, ref: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        query = _query(t=timeout_s, signal=signal)
        await self._nothing("POST", f"/containers/{_seg(ref)}/restart", query, patient=True)

    async def container_kill(self, ref: str, *, signal: str = "KILL") -> None:
        await self._nothing("POST", f"/containers/{_seg(ref)}/kill", _query(signal=signal))

    async def container_pause(self, ref: str) -> None:
        await self._nothing("POST", f"/containers/{_seg(ref)}/pause")

    async def container_unpause(self, ref: str) -> None:
        await self._nothing("POST", f"/containers/{_seg(ref)}/unpause")

    async def container_rename(self, ref: str, name: str) -> None:
        await self._nothing("POST", f"/containers/{_seg(ref)}/rename", _query(name=name))

    async def container_update(self, ref: str, body: Body) -> dict[str, Any]:
        """Change limits and restart policy; returns {"Warnings": [...]}."""
        return await self._object("POST", f"/containers/{_seg(ref)}/update", body=body)

    async def container_remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        query = _query(force=force, v=volumes, link=link)
        await self._nothing("DELETE", f"/containers/{_seg(ref)}", query, patient=True)

    async def container_wait(self, ref: str, *, condition: str = "not-running") -> WaitResult:
        """{"StatusCode": n, "Error": ...} once the condition (not-running, next-exit, removed) holds."""
        query = _query(condition=condition)
        answer = await self._object("POST", f"/containers/{_seg(ref)}/wait", query, patient=True)
        return cast(WaitResult, answer)

    async def container_wait_started(self, ref: str, *, condition: str = "next-exit") -> JsonStream:
        """Like ``container_wait``, but returns once the engine waits; the result is the only item."""
        query = _query(condition=condition)
        return await self._json_stream("POST", f"/containers/{_seg(ref)}/wait", query).open()

    async def container_top(self, ref: str, *, ps_args: str = "-ef") -> dict[str, Any]:
        return await self._object("GET", f"/containers/{_seg(ref)}/top", _query(ps_args=ps_args))

    def container_logs(
        self,
        ref: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        details: bool = False,
        tail: int | None = None,
        tty: bool | None = None,
    ) -> LogStream:
        """The container's log; ``tty`` (its Config.Tty) saves a look-up with engines before API 1.42."""
        query = _query(
            stdout=stdout,
            stderr=stderr,
            follow=follow,
            since=_moment(since),
            until=_moment(until),
            timestamps=timestamps,
            details=details,
            tail=tail,
        )

        async def is_tty(response: aiohttp.ClientResponse) -> bool:
            return await self._is_tty(ref, response.headers.get("Content-Type", ""), tty)

        return LogStream(
            lambda: self._send("GET", f"/containers/{_seg(ref)}/logs", query, endless=True), is_tty
        )

    def container_stats(self, ref: str) -> JsonStream:
        """One sample about every second."""
        return self._json_stream("GET", f"/containers/{_seg(ref)}/stats", _query(stream=True))

    async def container_stats_once(self, ref: str, *, one_shot: bool = False) -> dict[str, Any]:
        """One sample; with ``one_shot`` at once, without the earlier half for CPU percentages."""
        query = [("stream", "0"), *_query(**{"one-shot": one_shot})]
        return await self._object("GET", f"/containers/{_seg(ref)}/stats", query)

    async def container_usage(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """{id: [when, processor, memory, limit]} of those that run, in nanoseconds and bytes.

        Ours: another engine answers NotFound.
        """
        found: dict[str, list[int]] = {}
        for at in range(0, len(ids), USAGE_IDS):
            query = [("ids", ",".join(ids[at : at + USAGE_IDS]))]
            found |= await self._object("GET", "/containers/usage", query)
        return found

    async def container_resize(self, ref: str, *, height: int, width: int) -> None:
        await self._nothing("POST", f"/containers/{_seg(ref)}/resize", _query(h=height, w=width))

    async def container_attach(
        self,
        ref: str,
        *,
        logs: bool = False,
        history: bool = False,
        stream: bool = True,
        stdin: bool = True,
        stdout: bool = True,
        stderr: bool = True,
        detach_keys: str | None = None,
        tty: bool | None = None,
    ) -> ClientStream:
        """Join the container's main process; ``tty`` (its Config.Tty) saves a look-up before API 1.42.

        history: what draws its screen comes first (``read_past``). Only this engine does that; others go on
        without it.
        """
        query = _query(
            logs=logs,
            history=history,
            stream=stream,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            detachKeys=detach_keys,
        )
        return await self._upgrade(f"/containers/{_seg(ref)}/attach", query, None, ref=ref, tty=tty)

    async def container_changes(self, ref: str) -> list[Change]:
        """[{"Path": "/x", "Kind": 0 modified | 1 added | 2 deleted}, ...]."""
        return cast(list[Change], await self._list("GET", f"/containers/{_seg(ref)}/changes"))

    async def container_shells(self, ref: str) -> list[str]:
        """Paths of the shells it has. Only this engine has it; others answer NotFound."""
        found = (await self._object("GET", f"/containers/{_seg(ref)}/shells")).get("Shells")
        return [str(one) for one in found] if isinstance(found, list) else []

    def container_export(self, ref: str) -> ByteStream:
        """The root file system as a tar."""
        return self._byte_stream("GET", f"/containers/{_seg(ref)}/export")

    def container_archive(self, ref: str, path: str) -> ByteStream:
        """A file or directory as a tar; after ``open``, ``path_stat`` reads what it is from its headers."""
        return self._byte_stream("GET", f"/containers/{_seg(ref)}/archive", _query(path=path))

    def container_image_archive(self, ref: str, path: str) -> ByteStream:
        """The same of its image, whatever the container did to it. Only this engine has it."""
        return self._byte_stream("GET", f"/containers/{_seg(ref)}/image/archive", _query(path=path))

    async def container_archive_stat(self, ref: str, path: str) -> PathStat:
        """{"name", "size", "mode", "mtime", "linkTarget"} of a path; mode has Go's bits."""
        target = f"/containers/{_seg(ref)}/archive"
        async with await self._send("HEAD", target, _query(path=path)) as response:
            return path_stat({key.lower(): value for key, value in response.headers.items()})

    async def container_archive_put(
        self, ref: str, path: str, body: Upload, *, no_overwrite_dir_non_dir: bool = False
    ) -> None:
        """Unpack a tar into the directory ``path``."""
        query = _query(path=path, noOverwriteDirNonDir=no_overwrite_dir_non_dir)
        target = f"/containers/{_seg(ref)}/archive"
        await self._nothing("PUT", target, query, upload=body, patient=True)

    async def container_commit(
        self,
        ref: str,
        *,
        repo: str | None = None,
        tag: str | None = None,
        comment: str | None = None,
        author: str | None = None,
        pause: bool = True,
        changes: str | None = None,
        body: Body | None = None,
    ) -> str:
        """Make an image of a container; returns its id."""
        query = _query(container=ref, repo=repo, tag=tag, comment=comment, author=author, changes=changes)
        query.append(("pause", "1" if pause else "0"))
        answer = await self._object("POST", "/commit", query, body=body or {}, patient=True)
        return _text_of(answer, "Id")

    async def container_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        query = _query(filters=_filters(filters))
        return await self._object("POST", "/containers/prune", query, patient=True)

    # Exec

    async def exec_create(self, ref: str, body: Body) -> str:
        """Prepare a process in a running container; returns the exec id."""
        return _text_of(await self._object("POST", f"/containers/{_seg(ref)}/exec", body=body), "Id")

    async def exec_start(
        self, exec_id: str, *, tty: bool = False, console_size: tuple[int, int] | None = None
    ) -> ClientStream:
        """Run it and join its streams; ``tty`` as it was created, ``console_size`` is (height, width)."""
        body: dict[str, Any] = {"Detach": False, "Tty": tty}
        if console_size is not None and tty and await self.api_version() >= (1, 42):
            body["ConsoleSize"] = list(console_size)
        return await self._upgrade(f"/exec/{_seg(exec_id)}/start", [], body, ref=None, tty=tty)

    async def exec_start_detached(self, exec_id: str, *, tty: bool = False) -> None:
        await self._nothing("POST", f"/exec/{_seg(exec_id)}/start", body={"Detach": True, "Tty": tty})

    async def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        return await self._object("GET", f"/exec/{_seg(exec_id)}/json")

    async def exec_resize(self, exec_id: str, *, height: int, width: int) -> None:
        await self._nothing("POST", f"/exec/{_seg(exec_id)}/resize", _query(h=height, w=width))

    async def exec_attach(self, exec_id: str, *, tty: bool = False, history: bool = False) -> ClientStream:
        """Take up a running exec session again, also after the engine was restarted.

        history: what draws its screen comes first, if it was created with ``KeepOutput``.

        Only this engine has it; others answer NotFound.
        """
        return await self._upgrade(
            f"/exec/{_seg(exec_id)}/attach", _query(history=history), None, ref=None, tty=tty
        )

    async def exec_kill(self, exec_id: str, *, signal: str = "HUP") -> None:
        """Signal an exec session's process. Only this engine has it; others answer NotFound."""
        await self._nothing("POST", f"/exec/{_seg(exec_id)}/kill", _query(signal=signal))

    async def exec_end(self, exec_id: str) -> None:
        """End an exec session with all its processes: HUP, then KILL. Only this engine has it, as above."""
        await self._nothing("POST", f"/exec/{_seg(exec_id)}/end", [])

    # Images

    async def image_list(
        self,
        *,
        all: bool = False,
        digests: bool = False,
        shared_size: bool = False,
        manifests: bool = False,
        filters: Filters | None = None,
    ) -> list[dict[str, Any]]:
        query = _query(all=all, digests=digests, manifests=manifests, filters=_filters(filters))
        if shared_size:
            query.append(("shared-size", "1"))
        return await self._list("GET", "/images/json", query)

    async def image_inspect(self, ref: str) -> dict[str, Any]:
        return await self._object("GET", f"/images/{_ref(ref)}/json")

    async def image_history(self, ref: str) -> list[dict[str, Any]]:
        return await self._list("GET", f"/images/{_ref(ref)}/history")

    async def image_layers(self, ref: str) -> ImageLayers:
        """What is known of each layer. Only this engine has it; others answer NotFound."""
        return cast(ImageLayers, await self._object("GET", f"/images/{_ref(ref)}/layers"))

    async def image_layer_changes(
        self, ref: str, layer: str, *, path: str = "/", depth: int = 0, after: str = "", limit: int = 500
    ) -> LayerChanges:
        """A page of the files a layer (diff id, or its place from 0 on) adds, changes and removes."""
        query = _query(path=path, depth=depth, after=after or None, limit=limit)
        target = f"/images/{_ref(ref)}/layers/{_seg(layer)}/changes"
        return cast(LayerChanges, await self._object("GET", target, query))

    def image_pull(
        self, reference: str, *, tag: str | None = None, platform: str | None = None, auth: Body | None = None
    ) -> JsonStream:
        """Fetch an image; progress documents. Failures after the start come as {"error", "errorDetail"}.

        Without a tag or digest in either argument the engine fetches ``latest``. Closing cancels.
        """
        name, found = reference, tag
        if found is None and "@" not in reference and ":" not in reference.rpartition("/")[2]:
            found = "latest"
        query = _query(fromImage=name, tag=found, platform=platform)
        return self._json_stream("POST", "/images/create", query, headers=_auth_header(auth))

    def image_import(
        self,
        body: Upload,
        *,
        repo: str | None = None,
        tag: str | None = None,
        message: str | None = None,
        changes: list[str] | None = None,
        platform: str | None = None,
    ) -> JsonStream:
        """Make an image of a root file system tar."""
        query = _query(fromSrc="-", repo=repo, tag=tag, message=message, platform=platform)
        query += [("changes", change) for change in changes or ()]
        return self._json_stream("POST", "/images/create", query, upload=body)

    def image_load(self, body: Upload, *, quiet: bool = True) -> JsonStream:
        """Take in the images of a ``save`` archive."""
        return self._json_stream("POST", "/images/load", [("quiet", "1" if quiet else "0")], upload=body)

    def image_save(self, refs: list[str]) -> ByteStream:
        """The images as one archive."""
        return self._byte_stream("GET", "/images/get", [("names", ref) for ref in refs])

    def image_push(self, reference: str, *, tag: str | None = None, auth: Body | None = None) -> JsonStream:
        """Send an image to its registry; progress documents."""
        headers = _auth_header(auth if auth is not None else {})
        return self._json_stream("POST", f"/images/{_ref(reference)}/push", _query(tag=tag), headers=headers)

    async def image_tag(self, ref: str, *, repo: str, tag: str | None = None) -> None:
        await self._nothing("POST", f"/images/{_ref(ref)}/tag", _query(repo=repo, tag=tag))

    async def image_remove(
        self, ref: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, Any]]:
        """[{"Untagged": ...}, {"Deleted": ...}, ...]."""
        query = _query(force=force, noprune=noprune)
        return await self._list("DELETE", f"/images/{_ref(ref)}", query, patient=True)

    async def image_search(
        self, term: str, *, limit: int | None = None, filters: Filters | None = None
    ) -> list[dict[str, Any]]:
        query = _query(term=term, limit=limit, filters=_filters(filters))
        return await self._list("GET", "/images/search", query)

    def image_verify(self, refs: list[str] | None = None, *, repair: bool = False) -> JsonStream:
        """Look at every byte of these images, or of all; webdock's own endpoint.

        {"finding": {"image", "what", "mended"}} for each thing that is wrong, {"verified", "findings"} last.
        """
        query = [("names", ref) for ref in refs or ()] + [("repair", "1" if repair else "0")]
        return self._json_stream("POST", "/images/verify", query)

    async def image_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        query = _query(filters=_filters(filters))
        return await self._object("POST", "/images/prune", query, patient=True)

    async def distribution_inspect(self, ref: str, *, auth: Body | None = None) -> dict[str, Any]:
        """What the registry says about an image, without fetching it."""
        return await self._object("GET", f"/distribution/{_ref(ref)}/json", headers=_auth_header(auth))

    # Registries; only this engine has these, others answer NotFound

    async def registry_list(self) -> list[RegistryRow]:
        return cast(list[RegistryRow], await self._list("GET", "/registries"))

    async def registry_set(self, host: str, settings: RegistryBody) -> RegistryRow:
        """Speak to a registry like this from now on, in place of what was set before."""
        return cast(RegistryRow, await self._object("PUT", f"/registries/{_seg(host)}", body=settings))

    async def registry_forget(self, host: str) -> None:
        await self._nothing("DELETE", f"/registries/{_seg(host)}")

    async def registry_test(
        self, host: str, settings: RegistryBody | None = None, *, auth: Body | None = None
    ) -> RegistryTest:
        """Try a registry and its mirrors; ``settings`` count instead of what is set."""
        body = {**(settings or {}), "Host": host}
        answer = await self._object("POST", "/registries/test", body=body, headers=_auth_header(auth))
        return cast(RegistryTest, answer)

    # Networks

    async def network_list(self, *, filters: Filters | None = None) -> list[dict[str, Any]]:
        return await self._list("GET", "/networks", _query(filters=_filters(filters)))

    async def network_inspect(
        self, ref: str, *, verbose: bool = False, scope: str | None = None
    ) -> dict[str, Any]:
        return await self._object("GET", f"/networks/{_seg(ref)}", _query(verbose=verbose, scope=scope))

    async def network_create(self, body: Body) -> dict[str, Any]:
        """Returns {"Id": "...", "Warning": "..."}."""
        return await self._object("POST", "/networks/create", body=body)

    async def network_remove(self, ref: str) -> None:
        await self._nothing("DELETE", f"/networks/{_seg(ref)}")

    async def network_connect(self, ref: str, body: Body) -> None:
        """``body`` is {"Container": ..., "EndpointConfig": {...}}."""
        await self._nothing("POST", f"/networks/{_seg(ref)}/connect", body=body)

    async def network_disconnect(self, ref: str, body: Body) -> None:
        """``body`` is {"Container": ..., "Force": bool}."""
        await self._nothing("POST", f"/networks/{_seg(ref)}/disconnect", body=body)

    async def network_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        return await self._object("POST", "/networks/prune", _query(filters=_filters(filters)))

    # Volumes

    async def volume_list(self, *, filters: Filters | None = None) -> dict[str, Any]:
        """{"Volumes": [...], "Warnings": [...]}."""
        return await self._object("GET", "/volumes", _query(filters=_filters(filters)))

    async def volume_inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """With ``size`` our engine measures it and adds UsageData; others leave it out."""
        return await self._object("GET", f"/volumes/{_seg(name)}", _query(size=size), patient=size)

    async def volume_create(self, body: Body) -> dict[str, Any]:
        return await self._object("POST", "/volumes/create", body=body)

    async def volume_remove(self, name: str, *, force: bool = False) -> None:
        await self._nothing("DELETE", f"/volumes/{_seg(name)}", _query(force=force))

    async def volume_files(self, name: str, path: str = "/") -> VolumeListing:
        """A directory of a volume; engines other than ours answer NotFound, also to the next four."""
        answer = await self._object("GET", f"/volumes/{_seg(name)}/files", _query(path=path))
        return cast(VolumeListing, answer)

    async def volume_archive_stat(self, name: str, path: str) -> PathStat:
        """{"name", "size", "mode", "mtime", "linkTarget"} of a path; mode has Go's bits."""
        target = f"/volumes/{_seg(name)}/archive"
        async with await self._send("HEAD", target, _query(path=path)) as response:
            return path_stat({key.lower(): value for key, value in response.headers.items()})

    def volume_archive(self, name: str, path: str = "/") -> ByteStream:
        """A file, a directory or the whole volume as a tar."""
        return self._byte_stream("GET", f"/volumes/{_seg(name)}/archive", _query(path=path))

    async def volume_archive_put(
        self, name: str, path: str, body: Upload, *, no_overwrite_dir_non_dir: bool = False
    ) -> None:
        """Unpack a tar into the directory ``path`` of a volume."""
        query = _query(path=path, noOverwriteDirNonDir=no_overwrite_dir_non_dir)
        await self._nothing("PUT", f"/volumes/{_seg(name)}/archive", query, upload=body, patient=True)

    async def volume_clone(self, name: str, body: Body) -> dict[str, Any]:
        """Make a volume ({"Name", "Labels"}) with everything that is in this one; returns it."""
        return await self._object("POST", f"/volumes/{_seg(name)}/clone", body=body, patient=True)

    async def volume_prune(self, *, filters: Filters | None = None) -> dict[str, Any]:
        query = _query(filters=_filters(filters))
        return await self._object("POST", "/volumes/prune", query, patient=True)

    # Transport

    def own_headers(self) -> dict[str, str]:
        """Headers of every request; for clients that say more about themselves. ASCII only."""
        return {}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._path is not None:
                connector = aiohttp.UnixConnector(self._path, limit=0, keepalive_timeout=IDLE_S)
            else:
                connector = aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=IDLE_S, ssl=self._tls if self._tls is not None else True
                )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                read_bufsize=BUFFER_BYTES,
                headers={"User-Agent": "webdock"},
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session

    async def _url_path(self, path: str, query: list[tuple[str, str]], versioned: bool = True) -> str:
        prefix = ""
        if versioned:
            major, minor = await self.api_version()
            prefix = f"/v{major}.{minor}"
        return prefix + path + ("?" + urlencode(query) if query else "")

    async def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        *,
        body: Body | None = None,
        upload: Upload | None = None,
        headers: dict[str, str] | None = None,
        versioned: bool = True,
        patient: bool = False,
        endless: bool = False,
    ) -> aiohttp.ClientResponse:
        """A good answer's head; ``patient`` and ``endless`` calls wait as long as it takes."""
        from yarl import URL

        target = URL(self._base + await self._url_path(path, query or [], versioned), encoded=True)
        sent = {**self.own_headers(), **(headers or {})}
        data: Upload | io.BytesIO | None = None
        if body is not None:
            data = io.BytesIO(json.dumps(body).encode())
            sent["Content-Type"] = "application/json"
        elif upload is not None:
            sent["Content-Type"] = "application/x-tar"
            data = io.BytesIO(upload) if isinstance(upload, bytes) else upload  # sent in pieces
        total = None if patient or endless or upload is not None else self._timeout_s
        try:
            response = await self._open_session().request(
                method,
                target,
                data=data,
                headers=sent,
                timeout=aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
            )
        except TimeoutError:
            raise EngineUnreachable(f"no answer from {self.url} in {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            self._version = None  # another engine may answer next time
            raise self._unreachable(error) from None
        if response.status >= 300:
            async with response:
                raise await self._refusal(method, response)
        return response

    def _unreachable(self, error: Exception) -> EngineError:
        if isinstance(error, aiohttp.ClientResponseError):
            return PeerProtocolError(f"{self.url} does not speak HTTP: {error.message}")
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        asked = not isinstance(error, aiohttp.ClientConnectorError)
        return EngineUnreachable(f"cannot reach the engine at {self.url}: {why}", asked=asked)

    async def _refusal(self, method: str, response: aiohttp.ClientResponse) -> EngineError:
        try:
            data = await response.content.read(ERROR_MAX_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError):
            data = b""
        return _refusal(response.status, data, f"{method} {response.url.path}")

    async def _text(self, response: aiohttp.ClientResponse) -> str:
        try:
            return (await response.read()).decode("utf-8", "replace")
        except TimeoutError:
            raise EngineUnreachable(f"no answer from {self.url} in {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from None

    async def _value(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        async with await self._send(method, path, *args, **kwargs) as response:
            text = await self._text(response)
        try:
            return json.loads(text)
        except ValueError:
            raise PeerProtocolError(f"{method} {path}: the answer is not JSON: {text[:100]!r}") from None

    async def _object(self, method: str, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        value = await self._value(method, path, *args, **kwargs)
        if not isinstance(value, dict):
            raise PeerProtocolError(f"{method} {path}: expected an object, got {type(value).__name__}")
        return value

    async def _list(self, method: str, path: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        value = await self._value(method, path, *args, **kwargs)
        if value is None:  # Go's empty list
            return []
        if not isinstance(value, list):
            raise PeerProtocolError(f"{method} {path}: expected a list, got {type(value).__name__}")
        return value

    async def _nothing(self, method: str, path: str, *args: Any, **kwargs: Any) -> None:
        async with await self._send(method, path, *args, **kwargs) as response:
            await self._text(response)

    def _json_stream(self, method: str, path: str, *args: Any, **kwargs: Any) -> JsonStream:
        return JsonStream(lambda: self._send(method, path, *args, endless=True, **kwargs))

    def _byte_stream(self, method: str, path: str, *args: Any, **kwargs: Any) -> ByteStream:
        return ByteStream(lambda: self._send(method, path, *args, endless=True, **kwargs))

    async def _is_tty(self, ref: str | None, content_type: str, known: bool | None) -> bool:
        if known is not None or ref is None:
            return bool(known)
        if "multiplexed-stream" in content_type:
            return False
        if await self.api_version() >= (1, 42) and "raw-stream" in content_type:
            return True
        return bool((await self.container_inspect(ref))["Config"]["Tty"])

    async def _upgrade(
        self, path: str, query: list[tuple[str, str]], body: Body | None, *, ref: str | None, tty: bool | None
    ) -> ClientStream:
        """Send a request whose connection becomes the stream."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {await self._url_path(path, query)} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            "User-Agent: webdock\r\n"
            + "".join(f"{key}: {value}\r\n" for key, value in self.own_headers().items())
            + "Connection: Upgrade\r\n"
            "Upgrade: tcp\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connect()
                writer.write(head.encode() + data)
                status, headers = await _read_head(reader)
                if status not in (101, 200):
                    refusal = await _read_body(reader, headers)
                    raise _refusal(status, refusal, f"POST {path}")
                tty = await self._is_tty(ref, headers.get("content-type", ""), tty)
            past = headers.get(PAST_HEADER.lower(), "")
            return ClientStream(
                reader,
                writer,
                tty=tty,
                past=int(past) if past.isdecimal() else 0,
                content_type=headers.get("content-type", ""),
                place=Place.parse(headers.get(PLACE_HEADER.lower(), "")),
            )
        except BaseException as error:
            if writer is not None:
                writer.close()
            if isinstance(error, TimeoutError):
                raise EngineUnreachable(f"no answer from {self.url} in {self._timeout_s:g} s") from None
            if isinstance(error, OSError | EOFError):
                self._version = None
                raise self._unreachable(error) from None
            raise

    async def _connect(self) -> tuple[Inlet, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        if (path := self._path) is not None:
            return await Inlet.connect(lambda protocol: loop.create_unix_connection(protocol, path))
        name = self._host if self._tls is not None else None
        return await Inlet.connect(
            lambda protocol: loop.create_connection(
                protocol, self._host, self._port, ssl=self._tls, server_hostname=name
            )
        )


def path_stat(headers: Mapping[str, str]) -> PathStat:
    """What ``X-Docker-Container-Path-Stat`` says, from lower-case headers.

    Raises: PeerProtocolError.
    """
    try:
        value = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    except (KeyError, ValueError):
        raise PeerProtocolError("the answer does not say what stands at the path") from None
    if not isinstance(value, dict):
        raise PeerProtocolError("the answer does not say what stands at the path")
    return cast(PathStat, value)


def _query(**values: Any) -> list[tuple[str, str]]:
    """Query pairs; what is None or False is left out."""
    return [
        (key, "1" if value is True else str(value))
        for key, value in values.items()
        if value is not None and value is not False
    ]


def _filters(filters: Filters | None) -> str | None:
    return json.dumps(filters) if filters else None


def _moment(value: float | None) -> str | None:
    """Seconds as Docker reads them, with all the digits a float has."""
    return None if value is None else f"{value:.9f}".rstrip("0").rstrip(".")


def _auth_header(auth: Body | None) -> dict[str, str]:
    if auth is None:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}


def _seg(text: str) -> str:
    """One path segment; a name can never become another path."""
    return quote(text, safe="") if text not in ("", ".", "..") else "%20"


def _ref(reference: str) -> str:
    """An image reference in a path: its slashes are part of the route, everything else is quoted."""
    return "/".join(_seg(part) for part in reference.split("/")).replace("%3A", ":").replace("%40", "@")


def _text_of(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise PeerProtocolError(f"the answer has no {key}")
    return value


def _refusal(status: int, data: bytes, what: str) -> EngineError:
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = data.decode("utf-8", "replace").strip()[:500]
    return from_status(status, str(message) or f"{what}: the engine answered {status} without a word")


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise PeerProtocolError("the head of the answer never ends") from None
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.match(first)
        if found is None or len(head) > HEAD_MAX_BYTES:
            raise PeerProtocolError(f"not an HTTP answer: {first[:80]!r}")
        if found[1] == b"100":
            continue
        headers = {}
        for line in lines:
            key, _, value = line.partition(b":")
            headers[key.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
        return int(found[1]), headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The body of a refusal, as much of it as counts."""
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while len(body) < ERROR_MAX_BYTES:
            size = int((await reader.readline()).split(b";")[0] or b"0", 16)
            if not size:
                break
            body += await reader.readexactly(min(size, ERROR_MAX_BYTES))
            await reader.readline()
        return body
    length = headers.get("content-length", "")
    if length.isdigit():
        return await reader.readexactly(min(int(length), ERROR_MAX_BYTES))
    return await reader.read(ERROR_MAX_BYTES)

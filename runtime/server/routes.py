"""The table of the Engine API: method, path, handler, body.

``{ref}`` is one path segment, ``{name*}`` may hold slashes. The handler's name is the operation's name, which
the policy of the confined socket knows it by.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from runtime.api import types
from runtime.server.call import Call
from runtime.server.handlers import (
    attach,
    containers,
    exec,
    files,
    images,
    networks,
    registries,
    system,
    volumes,
)

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    body: Any = None  # TypedDict of a JSON body; None: the handler reads it, or there is none

    @property
    def operation(self) -> str:
        return self.handler.__name__


ROUTES = (
    Route("GET", "/_ping", system.ping),
    Route("HEAD", "/_ping", system.ping),
    Route("GET", "/version", system.version),
    Route("GET", "/info", system.info),
    Route("GET", "/system/df", system.system_df),
    Route("GET", "/events", system.events),
    Route("POST", "/build/prune", system.build_prune),
    Route("GET", "/plugins", system.plugin_list),
    Route("POST", "/auth", system.auth, types.AuthBody),
    Route("GET", "/containers/json", containers.container_list),
    Route("POST", "/containers/create", containers.container_create, types.ContainerCreateBody),
    Route("POST", "/containers/prune", containers.container_prune),
    Route("GET", "/containers/usage", attach.container_usage),
    Route("GET", "/containers/{ref}/json", containers.container_inspect),
    Route("GET", "/containers/{ref}/top", containers.container_top),
    Route("POST", "/containers/{ref}/start", containers.container_start),
    Route("POST", "/containers/{ref}/stop", containers.container_stop),
    Route("POST", "/containers/{ref}/restart", containers.container_restart),
    Route("POST", "/containers/{ref}/kill", containers.container_kill),
    Route("POST", "/containers/{ref}/pause", containers.container_pause),
    Route("POST", "/containers/{ref}/unpause", containers.container_unpause),
    Route("POST", "/containers/{ref}/rename", containers.container_rename),
    Route("POST", "/containers/{ref}/update", containers.container_update, types.ContainerUpdateBody),
    Route("POST", "/containers/{ref}/wait", containers.container_wait),
    Route("POST", "/containers/{ref}/resize", containers.container_resize),
    Route("DELETE", "/containers/{ref*}", containers.container_remove),
    Route("GET", "/containers/{ref}/logs", attach.container_logs),
    Route("GET", "/containers/{ref}/stats", attach.container_stats),
    Route("POST", "/containers/{ref}/attach", attach.container_attach),
    Route("GET", "/containers/{ref}/attach/ws", attach.container_attach_websocket),
    Route("GET", "/containers/{ref}/changes", files.container_changes),
    Route("GET", "/containers/{ref}/export", files.container_export),
    Route("GET", "/containers/{ref}/shells", files.container_shells),
    Route("HEAD", "/containers/{ref}/archive", files.container_archive_stat),
    Route("GET", "/containers/{ref}/archive", files.container_archive),
    Route("PUT", "/containers/{ref}/archive", files.container_archive_put),
    Route("GET", "/containers/{ref}/image/archive", files.container_image_archive),
    Route("POST", "/commit", files.container_commit, types.ContainerConfig),
    Route("POST", "/containers/{ref}/exec", exec.exec_create, types.ExecCreateBody),
    Route("POST", "/exec/{ref}/start", exec.exec_start, types.ExecStartBody),
    Route("POST", "/exec/{ref}/resize", exec.exec_resize),
    Route("GET", "/exec/{ref}/json", exec.exec_inspect),
    Route("POST", "/exec/{ref}/attach", exec.exec_attach),
    Route("POST", "/exec/{ref}/kill", exec.exec_kill),
    Route("POST", "/exec/{ref}/end", exec.exec_end),
    Route("GET", "/images/json", images.image_list),
    Route("GET", "/images/search", images.image_search),
    Route("GET", "/images/get", images.image_save),
    Route("POST", "/images/create", images.image_create),
    Route("POST", "/images/load", images.image_load),
    Route("POST", "/images/prune", images.image_prune),
    Route("POST", "/images/verify", images.image_verify),
    Route("GET", "/images/{ref*}/json", images.image_inspect),
    Route("GET", "/images/{ref*}/history", images.image_history),
    Route("GET", "/images/{ref*}/layers", images.image_layers),
    Route("GET", "/images/{ref*}/layers/{layer}/changes", images.image_layer_changes),
    Route("GET", "/images/{ref*}/get", images.image_save),
    Route("POST", "/images/{ref*}/push", images.image_push),
    Route("POST", "/images/{ref*}/tag", images.image_tag),
    Route("DELETE", "/images/{ref*}", images.image_remove),
    Route("GET", "/distribution/{ref*}/json", images.distribution_inspect),
    Route("GET", "/registries", registries.registry_list),
    Route("POST", "/registries/test", registries.registry_test, types.RegistryTestBody),
    Route("PUT", "/registries/{ref}", registries.registry_set, types.RegistryBody),
    Route("DELETE", "/registries/{ref}", registries.registry_forget),
    Route("GET", "/networks", networks.network_list),
    Route("GET", "/networks/", networks.network_list),
    Route("POST", "/networks/create", networks.network_create, types.NetworkCreateBody),
    Route("POST", "/networks/prune", networks.network_prune),
    Route("GET", "/networks/{ref}", networks.network_inspect),
    Route("POST", "/networks/{ref}/connect", networks.network_connect, types.NetworkConnectBody),
    Route("POST", "/networks/{ref}/disconnect", networks.network_disconnect, types.NetworkDisconnectBody),
    Route("DELETE", "/networks/{ref}", networks.network_remove),
    Route("GET", "/volumes", volumes.volume_list),
    Route("POST", "/volumes/create", volumes.volume_create, types.VolumeCreateBody),
    Route("POST", "/volumes/prune", volumes.volume_prune),
    Route("GET", "/volumes/{ref}", volumes.volume_inspect),
    Route("DELETE", "/volumes/{ref}", volumes.volume_remove),
    Route("GET", "/volumes/{ref}/files", volumes.volume_files),
    Route("HEAD", "/volumes/{ref}/archive", volumes.volume_archive_stat),
    Route("GET", "/volumes/{ref}/archive", volumes.volume_archive),
    Route("PUT", "/volumes/{ref}/archive", volumes.volume_archive_put),
    Route("POST", "/volumes/{ref}/clone", volumes.volume_clone, types.VolumeCloneBody),
)

# Parts of Docker's API this engine does not offer: beginning of "METHOD path", and why.
UNPLANNED = (
    (
        r"POST /(build(/|$)|session$|grpc$)",
        "images are built with a builder such as buildah and loaded or pushed",
    ),
    (
        r"POST /swarm/(init|join|update|unlock)$",
        "it is one machine; a Swarm is reached through its own manager",
    ),
    (r"\w+ /plugins(/|$)", "drivers are built in, there are no plugins"),
    (r"\w+ /containers/[^/]+/checkpoints(/|$)", "containers are not checkpointed"),
    (r"PUT /volumes/[^/]+$", "there are no cluster volumes to update"),
)

# What a Docker that is in no Swarm answers with 503; clients rely on the words.
NO_SWARM = (
    (r"POST /swarm/leave$", "This node is not part of a swarm"),
    (
        r"\w+ /(swarm|nodes|services|tasks|secrets|configs)(/|$)",
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
        "node to swarm and try again.",
    ),
)

_PARAMETER = re.compile(r"\{(\w+)(\*?)\}")


def _compile(path: str) -> re.Pattern[str]:
    pattern, at = "", 0
    for found in _PARAMETER.finditer(path):
        pattern += re.escape(path[at : found.start()])
        pattern += f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"
        at = found.end()
    return re.compile(pattern + re.escape(path[at:]))


_FIXED = {(route.method, route.path): route for route in ROUTES if "{" not in route.path}
_BY_ROOM: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
for _route in ROUTES:
    if "{" in _route.path:
        _key = (_route.method, _route.path.split("/")[1])
        _BY_ROOM.setdefault(_key, []).append((_compile(_route.path), _route))


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route for a cleaned path without its version, and the path's parameters."""
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return fixed, {}
    for pattern, route in _BY_ROOM.get((method, path[1:].partition("/")[0]), ()):
        found = pattern.fullmatch(path)
        if found is not None:
            if any(step in (".", "..") for value in found.groups() for step in value.split("/")):
                return None
            return route, found.groupdict()
    return None

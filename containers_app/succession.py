"""One container in the place of another: what the new one is made of, and what stands against it. Pure.

Owns which of the old one's things the new one takes over (anonymous volumes by name) and how its networks are
asked for. Asks no engine.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.intent import BRIDGE, JOINED, NETWORKLESS
from webdock.people.belongings import CLAIM_LABEL

Body = dict[str, Any]
NAME_MAX_CHARS = 200


def refusal(inspect: Mapping[str, Any]) -> str:
    """Why this container cannot be replaced, "" when it can."""
    status = str((inspect.get("State") or {}).get("Status") or "")
    if (inspect.get("HostConfig") or {}).get("AutoRemove"):
        return _(
            "It is removed as soon as it stops (--rm), so it could not be kept until its successor is up. "
            "Duplicate it instead."
        )
    if status in ("removing", "dead"):
        return _("It is being removed.")
    return ""


def kept_name(name: str, container_id: str) -> str:
    """What the old one is called while both are there."""
    return f"{name[:NAME_MAX_CHARS]}-replaced-{container_id[:8]}"


def with_volumes(intent: Body, inspect: Mapping[str, Any]) -> Body:
    """The intent with the container's anonymous volumes named, so that the next one gets the same."""
    body = copy.deepcopy(intent)
    host = body.setdefault("HostConfig", {})
    named = {
        str(mount.get("Destination")): str(mount["Name"])
        for mount in inspect.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount.get("Name")
    }
    binds = []
    for bind in host.get("Binds") or ():
        place = posixpath.normpath(str(bind))
        binds.append(f"{named[place]}:{bind}" if ":" not in str(bind) and place in named else bind)
    for mount in host.get("Mounts") or ():
        place = posixpath.normpath(str(mount.get("Target") or ""))
        if mount.get("Type", "volume") == "volume" and not mount.get("Source") and place in named:
            mount["Source"] = named[place]
    taken = {_target(str(bind)) for bind in binds}
    taken |= {posixpath.normpath(str(mount.get("Target") or "")) for mount in host.get("Mounts") or ()}
    taken |= {posixpath.normpath(str(path)) for path in host.get("Tmpfs") or ()}
    own = body.get("Volumes") or {}
    for path in (inspect.get("Config") or {}).get("Volumes") or ():
        place = posixpath.normpath(str(path))
        if place in named and place not in taken:
            binds.append(f"{named[place]}:{path}")
            taken.add(place)
            own.pop(path, None)
    if binds:
        host["Binds"] = binds
    if not own:
        body.pop("Volumes", None)
    return body


def without_addresses(intent: Body) -> Body:
    """The intent without what only one container can have: fixed and hardware addresses, and whose it is."""
    body = copy.deepcopy(intent)
    labels = body.get("Labels") or {}
    labels.pop(CLAIM_LABEL, None)
    if not labels:
        body.pop("Labels", None)
    body.pop("MacAddress", None)
    for settings in ((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}).values():
        settings.pop("IPAMConfig", None)
        settings.pop("MacAddress", None)
    return body


def creation(intent: Body) -> tuple[Body, list[tuple[str, Body]]]:
    """(create body, networks to connect before the start).

    Engines before API 1.44 take one network at the creation, so the others are always connected after it.
    """
    body = copy.deepcopy(intent)
    mode = str(body.get("HostConfig", {}).get("NetworkMode") or "")
    endpoints: Body = (body.pop("NetworkingConfig", None) or {}).get("EndpointsConfig") or {}
    if mode in NETWORKLESS or mode.startswith(JOINED):
        return body, []
    primary = "bridge" if mode in BRIDGE else mode
    first = endpoints.pop(primary, None)
    if first:
        body["NetworkingConfig"] = {"EndpointsConfig": {primary: first}}
    return body, list(endpoints.items())


def _target(bind: str) -> str:
    """Where a bind is mounted."""
    parts = bind.split(":")
    return posixpath.normpath(parts[1] if len(parts) > 1 else parts[0])

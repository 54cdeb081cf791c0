"""What a confined request refers to: containers, networks and volumes, by whatever name it gives them; pure.

The policy judges facts about them, so what is not found here is not looked at: ``guard`` gathers the facts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.server.confined_mounts import Body, volumes_of
from runtime.server.confinement import SHARED_MODES, networks_of
from runtime.server.policy import RULES, Asked, Policy

_SHARED = re.compile(r"^container:(.+)$")


def containers(asked: Asked) -> list[str]:
    """Containers the request goes into or shares something with; all of them are pinned to ids."""
    rule = RULES.get(asked.operation)
    refs = []
    if rule is not None and rule.enters is not None:
        ref = rule.enters(asked)
        if ref:
            refs.append(ref)
    if asked.operation == "container_create":
        refs += shared(asked.body.get("HostConfig", {}))
    return refs


def execs(asked: Asked) -> list[str]:
    """Exec sessions the request goes into; the containers they are in are judged as well."""
    rule = RULES.get(asked.operation)
    return [asked.params["ref"]] if rule is not None and rule.enters_exec else []


def shared(host_config: Body) -> list[str]:
    """Containers whose namespaces or mounts a container shares."""
    refs = []
    for key in SHARED_MODES:
        found = _SHARED.match(str(host_config.get(key, "")))
        if found is not None:
            refs.append(found[1])
    return refs + [str(entry).partition(":")[0] for entry in host_config.get("VolumesFrom") or ()]


def pin(body: Body, ids: Mapping[str, str]) -> None:
    """Replace the containers a create body refers to by their ids.

    Race: between the check and the use of a name somebody could give it to another container.
    """
    host_config = body.get("HostConfig", {})
    for key in SHARED_MODES:
        found = _SHARED.match(str(host_config.get(key, "")))
        if found is not None and found[1] in ids:
            host_config[key] = f"container:{ids[found[1]]}"
    if host_config.get("VolumesFrom"):
        pinned = []
        for entry in host_config["VolumesFrom"]:
            ref, colon, mode = entry.partition(":")
            pinned.append(ids.get(ref, ref) + colon + mode)
        host_config["VolumesFrom"] = pinned


def networks(asked: Asked) -> list[str]:
    """Networks a request attaches something to."""
    if asked.operation == "network_connect":
        return [asked.params["ref"]]
    if asked.operation == "container_create":
        return networks_of(
            asked.body.get("HostConfig", {}),
            asked.body.get("NetworkingConfig", {}).get("EndpointsConfig", {}),
        )
    return []


def volumes(asked: Asked) -> list[str]:
    """Named volumes a create request mounts, or whose files a request wants."""
    rule = RULES.get(asked.operation)
    if rule is not None and rule.reasons is Policy._volume_files:
        return [asked.params.get("ref", "")]
    if asked.operation != "container_create":
        return []
    return volumes_of(asked.body.get("HostConfig", {}))

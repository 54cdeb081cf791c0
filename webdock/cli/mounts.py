"""What ``--volume`` and ``--mount`` ask for; pure.

Spec: Docker API 1.47, HostConfig.Binds and Mounts.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from typing import Any

from webdock.cli.errors import USAGE, Failure
from webdock.cli.output import parse_size


def volume_options(given: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Anonymous volumes (``/path``), and Binds (all that have a source; relative ones become absolute)."""
    volumes: dict[str, dict[str, str]] = {}
    binds = []
    for text in given:
        source, colon, rest = text.partition(":")
        if not colon:
            volumes[source] = {}
            continue
        if source.startswith((".", "~")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(f"{source}:{rest}")
    return volumes, binds


def mount_option(text: str) -> dict[str, Any]:
    """``type=bind,source=/srv,target=/data,readonly`` -> one entry of Mounts."""
    names = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    mount: dict[str, Any] = {"Type": "volume"}
    for part in next(csv.reader([text]), []):  # quotes keep a comma in a value
        key, equals, value = part.partition("=")
        key = names.get(key.strip().lower(), key.strip().lower())
        yes = not equals or value.lower() in ("true", "1")
        if key == "type":
            mount["Type"] = value
        elif key == "source":
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
        elif key == "target":
            mount["Target"] = value
        elif key == "readonly":
            mount["ReadOnly"] = yes
        elif key == "bind-propagation":
            mount.setdefault("BindOptions", {})["Propagation"] = value
        elif key == "bind-nonrecursive":
            mount.setdefault("BindOptions", {})["NonRecursive"] = yes
        elif key == "volume-nocopy":
            mount.setdefault("VolumeOptions", {})["NoCopy"] = yes
        elif key == "consistency":
            mount["Consistency"] = value
        elif key in ("volume-driver", "volume-opt"):
            driver = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
            if key == "volume-driver":
                driver["Name"] = value
            else:
                name, _, content = value.partition("=")
                driver.setdefault("Options", {})[name] = content
        elif key == "volume-label":
            name, _, content = value.partition("=")
            mount.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = content
        elif key == "tmpfs-size":
            mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_size(value, "--mount tmpfs-size")
        elif key == "tmpfs-mode":
            if not re.fullmatch("[0-7]{3,4}", value):
                raise Failure(f"--mount tmpfs-mode: {value!r} is no mode; write 1777", USAGE)
            mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
        else:
            raise Failure(f"--mount: {key!r} is not known", USAGE)
    if "Target" not in mount:
        raise Failure(f"--mount: {text!r} has no target", USAGE)
    return mount

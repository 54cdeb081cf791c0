"""Platforms of images: this machine's, the asked one, and which entry of an index fits best; pure.

Spec: OCI image 1.1, image-index.md "platform"; names as Go's GOOS and GOARCH.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.api.errors import InvalidArgument

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
}
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_KNOWN = frozenset(
    ("386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm")
)
_PART = re.compile(r"[a-z0-9_.-]{1,32}")


@dataclass(frozen=True, slots=True)
class Platform:
    """os/architecture[/variant]"""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host() -> Platform:
    """The platform of this machine."""
    return _normal("linux", os.uname().machine, "")


def parse(text: str) -> Platform:
    """ "linux/arm64/v8", "linux/amd64", or "arm64" alone. Raises: InvalidArgument."""
    parts = text.lower().split("/")
    if not text or len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(f'"{text[:128]}": unknown operating system or architecture: invalid argument')
    if len(parts) == 1:
        if parts[0] in _SYSTEMS:
            return Platform(parts[0], host().architecture)
        platform = _normal("linux", parts[0], "")
        if platform.architecture not in _KNOWN:
            raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
        return platform
    return _normal(parts[0], parts[1], parts[2] if len(parts) == 3 else "")


def of_json(body: dict[str, Any]) -> Platform:
    """The platform an index entry or an image configuration names."""
    return _normal(*(str(body.get(key) or "") for key in ("os", "architecture", "variant")))


def _normal(system: str, architecture: str, variant: str) -> Platform:
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""  # what these architectures are without saying so
    if architecture == "arm" and not variant:
        variant = "v7"
    return Platform(system, architecture, variant)


def fit(wanted: Platform, offered: Platform) -> int | None:
    """How well ``offered`` runs where ``wanted`` does; 0 is exact, more is worse, None not at all."""
    if wanted.os != offered.os:
        return None
    if wanted.architecture == offered.architecture:
        if wanted.variant == offered.variant:
            return 0
        newest, old = _version(wanted), _version(offered)
        return newest - old if 0 < old <= newest else None
    if wanted.architecture == "amd64" and offered.architecture == "386":
        return 100
    if wanted.architecture == "arm64" and offered.architecture == "arm":
        return 100 + 8 - _version(offered)
    return None


def _version(platform: Platform) -> int:
    digits = platform.variant.removeprefix("v")
    if digits.isdigit():
        return int(digits)
    return {"amd64": 1, "arm64": 8}.get(platform.architecture, 0) if not platform.variant else 0


def choose(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """The index of the best fit; the first of equals. Entries without a platform fit last."""
    best: tuple[int, int] | None = None
    for index, platform in enumerate(offered):
        badness = 1000 if platform is None else fit(wanted, platform)
        if badness is not None and (best is None or badness < best[0]):
            best = (badness, index)
    return None if best is None else best[1]

"""The Mounts of a create body as lines of ``--mount``, both ways. Pure; errors name the line.

A mount no line can say is not shown, and kept.

Spec: Docker API 1.47, Mount; ``docker run --mount`` of Docker 28.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.runspec import lines, parse_size, size_text

Body = dict[str, Any]

KINDS = ("bind", "volume", "tmpfs")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_TEXTS = {"source": "Source", "target": "Target", "consistency": "Consistency"}
_TRUE, _FALSE = ("true", "1"), ("false", "0")
# bind-recursive= -> what it sets
_RECURSION = {
    "enabled": "",
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}
_OWN = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}
_MODE = re.compile(r"[0-7]{1,5}")


def parse_mounts(text: str) -> list[Body]:
    """Lines such as "type=bind,source=/srv,target=/data,readonly" as Mounts.

    Raises: ValueError naming the line.
    """
    return [parse_mount(line) for line in lines(text)]


def parse_mount(line: str) -> Body:
    """One of Mounts, without what is empty. Raises: ValueError naming the line."""
    try:
        parts = next(csv.reader([line], strict=True), [])  # quotation marks keep a comma in a value
    except csv.Error:
        raise ValueError(_("“%(line)s”: a quotation mark is never closed") % {"line": line}) from None
    mount: Body = {"Type": "volume"}
    for part in parts:
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        _set(mount, _ALIASES.get(key, key), value if equals else None, line)
    kind = mount["Type"]
    if kind not in KINDS:
        raise ValueError(
            _("“%(line)s”: the type is one of %(all)s") % {"line": line, "all": ", ".join(KINDS)}
        )
    if not str(mount.get("Target", "")).startswith("/"):
        raise ValueError(_("“%(line)s”: target= is a path that starts with /") % {"line": line})
    if kind == "bind" and not str(mount.get("Source", "")).startswith("/"):
        raise ValueError(_("“%(line)s”: source= is a path that starts with /") % {"line": line})
    if kind == "tmpfs" and mount.get("Source"):
        raise ValueError(_("“%(line)s”: a tmpfs has no source") % {"line": line})
    for other, key in _OWN.items():
        if other != kind and key in mount:
            raise ValueError(
                _("“%(line)s”: options of %(other)s do not go with type=%(kind)s")
                % {"line": line, "other": other, "kind": kind}
            )
    return mount


def _set(mount: Body, key: str, value: str | None, line: str) -> None:
    text = value or ""
    if key == "type" and text:
        mount["Type"] = text.lower()
    elif key in _TEXTS and text:
        mount[_TEXTS[key]] = text
    elif key == "readonly":
        _flag(mount, "ReadOnly", value, line)
    elif key == "volume-nocopy":
        _flag(_options(mount, "volume"), "NoCopy", value, line)
    elif key == "bind-nonrecursive":
        _flag(_options(mount, "bind"), "NonRecursive", value, line)
    elif key == "bind-propagation" and text:
        _options(mount, "bind")["Propagation"] = text.lower()
    elif key == "bind-recursive" and text in _RECURSION:
        if _RECURSION[text]:
            _options(mount, "bind")[_RECURSION[text]] = True
    elif key == "volume-subpath" and text:
        _options(mount, "volume")["Subpath"] = text
    elif key == "volume-driver" and text:
        _options(mount, "volume").setdefault("DriverConfig", {})["Name"] = text
    elif key in ("volume-opt", "volume-label") and text:
        place = _options(mount, "volume")
        if key == "volume-opt":
            place = place.setdefault("DriverConfig", {})
        name, _equals, content = text.partition("=")
        place.setdefault("Options" if key == "volume-opt" else "Labels", {})[name] = content
    elif key == "tmpfs-size" and text:
        _options(mount, "tmpfs")["SizeBytes"] = parse_size(text)
    elif key == "tmpfs-mode" and _MODE.fullmatch(text):
        _options(mount, "tmpfs")["Mode"] = int(text, 8)
    else:
        shown = key if value is None else f"{key}={value}"
        raise ValueError(_("“%(line)s”: “%(text)s” is no setting of a mount") % {"line": line, "text": shown})
    if not mount.get("ReadOnly", True):
        del mount["ReadOnly"]


def _options(mount: Body, kind: str) -> Body:
    options: Body = mount.setdefault(_OWN[kind], {})
    return options


def _flag(place: Body, key: str, value: str | None, line: str) -> None:
    if value is not None and value.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(
            _("“%(line)s”: “%(text)s” is neither true nor false") % {"line": line, "text": value}
        )
    place[key] = value is None or value.lower() in _TRUE


def shown(mounts: Iterable[Mapping[str, Any]] | None) -> tuple[list[str], list[Body]]:
    """(lines of those a line can say, the others)."""
    found, others = [], []
    for mount in mounts or ():
        line = mount_text(mount)
        try:
            reads_back = parse_mounts(line) == [_bare(mount)]
        except ValueError:
            reads_back = False
        if reads_back:
            found.append(line)
        else:
            others.append(dict(mount))
    return found, others


def mount_text(mount: Mapping[str, Any]) -> str:
    """As ``parse_mount`` reads it, if that can."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(_words(mount))
    return out.getvalue()


def _words(mount: Mapping[str, Any]) -> Iterator[str]:
    yield f"type={mount.get('Type') or 'volume'}"
    for word, key in _TEXTS.items():
        if mount.get(key):
            yield f"{word}={mount[key]}"
    if mount.get("ReadOnly"):
        yield "readonly"
    bind, volume, tmpfs = (mount.get(key) or {} for key in _OWN.values())
    if bind.get("Propagation"):
        yield f"bind-propagation={bind['Propagation']}"
    for word, key in _RECURSION.items():
        if key and bind.get(key):
            yield f"bind-recursive={word}"
    if volume.get("NoCopy"):
        yield "volume-nocopy"
    if volume.get("Subpath"):
        yield f"volume-subpath={volume['Subpath']}"
    driver = volume.get("DriverConfig") or {}
    if driver.get("Name"):
        yield f"volume-driver={driver['Name']}"
    for name, value in (driver.get("Options") or {}).items():
        yield f"volume-opt={name}={value}"
    for name, value in (volume.get("Labels") or {}).items():
        yield f"volume-label={name}={value}"
    if tmpfs.get("SizeBytes"):
        yield f"tmpfs-size={size_text(tmpfs['SizeBytes'])}"
    if tmpfs.get("Mode"):
        yield f"tmpfs-mode={tmpfs['Mode']:o}"


def _bare(value: Any) -> Any:
    """Without what is empty: engines differ in what they leave out."""
    if not isinstance(value, Mapping):
        return value
    bare = {key: _bare(one) for key, one in value.items()}
    return {key: one for key, one in bare.items() if one not in (None, "", [], {}, False, 0)}

"""What names in an archive may mean: paths inside of the layer and nothing else; pure."""

from __future__ import annotations

NAME_MAX_BYTES = 255
PATH_MAX_BYTES = 4095
SHOWN_CHARS = 200


class UnpackError(Exception):
    """The archive asks for what a layer must not do, or for what this file system cannot do."""


def clean(name: bytes) -> bytes:
    """The path an entry means, relative to the root, b"" for the root itself; pure.

    Raises: UnpackError when it climbs out of the root or cannot be a path.
    """
    if b"\0" in name:
        raise UnpackError(f"entry {shown(name)} has a NUL in its name")
    if len(name) > PATH_MAX_BYTES:
        raise UnpackError(f"entry {shown(name)} has a name of {len(name)} bytes")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"" or part == b".":
            continue
        if part == b"..":
            if not parts:
                raise UnpackError(f"entry {shown(name)} lies outside of the layer")
            parts.pop()
        elif len(part) > NAME_MAX_BYTES:
            raise UnpackError(f"entry {shown(name)} has a part of {len(part)} bytes in its name")
        else:
            parts.append(part)
    return b"/".join(parts)


def climbs_out(directory: bytes, target: bytes) -> bool:
    """Whether a symlink in ``directory`` (clean) with this target points above the root; pure."""
    depth = 0 if target.startswith(b"/") or not directory else directory.count(b"/") + 1
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in (b"", b"."):
            depth += 1
    return False


def shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…")

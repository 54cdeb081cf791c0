"""The names of the rights, and the roles that are sets of them. Pure: no person, no database.

A right is one of RIGHTS. "terminal" is no right of its own: whoever has "shell" or "control" has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.utils.translation import gettext_lazy as _

# What each allows, as forms show it
RIGHTS = {
    "view": _("see that it is there, how it was set up and what it uses"),
    "logs": _("read what it wrote"),
    "operate": _("make, start, stop, rename and remove containers"),
    "control": _("attach to the main process and type into it"),
    "shell": _("open a shell in it"),
    "files": _("read its files; with “operate” also write them"),
    "reveal": _("see passwords and other secrets in its settings"),
    "pull": _("fetch images, name and remove them"),
    "push": _("send images to registries"),
    "prune": _("remove everything that is unused"),
    "registries": _("keep the passwords of registries"),
    "networks": _("make and remove networks, put containers on them"),
    "volumes": _("make and remove volumes"),
    "admin": _("everything, also accounts and the audit log"),
}
TERMINAL = "terminal"
NAMES = frozenset((*RIGHTS, TERMINAL))
ENGINE_WIDE = frozenset(("prune", "registries", "admin"))  # reach beyond what a team owns: no team gives them

VIEWER = frozenset(("view", "logs"))
OPERATOR = frozenset(RIGHTS) - {"registries", "admin"}
ADMIN = frozenset(RIGHTS)
ROLES = {"viewer": VIEWER, "operator": OPERATOR, "admin": ADMIN}
CUSTOM = "custom"  # the role that is a list of its own


def rights_in(role: str, listed: Iterable[object] = ()) -> frozenset[str]:
    """The rights of a role; of "custom" those in the list, unknown words left out."""
    if role == CUSTOM:
        return frozenset(right for right in listed if isinstance(right, str) and right in RIGHTS)
    return ROLES.get(role, frozenset())


def role_of(rights: Collection[str]) -> str:
    """The role these rights come nearest to: "admin", "operator", else "viewer"."""
    return "admin" if "admin" in rights else "operator" if "operate" in rights else "viewer"


def complete(rights: frozenset[str]) -> frozenset[str]:
    """With what follows from them: an administrator has every right, a shell needs a terminal."""
    if "admin" in rights:
        return NAMES
    return rights | {TERMINAL} if rights & {"shell", "control"} else rights


def known(right: str) -> str:
    """The right itself. Raises: RuntimeError when there is none of this name."""
    if right not in NAMES:
        raise RuntimeError(f"unknown right: expected one of {sorted(NAMES)}, got {right!r}")
    return right

"""Who "user[:group]" is inside a root file system, without following its links to the outside.

Spec: Docker API 1.47 ContainerConfig.User; passwd(5), group(5); openat2(2) RESOLVE_IN_ROOT.
"""

from __future__ import annotations

from pathlib import Path

from runtime.containers.spec import User


def resolve(rootfs: Path, user: str, group_add: list[str] | None = None) -> User:
    """`""`, `"1000"`, `"name"`, `"name:group"`, `"1000:1000"` as ids; also GroupAdd's names and numbers.

    Raises: InvalidArgument "unable to find user x: no matching entries in passwd file".
    """
    raise NotImplementedError

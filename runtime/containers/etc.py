"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, as Docker writes them.

They are rewritten in place: containers have them bind-mounted, so a renamed file would not be seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runtime.network.endpoints import NetworkSetup

_LOCAL_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hosts(lines: Iterable[tuple[str, list[str]]], *, base: str = _LOCAL_HOSTS) -> str:
    if base and not base.endswith("\n"):
        base += "\n"
    return base + "".join(f"{address}\t{' '.join(names)}\n" for address, names in lines)


def resolv_conf(setup: NetworkSetup) -> str:
    lines = [f"nameserver {address}" for address in setup.nameservers]
    if setup.search:
        lines.append(f"search {' '.join(setup.search)}")
    if setup.options:
        lines.append(f"options {' '.join(setup.options)}")
    return "\n".join(lines) + "\n"


def host_file(path: str) -> str:
    """A file of the host's own /etc, for containers on the host's network; empty when it has none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def write(path: Path, text: str) -> None:
    """Replace the contents, not the file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.truncate()

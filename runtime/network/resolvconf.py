"""/etc/resolv.conf and /etc/hosts: reading the host's, writing a container's.

Pure but for ``read_host`` and ``HostFile``. Follows what Docker writes, so that images find what they know.

Spec: resolv.conf(5), hosts(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

HOST_FILE = Path("/etc/resolv.conf")
STUB_FILE = Path("/run/systemd/resolve/resolv.conf")  # the servers behind systemd-resolved's stub
STUB_ADDRESSES = frozenset({"127.0.0.53"})
FALLBACK = ("8.8.8.8", "8.8.4.4")  # Docker's, when the host names no server a container could reach
EMBEDDED = "127.0.0.11"  # where containers on user networks find our resolver
FILE_BYTES = 1 << 16

_LOCAL_HOSTS = (
    ("127.0.0.1", ["localhost"]),
    ("::1", ["localhost", "ip6-localhost", "ip6-loopback"]),
    ("fe00::", ["ip6-localnet"]),
    ("ff00::", ["ip6-mcastprefix"]),
    ("ff02::1", ["ip6-allnodes"]),
    ("ff02::2", ["ip6-allrouters"]),
)


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The three things the file says."""

    nameservers: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def parse(text: str) -> ResolvConf:
    """What a file says; lines that make no sense are passed over, as the C library does."""
    found = ResolvConf()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and len(words) > 1 and _address(words[1]) is not None:
            found.nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            found.search[:] = [word for word in words[1:] if word != "."]
        elif words[0] == "options":
            found.options.extend(words[1:])
    return found


def read_host(file: Path = HOST_FILE, stub: Path = STUB_FILE) -> ResolvConf:
    """The host's settings; behind a local stub of systemd-resolved, the servers it asks. Missing is empty."""
    found = parse(_read(file))
    if found.nameservers and set(found.nameservers) <= STUB_ADDRESSES:
        behind = parse(_read(stub))
        if behind.nameservers:
            return ResolvConf(behind.nameservers, found.search, found.options)
    return found


class HostFile:
    """The host's settings, read again only when a file has changed."""

    def __init__(self, file: Path = HOST_FILE, stub: Path = STUB_FILE) -> None:
        self._files = (file, stub)
        self._seen: object = None
        self._found = ResolvConf()

    def read(self) -> ResolvConf:
        now = [_stamp(file) for file in self._files]
        if now != self._seen:
            self._found = read_host(*self._files)
            self._seen = now
        return self._found


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _address(value: str) -> str | None:
    try:
        ip_address(value)
    except ValueError:
        return None
    return value


def for_container(
    host: ResolvConf,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    keep_loopback: bool = False,
) -> ResolvConf:
    """A container's own settings where given, otherwise the host's without what only the host can reach.

    ``keep_loopback`` is for containers that share the host's network.
    """
    servers = list(dns)
    if not servers:
        servers = [
            server for server in host.nameservers if keep_loopback or not ip_address(server).is_loopback
        ]
    if not servers and not (keep_loopback and host.nameservers):
        servers = list(FALLBACK)
    wanted = [entry for entry in search if entry != "."] if search else host.search
    return ResolvConf(servers, list(wanted), list(options or host.options))


def embedded(upstream: ResolvConf) -> ResolvConf:
    """The settings of a container that asks our resolver, which asks the upstream servers."""
    options = [option for option in upstream.options if not option.startswith("ndots:")]
    dots = [option for option in upstream.options if option.startswith("ndots:")] or ["ndots:0"]
    return ResolvConf([EMBEDDED], upstream.search, [*options, *dots])


def render_resolv_conf(nameservers: Iterable[str], search: Sequence[str], options: Sequence[str]) -> str:
    """The file's text."""
    lines = [f"nameserver {server}" for server in nameservers]
    if search:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(line + "\n" for line in lines)


def render_hosts(hosts: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The file's text: what every host has, then these lines."""
    return "".join(f"{address}\t{' '.join(names)}\n" for address, names in (*_LOCAL_HOSTS, *hosts))

"""Reads WEBDOCK_* variables for the settings: plain values in, plain values out.

Owns the parsing and its error texts. It never touches Django and writes one file only: the secret key.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"", "0", "false", "no", "off"}
SECRET_KEY_BYTES = 50
HOURS_MAX = 24 * 366


class BadVariable(ValueError):
    """A variable that cannot be understood; the text names it and says what was expected."""


def flag(environ: Mapping[str, str], name: str, default: bool = False) -> bool:
    """The truth of a yes/no variable.

    Raises: BadVariable when the word is neither.
    """
    word = environ.get(name)
    if word is None:
        return default
    if word.strip().lower() in TRUE_WORDS:
        return True
    if word.strip().lower() in FALSE_WORDS:
        return False
    raise BadVariable(f"{name}={word!r}: expected yes or no")


def hours_each(
    environ: Mapping[str, str], name: str, default: float, kinds: tuple[str, ...]
) -> dict[str, float]:
    """A span of more than no hours, at most a year, for each of these: "12", or "12,admin=48".

    Raises: BadVariable.
    """
    found: dict[str, float] = {}
    for part in words(environ, name):
        kind, equals, text = part.partition("=")
        kind, text = (kind.strip(), text) if equals else ("", kind)
        span = _span(text)
        if span is None or kind in found or (equals and kind not in kinds):
            raise BadVariable(
                f"{name}: {part!r}: expected hours, more than 0 and at most {HOURS_MAX}, "
                f"or once for each of {', '.join(kinds)} such as {kinds[0]}=1"
            )
        found[kind] = span
    return {kind: found.get(kind, found.get("", default)) for kind in kinds}


def _span(text: str) -> float | None:
    try:
        span = float(text)
    except ValueError:
        return None
    return span if 0 < span <= HOURS_MAX else None


def seconds(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of seconds from 1 to ``most``.

    Raises: BadVariable when it is no such number.
    """
    text = environ.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise BadVariable(f"{name}={text!r}: expected a number of seconds from 1 to {most}")
    return int(text)


def secret(environ: Mapping[str, str], name: str) -> str:
    """The first line of the file that the variable names, "" without the variable.

    Raises: BadVariable when the file cannot be read or its first line is empty.
    """
    path = environ.get(name, "")
    if not path:
        return ""
    try:
        line = Path(path).read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadVariable(f"{name}={path!r} cannot be read: {error}") from error
    if not line:
        raise BadVariable(f"{name}={path!r}: the file's first line is empty")
    return line


def choice(environ: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    """One of these words, the first when it is not set.

    Raises: BadVariable.
    """
    value = environ.get(name, "").strip().lower() or words[0]
    if value not in words:
        raise BadVariable(f"{name}: expected one of {', '.join(words)}, got {value!r}")
    return value


def words(environ: Mapping[str, str], name: str) -> list[str]:
    """The parts of a comma-separated variable, without empty ones."""
    return [part.strip() for part in environ.get(name, "").split(",") if part.strip()]


@dataclass(frozen=True)
class PublicUrl:
    """Where people reach the pages when that differs from the listening address."""

    origin: str  # "https://dock.example.org:8443", no trailing slash
    host: str  # "dock.example.org"
    path: str  # "/webdock" or ""
    secure: bool  # https


def public_url(environ: Mapping[str, str]) -> PublicUrl | None:
    """The parsed WEBDOCK_PUBLIC_URL, None when it is not set.

    Raises: BadVariable when it is not an http or https URL.
    """
    text = environ.get("WEBDOCK_PUBLIC_URL", "").strip()
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadVariable(f"WEBDOCK_PUBLIC_URL={text!r}: expected http(s)://host[:port][/path]")
    return PublicUrl(
        origin=f"{parts.scheme}://{parts.netloc}",
        host=parts.hostname,
        path=parts.path.rstrip("/"),
        secure=parts.scheme == "https",
    )


def split_listen(listen: str) -> tuple[str, int]:
    """Host and port of WEBDOCK_LISTEN: "127.0.0.1:8000", "[::]:8000" or ":8000" (every address).

    Raises: BadVariable when there is no port.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise BadVariable(f"WEBDOCK_LISTEN={listen!r}: expected host:port")
    return host.strip("[]"), int(port)


def own_hosts(listen: str) -> list[str]:
    """Host names a browser may use for this address: always the loopback ones, and when every address is
    listened on, the machine's own names and addresses. A foreign name pointing here stays refused."""
    hosts = ["localhost", "127.0.0.1", "[::1]"]
    if listen.startswith("unix:"):
        return hosts
    host, _port = split_listen(listen)
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        name = socket.gethostname()
        hosts += [name, f"{name}.local"] if "." not in name else [name, name.split(".")[0]]
        for addresses in psutil.net_if_addrs().values():
            for entry in addresses:
                if entry.family in (socket.AF_INET, socket.AF_INET6):
                    hosts.append(_host_form(entry.address.split("%")[0]))
    elif host:
        hosts.append(_host_form(host))
    return list(dict.fromkeys(hosts))


def _host_form(host: str) -> str:
    """A host as the Host header spells it: IPv6 addresses in brackets."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    return f"[{address}]" if address.version == 6 else str(address)


def secret_key(environ: Mapping[str, str], directory: Path) -> str:
    """The signing key: WEBDOCK_SECRET_KEY_FILE, else ``secret_key`` in the web directory, made there once
    (mode 0600). Without such a directory (tests, one-off commands) a key that lives as long as the process.

    Raises: OSError when the directory is there but the key can be neither read nor made.
    """
    named = environ.get("WEBDOCK_SECRET_KEY_FILE")
    path = Path(named) if named else directory / "secret_key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        if named:
            raise
    key = secrets.token_urlsafe(SECRET_KEY_BYTES)
    return keep_secret(path, key) if directory.is_dir() else key


def keep_secret(path: Path, key: str) -> str:
    """Write a key to a file only its user reads, unless there is one already; the one that is there then."""
    # Race: two processes may start at once; the link makes exactly one of them the author.
    draft = path.parent / f".{path.name}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()

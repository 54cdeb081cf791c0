"""Which registries there are and how each is spoken to: what engine.toml fixes, and what was set at run time.

Owns ``registries.json`` in the engine's state. Keeps no credentials: those come with each request.

A host that engine.toml names, in ``[registries]`` or in ``[mirrors]``, is fixed; anything else can be set
while the engine runs. ``configs`` and ``mirrors`` are what is in force; they change in place.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, EngineError, Forbidden, Internal, InvalidArgument, NotFound
from runtime.api.types import RegistryBody, RegistryRow
from runtime.config import RegistryConfig
from runtime.images import reference as references
from runtime.images.content import replace_file
from runtime.images.reference import DEFAULT_DOMAIN, DOMAIN
from runtime.images.session import HUB_NAMES
from runtime.images.threads import to_the_end

REGISTRIES_MAX = 200
MIRRORS_MAX = 16  # of one registry
TOKEN_HOSTS_MAX = 16  # of one registry
URL_MAX_CHARS = 2048
CA_MAX_BYTES = 256 << 10

Configs = Mapping[str, RegistryConfig]
Mirrors = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Setting:
    """What was set for one host."""

    config: RegistryConfig
    mirrors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it lies in the file, and as ``setting`` reads it."""
        return {
            "Mirrors": list(self.mirrors),
            "Insecure": self.config.insecure,
            "CA": self.config.ca_text,
            "Local": self.config.local,
            "TokenHosts": list(self.config.token_hosts),
        }


class Registries:
    """The registries of one engine."""

    def __init__(self, file: Path, configs: Configs, mirrors: Mirrors) -> None:
        """``configs`` and ``mirrors`` are engine.toml's."""
        self._file = file
        self._fixed = {host: _trusted(config) for host, config in configs.items()}
        self._fixed_mirrors = dict(mirrors)
        self._settings: dict[str, Setting] = {}
        self._loopback: set[str] = set()  # that root asked for, and nobody said anything of
        self._write = asyncio.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self.configs: dict[str, RegistryConfig] = {}
        self.mirrors: dict[str, tuple[str, ...]] = {}
        self._apply()

    def load(self) -> list[str]:
        """Read what was set; returns what was found broken. Blocks; for the start."""
        complaints = []
        try:
            kept = json.loads(self._file.read_bytes())
            entries = dict(kept["registries"])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            return [f"{self._file} cannot be read, so no registry set at run time is known: {error}"]
        for host, body in entries.items():
            try:
                self._settings[host_of(host)] = setting(host_of(host), body)
            except (EngineError, AttributeError, TypeError) as error:
                complaints.append(f"what was set for registry {host} is ignored: {error}")
        self._apply()
        return complaints

    def rows(self) -> list[RegistryRow]:
        """Every registry that is spoken to in a way of its own, docker.io first."""
        hosts = {*self._fixed, *self._fixed_mirrors, *self._settings, DEFAULT_DOMAIN}
        return [self.row(host) for host in sorted(hosts, key=lambda host: (host != DEFAULT_DOMAIN, host))]

    def row(self, host: str) -> RegistryRow:
        """How one host is spoken to."""
        config = self.configs.get(host) or RegistryConfig(host)
        return {
            "Host": host,
            "Source": self._source(host),
            "Mirrors": list(self.mirrors.get(host, ())),
            "Insecure": config.insecure,
            "CA": config.ca_text,
            "CAFile": str(config.ca or ""),
            "Local": config.local,
            "TokenHosts": list(config.token_hosts),
        }

    def _source(self, host: str) -> str:
        if self._is_fixed(host):
            return "config"
        return "set" if host in self._settings else "default"

    def _is_fixed(self, host: str) -> bool:
        return host in self._fixed or host in self._fixed_mirrors

    def reach(self, host: str, *, confined: bool) -> None:
        """Somebody is about to ask a host. As Docker, root may ask any on 127.0.0.0/8, without TLS, too.

        It stays out of reach for what other registries name: redirects, token services, uploads, mirrors.

        Raises: Forbidden when somebody confined asks for one of this machine that nobody configured.
        """
        if not _is_loopback(host) or self._is_fixed(host) or host in self._settings:
            return
        if confined:
            raise Forbidden(
                f"not allowed on this socket: registry {host[:100]} is on an address of this machine: "
                f'name it in engine.toml ([registries."{host[:100]}"], local = true)'
            )
        if host not in self._loopback:
            self._loopback.add(host)
            self._apply()

    async def set(self, host: str, body: RegistryBody) -> RegistryRow:
        """Speak to a host like this from now on, whatever was set before.

        Raises: Conflict when engine.toml names it, InvalidArgument, Internal.
        """
        host = self._free(host)
        new = setting(host, body)
        async with self._write:
            if host not in self._settings and len(self._settings) >= REGISTRIES_MAX:
                raise Conflict(f"registry {host} cannot be added: {REGISTRIES_MAX} are set already")
            await self._keep({**self._settings, host: new})
        return self.row(host)

    async def forget(self, host: str) -> None:
        """Speak to a host in the plain way again. Raises: Conflict, NotFound, InvalidArgument, Internal."""
        host = self._free(host)
        async with self._write:
            if host not in self._settings:
                raise NotFound(f"No such registry: nothing was set for {host}")
            await self._keep({name: one for name, one in self._settings.items() if name != host})

    def _free(self, host: str) -> str:
        host = host_of(host)
        if self._is_fixed(host):
            raise Conflict(f"registry {host} is set in engine.toml: change it there and restart the engine")
        return host

    async def _keep(self, settings: dict[str, Setting]) -> None:
        body = {"registries": {host: one.to_json() for host, one in sorted(settings.items())}}
        try:
            await to_the_end(replace_file, self._file, json.dumps(body, indent=1).encode())
        except OSError as error:
            raise Internal(f"the registries cannot be written to {self._file}: {error.strerror}") from error
        self._settings = settings
        self._apply()

    def _apply(self) -> None:
        self.configs.clear()
        self.mirrors.clear()
        for host, one in self._settings.items():
            if not self._is_fixed(host):  # engine.toml may have come to name it since
                self.configs[host] = one.config
                self.mirrors[host] = one.mirrors
        for host in self._loopback - self._settings.keys():
            self.configs[host] = RegistryConfig(host, insecure=True, local=True, only_asked=True)
        self.configs.update(self._fixed)
        self.mirrors.update(self._fixed_mirrors)
        self.on_change()

    def with_changes(self, host: str, body: RegistryBody) -> tuple[Configs, Mirrors]:
        """What would be in force if ``body`` were set for a host, with the rest as it is.

        engine.toml's word stands. Raises: InvalidArgument.
        """
        host = host_of(host)
        if self._is_fixed(host):
            return self.configs, self.mirrors
        before = self._settings.get(host) or Setting(RegistryConfig(host))
        tried = setting(host, {**before.to_json(), **body})
        return {**self.configs, host: tried.config}, {**self.mirrors, host: tried.mirrors}


def host_of(text: str) -> str:
    """A registry's host as references spell it. Raises: InvalidArgument."""
    host = text.strip()
    if host in HUB_NAMES:
        return DEFAULT_DOMAIN
    host = host.lower()
    if not DOMAIN.fullmatch(host) or references.parse(f"{host}/name").domain != host:
        raise InvalidArgument(
            f"{text[:100]!r} is no registry: it is a host with a dot or a port, such as registry.example:5000"
        )
    return host


def setting(host: str, body: Mapping[str, Any]) -> Setting:
    """What a request or the file says of one host. Raises: InvalidArgument."""
    mirrors = [mirror_url(url) for url in body.get("Mirrors") or ()]
    if len(mirrors) > MIRRORS_MAX:
        raise InvalidArgument(f"registry {host} has more than {MIRRORS_MAX} mirrors")
    if len(set(mirrors)) != len(mirrors):
        raise InvalidArgument(f"registry {host} has the same mirror twice")
    token_hosts = tuple(body.get("TokenHosts") or ())
    if len(token_hosts) > TOKEN_HOSTS_MAX:
        raise InvalidArgument(f"registry {host} has more than {TOKEN_HOSTS_MAX} token hosts")
    for one in token_hosts:
        if not isinstance(one, str) or not DOMAIN.fullmatch(one):
            raise InvalidArgument(f"token host {str(one)[:100]!r} of registry {host} is no host name")
    config = RegistryConfig(
        host,
        insecure=bool(body.get("Insecure")),
        ca_text=_certificates(host, body.get("CA") or ""),
        local=bool(body.get("Local")),
        token_hosts=token_hosts,
    )
    return Setting(config, tuple(mirrors))


def mirror_url(text: str) -> str:
    """A mirror's address, without the slash at its end. Raises: InvalidArgument."""
    url = text.strip().rstrip("/")
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    parts = path.split("/") if path else []
    if scheme not in ("http", "https") or not DOMAIN.fullmatch(authority) or len(url) > URL_MAX_CHARS:
        raise InvalidArgument(
            f"mirror {text[:100]!r} is no address such as https://mirror.example or http://10.0.0.5:5000/hub"
        )
    if any(not part or not part.isascii() or set(part) & set("?#%@\\") or part[0] == "." for part in parts):
        raise InvalidArgument(f"the path of mirror {text[:100]!r} is no beginning of repository names")
    return url


def mirror_host(url: str) -> str:
    """The host of a mirror's address, as it is configured."""
    return url.partition("://")[2].partition("/")[0]


def _certificates(host: str, text: str) -> str:
    if not text.strip():
        return ""
    if len(text) > CA_MAX_BYTES:
        raise InvalidArgument(f"the certificates of registry {host} are longer than {CA_MAX_BYTES} bytes")
    try:
        ssl.create_default_context().load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError, TypeError) as error:  # the last for what is not ASCII
        reason = getattr(error, "reason", None) or str(error)
        raise InvalidArgument(f"the certificates of registry {host} are no PEM: {reason}") from None
    return text


def _trusted(config: RegistryConfig) -> RegistryConfig:
    """An address of this machine that engine.toml itself writes down is meant."""
    literal = _bare(config.host) == "localhost" or _address(config.host) is not None
    return replace(config, local=True) if literal and not config.local else config


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return _bare(host) == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(_bare(host))
    except ValueError:
        return None


def _bare(host: str) -> str:
    """Without port and brackets."""
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() and name else host).strip("[]")

"""HTTP to registries: connections, certificates, addresses that may be reached, redirects, Docker's words.

Owns the aiohttp session. Knows hosts and URLs, no images and no credentials: a header given as
``authorization`` is sent to the asked origin only, never after a redirect to another one.

Differs: loopback, link-local and cloud metadata addresses are reached only for registries that engine.toml
or root allows to be there. What Docker trusts without being told, 127.0.0.0/8, root allows by asking for it
(``Registries.reach``).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from runtime.api.errors import EngineError, Internal
from runtime.config import RegistryConfig

REDIRECTS_MAX = 10
READ_BUFFER_BYTES = 1 << 20
CONNECTIONS_PER_HOST = 12
USER_AGENT = "webdock"
_REDIRECTS = (301, 302, 303, 307, 308)
# Where clouds tell a machine its secrets, besides link-local addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ALIASES = {"registry-1.docker.io": "docker.io", "index.docker.io": "docker.io"}  # host -> as configured


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a registry is waited for."""

    connect_s: float = 15.0
    stall_s: float = 30.0  # without a byte, in an answer or in front of it
    attempts: int = 5  # without progress in between
    backoff_s: float = 0.5  # doubled with each attempt
    backoff_max_s: float = 30.0
    retry_after_max_s: float = 120.0  # a registry that asks for more is given up


class Unreachable(Internal):
    """Nobody answered, or not in HTTP; another endpoint or a later try may."""

    passing = True  # whether the same endpoint is worth another try

    def __init__(self, text: str, kind: str = "connection") -> None:
        """``kind`` is one of name, connection, certificate, plain-http, timeout, protocol."""
        super().__init__(text)
        self.kind = kind


class Refused(Internal):
    """This engine will not ask that; trying again changes nothing."""

    kind = "refused"


class InnerAddress(Refused):
    """The name leads to an address that only the configuration can allow."""

    kind = "address"


LeadsInside = Callable[[str, int], bool]  # (loopback address, TCP port)


def _nobodys(address: str, port: int) -> bool:
    return False


class Transport:
    """Requests to hosts as the configuration allows them."""

    def __init__(
        self,
        registries: Mapping[str, RegistryConfig],
        patience: Patience,
        leads_inside: LeadsInside = _nobodys,
    ) -> None:
        """``leads_inside`` tells which ports of loopback addresses are a container's."""
        self.patience = patience
        self.leads_inside = leads_inside
        self._registries = registries
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None
        self._proxies = urllib.request.getproxies_environment()

    def config(self, host: str) -> RegistryConfig:
        """The configuration of a host as references spell it; the plain one when it is not configured."""
        return self._registries.get(host) or RegistryConfig(host)

    def forget(self) -> None:
        """The configuration has changed: nothing learnt under the old one counts."""
        self._contexts.clear()
        if self._session is not None and isinstance(self._session.connector, aiohttp.TCPConnector):
            self._session.connector.clear_dns_cache()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = None,
        data: bytes | AsyncIterable[bytes] | Mapping[str, str] | None = None,
        follow: bool = True,
        asked: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, redirects followed; the answer is open while the context is, whatever its status.

        ``asked`` is the host somebody named, on whose behalf this is requested.

        Raises: Unreachable, Refused; also while the body is read inside the context.
        """
        target = URL(str(url), encoded=True)
        origin = target.origin()
        first = target
        for _ in range(REDIRECTS_MAX + 1):
            async with self._one(method, target, headers, authorization, data, asked) as answer:
                location = answer.headers.get("Location")
                if not follow or answer.status not in _REDIRECTS or not location:
                    yield answer
                    return
            target = self._redirected(first, target, location)
            if target.origin() != origin:
                authorization = None
        raise Refused(f'{method.title()} "{first}": stopped after {REDIRECTS_MAX} redirects')

    def _redirected(self, first: URL, source: URL, location: str) -> URL:
        try:
            target = source.join(URL(location, encoded=True)).with_fragment(None)
        except ValueError:
            target = URL()
        if target.scheme not in ("http", "https") or not target.host:
            raise Refused(f'Get "{first}": redirected to {location[:200]!r}, which is no URL')
        if source.scheme == "https" and target.scheme == "http" and not self._config_of(target).insecure:
            raise Refused(f'Get "{first}": redirected from https to plain http at {_authority(target)}')
        return target.with_user(None)

    @asynccontextmanager
    async def _one(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None,
        authorization: str | None,
        data: bytes | AsyncIterable[bytes] | Mapping[str, str] | None,
        asked: str,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._open()
        merged = {"Accept-Encoding": "identity", **(headers or {})}
        if authorization:
            merged["Authorization"] = authorization
        proxy = self._proxy(url)
        if proxy is None:
            self._check_named(url, asked)
        try:
            async with session.request(
                method,
                url,
                headers=merged,
                data=data,
                allow_redirects=False,
                ssl=self._context(url),
                proxy=proxy,
            ) as answer:
                yield answer
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:  # Unicode: no host name
            raise _unreachable(method, url, error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self), limit=0, limit_per_host=CONNECTIONS_PER_HOST, ttl_dns_cache=30
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.patience.connect_s, sock_read=self.patience.stall_s
                ),
                headers={"User-Agent": USER_AGENT},
                raise_for_status=False,
            )
        return self._session

    def _config_of(self, url: URL) -> RegistryConfig:
        authority = _ALIASES.get(_authority(url), _authority(url))
        return self._registries.get(authority) or self.config(url.host or "")

    def _context(self, url: URL) -> ssl.SSLContext | bool:
        config = self._config_of(url)
        if url.scheme != "https" or not (config.ca or config.ca_text or config.insecure):
            return True
        if config.host not in self._contexts:
            context = ssl.create_default_context()
            if config.ca is not None:
                try:
                    context.load_verify_locations(config.ca)
                except (OSError, ssl.SSLError) as error:
                    raise Refused(
                        f"the certificates of registry {config.host} cannot be read: {error}"
                    ) from None
            if config.ca_text:
                context.load_verify_locations(cadata=config.ca_text)  # was read when it was set
            if config.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[config.host] = context
        return self._contexts[config.host]

    def _proxy(self, url: URL) -> str | None:
        host = url.host or ""
        if host == "localhost" or (_address(host) is not None and _is_inner(host)):
            return None
        if urllib.request.proxy_bypass_environment(host, self._proxies):  # type: ignore[attr-defined]
            return None
        return self._proxies.get(url.scheme)

    def _check_named(self, url: URL, asked: str) -> None:
        """Raises: Refused for an address, or a host only_asked is said of, that may not be reached so."""
        host, port = url.host or "", url.port or 0
        if host == "localhost" or (_address(host) is not None and _is_inner(host)):
            itself = asked in (_authority(url), f"{_bracketed(host)}:{port}")
            self.check_inner(host, port, host, itself=itself)

    def check_inner(self, host: str, port: int, address: str, *, itself: bool = True) -> None:
        """Raises: Refused unless the configuration lets this host be at such an address.

        ``itself`` says that it is the very host that was asked for.
        """
        bare = _bracketed(host)
        for name in (f"{bare}:{port}", bare):
            config = self._registries.get(name.replace("[", "").replace("]", "")) or self._registries.get(
                name
            )
            if config is not None and config.local and (itself or not config.only_asked):
                return
        if self.leads_inside(address, port):
            return  # what a container publishes is no service of this machine
        raise InnerAddress(
            f'Get "https://{host}:{port}/v2/": dial tcp {address}:{port}: an address of this machine or link '
            f"is only reached for a registry named in engine.toml "
            f'([registries."{host}:{port}"], local = true)'
        )


class _Resolver(AbstractResolver):
    """Name resolution that keeps names of the outside from meaning addresses of the inside."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            if _is_inner(result["host"]):
                self._transport.check_inner(host, port, result["host"])
        return results

    async def close(self) -> None:
        await self._resolver.close()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_inner(host: str) -> bool:
    """Whether an address is this machine's own, its link's, or that of a cloud's secrets."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inside or address
    return address is not None and (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in _METADATA
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _authority(url: URL) -> str:
    host = _bracketed(url.host or "")
    return host if url.is_default_port() else f"{host}:{url.port}"


def _unreachable(method: str, url: URL, error: BaseException) -> EngineError:
    """What Docker would say."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EngineError):
            return cause
        cause = cause.__cause__ or cause.__context__
    start = f'{method.title()} "{url}": '
    place = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable(f"{start}dial tcp: lookup {url.host}: no such host", "name")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        known = {
            "self-signed certificate": "certificate signed by unknown authority",
            "unable to get local issuer certificate": "certificate signed by unknown authority",
            "certificate has expired": "certificate has expired or is not yet valid",
        }
        return Unreachable(
            f"{start}tls: failed to verify certificate: x509: {known.get(reason, reason)}", "certificate"
        )
    if isinstance(error, (aiohttp.ClientConnectorSSLError, ssl.SSLError)):
        reason = str(getattr(getattr(error, "os_error", error), "reason", error)).lower().replace("_", " ")
        if "wrong version number" in reason or "http request" in reason or "record layer failure" in reason:
            return NotTls(f"{start}http: server gave HTTP response to HTTPS client", "plain-http")
        return Unreachable(f"{start}tls: {reason}", "certificate")
    if isinstance(error, (aiohttp.ServerTimeoutError, TimeoutError)):
        if "onnect" in str(error):
            return Unreachable(f"{start}dial tcp {place}: i/o timeout", "timeout")
        return Unreachable(
            f"{start}net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            "timeout",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        reason = os.strerror(number).lower() if number else str(error.os_error)
        return Unreachable(f"{start}dial tcp {place}: connect: {reason}")
    if isinstance(
        error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, asyncio.IncompleteReadError)
    ):
        return Unreachable(f"{start}unexpected EOF", "protocol")
    if isinstance(error, OSError) and error.errno:
        return Unreachable(f"{start}{os.strerror(error.errno).lower()}")
    return Unreachable(f"{start}malformed HTTP response: {str(error)[:200]}", "protocol")


class NotTls(Unreachable):
    """The host speaks plain HTTP; only an insecure registry may be asked so."""

    passing = False

"""What one engine instance is told: places, names, registries, networks, the policy of the confined socket.

Owns the reading of ``engine.toml`` and of the ``WEBDOCK_*`` variables the engine uses. Never touches the
machine: directories are made by those who use them.

    runtime = "crun"                      # or "runc", or a path
    userns = "auto"                       # or "host"
    labels = ["site=cellar"]              # shown in `docker info`

    [registries."registry.example:5000"]
    insecure = true                       # plain HTTP, or a certificate nobody knows
    ca = "/etc/webdock/example-ca.pem"
    local = true                          # may live on a loopback or link-local address
    token_hosts = ["auth.example"]        # token services on other hosts that may get its credentials

    [mirrors]
    "docker.io" = ["https://mirror.example"]

    [network]
    bridge_subnet = "172.30.0.0/16"
    pools = [{ base = "172.17.0.0/12", size = 16 }]

    [policy]
    allowed_binds = ["/srv/shared", "/srv/media:ro"]
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.api.instances import DEFAULT_HOME, instance_digits, instance_name
from runtime.configtable import ConfigError as ConfigError
from runtime.configtable import Table

DEFAULT_RUN = Path("/run/webdock")
DEFAULT_CONFIG = Path("/etc/webdock/engine.toml")

_PORT_RANGE = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How one registry host is spoken to."""

    host: str  # "registry.example:5000", as it stands in references
    insecure: bool = False  # plain HTTP and unverifiable certificates are accepted
    ca: Path | None = None  # PEM bundle trusted for this host besides the system's
    ca_text: str = ""  # the same as text, for hosts that were set at run time
    local: bool = False  # may resolve to loopback or link-local addresses
    token_hosts: tuple[str, ...] = ()  # foreign token services that may get its credentials
    only_asked: bool = False  # local only when it is itself what was asked for, not where another leads


@dataclass(frozen=True, slots=True)
class AddressPool:
    """Where subnets of new networks come from: every /size inside base."""

    base: ipaddress.IPv4Network | ipaddress.IPv6Network
    size: int


# Docker's own default pools, so that people find the addresses they know.
DEFAULT_POOLS = (
    *(AddressPool(ipaddress.ip_network(f"172.{second}.0.0/16"), 16) for second in range(17, 32)),
    AddressPool(ipaddress.ip_network("192.168.0.0/16"), 20),
)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Networks of this instance."""

    pools: tuple[AddressPool, ...]
    bridge_subnet: ipaddress.IPv4Network | None = None  # of the default bridge; None: first free of the pools
    mtu: int = 1500
    dns: tuple[str, ...] = ()  # resolvers for containers instead of the host's
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    bind_address: str = "0.0.0.0"  # noqa: S104 - published ports without an address listen here, as Docker's do
    ready_namespaces: int = 4  # network namespaces kept ready


@dataclass(frozen=True, slots=True)
class BindRule:
    """A host directory the confined socket may bind from, with everything below it."""

    path: Path
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class PortRange:
    first: int
    last: int

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What web.sock may ask beyond the fixed rules; empty means the strictest reading."""

    allowed_binds: tuple[BindRule, ...] = ()
    allowed_images: tuple[str, ...] = ()  # shell patterns over full references; empty: any image
    allowed_registries: tuple[str, ...] = ()  # hosts pulls and pushes may name; empty: any host
    allowed_capabilities: tuple[str, ...] = ()  # without CAP_, may be added besides Docker's default set
    allowed_sysctls: tuple[str, ...] = ()  # exact names besides the fixed namespaced ones
    allowed_ports: tuple[PortRange, ...] = ()  # host ports that may be published; empty: any
    allow_host_network: bool = False
    allow_debug_shell: bool = False  # the engine's busybox in containers without a shell, with their rights
    memory_max_bytes: int | None = None  # per container; a container without a limit is refused then
    cpus_max: float | None = None  # per container, same reading
    pids_max: int | None = None  # per container, same reading
    containers_max: int | None = None  # on the engine, in total
    memory_total_bytes: int | None = None  # limits of all containers together; one without is refused then
    cpus_total: float | None = None  # same reading


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine instance."""

    home: Path  # root-only state, $WEBDOCK_HOME/engine
    run: Path  # sockets and volatile state, $WEBDOCK_RUN
    instance: str  # names cgroups, the nft table, and the web side's user and group
    short: str  # prefix of interface names, at most 6 characters
    runtime: str = "crun"
    userns: str = "auto"
    labels: tuple[str, ...] = ()
    registries: dict[str, RegistryConfig] = field(default_factory=dict)
    mirrors: dict[str, tuple[str, ...]] = field(default_factory=dict)  # registry host -> URLs, tried in order
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(pools=DEFAULT_POOLS))
    policy: PolicyConfig = field(default_factory=PolicyConfig)

    @property
    def engine_socket(self) -> Path:
        return self.run / "engine.sock"

    @property
    def web_socket(self) -> Path:
        return self.run / "web.sock"


def instance_names(home: Path) -> tuple[str, str]:
    """(instance, short) for an engine home; the default home has the plain names."""
    digits = instance_digits(home)
    return instance_name(home), f"w{digits[:5]}" if digits else "wd"


def load_config(environ: Mapping[str, str], config_path: Path | None = None) -> EngineConfig:
    """The configuration of the engine this environment describes.

    ``config_path`` (a flag) wins over ``WEBDOCK_CONFIG``; only the default file may be missing.

    Raises: ConfigError.
    """
    named = config_path or (Path(environ["WEBDOCK_CONFIG"]) if environ.get("WEBDOCK_CONFIG") else None)
    file = named or DEFAULT_CONFIG
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        if named is not None:
            raise ConfigError(f"{file}: no such file") from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    home = _directory(environ, "WEBDOCK_HOME", DEFAULT_HOME) / "engine"
    run = _directory(environ, "WEBDOCK_RUN", DEFAULT_RUN)
    return parse_config(text, file=file, home=home, run=run, runtime=environ.get("WEBDOCK_RUNTIME") or None)


def parse_config(text: str, *, file: Path, home: Path, run: Path, runtime: str | None = None) -> EngineConfig:
    """Pure part of ``load_config``; ``file`` is only named in errors.

    Raises: ConfigError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    top = Table(document, (), file, text)
    instance, short = instance_names(home)
    config = EngineConfig(
        home=home,
        run=run,
        instance=instance,
        short=short,
        runtime=runtime or top.text("runtime", "crun"),
        userns=top.choice("userns", "auto", ("auto", "host")),
        labels=top.texts("labels"),
        registries={host: _registry(host, table) for host, table in top.table("registries").tables()},
        mirrors=_mirrors(top.table("mirrors")),
        network=_network(top.table("network")),
        policy=_policy(top.table("policy")),
    )
    top.refuse_rest()
    return config


def _directory(environ: Mapping[str, str], name: str, default: Path) -> Path:
    value = environ.get(name)
    if not value:
        return default
    if not value.startswith("/"):
        raise ConfigError(f"{name}: must be an absolute path, got {value!r}")
    return Path(value)


def _registry(host: str, table: Table) -> RegistryConfig:
    ca = table.text("ca", "")
    if ca and not ca.startswith("/"):
        raise table.error("ca", f"must be an absolute path, got {ca!r}")
    registry = RegistryConfig(
        host=host,
        insecure=table.flag("insecure", False),
        ca=Path(ca) if ca else None,
        local=table.flag("local", False),
        token_hosts=table.texts("token_hosts"),
    )
    table.refuse_rest()
    return registry


def _mirrors(table: Table) -> dict[str, tuple[str, ...]]:
    mirrors = {host: table.texts(host) for host in table.names()}
    for host, urls in mirrors.items():
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise table.error(host, f"a mirror is an http:// or https:// URL, got {url!r}")
    return {host: tuple(url.rstrip("/") for url in urls) for host, urls in mirrors.items()}


def _network(table: Table) -> NetworkConfig:
    pools = []
    for pool in table.list_of_tables("pools"):
        base = pool.network("base")
        if base is None:
            raise pool.error("base", "is missing")
        size = pool.number("size", base.prefixlen)
        if not base.prefixlen <= size <= base.max_prefixlen - 2:
            raise pool.error("size", f"must lie between {base.prefixlen} and {base.max_prefixlen - 2}")
        pool.refuse_rest()
        pools.append(AddressPool(base, size))
    subnet = table.network("bridge_subnet")
    if subnet is not None and not isinstance(subnet, ipaddress.IPv4Network):
        raise table.error("bridge_subnet", "must be an IPv4 network")
    mtu = table.number("mtu", 1500)
    if not 68 <= mtu <= 65535:
        raise table.error("mtu", "must lie between 68 and 65535")
    ready = table.number("ready_namespaces", 4)
    if not 0 <= ready <= 64:
        raise table.error("ready_namespaces", "must lie between 0 and 64")
    network = NetworkConfig(
        pools=tuple(pools) or DEFAULT_POOLS,
        bridge_subnet=subnet,
        mtu=mtu,
        dns=tuple(table.address("dns", value) for value in table.texts("dns")),
        dns_search=table.texts("dns_search"),
        dns_options=table.texts("dns_options"),
        bind_address=table.address("bind_address", table.text("bind_address", "0.0.0.0")),  # noqa: S104
        ready_namespaces=ready,
    )
    table.refuse_rest()
    return network


def _policy(table: Table) -> PolicyConfig:
    binds = []
    for entry in table.texts("allowed_binds"):
        path, _, mode = entry.partition(":")
        if not path.startswith("/") or ".." in Path(path).parts or mode not in ("", "ro", "rw"):
            raise table.error(
                "allowed_binds", f"an entry is /absolute/path or /absolute/path:ro, got {entry!r}"
            )
        if Path(path) == Path("/"):
            raise table.error("allowed_binds", "the whole file system cannot be allowed")
        binds.append(BindRule(Path(path), read_only=mode == "ro"))
    ports = []
    for entry in table.texts("allowed_ports"):
        found = _PORT_RANGE.match(entry)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= 65535:
            raise table.error("allowed_ports", f'an entry is "8080" or "8000-8999", got {entry!r}')
        ports.append(PortRange(first, last))
    policy = PolicyConfig(
        allowed_binds=tuple(binds),
        allowed_images=table.texts("allowed_images"),
        allowed_registries=table.texts("allowed_registries"),
        allowed_capabilities=tuple(
            name.upper().removeprefix("CAP_") for name in table.texts("allowed_capabilities")
        ),
        allowed_sysctls=table.texts("allowed_sysctls"),
        allowed_ports=tuple(ports),
        allow_host_network=table.flag("allow_host_network", False),
        allow_debug_shell=table.flag("allow_debug_shell", False),
        memory_max_bytes=table.size("memory_max"),
        cpus_max=table.decimal("cpus_max"),
        pids_max=table.positive("pids_max"),
        containers_max=table.positive("containers_max"),
        memory_total_bytes=table.size("memory_total"),
        cpus_total=table.decimal("cpus_total"),
    )
    table.refuse_rest()
    return policy

"""What the confined socket may ask: deny by default.

Pure: a request, taken apart, and the facts it refers to -> nothing, or Forbidden with the reason. The claim
to keep: whatever passes here gives its sender no root, no file, no device and no namespace of the host, also
when the sender lies, guesses names, or goes through containers and volumes that somebody else made.

- An operation that is not in the table, a query key it does not list, and a field of a body that is not
  described in ``runtime.api.types`` are refused.
- ``check`` sees the body after decoding, so there is one spelling of everything.
- An existing container is judged by the same rules when somebody wants *into* it (exec, attach, archives) or
  wants to share its namespaces or mounts.

The rules for one container are in ``confinement``, those for its mounts in ``confined_mounts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_network

from runtime.api.errors import Forbidden, InvalidArgument
from runtime.config import PolicyConfig
from runtime.images import reference
from runtime.images.registries import mirror_host
from runtime.images.session import HUB_NAMES
from runtime.server import confined_mounts, confinement, totals
from runtime.server.confined_mounts import Body, Reasons
from runtime.server.decode import Query
from runtime.server.totals import Totals

REGISTRY_OF_AUTH = "docker.io"  # where POST /auth goes without an address
_NETWORK_OPTIONS = frozenset(
    {
        "com.docker.network.bridge.enable_icc",
        "com.docker.network.bridge.enable_ip_masquerade",
        "com.docker.network.driver.mtu",
    }
)
_PRIVATE = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the policy sees it."""

    operation: str
    params: Mapping[str, str] = field(default_factory=dict)
    query: Query = field(default_factory=lambda: Query([]))
    body: Body = field(default_factory=dict)


@dataclass(slots=True)
class Facts:
    """What the engine knows about the objects a request refers to, as inspect shows them."""

    containers: dict[str, Body] = field(default_factory=dict)  # by the reference used, and by id
    volumes: dict[str, Body] = field(default_factory=dict)  # by name; absent: not made yet
    networks: dict[str, Body] = field(default_factory=dict)  # by the reference used
    execs: dict[str, Body] = field(default_factory=dict)  # by id
    local_registries: frozenset[str] = frozenset()  # hosts that may be on an address of this machine
    container_count: int = 0
    others: Totals = field(default_factory=Totals)  # limits of all containers but the one asked about


@dataclass(frozen=True, slots=True)
class _Rule:
    query: frozenset[str]
    reasons: Callable[[Policy, Asked, Facts], Reasons] | None = None
    enters: Callable[[Asked], str | None] | None = None  # the container it goes into
    enters_exec: bool = False  # ... or the exec session


class Policy:
    """The rules of one engine."""

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config

    def check(self, asked: Asked, facts: Facts) -> None:
        """Pass, or say why not.

        Raises: Forbidden.
        """
        for reason in self.reasons(asked, facts):
            raise Forbidden(f"not allowed on this socket: {reason}")

    def reasons(self, asked: Asked, facts: Facts) -> Reasons:
        """Everything that speaks against it; nothing when it passes."""
        rule = RULES.get(asked.operation)
        if rule is None:
            yield f"the operation {asked.operation}"
            return
        for key in sorted(asked.query.keys() - rule.query):
            yield f"the query parameter {key[:60]!r} of {asked.operation}"
        if rule.enters is not None:
            ref = rule.enters(asked)
            if ref is not None:
                yield from self._entering(ref, facts)
        if rule.enters_exec:
            session = facts.execs.get(asked.params.get("ref", ""))
            if session is not None:
                if session.get("ProcessConfig", {}).get("privileged"):
                    yield "this exec session is privileged"
                yield from self._entering(session.get("ContainerID", ""), facts)
        if rule.reasons is not None:
            yield from rule.reasons(self, asked, facts)

    def _entering(self, ref: str, facts: Facts) -> Reasons:
        found = facts.containers.get(ref)
        if found is None:
            return  # there is no such container, and the handler says so
        for reason in confinement.of_existing(
            found, self.config, facts.containers, facts.volumes, facts.networks
        ):
            yield f"entering container {str(found.get('Id', ref))[:12]}: {reason}"

    # One method per operation that needs more than its place in the table

    def _container_create(self, asked: Asked, facts: Facts) -> Reasons:
        config = self.config
        if config.containers_max is not None and facts.container_count >= config.containers_max:
            yield f"more than {config.containers_max} containers on this engine (policy.containers_max)"
        yield from self._image(str(asked.body.get("Image", "")))
        yield from confinement.of_request(asked.body, config, facts.containers, facts.volumes, facts.networks)
        yield from totals.reasons(asked.body.get("HostConfig", {}), facts.others, config)

    def _container_update(self, asked: Asked, facts: Facts) -> Reasons:
        yield from confinement.of_update(asked.body, self.config)
        known = facts.containers.get(asked.params.get("ref", ""), {}).get("HostConfig", {})
        asks = {key: value for key, value in asked.body.items() if value}
        if totals.limits_of(asks) != totals.Totals():
            yield from totals.reasons({**known, **asks}, facts.others, self.config)

    def _exec_create(self, asked: Asked, facts: Facts) -> Reasons:
        if asked.body.get("Privileged"):
            yield "a privileged exec session"
        if asked.body.get("DebugShell") and not self.config.allow_debug_shell:
            yield "a debug shell (policy.allow_debug_shell)"

    def _container_commit(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._makes_image("commit")

    def _image_create(self, asked: Asked, facts: Facts) -> Reasons:
        name = asked.query.text("fromImage")
        if name:
            yield from self._registry(name)
            yield from self._image(name, asked.query.text("tag"))
        elif asked.query.text("fromSrc") != "-":
            yield "importing from an address: send the archive as the request's body"
        else:
            yield from self._makes_image("import")

    def _image_load(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._makes_image("load")

    def _image_tag(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._makes_image("tag")

    def _reaches_registry(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._registry(asked.params.get("ref", ""))

    def _image_search(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._registry(asked.query.text("term").lower() or REGISTRY_OF_AUTH)

    def _auth(self, asked: Asked, facts: Facts) -> Reasons:
        address = str(asked.body.get("serveraddress") or REGISTRY_OF_AUTH)
        host = address.partition("://")[2] or address
        yield from self._host("docker.io" if "docker.io" in host.split("/")[0] else host.split("/")[0])

    def _registry_set(self, asked: Asked, facts: Facts) -> Reasons:
        # Who decides where a name's image comes from decides what the name means.
        yield from self._makes_image("setting a registry")
        yield from self._spoken_to(asked.params.get("ref", ""), asked.body, facts)

    def _registry_forget(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._makes_image("setting a registry")
        yield from self._host(asked.params.get("ref", ""))

    def _registry_test(self, asked: Asked, facts: Facts) -> Reasons:
        yield from self._spoken_to(str(asked.body.get("Host", "")), asked.body, facts)

    def _spoken_to(self, host: str, body: Body, facts: Facts) -> Reasons:
        if body.get("Local") and host not in facts.local_registries:
            yield f"registry {host[:100]} on an address of this machine: name it in engine.toml"
        for name in (host, *map(mirror_host, body.get("Mirrors", ())), *body.get("TokenHosts", ())):
            yield from self._host("docker.io" if name in HUB_NAMES else name)

    def _network_create(self, asked: Asked, facts: Facts) -> Reasons:
        body = asked.body
        if body.get("Driver", "") not in ("", "bridge"):
            yield f"network driver {body['Driver'][:40]!r}"
        if body.get("Scope", "") not in ("", "local"):
            yield "a network beyond this machine"
        for name in ("ConfigOnly", "ConfigFrom", "Ingress"):
            if body.get(name):
                yield f"network field {name}"
        for key in sorted(set(body.get("Options", {})) - _NETWORK_OPTIONS):
            yield f"network option {key[:80]!r}"
        ipam = body.get("IPAM", {})
        if ipam.get("Driver", "") not in ("", "default") or ipam.get("Options"):
            yield "an address driver or its options"
        for pool in ipam.get("Config", ()):
            # A subnet of somebody else's would draw the host's own traffic into a container.
            for name in ("Subnet", "IPRange"):
                if pool.get(name) and not _is_private(pool[name]):
                    yield f"{name} {pool[name][:50]}, which is not private address space"

    def _network_connect(self, asked: Asked, facts: Facts) -> Reasons:
        yield from confinement.of_network(asked.params.get("ref", ""), self.config, facts.networks)
        yield from confinement.of_endpoint(asked.body.get("EndpointConfig", {}))

    def _volume_create(self, asked: Asked, facts: Facts) -> Reasons:
        body = asked.body
        if body.get("ClusterVolumeSpec"):
            yield "a cluster volume"
        yield from confined_mounts.of_volume(body.get("Driver", ""), body.get("DriverOpts", {}))

    def _volume_files(self, asked: Asked, facts: Facts) -> Reasons:
        """Into a volume: only where its files are the volume's own, and not of the host or the network."""
        yield from confined_mounts.of_volume_fact(asked.params.get("ref", ""), facts.volumes)

    def _image(self, name: str, tag: str = "") -> Reasons:
        patterns = self.config.allowed_images
        if not patterns:
            return
        try:
            full = reference.parse_with_tag(name, tag or None)
        except InvalidArgument:
            yield f"image {name[:80]!r} (policy.allowed_images names images, not ids)"
            return
        spellings = (str(full), full.familiar)
        if not any(fnmatchcase(spelling, pattern) for spelling in spellings for pattern in patterns):
            yield f"image {full.familiar[:120]} (policy.allowed_images)"

    def _makes_image(self, verb: str) -> Reasons:
        if self.config.allowed_images:
            yield f"{verb}, because it could make any image look like an allowed one (policy.allowed_images)"

    def _registry(self, name: str) -> Reasons:
        if not self.config.allowed_registries:
            return
        try:
            host = reference.parse(name).domain
        except InvalidArgument:
            yield f"image name {name[:80]!r}"
            return
        yield from self._host(host)

    def _host(self, host: str) -> Reasons:
        allowed = self.config.allowed_registries
        if allowed and host not in allowed:
            yield f"registry {host[:100]} (policy.allowed_registries)"


def _is_private(text: str) -> bool:
    try:
        asked = ip_network(text, strict=False)
    except ValueError:
        return True  # not an address at all: the handler says so
    return any(
        asked.version == private.version and asked.subnet_of(private)  # type: ignore[arg-type]
        for private in _PRIVATE
    )


def _rule(
    query: str = "",
    reasons: Callable[[Policy, Asked, Facts], Reasons] | None = None,
    *,
    enters: Callable[[Asked], str | None] | None = None,
    enters_exec: bool = False,
) -> _Rule:
    return _Rule(frozenset(query.split()), reasons, enters, enters_exec)


def _path_ref(asked: Asked) -> str | None:
    return asked.params.get("ref")


def _query_ref(asked: Asked) -> str | None:
    return asked.query.text("container")


def _ref_with_stdin(asked: Asked) -> str | None:
    """Attaching without stdin is reading the log; with it, it is typing into the container."""
    return asked.params.get("ref") if asked.query.flag("stdin") else None


_ATTACH = "logs stream stdin stdout stderr detachKeys"

RULES: dict[str, _Rule] = {
    "ping": _rule(),
    "version": _rule(),
    "info": _rule(),
    "system_df": _rule("type"),
    "build_prune": _rule("all filters keep-storage reserved-space max-used-space min-free-space"),
    "plugin_list": _rule("filters"),
    "events": _rule("since until filters"),
    "auth": _rule("", Policy._auth),
    "container_list": _rule("all limit size filters"),
    "container_create": _rule("name platform", Policy._container_create),
    "container_prune": _rule("filters"),
    "container_inspect": _rule("size"),
    "container_top": _rule("ps_args"),
    "container_start": _rule("detachKeys"),
    "container_stop": _rule("t signal"),
    "container_restart": _rule("t signal"),
    "container_kill": _rule("signal"),
    "container_pause": _rule(),
    "container_unpause": _rule(),
    "container_rename": _rule("name"),
    "container_update": _rule("", Policy._container_update, enters=_path_ref),
    "container_wait": _rule("condition"),
    "container_resize": _rule("h w"),
    "container_remove": _rule("force v link"),
    "container_logs": _rule("follow stdout stderr since until timestamps details tail"),
    "container_stats": _rule("stream one-shot"),
    "container_usage": _rule("ids"),
    "container_attach": _rule(_ATTACH + " history", enters=_ref_with_stdin),
    "container_attach_websocket": _rule(_ATTACH, enters=_ref_with_stdin),
    "container_changes": _rule("", enters=_path_ref),
    "container_export": _rule("", enters=_path_ref),
    "container_shells": _rule("", enters=_path_ref),
    "container_archive_stat": _rule("path", enters=_path_ref),
    "container_archive": _rule("path", enters=_path_ref),
    "container_image_archive": _rule("path", enters=_path_ref),
    "container_archive_put": _rule("path noOverwriteDirNonDir copyUIDGID", enters=_path_ref),
    "container_commit": _rule(
        "container repo tag comment author pause changes", Policy._container_commit, enters=_query_ref
    ),
    "exec_create": _rule("", Policy._exec_create, enters=_path_ref),
    "exec_start": _rule("", enters_exec=True),
    "exec_attach": _rule("history", enters_exec=True),
    "exec_resize": _rule("h w", enters_exec=True),
    "exec_kill": _rule("signal", enters_exec=True),
    "exec_end": _rule("", enters_exec=True),
    "exec_inspect": _rule(),
    "image_list": _rule("all digests filters shared-size manifests"),
    "image_search": _rule("term limit filters", Policy._image_search),
    "image_save": _rule("names platform"),
    "image_create": _rule("fromImage fromSrc repo tag message changes platform", Policy._image_create),
    "image_load": _rule("quiet platform", Policy._image_load),
    "image_prune": _rule("filters"),
    "image_verify": _rule("names repair"),
    "image_inspect": _rule("manifests platform"),
    "image_history": _rule("platform"),
    "image_layers": _rule(),
    "image_layer_changes": _rule("path depth after limit"),
    "image_push": _rule("tag platform", Policy._reaches_registry),
    "image_tag": _rule("repo tag", Policy._image_tag),
    "image_remove": _rule("force noprune platforms"),
    "distribution_inspect": _rule("", Policy._reaches_registry),
    "registry_list": _rule(),
    "registry_set": _rule("", Policy._registry_set),
    "registry_forget": _rule("", Policy._registry_forget),
    "registry_test": _rule("", Policy._registry_test),
    "network_list": _rule("filters"),
    "network_create": _rule("", Policy._network_create),
    "network_prune": _rule("filters"),
    "network_inspect": _rule("verbose scope"),
    "network_connect": _rule("", Policy._network_connect),
    "network_disconnect": _rule(),
    "network_remove": _rule(),
    "volume_list": _rule("filters"),
    "volume_create": _rule("", Policy._volume_create),
    "volume_prune": _rule("filters all"),
    "volume_inspect": _rule("size"),
    "volume_remove": _rule("force"),
    "volume_files": _rule("path", Policy._volume_files),
    "volume_archive_stat": _rule("path", Policy._volume_files),
    "volume_archive": _rule("path", Policy._volume_files),
    "volume_archive_put": _rule("path noOverwriteDirNonDir", Policy._volume_files),
    "volume_clone": _rule("", Policy._volume_files),
}

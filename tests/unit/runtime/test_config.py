"""The configuration file: what is read, and that every refusal says where and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import (
    BindRule,
    ConfigError,
    EngineConfig,
    PortRange,
    instance_names,
    load_config,
    parse_config,
)
from runtime.configtable import parse_size


def parse(text: str) -> EngineConfig:
    return parse_config(text, file=Path("/etc/x.toml"), home=Path("/h/engine"), run=Path("/r"))


def test_an_empty_file_is_a_configuration() -> None:
    config = parse("")
    assert (config.runtime, config.userns, config.labels) == ("crun", "auto", ())
    assert config.network.pools[0].base.with_prefixlen == "172.17.0.0/16"
    assert config.policy.allowed_binds == ()


def test_everything_can_be_said() -> None:
    config = parse(
        """
        runtime = "runc"
        userns = "host"
        labels = ["site=cellar"]
        [registries."localhost:5000"]
        insecure = true
        local = true
        ca = "/etc/ca.pem"
        [mirrors]
        "docker.io" = ["https://a.example/", "http://b.example"]
        [network]
        bridge_subnet = "10.9.0.0/24"
        pools = [{ base = "10.8.0.0/16", size = 24 }]
        mtu = 1400
        dns = ["9.9.9.9"]
        bind_address = "127.0.0.1"
        ready_namespaces = 0
        [policy]
        allowed_binds = ["/srv/a", "/srv/b:ro"]
        allowed_images = ["webdock/*"]
        allowed_registries = ["docker.io"]
        allowed_capabilities = ["cap_net_admin"]
        allowed_ports = ["8080", "9000-9010"]
        memory_max = "512m"
        cpus_max = 1.5
        pids_max = 100
        containers_max = 10
        """
    )
    assert config.registries["localhost:5000"].insecure
    assert config.registries["localhost:5000"].ca == Path("/etc/ca.pem")
    assert config.mirrors == {"docker.io": ("https://a.example", "http://b.example")}
    assert str(config.network.bridge_subnet) == "10.9.0.0/24"
    assert [(str(pool.base), pool.size) for pool in config.network.pools] == [("10.8.0.0/16", 24)]
    policy = config.policy
    assert policy.allowed_binds == (BindRule(Path("/srv/a")), BindRule(Path("/srv/b"), read_only=True))
    assert policy.allowed_capabilities == ("NET_ADMIN",)
    assert policy.allowed_ports == (PortRange(8080, 8080), PortRange(9000, 9010))
    assert (policy.memory_max_bytes, policy.cpus_max, policy.pids_max) == (512 << 20, 1.5, 100)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("runtime = 5", "/etc/x.toml:1: runtime: must be a string, got int"),
        ("\nuserns = 'maybe'", "/etc/x.toml:2: userns: must be one of auto, host, got 'maybe'"),
        ("colour = 1", "/etc/x.toml:1: colour: unknown key"),
        ("[policy]\nallowed_bind = []", "/etc/x.toml:2: policy.allowed_bind: unknown key"),
        ("[policy]\nallowed_binds = ['srv']", "/etc/x.toml:2: policy.allowed_binds: an entry is"),
        ("[policy]\nallowed_binds = ['/']", "policy.allowed_binds: the whole file system"),
        ("[policy]\nallowed_binds = ['/a/../b']", "policy.allowed_binds: an entry is"),
        ("[policy]\nallowed_binds = ['/a:rx']", "policy.allowed_binds: an entry is"),
        ("[policy]\nallowed_ports = ['0']", "policy.allowed_ports: an entry is"),
        ("[policy]\nallowed_ports = ['90-80']", "policy.allowed_ports: an entry is"),
        ("[policy]\nmemory_max = 'much'", "policy.memory_max: must be a size"),
        ("[policy]\npids_max = 0", "policy.pids_max: must be at least 1"),
        ("[policy]\npids_max = true", "policy.pids_max: must be a whole number, got bool"),
        ("[policy]\ncpus_max = -1", "policy.cpus_max: must be more than 0"),
        ("[network]\nmtu = 10", "network.mtu: must lie between"),
        ("[network]\nbridge_subnet = 'x'", "network.bridge_subnet: 'x' does not appear to be"),
        ("[network]\nbridge_subnet = 'fd00::/64'", "network.bridge_subnet: must be an IPv4 network"),
        ("[network]\npools = [{size = 5}]", "network.pools.base: is missing"),
        ("[network]\npools = [{base = '10.0.0.0/8', size = 31}]", "network.pools.size: must lie between"),
        ("[network]\ndns = ['x']", "network.dns: 'x' does not appear to be"),
        ("[mirrors]\n'docker.io' = ['ftp://x']", "mirrors.docker.io: a mirror is an http"),
        ("[registries.x]\nca = 'rel'", "registries.x.ca: must be an absolute path"),
        ("[registries]\nx = 5", "registries.x: must be a table, got int"),
        ("labels = [1]", "labels: must be a list of strings, got 1 in it"),
        ("runtime =", "/etc/x.toml: Invalid value (at "),
    ],
)
def test_a_mistake_is_refused_with_file_and_key(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert where in str(caught.value)


def test_the_default_file_may_be_missing_but_no_other(tmp_path: Path) -> None:
    load_config({})
    with pytest.raises(ConfigError, match="no such file"):
        load_config({"WEBDOCK_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigError, match="no such file"):
        load_config({}, tmp_path / "none.toml")


def test_directories_come_from_the_environment() -> None:
    config = load_config({"WEBDOCK_HOME": "/h", "WEBDOCK_RUN": "/r", "WEBDOCK_RUNTIME": "runc"})
    assert (config.home, config.run, config.runtime) == (Path("/h/engine"), Path("/r"), "runc")
    assert config.engine_socket == Path("/r/engine.sock")
    with pytest.raises(ConfigError, match="WEBDOCK_HOME: must be an absolute path"):
        load_config({"WEBDOCK_HOME": "h"})


def test_instances_have_names_of_their_own() -> None:
    assert instance_names(Path("/var/lib/webdock/engine")) == ("webdock", "wd")
    instance, short = instance_names(Path("/elsewhere/engine"))
    other, _ = instance_names(Path("/somewhere/engine"))
    assert instance.startswith("webdock-")
    assert instance != other
    assert len(short) == 6


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("1k", 1024),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("3 MB", 3 << 20),
        ("x", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size

"""resolv.conf and hosts, read and written."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runtime.network.resolvconf import (
    FALLBACK,
    HostFile,
    ResolvConf,
    embedded,
    for_container,
    parse,
    read_host,
    render_hosts,
    render_resolv_conf,
)

HOST = ResolvConf(["127.0.0.53", "10.0.0.1", "::1"], ["corp.test"], ["edns0", "ndots:2"])


def test_file_is_read_as_the_c_library_does() -> None:
    found = parse(
        "# made by hand\n; so\nnameserver 10.0.0.1 # first\nnameserver fd00::1\nnameserver nonsense\n"
        "domain old.test\nsearch one.test two.test .\noptions ndots:2 timeout:1\n\nnameserver\nfoo bar\n"
    )
    assert found == ResolvConf(["10.0.0.1", "fd00::1"], ["one.test", "two.test"], ["ndots:2", "timeout:1"])


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    parse(text)


def test_container_gets_the_hosts_settings_without_loopback_servers() -> None:
    assert for_container(HOST) == ResolvConf(["10.0.0.1"], ["corp.test"], ["edns0", "ndots:2"])


def test_host_without_reachable_servers_means_the_fallback() -> None:
    assert for_container(ResolvConf(["127.0.0.1"])).nameservers == list(FALLBACK)
    assert for_container(ResolvConf()).nameservers == list(FALLBACK)


def test_container_on_the_hosts_network_keeps_loopback_servers() -> None:
    assert for_container(HOST, keep_loopback=True).nameservers == HOST.nameservers


def test_own_settings_win() -> None:
    found = for_container(HOST, dns=["127.0.0.1"], search=["mine.test"], options=["rotate"])
    assert found == ResolvConf(["127.0.0.1"], ["mine.test"], ["rotate"])
    assert for_container(HOST, search=["."]).search == []


def test_embedded_resolver_is_the_only_server() -> None:
    assert embedded(for_container(HOST)) == ResolvConf(["127.0.0.11"], ["corp.test"], ["edns0", "ndots:2"])
    assert embedded(ResolvConf(["10.0.0.1"])).options == ["ndots:0"]


def test_servers_behind_a_local_stub_are_found(tmp_path: Path) -> None:
    file, stub = tmp_path / "resolv.conf", tmp_path / "stub"
    file.write_text("nameserver 127.0.0.53\nsearch corp.test\n")
    stub.write_text("nameserver 10.0.0.1\n")
    assert read_host(file, stub) == ResolvConf(["10.0.0.1"], ["corp.test"], [])
    stub.unlink()
    assert read_host(file, stub).nameservers == ["127.0.0.53"]
    assert read_host(tmp_path / "missing", stub) == ResolvConf()


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    host = HostFile(file, tmp_path / "stub")
    assert host.read() == ResolvConf()
    file.write_text("nameserver 10.0.0.1\n")
    assert host.read().nameservers == ["10.0.0.1"]
    assert host.read() is host.read()
    beside = tmp_path / "new"
    beside.write_text("nameserver 10.0.0.2\n")
    beside.replace(file)
    assert host.read().nameservers == ["10.0.0.2"]
    file.unlink()
    assert host.read() == ResolvConf()


def test_files_are_written_as_docker_does() -> None:
    text = render_resolv_conf(["10.0.0.1", "10.0.0.2"], ["corp.test"], ["ndots:0"])
    assert text == "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch corp.test\noptions ndots:0\n"
    assert parse(text) == ResolvConf(["10.0.0.1", "10.0.0.2"], ["corp.test"], ["ndots:0"])
    hosts = render_hosts([("172.17.0.2", ["web.test", "web"])])
    assert hosts.startswith("127.0.0.1\tlocalhost\n")
    assert hosts.endswith("172.17.0.2\tweb.test web\n")

"""What a container finds in its namespace, and what is left when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.api.errors import EngineError, Forbidden, Internal, InvalidArgument, NotFound, Unavailable
from runtime.idmap import IdMap
from runtime.network import links
from runtime.network.endpoints import EndpointRequest
from runtime.network.netlink import Message, NetlinkSocket, attribute, attributes
from runtime.network.networks import Networks
from tests.integration.runtime.network.conftest import (
    Host,
    MakeContainer,
    Site,
    bindings,
    connect,
    inside,
    listen,
    run,
    running,
    user_namespace,
)

PATIENCE_S = 60.0  # of a transfer on a busy machine


def _mapping(userns: Path) -> IdMap:
    return IdMap(base=1_000_000, userns=userns, home=Path("/nowhere"), view=Path("/nowhere"))


async def test_container_has_address_route_and_mac_of_its_address(make_container: MakeContainer) -> None:
    container = await make_container("web")
    settings = container.setup.networks["bridge"]
    (link,) = container.ip("link", "show", "eth0")
    assert (
        link["address"]
        == settings["MacAddress"]
        == "02:42:" + bytes(map(int, settings["IPAddress"].split("."))).hex(":")
    )
    assert "UP" in link["flags"]
    (address,) = container.ip("-4", "address", "show", "eth0")[0]["addr_info"]
    assert (address["local"], address["prefixlen"]) == (settings["IPAddress"], settings["IPPrefixLen"])
    (route,) = [entry for entry in container.ip("route") if entry["dst"] == "default"]
    assert route["gateway"] == settings["Gateway"]


async def test_loopback_is_up_and_has_both_families(make_container: MakeContainer) -> None:
    container = await make_container()
    (link,) = container.ip("address", "show", "lo")
    assert {entry["local"] for entry in link["addr_info"]} == {"127.0.0.1", "::1"}


async def test_interface_has_no_ipv6_address_on_a_network_without_ipv6(make_container: MakeContainer) -> None:
    container = await make_container()
    assert container.ip("-6", "address", "show", "eth0") == []


async def test_mode_none_has_loopback_only(make_container: MakeContainer) -> None:
    container = await make_container(mode="none")
    assert [entry["ifname"] for entry in container.ip("link") if entry["link_type"] == "ether"] == []
    assert list(container.setup.networks) == ["none"]
    assert container.setup.networks["none"]["IPAddress"] == ""


async def test_mode_host_gets_no_namespace_but_is_a_member(networks: Networks) -> None:
    setup = await networks.setup("h" * 64, EndpointRequest(mode="host", name="h"))
    assert setup.netns_path is None
    assert list((await networks.inspect("host"))["Containers"]) == ["h" * 64]
    await networks.teardown("h" * 64)
    assert (await networks.inspect("host"))["Containers"] == {}


async def test_neighbours_on_the_bridge_reach_each_other(make_container: MakeContainer) -> None:
    one, two = await make_container(), await make_container()
    assert one.address != two.address
    assert " 0% packet loss" in one.run("busybox", "ping", "-c1", "-W30", two.address)


def _largest(name: str) -> int:
    """Bytes of TCP over IPv4 that may go into an interface at once; 0 from a kernel that does not say."""
    with contextlib.closing(NetlinkSocket()) as netlink:
        ask = Message(links.RTM_GETLINK, 0, bytes(16) + attribute(links.IFLA_IFNAME, name.encode() + b"\0"))
        values = dict(attributes(netlink.get(ask)[1][16:]))
    return int.from_bytes(values.get(links.IFLA_GSO_IPV4_MAX_SIZE, b""), sys.byteorder)


async def test_large_pieces_of_tcp_stay_whole_on_the_host_and_never_reach_a_network_card(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    if not _largest("lo"):  # before Linux 6.3
        return
    await networks.create({"Name": "inner", "Internal": True})
    before = host.interfaces()
    outward = await make_container()
    inward = await make_container(mode="inner")
    for name in host.interfaces() - before:
        assert _largest(name) == links.LARGE_BYTES
    assert _largest((await networks.inspect("bridge"))["Options"]["com.docker.network.bridge.name"]) == (
        links.LARGE_BYTES
    )
    with outward.inside():
        assert _largest("eth0") == 65536
    with inward.inside():
        assert _largest("eth0") == links.LARGE_BYTES


async def test_large_pieces_arrive_unharmed_on_every_way(make_container: MakeContainer, host: Host) -> None:
    """Host to container, to its published port, from another host, and out to that."""
    data = os.urandom(1 << 20) * 8
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))

    def sent(where: Path | str, address: str, port: int, listener: socket.socket) -> bytes:
        with inside(where):
            client = connect(address, port, PATIENCE_S)
        with client, listener.accept()[0] as server, ThreadPoolExecutor(1) as pool:
            server.settimeout(PATIENCE_S)
            sending = pool.submit(lambda: (client.sendall(data), client.close()))
            received = b"".join(iter(lambda: server.recv(1 << 18), b""))
            sending.result()
        return hashlib.sha256(received).digest()

    with container.inside():
        listener = listen(80)
    with inside(host.neighbour):
        outside = listen(81)
    wanted = hashlib.sha256(data).digest()
    with listener, outside:
        listener.settimeout(PATIENCE_S)
        outside.settimeout(PATIENCE_S)
        for where, address, port, at in (
            ("/proc/thread-self/ns/net", container.address, 80, listener),
            ("/proc/thread-self/ns/net", host.address, 7080, listener),
            (host.neighbour, host.address, 7080, listener),
            (container.namespace, host.neighbour_address, 81, outside),
        ):
            assert sent(where, address, port, at) == wanted


async def test_teardown_leaves_no_interface_namespace_rule_or_address(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    before = host.interfaces()
    container = await make_container(port_bindings=bindings(":7080:80/tcp", ":7053:53/udp"))
    assert host.interfaces() != before
    await networks.teardown(container.id)
    await networks.settle()
    assert host.interfaces() == before
    assert not container.namespace.exists()
    assert "7080" not in host.ruleset()
    assert (await networks.inspect("bridge"))["Containers"] == {}
    again = await make_container()
    assert again.address == container.address


async def test_teardown_is_idempotent(networks: Networks, make_container: MakeContainer) -> None:
    container = await make_container()
    await networks.teardown(container.id)
    await networks.teardown(container.id)
    await networks.teardown("0" * 64)


async def test_nothing_answers_for_the_address_after_teardown(
    networks: Networks, make_container: MakeContainer
) -> None:
    gone, other = await make_container(), await make_container()
    with running("nsenter", f"--net={gone.namespace}", "sleep", "60"):
        await networks.teardown(gone.id)
        answer = run(
            "nsenter",
            f"--net={other.namespace}",
            *("busybox", "ping", "-c1", "-W1", gone.address),
            check=False,
        )
        assert "100% packet loss" in answer


async def test_same_container_can_be_set_up_again(networks: Networks, make_container: MakeContainer) -> None:
    container = await make_container()
    await networks.teardown(container.id)
    setup = await networks.setup(container.id, EndpointRequest(mode="bridge", name="again"))
    assert setup.netns_path is not None
    assert setup.netns_path.exists()


async def test_setup_replaces_what_an_interrupted_start_left(
    networks: Networks, make_container: MakeContainer
) -> None:
    container = await make_container()
    setup = await networks.setup(container.id, EndpointRequest(mode="bridge", name="again"))
    assert not container.namespace.exists()
    assert setup.networks["bridge"]["IPAddress"] == container.address


@pytest.mark.parametrize("step", ["plug", "route", "change"])
async def test_failed_setup_leaves_nothing(
    networks: Networks, host: Host, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = (host.interfaces(), host.ruleset())
    pins = set(networks._namespaces.pins())
    original = getattr(networks._kernel, step)

    def broken(*arguments: object, **named: object) -> None:
        original(*arguments, **named)
        raise OSError(5, "no more kernel")

    monkeypatch.setattr(networks._kernel, step, broken)
    request = EndpointRequest(mode="bridge", name="x", port_bindings=bindings(":7081:80/tcp"))
    with pytest.raises(Internal, match="no more kernel"):
        await networks.setup("a" * 64, request)
    monkeypatch.undo()
    await networks.settle()
    assert (host.interfaces(), host.ruleset()) == before
    assert len(set(networks._namespaces.pins()) - pins) <= 1  # the pool was filled up again
    assert (await networks.inspect("bridge"))["Containers"] == {}
    listen(7081).close()
    assert networks.describe("a" * 64) is None


async def test_cancelled_setup_leaves_nothing(networks: Networks, host: Host) -> None:
    before = host.interfaces()
    for delay_turns in range(6):
        task = asyncio.create_task(networks.setup("b" * 64, EndpointRequest(mode="bridge", name="x")))
        for _ in range(delay_turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await networks.settle()
    assert host.interfaces() == before
    assert (await networks.inspect("bridge"))["Containers"] == {}


async def test_many_at_once_get_different_addresses(
    networks: Networks, make_container: MakeContainer
) -> None:
    containers = await asyncio.gather(*(make_container() for _ in range(20)))
    assert len({container.address for container in containers}) == 20
    await asyncio.gather(*(networks.teardown(container.id) for container in containers))
    assert (await networks.inspect("bridge"))["Containers"] == {}


async def test_namespace_belongs_to_the_user_namespace_given(
    make_container: MakeContainer, directory: Path
) -> None:
    with user_namespace(directory) as pinned:
        for _ in range(2):  # one made now, one out of the pool
            container = await make_container(mapping=_mapping(pinned), port_bindings=bindings("::80/tcp"))
            # Only who is root in the owning user namespace may do this.
            set_mtu = ("ip", "link", "set", "eth0", "mtu", "1400")
            run("nsenter", f"--user={pinned}", f"--net={container.namespace}", *set_mtu)
            assert container.ip("link", "show", "eth0")[0]["mtu"] == 1400


async def test_unreachable_user_namespace_is_a_clear_error(
    networks: Networks, host: Host, directory: Path
) -> None:
    before = host.interfaces()
    request = EndpointRequest(mode="bridge", name="x", mapping=_mapping(directory / "missing"))
    with pytest.raises(Internal, match="missing"):
        await networks.setup("c" * 64, request)
    assert host.interfaces() == before
    assert (await networks.inspect("bridge"))["Containers"] == {}


async def test_hosts_and_resolver_data_are_those_of_the_container(
    site: Site, make_container: MakeContainer
) -> None:
    container = await make_container(
        "web", hostname="web", domainname="example.test", extra_hosts=["db:10.0.0.9", "up:host-gateway"]
    )
    gateway = container.setup.networks["bridge"]["Gateway"]
    assert container.setup.hosts == [
        ("10.0.0.9", ["db"]),
        (gateway, ["up"]),
        (container.address, ["web.example.test", "web"]),
    ]
    assert container.setup.nameservers == ["198.51.100.2"]
    assert container.setup.search == ["example.test"]


async def test_link_gives_hosts_line_and_variables(make_container: MakeContainer) -> None:
    database = await make_container("db", hostname="dbhost", exposed=["5432/tcp"])
    web = await make_container("web", links=["db:store"])
    assert (database.address, ["store", "dbhost", "db"]) in web.setup.hosts
    assert f"STORE_PORT=tcp://{database.address}:5432" in web.setup.environment
    assert f"STORE_PORT_5432_TCP_ADDR={database.address}" in web.setup.environment


async def test_link_to_a_container_that_does_not_run_is_refused(make_container: MakeContainer) -> None:
    with pytest.raises(InvalidArgument, match="Cannot link to a non running container: /db AS /web/db"):
        await make_container("web", links=["db"])


async def test_linked_container_with_a_new_address_is_told(
    networks: Networks, make_container: MakeContainer
) -> None:
    database = await make_container("db")
    web = await make_container("web", links=["db"])
    await networks.teardown(database.id)
    blocker = await make_container("blocker")
    told = {}
    networks.hosts_changed = lambda id, setup: told.update({id: setup})
    again = await make_container("db")
    assert again.address != blocker.address
    assert (again.address, ["db", again.setup.sandbox_id[:0] or again.id[:12]]) in [
        (address, names) for address, names in told[web.id].hosts
    ]


async def test_check_refuses_what_can_never_start(networks: Networks) -> None:
    cases: list[tuple[EndpointRequest, type[EngineError], str]] = [
        (EndpointRequest(mode="nowhere", name="x"), NotFound, "network nowhere not found"),
        (
            EndpointRequest(mode="bridge", name="x", port_bindings=bindings(":70000:80/tcp")),
            InvalidArgument,
            'invalid port specification: "70000"',
        ),
        (
            EndpointRequest(mode="bridge", name="x", port_bindings=bindings(":80:0/tcp")),
            InvalidArgument,
            "invalid port specification",
        ),
        (
            EndpointRequest(
                mode="bridge", name="x", endpoints={"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}
            ),
            InvalidArgument,
            "user specified IP address is supported on user defined networks only",
        ),
        (
            EndpointRequest(mode="bridge", name="x", endpoints={"bridge": {"Aliases": ["a"]}}),
            InvalidArgument,
            "network-scoped alias is supported only for containers in user defined networks",
        ),
        (
            EndpointRequest(mode="none", name="x", endpoints={"bridge": {}}),
            InvalidArgument,
            "private \\(none\\) mode",
        ),
        (
            EndpointRequest(mode="bridge", name="x", extra_hosts=["nope"]),
            InvalidArgument,
            "bad format for add-host",
        ),
        (EndpointRequest(mode="bridge", name="x", mac_address="zz"), InvalidArgument, "invalid MAC address"),
    ]
    for request, kind, words in cases:
        with pytest.raises(kind, match=words):
            networks.check(request)


async def test_asked_mac_is_given_once(make_container: MakeContainer) -> None:
    container = await make_container(mac_address="02:11:22:33:44:55")
    assert container.ip("link", "show", "eth0")[0]["address"] == "02:11:22:33:44:55"
    with pytest.raises(Forbidden, match="MAC address already in use"):
        await make_container(mac_address="02:11:22:33:44:55")


async def test_exhausted_subnet_is_a_clear_error(networks: Networks, make_container: MakeContainer) -> None:
    await networks.create({"Name": "tiny", "IPAM": {"Config": [{"Subnet": "10.77.0.0/30"}]}})
    await make_container(mode="tiny")
    with pytest.raises(
        Unavailable, match=r"no available IPv4 addresses on this network's address pools: tiny"
    ):
        await make_container(mode="tiny")


async def test_pool_is_filled_up_behind_the_scenes(networks: Networks, make_container: MakeContainer) -> None:
    await networks.settle()
    assert len(networks._namespaces.pins()) == 2
    await make_container()
    await networks.settle()
    assert len(networks._namespaces.pins()) == 3

"""Published ports and the way out: who reaches whom, and whom the container sees."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from ipaddress import ip_interface
from pathlib import Path

import pytest

from runtime.api.errors import Internal
from runtime.network.networks import Networks
from tests.integration.runtime.network.conftest import (
    SILENCE_S,
    WAIT_S,
    Container,
    Host,
    MakeContainer,
    Site,
    bindings,
    connect,
    inside,
    listen,
    reaches,
    run,
)


@pytest.fixture(params=["1", "0"], ids=["bridge-nf", "no-bridge-nf"])
def bridge_netfilter(host: Host, request: pytest.FixtureRequest) -> str:
    """Whether frames between ports of a bridge pass the packet filter, as they do once Docker was started."""
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        run("modprobe", "br_netfilter")
    setting.write_text(request.param)
    return str(request.param)


def exchange(client: socket.socket, server: socket.socket) -> str:
    """Send a line each way; the address the server saw."""
    accepted, peer = server.accept()
    with client, accepted:
        accepted.settimeout(WAIT_S)
        client.sendall(b"ping\n")
        assert accepted.recv(16) == b"ping\n"
        accepted.sendall(b"pong\n")
        assert client.recv(16) == b"pong\n"
    return str(peer[0])


async def relayed(address: str, port: int, server: socket.socket) -> str:
    """Like ``exchange``, for connections this process carries: the event loop must run meanwhile."""
    loop = asyncio.get_running_loop()
    server.setblocking(False)
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection(address, port)
        accepted, peer = await loop.sock_accept(server)
        writer.write(b"ping\n")
        assert await loop.sock_recv(accepted, 16) == b"ping\n"
        await loop.sock_sendall(accepted, b"pong\n")
        assert await reader.readexactly(5) == b"pong\n"
        accepted.shutdown(socket.SHUT_WR)  # half-close passes through
        assert await reader.read() == b""
        writer.write(b"more\n")
        assert await loop.sock_recv(accepted, 16) == b"more\n"
        accepted.close()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return str(peer[0])


def server_in(container: Container, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    with container.inside():
        return listen(port, kind=kind)


async def test_container_goes_out_with_the_hosts_address(make_container: MakeContainer, host: Host) -> None:
    container = await make_container()
    with inside(host.neighbour):
        server = listen(9000)
    with server:
        with container.inside():
            client = connect(host.neighbour_address, 9000)
        assert exchange(client, server) == host.address


async def test_another_host_reaches_a_port_and_is_seen_as_itself(
    make_container: MakeContainer, host: Host, bridge_netfilter: str
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as server:
        with inside(host.neighbour):
            client = connect(host.address, 7080)
        assert exchange(client, server) == host.neighbour_address
    assert container.setup.ports["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "7080"},
        {"HostIp": "::", "HostPort": "7080"},
    ]


async def test_host_reaches_a_port_by_loopback_and_by_its_own_address(
    make_container: MakeContainer, host: Host, bridge_netfilter: str
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as server:
        gateway = container.setup.networks["bridge"]["Gateway"]
        assert exchange(connect("127.0.0.1", 7080), server) == gateway
        assert exchange(connect("127.0.0.2", 7080), server) == gateway
        assert exchange(connect(host.address, 7080), server) == host.address
        assert exchange(connect(gateway, 7080), server) == gateway


async def test_ipv6_loopback_and_addresses_are_relayed(make_container: MakeContainer, host: Host) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as server:
        gateway = container.setup.networks["bridge"]["Gateway"]
        assert await relayed("::1", 7080, server) == gateway
        assert await relayed(host.address6, 7080, server) == gateway


async def test_containers_reach_a_port_through_the_host(
    networks: Networks, make_container: MakeContainer, host: Host, bridge_netfilter: str
) -> None:
    await networks.create({"Name": "other"})
    web = await make_container(port_bindings=bindings(":7080:80/tcp"))
    neighbour = await make_container()
    stranger = await make_container(mode="other")
    with server_in(web, 80) as server:
        for client in (neighbour, stranger, web):
            for address in (host.address, web.setup.networks["bridge"]["Gateway"]):
                with client.inside():
                    connection = connect(address, 7080)
                exchange(connection, server)


async def test_udp_answers_come_from_the_port_that_was_asked(
    make_container: MakeContainer, host: Host, bridge_netfilter: str
) -> None:
    container = await make_container(port_bindings=bindings(":7053:53/udp"))
    with server_in(container, 53, socket.SOCK_DGRAM) as server:
        for address in ("127.0.0.1", host.address):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(WAIT_S)
                client.connect((address, 7053))
                client.send(b"q")
                question, peer = server.recvfrom(16)
                server.sendto(b"a", peer)
                assert client.recv(16) == b"a"
        with inside(host.neighbour), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(WAIT_S)
            client.connect((host.address, 7053))
            client.send(b"q")
            question, peer = server.recvfrom(16)
            assert (question, peer[0]) == (b"q", host.neighbour_address)
            server.sendto(b"a", peer)
            assert client.recv(16) == b"a"


async def test_udp_over_ipv6_loopback_is_relayed(make_container: MakeContainer) -> None:
    container = await make_container(port_bindings=bindings(":7053:53/udp"))
    loop = asyncio.get_running_loop()
    with server_in(container, 53, socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect(("::1", 7053))
            async with asyncio.timeout(WAIT_S):
                for turn in range(3):
                    await loop.sock_sendall(client, b"q%d" % turn)
                    question, peer = await loop.sock_recvfrom(server, 16)
                    await loop.sock_sendto(server, question.upper(), peer)
                    assert await loop.sock_recv(client, 16) == b"Q%d" % turn


async def test_udp_flow_to_nobody_is_forgotten_when_a_container_comes(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    first = await make_container(port_bindings=bindings(":7053:53/udp"))
    with inside(host.neighbour):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(WAIT_S)
        client.connect((host.address, 7053))
        with server_in(first, 53, socket.SOCK_DGRAM) as server:
            client.send(b"one")
            assert server.recv(16) == b"one"
        await networks.teardown(first.id)
        blocker = await make_container()
        second = await make_container(port_bindings=bindings(":7053:53/udp"))
        assert second.address != blocker.address
        with server_in(second, 53, socket.SOCK_DGRAM) as server:
            client.send(b"two")
            assert server.recv(16) == b"two"


async def test_port_of_one_address_is_open_there_only(make_container: MakeContainer, host: Host) -> None:
    container = await make_container(
        port_bindings=bindings("127.0.0.1:7080:80/tcp", f"{host.address}:7081:81/tcp")
    )
    with server_in(container, 80) as local, server_in(container, 81) as outside:
        exchange(connect("127.0.0.1", 7080), local)
        assert not reaches(host.address, 7080)
        assert not reaches("127.0.0.1", 7081)
        with inside(host.neighbour):
            assert not reaches(host.address, 7080)
            client = connect(host.address, 7081)
        assert exchange(client, outside) == host.neighbour_address


async def test_loopback_port_is_not_reached_by_a_neighbour_that_forges(
    make_container: MakeContainer, host: Host
) -> None:
    container = await make_container(port_bindings=bindings("127.0.0.1:7080:80/tcp"))
    with server_in(container, 80):
        neighbour = ["nsenter", f"--net={host.neighbour}"]
        run(*neighbour, "sysctl", "-qw", "net.ipv4.conf.wan0.route_localnet=1")
        run(
            *neighbour,
            "ip",
            "route",
            "del",
            "local",
            "127.0.0.0/8",
            "dev",
            "lo",
            "table",
            "local",
            check=False,
        )
        run(
            *neighbour, "ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local", check=False
        )
        run(*neighbour, "ip", "route", "add", "127.0.0.1/32", "via", host.address, "dev", "wan0")
        with inside(host.neighbour):
            assert not reaches("127.0.0.1", 7080)


async def test_container_cannot_reach_the_hosts_loopback(make_container: MakeContainer) -> None:
    container = await make_container()
    gateway = container.setup.networks["bridge"]["Gateway"]
    with listen(7099, "127.0.0.1") as server:
        container.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
        for place in ("127.0.0.0/8", "127.0.0.1"):
            container.run("ip", "route", "del", "local", place, "dev", "lo", "table", "local")
        container.run("ip", "route", "add", "127.0.0.1/32", "via", gateway, "dev", "eth0")
        with container.inside():
            assert not reaches("127.0.0.1", 7099)
        server.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            server.accept()


async def test_unpublished_port_is_not_reached_by_routing_to_the_container(
    make_container: MakeContainer, host: Host
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as published, server_in(container, 81):
        prefix = container.setup.networks["bridge"]["IPPrefixLen"]
        subnet = f"{container.address}/{prefix}"
        network = ip_interface(subnet).network
        run("nsenter", f"--net={host.neighbour}", "ip", "route", "add", str(network), "via", host.address)
        with inside(host.neighbour):
            assert not reaches(container.address, 81)
            client = connect(host.address, 7080)
        exchange(client, published)


async def test_networks_do_not_reach_each_other(networks: Networks, make_container: MakeContainer) -> None:
    await networks.create({"Name": "other"})
    one, two = await make_container(), await make_container(mode="other")
    with server_in(two, 80), one.inside():
        assert not reaches(two.address, 80)
    with server_in(one, 80), two.inside():
        assert not reaches(one.address, 80)


async def test_random_port_is_free_on_both_families(make_container: MakeContainer) -> None:
    container = await make_container(
        port_bindings=bindings("::80/tcp"), exposed=["443/tcp"], publish_all=True
    )
    ports = container.setup.ports
    assert ports["80/tcp"] is not None
    assert ports["443/tcp"] is not None
    assert len({entry["HostPort"] for entry in ports["80/tcp"]}) == 1
    with server_in(container, 443) as server:
        exchange(connect("127.0.0.1", int(ports["443/tcp"][0]["HostPort"])), server)


async def test_range_gives_the_first_free_port(make_container: MakeContainer) -> None:
    wanted = bindings(":7100-7102:80/tcp")
    with listen(7101):
        first, second = await make_container(port_bindings=wanted), await make_container(port_bindings=wanted)
        with pytest.raises(Internal, match=r"Bind for 0\.0\.0\.0:7100-7102 failed: all ports are allocated"):
            await make_container(port_bindings=wanted)
    assert first.setup.ports["80/tcp"][0]["HostPort"] == "7100"  # type: ignore[index]
    assert second.setup.ports["80/tcp"][0]["HostPort"] == "7102"  # type: ignore[index]


async def test_taken_port_is_refused_in_dockers_words_and_leaves_nothing(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    await make_container(port_bindings=bindings(":7080:80/tcp"))
    before = (host.interfaces(), host.ruleset())
    with pytest.raises(Internal) as refused:
        await make_container("web", port_bindings=bindings(":7079:79/tcp", ":7080:80/tcp"))
    assert refused.value.message.startswith(
        "driver failed programming external connectivity on endpoint web ("
    )
    assert refused.value.message.endswith("): Bind for 0.0.0.0:7080 failed: port is already allocated")
    assert (host.interfaces(), host.ruleset()) == before
    assert len((await networks.inspect("bridge"))["Containers"]) == 1
    listen(7079).close()


async def test_port_of_a_program_of_the_host_is_refused(make_container: MakeContainer) -> None:
    with listen(7080):
        with pytest.raises(
            Internal, match=r"Bind for 0.0.0.0:7080 failed: port is already allocated \(address"
        ):
            await make_container(port_bindings=bindings(":7080:80/tcp"))
    with listen(7053, kind=socket.SOCK_DGRAM):
        with pytest.raises(Internal, match=r"Bind for 0\.0\.0\.0:7053 failed"):
            await make_container(port_bindings=bindings(":7053:53/udp"))


async def test_address_of_nobody_is_refused(make_container: MakeContainer) -> None:
    with pytest.raises(Internal, match="cannot assign requested address"):
        await make_container(port_bindings=bindings("203.0.113.9:7080:80/tcp"))


async def test_published_port_cannot_be_taken_by_a_program_of_the_host(make_container: MakeContainer) -> None:
    await make_container(port_bindings=bindings(":7080:80/tcp", ":7053:53/udp"))
    with pytest.raises(OSError, match="in use"):
        listen(7080)
    with pytest.raises(OSError, match="in use"):
        listen(7053, kind=socket.SOCK_DGRAM)


async def test_two_engines_do_not_take_the_same_port(site: Site, make_container: MakeContainer) -> None:
    other = await site.start("two")
    await make_container(port_bindings=bindings(":7080:80/tcp"))
    with pytest.raises(Internal, match="port is already allocated"):
        await make_container(engine=other, port_bindings=bindings(":7080:80/tcp"))


async def test_sctp_port_has_a_rule_and_is_given_once(make_container: MakeContainer, host: Host) -> None:
    container = await make_container(port_bindings=bindings(":7132:132/sctp"))
    assert f"sctp . 7132 : {container.address} . 132" in host.ruleset()
    with pytest.raises(Internal, match="port is already allocated"):
        await make_container(port_bindings=bindings(":7132:132/sctp"))


async def test_ports_come_back_after_a_restart_of_the_engine(
    site: Site, networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as server:
        await site.stop(networks)
        exchange(connect("127.0.0.1", 7080), server)  # the rules stay while no engine runs
        again = await site.start(live=[container.id])
        exchange(connect("127.0.0.1", 7080), server)
        await relayed("::1", 7080, server)
        with pytest.raises(OSError, match="in use"):
            listen(7080)
        setup = again.describe(container.id)
        assert setup is not None
        assert setup.ports == container.setup.ports


async def test_host_port_taken_while_no_engine_ran_does_not_stop_the_container(
    site: Site, networks: Networks, make_container: MakeContainer, caplog: pytest.LogCaptureFixture
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    with server_in(container, 80) as server:
        await site.stop(networks)
        with listen(7080):
            await site.start(live=[container.id])
            exchange(connect("127.0.0.1", 7080), server)
    assert "is not held any more" in caplog.text


def sent_again(connection: socket.socket) -> int:
    """How many of its packets, the first included, had to be sent again.

    Kernel: tcp_info, of which tcpi_total_retrans is the 24th number behind eight bytes.
    """
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(told[100:104], sys.byteorder)


async def test_first_packet_after_setup_is_not_lost(
    networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    with inside(host.neighbour):
        outside = listen(9000)
    with outside:
        for _ in range(25):  # addresses, MACs and ports are given again at once
            container = await make_container(port_bindings=bindings(":7080:80/tcp"))
            server = server_in(container, 80)
            with server, inside(host.neighbour), connect(host.address, 7080) as client:
                assert sent_again(client) == 0
            with container.inside(), connect(host.neighbour_address, 9000) as client:
                assert sent_again(client) == 0
            outside.accept()[0].close()
            await networks.teardown(container.id)

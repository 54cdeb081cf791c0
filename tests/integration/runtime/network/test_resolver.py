"""Names on user networks, asked from inside containers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from dnslib import QTYPE, RR, A, DNSRecord

from runtime.idmap import IdMap
from runtime.network import resolver as resolver_module
from runtime.network.networks import Networks
from tests.integration.runtime.network.conftest import (
    Container,
    Host,
    MakeContainer,
    Site,
    inside,
    user_namespace,
)

RESOLVER = ("127.0.0.11", 53)


async def ask(container: Container, name: str, kind: str = "A", *, tcp: bool = False) -> DNSRecord:
    """An answer of the container's resolver, after checking that it belongs to the question."""
    loop = asyncio.get_running_loop()
    question = DNSRecord.question(name, kind)
    packed = question.pack()
    with container.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    client.setblocking(False)
    with client:
        async with asyncio.timeout(60):
            await loop.sock_connect(client, RESOLVER)
            if tcp:
                await loop.sock_sendall(client, struct.pack("!H", len(packed)) + packed)
                data = b""
                while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
                    data += await loop.sock_recv(client, 65536)
                reply = DNSRecord.parse(data[2:])
            else:
                await loop.sock_sendall(client, packed)
                reply = DNSRecord.parse(await loop.sock_recv(client, 65536))
    assert reply.header.id == question.header.id
    assert reply.header.qr == 1
    return reply


async def addresses(container: Container, name: str, kind: str = "A", **how: bool) -> set[str]:
    reply = await ask(container, name, kind, **how)
    return {str(record.rdata) for record in reply.rr}


@pytest.fixture
async def mine(networks: Networks) -> str:
    await networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
    return "mine"


class Upstream:
    """A name server in the outside world that knows a few names."""

    def __init__(self, place: Path, address: str = "198.51.100.2") -> None:
        self.asked: list[str] = []
        self.answer: Callable[[DNSRecord], DNSRecord | None] = self.known
        with inside(place):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.udp.bind((address, 53))
            self.tcp.bind((address, 53))
        self.tcp.listen(8)
        self.tcp.setblocking(False)
        self.udp.setblocking(False)
        asyncio.get_running_loop().add_reader(self.udp, self._datagram)
        asyncio.get_running_loop().add_reader(self.tcp, self._accept)
        self.tasks: set[asyncio.Task[None]] = set()

    def known(self, query: DNSRecord) -> DNSRecord | None:
        name = str(query.q.qname)
        self.asked.append(name)
        reply = query.reply()
        if name == "outside.test.":
            reply.add_answer(RR("outside.test.", QTYPE.A, rdata=A("203.0.113.7"), ttl=60))
        else:
            reply.header.rcode = 3
        return reply

    def _datagram(self) -> None:
        data, peer = self.udp.recvfrom(65536)
        reply = self.answer(DNSRecord.parse(data))
        if reply is not None:
            self.udp.sendto(reply.pack(), peer)

    def _accept(self) -> None:
        connection, _ = self.tcp.accept()
        self.tasks.add(asyncio.get_running_loop().create_task(self._serve(connection)))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        with connection:
            data = await loop.sock_recv(connection, 65536)
            reply = self.answer(DNSRecord.parse(data[2:]))
            if reply is not None:
                packed = reply.pack()
                await loop.sock_sendall(connection, struct.pack("!H", len(packed)) + packed)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for one in (self.udp, self.tcp):
            loop.remove_reader(one)
            one.close()


@pytest.fixture
async def upstream(host: Host) -> AsyncIterator[Upstream]:
    made = Upstream(host.neighbour)
    yield made
    made.close()


async def test_containers_find_each_other_by_every_name(
    networks: Networks, make_container: MakeContainer, mine: str
) -> None:
    web = await make_container(
        "web", mode=mine, hostname="webhost", endpoints={mine: {"Aliases": ["www", "api"]}}
    )
    client = await make_container("client", mode=mine)
    assert client.setup.nameservers == ["127.0.0.11"]
    assert client.setup.options == ["ndots:0"]
    for name in ("web", "WEB", "www", "api", "webhost", web.id[:12], "web.mine", "www.mine"):
        assert await addresses(client, name) == {web.address}, name
        assert await addresses(client, name, tcp=True) == {web.address}, name
    assert await addresses(web, "web") == {web.address}


async def test_shared_alias_gives_everybody(make_container: MakeContainer, mine: str) -> None:
    alias = {mine: {"Aliases": ["pool"]}}
    made = [await make_container(mode=mine, endpoints=alias) for _ in range(3)]
    assert await addresses(made[0], "pool") == {container.address for container in made}


async def test_names_follow_containers(
    networks: Networks, make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    client = await make_container("client", mode=mine)
    web = await make_container("web", mode=mine)
    await networks.rename(web.id, "shop")
    assert await addresses(client, "shop") == {web.address}
    assert (await ask(client, "web")).header.rcode == 3
    await networks.teardown(web.id)
    assert (await ask(client, "shop")).header.rcode == 3
    await make_container("blocker", mode=mine)
    again = await make_container("shop", mode=mine)
    assert again.address != web.address
    assert await addresses(client, "shop") == {again.address}


async def test_names_of_other_networks_are_not_told(
    networks: Networks, make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    await networks.create({"Name": "other"})
    await make_container("secret", mode="other")
    client = await make_container("client", mode=mine)
    assert (await ask(client, "secret")).header.rcode == 3
    assert (await ask(client, "secret.other")).header.rcode == 3


async def test_known_name_without_that_kind_of_record_is_an_empty_answer(
    make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    web = await make_container("web", mode=mine)
    for kind in ("AAAA", "MX", "TXT", "HTTPS"):
        reply = await ask(web, "web", kind)
        assert (reply.header.rcode, reply.rr) == (0, []), kind
    assert upstream.asked == []


async def test_ipv6_addresses_and_reverse_names_are_answered(
    networks: Networks, make_container: MakeContainer
) -> None:
    await networks.create(
        {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "2001:db8:77::/64"}]}}
    )
    web = await make_container("web", mode="six")
    client = await make_container("client", mode="six")
    assert await addresses(client, "web", "AAAA") == {"2001:db8:77::2"}
    assert await addresses(client, "web") == {web.address}
    reverse = ".".join(reversed(web.address.split("."))) + ".in-addr.arpa"
    assert await addresses(client, reverse, "PTR") == {"web.six."}
    digits = "2001:0db8:0077:0000:0000:0000:0000:0002".replace(":", "")
    assert await addresses(client, ".".join(reversed(digits)) + ".ip6.arpa", "PTR") == {"web.six."}


async def test_links_are_names_of_one_container_only(
    make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    database = await make_container("db", mode=mine)
    web = await make_container("web", mode=mine, links=["db:store"])
    other = await make_container("other", mode=mine)
    assert await addresses(web, "store") == {database.address}
    assert (await ask(other, "store")).header.rcode == 3


async def test_other_names_go_to_the_hosts_resolvers(
    make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    client = await make_container("client", mode=mine)
    assert await addresses(client, "outside.test") == {"203.0.113.7"}
    assert await addresses(client, "outside.test", tcp=True) == {"203.0.113.7"}
    assert (await ask(client, "nobody.test")).header.rcode == 3


async def test_given_servers_are_asked_from_inside_the_container(
    make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    """A server on the container's own loopback answers only who asks from there."""
    client = await make_container("client", mode=mine, dns=["127.0.0.1"])
    own = Upstream(client.namespace, "127.0.0.1")
    try:
        assert await addresses(client, "outside.test") == {"203.0.113.7"}
        assert own.asked == ["outside.test."]
        assert upstream.asked == []
    finally:
        own.close()


async def test_container_may_run_a_name_server_of_its_own(make_container: MakeContainer, mine: str) -> None:
    web = await make_container("web", mode=mine)
    with web.inside():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("0.0.0.0", 53))
            tcp.bind(("0.0.0.0", 53))
            tcp.listen()
    assert await addresses(web, "web") == {web.address}


async def test_internal_network_hands_nothing_on(
    networks: Networks, make_container: MakeContainer, upstream: Upstream
) -> None:
    await networks.create({"Name": "inner", "Internal": True})
    web = await make_container("web", mode="inner")
    assert await addresses(web, "web") == {web.address}
    assert (await ask(web, "outside.test")).header.rcode == 2
    assert upstream.asked == []


async def test_next_server_is_asked_when_one_fails(
    site: Site, make_container: MakeContainer, mine: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "UPSTREAM_TIMEOUT_S", 1.0)
    site.resolver.nameservers[:] = ["198.51.100.99", "198.51.100.1", "198.51.100.2"]
    client = await make_container("client", mode=mine)
    assert await addresses(client, "outside.test") == {"203.0.113.7"}


async def test_failing_servers_are_a_servfail(
    make_container: MakeContainer, mine: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "UPSTREAM_TIMEOUT_S", 0.2)
    client = await make_container("client", mode=mine)
    upstream.answer = lambda query: None
    assert (await ask(client, "outside.test")).header.rcode == 2


async def test_answer_to_another_question_is_not_taken(
    make_container: MakeContainer, mine: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "UPSTREAM_TIMEOUT_S", 0.3)
    client = await make_container("client", mode=mine)

    def forged(query: DNSRecord) -> DNSRecord:
        other = DNSRecord.question("bank.test")
        other.header.id = query.header.id
        reply = other.reply()
        reply.add_answer(RR("bank.test.", QTYPE.A, rdata=A("203.0.113.66"), ttl=60))
        return reply

    upstream.answer = forged
    reply = await ask(client, "outside.test")
    assert (reply.header.rcode, reply.rr) == (2, [])


async def test_nonsense_is_refused_or_ignored_and_the_resolver_goes_on(
    make_container: MakeContainer, mine: str
) -> None:
    web = await make_container("web", mode=mine)
    with web.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stream = socket.socket()
    with client, stream:
        client.connect(RESOLVER)
        for junk in (b"", b"x", b"\0" * 12, b"\xff" * 600, DNSRecord.question("web").pack()[:-3]):
            client.send(junk)
        stream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            stream.connect(RESOLVER)
        await asyncio.sleep(0)
        assert await addresses(web, "web") == {web.address}
        await asyncio.get_running_loop().sock_sendall(stream, b"\xff\xff" + b"junk")
    assert await addresses(web, "web", tcp=True) == {web.address}


async def test_many_addresses_are_cut_over_udp_and_whole_over_tcp(
    networks: Networks, make_container: MakeContainer, mine: str
) -> None:
    alias = {mine: {"Aliases": ["pool"]}}
    made = [await make_container(mode=mine, endpoints=alias) for _ in range(40)]
    reply = await ask(made[0], "pool")
    assert reply.header.tc == 1
    assert len(reply.rr) < 40
    assert len(await addresses(made[0], "pool", tcp=True)) == 40


async def test_names_are_served_again_after_a_restart_of_the_engine(
    site: Site, networks: Networks, make_container: MakeContainer, mine: str
) -> None:
    web, client = await make_container("web", mode=mine), await make_container("client", mode=mine)
    await site.stop(networks)
    await site.start(live=[web.id, client.id])
    assert await addresses(client, "web") == {web.address}
    assert await addresses(client, "web", tcp=True) == {web.address}


async def test_names_are_served_in_a_user_namespace_too(
    make_container: MakeContainer, mine: str, directory: Path
) -> None:
    with user_namespace(directory) as pinned:
        mapping = IdMap(base=1_000_000, userns=pinned, home=Path("/nowhere"), view=Path("/nowhere"))
        web = await make_container("web", mode=mine, mapping=mapping)
        assert await addresses(web, "web") == {web.address}


async def test_default_bridge_has_no_names(make_container: MakeContainer) -> None:
    await make_container("web")
    client = await make_container("client")
    assert client.setup.nameservers == ["198.51.100.2"]
    with client.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.3)
        asking.connect(RESOLVER)
        asking.send(DNSRecord.question("web").pack())
        with pytest.raises(OSError):
            asking.recv(512)


async def test_answers_are_quick(make_container: MakeContainer, mine: str) -> None:
    web = await make_container("web", mode=mine)
    loop = asyncio.get_running_loop()
    question = DNSRecord.question("web").pack()
    with web.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    times = []
    with client:
        client.connect(RESOLVER)
        for _ in range(500):
            began = loop.time()
            client.send(question)
            await loop.sock_recv(client, 512)
            times.append(loop.time() - began)
    assert min(times) < 0.002  # nothing on the way waits for a timer


async def test_host_that_moved_to_another_network_is_followed(
    site: Site, make_container: MakeContainer, mine: str, upstream: Upstream
) -> None:
    site.resolver.nameservers[:] = ["198.51.100.1"]
    client = await make_container("client", mode=mine)
    assert (await ask(client, "outside.test")).header.rcode == 2
    site.resolver.nameservers[:] = ["198.51.100.2"]
    assert await addresses(client, "outside.test") == {"203.0.113.7"}

"""Beside other people's packet filters: Docker's, firewalld's, ufw's, one that is flushed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.network import nft
from runtime.network.networks import Networks, purge
from tests.integration.runtime.network.conftest import (
    Container,
    Host,
    MakeContainer,
    Site,
    bindings,
    comes_to_reach,
    inside,
    listen,
    reaches,
    run,
)

DOCKER = """
table ip filter {
  chain DOCKER-USER { counter return; }
  chain DOCKER { }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    oifname "docker0" ct state related,established counter accept
    oifname "docker0" counter jump DOCKER
    iifname "docker0" oifname != "docker0" counter accept
  }
}
"""

UFW = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; ct state established accept; }
}
table ip6 filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""

FIREWALLD = """
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    reject with icmpx admin-prohibited
  }
}
"""


async def passes_both_ways(container: Container, host: Host, port: int = 7080) -> bool:
    """Out to the neighbour, and in from it by a published port."""
    with inside(host.neighbour):
        outside = listen(9000)
    with outside, container.inside():
        out = comes_to_reach(host.neighbour_address, 9000)
    with container.inside():
        server = listen(80)
    with server, inside(host.neighbour):
        return out and comes_to_reach(host.address, port)


async def eventually(true: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"did not happen: {what}")


@pytest.mark.parametrize("ruleset", [DOCKER, UFW, FIREWALLD], ids=["docker", "ufw", "firewalld"])
async def test_bridges_pass_a_firewall_that_was_there_before(
    site: Site, host: Host, make_container: MakeContainer, networks: Networks, ruleset: str
) -> None:
    await site.stop(networks)
    nft.load(ruleset)
    before = _others()
    again = await site.start()
    container = await make_container(engine=again, port_bindings=bindings(":7080:80/tcp"))
    assert await passes_both_ways(container, host)
    await again.teardown(container.id)
    await site.stop(again)
    purge(site.configs["one"])
    assert _others() == before


@pytest.mark.parametrize("ruleset", [DOCKER, UFW, FIREWALLD], ids=["docker", "ufw", "firewalld"])
async def test_bridges_pass_a_firewall_that_comes_later(
    host: Host, make_container: MakeContainer, networks: Networks, ruleset: str
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    nft.load(ruleset)
    await eventually(lambda: networks._config.instance in _others(), "rules")
    assert await passes_both_ways(container, host)


async def test_rules_come_back_when_a_firewall_is_reloaded(
    host: Host, make_container: MakeContainer, networks: Networks
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    nft.load(FIREWALLD)
    await eventually(lambda: f'comment "{networks._config.instance}"' in host.ruleset(), "rules")
    nft.load("delete table inet firewalld\n" + FIREWALLD)
    assert f'comment "{networks._config.instance}"' not in host.ruleset()
    await eventually(lambda: f'comment "{networks._config.instance}"' in host.ruleset(), "rules again")
    assert await passes_both_ways(container, host)


async def test_table_comes_back_when_somebody_flushes_everything(
    host: Host, make_container: MakeContainer, networks: Networks
) -> None:
    container = await make_container(port_bindings=bindings(":7080:80/tcp"))
    before = _without_counters(host.ruleset())
    nft.load("flush ruleset\n")
    await eventually(lambda: _without_counters(host.ruleset()) == before, "the table")
    assert await passes_both_ways(container, host)


async def test_rules_move_into_dockers_chain_when_docker_starts(
    host: Host, make_container: MakeContainer, networks: Networks
) -> None:
    await make_container()
    nft.load(UFW)
    mark = f'comment "{networks._config.instance}"'
    await eventually(lambda: mark in _chain("FORWARD"), "rules")
    nft.load(
        "table ip filter { chain DOCKER-USER { return; }; }\ninsert rule ip filter FORWARD jump DOCKER-USER\n"
    )
    await eventually(lambda: mark in _chain("DOCKER-USER"), "rules there")
    await eventually(lambda: mark not in _chain("FORWARD"), "rules gone")


async def test_dockers_containers_stay_protected_from_ours(
    site: Site, host: Host, make_container: MakeContainer, networks: Networks, directory: Path
) -> None:
    nft.load(DOCKER)
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "address", "add", "172.31.0.1/16", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    theirs = await site.start("two")
    container, neighbour = await make_container(), await make_container(engine=theirs)
    # A container of Docker's: another engine's, moved over to Docker's bridge.
    port = next(name for name in host.interfaces() if theirs._kernel.owns(name))
    run("ip", "link", "set", port, "master", "docker0")
    neighbour.run("ip", "address", "flush", "dev", "eth0")
    neighbour.run("ip", "address", "add", "172.31.0.9/16", "dev", "eth0")
    neighbour.run("ip", "route", "add", "default", "via", "172.31.0.1")
    await eventually(
        lambda: networks._config.instance in _chain("DOCKER-USER"),
        "rules",
    )
    with neighbour.inside():
        server = listen(80)
    with server:
        with container.inside():
            assert not reaches("172.31.0.9", 80)
        nft.load("add rule ip filter DOCKER oifname docker0 tcp dport 80 accept\n")
        with container.inside():
            assert comes_to_reach("172.31.0.9", 80)


async def test_iptables_can_still_list_what_we_put_into_its_chains(
    site: Site, host: Host, networks: Networks
) -> None:
    assert shutil.which("iptables-nft")
    await site.stop(networks)
    for argv in (("-P", "FORWARD", "DROP"), ("-N", "DOCKER-USER"), ("-A", "FORWARD", "-j", "DOCKER-USER")):
        run("iptables-nft", "-w", *argv)
    again = await site.start()
    listed = run("iptables-nft", "-w", "-S", "DOCKER-USER")
    short, instance = site.configs["one"].short, site.configs["one"].instance
    assert f"-A DOCKER-USER -i {short}-+ -m comment --comment {instance} -j ACCEPT" in listed
    assert f"-A DOCKER-USER -o {short}0 -m comment --comment {instance} -j ACCEPT" in listed
    await site.stop(again)
    purge(site.configs["one"])
    assert run("iptables-nft", "-w", "-S", "DOCKER-USER").strip() == "-N DOCKER-USER"


async def test_older_iptables_is_passed_too(
    site: Site, host: Host, make_container: MakeContainer, networks: Networks
) -> None:
    assert shutil.which("iptables-legacy")
    await site.stop(networks)
    run("iptables-legacy", "-w", "-P", "FORWARD", "DROP")
    again = await site.start()
    container = await make_container(engine=again, port_bindings=bindings(":7080:80/tcp"))
    assert await passes_both_ways(container, host)
    await site.stop(again)
    await (await site.start()).close()
    site.running.pop()
    listed = run("iptables-legacy", "-w", "-S")
    assert listed.count(f"--comment {site.configs['one'].instance} ") == 4  # not twice
    purge(site.configs["one"])
    assert site.configs["one"].instance not in run("iptables-legacy", "-w", "-S")


async def test_firewall_that_accepts_everything_is_left_alone(
    site: Site, host: Host, networks: Networks
) -> None:
    await site.stop(networks)
    nft.load("table ip filter { chain FORWARD { type filter hook forward priority filter; }; }")
    before = run("nft", "list", "table", "ip", "filter")
    await site.start()
    assert run("nft", "list", "table", "ip", "filter") == before


def _without_counters(ruleset: str) -> str:
    return " ".join(word for word in ruleset.split() if not word.isdigit())


def _others() -> str:
    """What the tables say that are not ours."""
    tables = [line.split()[1:] for line in run("nft", "list", "tables").splitlines()]
    texts = [run("nft", "list", "table", *table) for table in tables if "webdock" not in table[1]]
    return _without_counters(" ".join(texts))


def _chain(name: str) -> str:
    return run("nft", "list", "chain", "ip", "filter", name)

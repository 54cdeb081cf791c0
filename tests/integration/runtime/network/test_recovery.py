"""What remains after the engine was killed at any moment: what running containers have, and nothing else."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from runtime.api.errors import Internal
from runtime.config import EngineConfig, instance_names
from runtime.events import EventHub
from runtime.network.endpoints import EndpointRequest
from runtime.network.networks import Networks, purge
from tests.integration.runtime.network.conftest import Host, MakeContainer, Site, bindings, run

REPOSITORY = Path(__file__).resolve().parents[4]


def kill_while_busy(root: Path, seed: int, after_s: float) -> None:
    """Run a busy engine and kill it some time after it got going."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.runtime.network.victim", str(root), str(seed)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "done\n"
        time.sleep(after_s)
    finally:
        program.send_signal(signal.SIGKILL)
        program.communicate()
    assert program.returncode == -signal.SIGKILL


def explained(config: EngineConfig, live: list[str]) -> tuple[set[str], set[str]]:
    """(interfaces, namespaces) that records of networks and of live containers explain."""
    interfaces: set[str] = set()
    for path in (config.home / "networks").glob("*.json"):
        record = json.loads(path.read_text())
        interfaces |= {record["bridge"]} - {""}
    namespaces: set[str] = set()
    for id in live:
        record = json.loads((config.run / "sandboxes" / f"{id}.json").read_text())
        namespaces.add(record["namespace"])
        interfaces |= {endpoint["host_interface"] for endpoint in record["endpoints"]}
    return interfaces, namespaces


@pytest.mark.parametrize("seed", range(8))
async def test_engine_killed_at_any_moment_leaves_nothing_unexplained(
    host: Host, directory: Path, seed: int
) -> None:
    root = directory / "victim"
    kill_while_busy(root, seed, random.Random(seed).uniform(0.0, 0.7))
    home = root / "engine"
    instance, short = instance_names(home)
    config = EngineConfig(home, root / "run", instance, short)
    recorded = sorted(path.stem for path in (config.run / "sandboxes").glob("*.json"))
    live = recorded[::2]
    before = {id: _endpoints(config, id) for id in live}
    networks = Networks(config, EventHub(), home / "networks")
    await networks.start(live)
    try:
        await networks.settle()
        interfaces, namespaces = explained(config, live)
        found = {name for name in host.interfaces() if name.startswith(short)}
        assert found <= interfaces
        pool = {path.name for path in networks._namespaces.pins()} - namespaces
        assert len(pool) == config.network.ready_namespaces
        assert sorted(path.stem for path in (config.run / "sandboxes").glob("*.json")) == live
        assert {id: _endpoints(config, id) for id in live} == before
        taken = {address for id in live for address in _addresses(config, id)}
        rules = host.ruleset()
        for line in rules.splitlines():
            if "elements" in line and "tcp . " in line:
                assert any(address in line for address in taken)
        fresh = await networks.setup("f" * 64, EndpointRequest(mode="default", name="fresh"))
        assert fresh.networks["bridge"]["IPAddress"] not in taken
        await networks.teardown("f" * 64)
        for id in live:
            await networks.teardown(id)
        await networks.settle()
        assert not list((config.run / "sandboxes").iterdir())
        assert {name for name in host.interfaces() if networks._kernel.owns(name)} == set()
    finally:
        await networks.close()
        purge(config)
    assert {name for name in host.interfaces() if name.startswith(short)} == set()
    assert instance.replace("-", "_") not in host.ruleset()


def _endpoints(config: EngineConfig, id: str) -> object:
    return json.loads((config.run / "sandboxes" / f"{id}.json").read_text())["endpoints"]


def _addresses(config: EngineConfig, id: str) -> list[str]:
    body = json.loads((config.run / "sandboxes" / f"{id}.json").read_text())
    return [endpoint["ipv4"].split("/")[0] for endpoint in body["endpoints"] if endpoint["ipv4"]]


async def test_running_container_keeps_its_network_over_a_restart(
    site: Site, networks: Networks, make_container: MakeContainer
) -> None:
    one, two = await make_container("one"), await make_container("two")
    await site.stop(networks)
    assert " 0% packet loss" in one.run("busybox", "ping", "-c1", "-W30", two.address)
    again = await site.start(live=[one.id])
    setup = again.describe(one.id)
    assert setup == one.setup
    assert again.describe(two.id) is None
    assert not two.namespace.exists()
    third = await make_container("three", engine=again)
    assert third.address != one.address
    assert " 0% packet loss" in third.run("busybox", "ping", "-c1", "-W30", one.address)


async def test_after_a_reboot_networks_are_back_and_containers_are_not(
    site: Site, networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    await networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.66.0.0/24"}]}})
    container = await make_container(mode="mine", port_bindings=bindings(":7080:80/tcp"))
    before = await networks.list()
    await site.stop(networks)
    # What a reboot does: everything of the kernel is gone, the disk stays as it was.
    run("nft", "flush", "ruleset")
    for name in host.interfaces() - {"lo", "wan0"}:
        run("ip", "link", "delete", name, check=False)
    run("umount", "--lazy", str(container.namespace))
    again = await site.start()
    assert await again.list() == before
    assert (await again.inspect("mine"))["Containers"] == {}
    same = await make_container(mode="mine", engine=again, port_bindings=bindings(":7080:80/tcp"))
    assert same.address == container.address


async def test_two_engines_choose_different_subnets_and_leave_each_other_alone(
    site: Site, networks: Networks, make_container: MakeContainer
) -> None:
    other = await site.start("two")
    mine, theirs = await networks.inspect("bridge"), await other.inspect("bridge")
    assert mine["IPAM"]["Config"][0]["Subnet"] != theirs["IPAM"]["Config"][0]["Subnet"]
    container = await make_container(engine=other)
    await site.stop(networks)
    purge(site.configs["one"])
    await site.start("one")
    assert container.namespace.exists()
    assert " 0% packet loss" in container.run(
        "busybox", "ping", "-c1", "-W30", theirs["IPAM"]["Config"][0]["Gateway"]
    )


async def test_subnet_of_another_interface_is_avoided(site: Site, host: Host) -> None:
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    run("ip", "route", "add", "172.18.0.0/15", "via", host.neighbour_address)
    networks = await site.start()
    assert (await networks.inspect("bridge"))["IPAM"]["Config"][0]["Subnet"] == "172.20.0.0/16"


async def test_default_bridge_moves_when_somebody_took_its_subnet_meanwhile(site: Site) -> None:
    networks = await site.start()
    before = await networks.inspect("bridge")
    await site.stop(networks)
    purge(site.configs["one"])
    run("ip", "link", "add", "other0", "type", "bridge")
    run("ip", "address", "add", before["IPAM"]["Config"][0]["Gateway"] + "/16", "dev", "other0")
    again = await site.start()
    after = await again.inspect("bridge")
    assert after["Id"] == before["Id"]
    assert after["IPAM"]["Config"] != before["IPAM"]["Config"]


async def test_configured_subnet_of_the_default_bridge_is_used(site: Site) -> None:
    networks = await site.start(bridge_subnet=IPv4Network("10.88.0.0/24"))
    assert (await networks.inspect("bridge"))["IPAM"]["Config"] == [
        {"Subnet": "10.88.0.0/24", "Gateway": "10.88.0.1"}
    ]


async def test_user_network_whose_bridge_cannot_be_made_is_kept_and_refuses_containers(
    site: Site, networks: Networks, make_container: MakeContainer
) -> None:
    await networks.create({"Name": "mine"})
    bridge = next(name for name in (await networks.list()) if name["Name"] == "mine")
    interface = f"{site.configs['one'].short}-{bridge['Id'][:8]}"
    await site.stop(networks)
    run("ip", "link", "delete", interface)
    run("ip", "link", "add", interface, "type", "veth", "peer", "name", "other1")
    again = await site.start()
    assert [net["Name"] for net in await again.list({"name": ["mine"]})] == ["mine"]
    with pytest.raises(Internal, match=r"network mine cannot be used: .* is not a bridge"):
        await make_container(mode="mine", engine=again)
    await make_container(engine=again)
    await again.remove("mine")
    run("ip", "link", "delete", interface)


async def test_purge_removes_everything_of_one_instance_only(
    site: Site, networks: Networks, make_container: MakeContainer, host: Host
) -> None:
    other = await site.start("two")
    stays = await make_container(engine=other)
    gone = await make_container(port_bindings=bindings(":7080:80/tcp"))
    await networks.create({"Name": "named", "Options": {"com.docker.network.bridge.name": "mybridge"}})
    await site.stop(networks)
    purge(site.configs["one"])
    assert "mybridge" not in host.interfaces()
    assert not gone.namespace.exists()
    assert site.configs["one"].instance.replace("-", "_") not in host.ruleset()
    assert stays.namespace.exists()
    assert site.configs["two"].instance.replace("-", "_") in host.ruleset()
    purge(site.configs["one"])  # a second time finds nothing

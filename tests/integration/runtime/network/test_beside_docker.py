"""One host, a real Docker and one of our engines: both work, neither reaches into the other."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.api.errors import Internal
from runtime.network.networks import Networks, purge
from tests.integration.dockerd import Dockerd
from tests.integration.runtime.network.conftest import (
    SILENCE_S,
    WAIT_S,
    Host,
    MakeContainer,
    Site,
    bindings,
    comes_to_reach,
    connect,
    inside,
    listen,
    reaches,
    run,
)

BUSYBOX = "/bin/busybox"


@pytest.fixture
def host(dockerd: Dockerd, directory: Path) -> Iterator[Host]:
    """The namespace Docker runs in, with its usual policy, and a neighbour."""
    with inside(f"/run/netns/{dockerd.netns}"):
        run("iptables", "-w", "-P", "FORWARD", "DROP")
        made = Host(directory)
        yield made
        made.close()


@pytest.fixture
def docker(dockerd: Dockerd) -> Iterator[Callable[..., str]]:
    """``docker("run", …)``; its containers are removed afterwards."""
    environ = {**os.environ, "DOCKER_HOST": dockerd.host}

    def call(*argv: str, data: bytes | None = None) -> str:
        done = subprocess.run(["docker", *argv], env=environ, input=data, capture_output=True, check=False)
        return (done.stdout + done.stderr).decode().strip()

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(BUSYBOX, arcname=BUSYBOX.lstrip("/"))
    call("import", "-", "beside", data=packed.getvalue())
    yield call
    for id in call("ps", "-aq").split():
        call("rm", "-f", id)


async def test_both_engines_work_on_one_host(
    networks: Networks, make_container: MakeContainer, host: Host, docker: Callable[..., str], site: Site
) -> None:
    serve = ("beside", BUSYBOX, "httpd", "-f", "-p", "80")
    docker("run", "-d", "--name", "theirs", "-p", "7090:80", *serve)
    docker("run", "-d", "--name", "hidden", *serve)
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "hidden")
    ours = await make_container("ours", port_bindings=bindings(":7080:80/tcp"))
    assert ours.address.split(".")[:2] != address.split(".")[:2]
    with ours.inside():
        server = listen(80)
    with inside(host.neighbour):
        outside = listen(9000)
    call = ("exec", "theirs", BUSYBOX, "timeout", "1", BUSYBOX, "nc")
    with server, outside:
        with ours.inside():
            assert comes_to_reach(host.neighbour_address, 9000)
            assert comes_to_reach(host.address, 7090), "Docker's published port"
            assert not reaches(address, 80), "Docker's unpublished container"
        with inside(host.neighbour):
            client = connect(host.address, 7080)
            assert comes_to_reach(host.address, 7090)
        accepted, peer = server.accept()
        assert peer[0] == host.neighbour_address
        client.close()
        accepted.close()
        docker(*call, ours.address, "80")
        server.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(WAIT_S)
        docker(*call, host.address, "7080")
        server.accept()[0].close()  # Docker's container came through our published port
    with pytest.raises(Internal, match="port is already allocated"):
        await make_container(port_bindings=bindings(":7090:80/tcp"))
    assert "address already in use" in docker("run", "--rm", "-p", "7080:80", "beside", BUSYBOX, "true")
    await networks.teardown(ours.id)
    await site.stop(networks)
    purge(site.configs["one"])
    assert run("iptables", "-w", "-S", "DOCKER-USER").split("\n")[1:2] == ["-A DOCKER-USER -j RETURN"]
    with inside(host.neighbour):
        assert comes_to_reach(host.address, 7090)

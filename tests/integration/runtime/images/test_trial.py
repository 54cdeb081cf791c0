"""Trying registries: what failed is told, credentials go to it alone, inner addresses stay closed."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.images.transport import Patience, Refused, Transport
from tests.fakes.image_files import simple
from tests.fakes.registry import FakeRegistry, answering, redirecting
from tests.integration.runtime.images.conftest import Engine, MakeEngine, told

ANN = {"username": "ann", "password": "secret"}


async def tried(engine: Engine, host: str, auth: Any = None, **body: Any) -> dict[str, Any]:
    """The row of the registry itself."""
    answer = await engine.images.try_registry(host, body, auth)  # type: ignore[arg-type]
    assert answer["Ok"] == all(row["Ok"] for row in answer["Tried"])
    return dict(answer["Tried"][-1])


async def test_each_failure_has_its_name(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    engine = await make_engine(registry)
    host = registry.host
    assert (await tried(engine, host))["Auth"] == "none"
    registry.users = {"ann": "secret"}
    for scheme in ("basic", "bearer"):
        registry.scheme = scheme
        assert (await tried(engine, host))["Failed"] == "credentials"
        assert (await tried(engine, host, {**ANN, "password": "no"}))["Failed"] == "credentials"
        good = await tried(engine, host, ANN)
        assert good["Ok"]
        assert good["Auth"] == scheme
    registry.users = None
    registry.fault("GET", "/v2/", answering(200, b"<html>", Content_Type="text/html"), times=2)
    assert (await tried(engine, host))["Failed"] == "no-registry"
    registry.heal()
    registry.fault("GET", "/v2/", answering(500, b"no"), times=2)
    assert (await tried(engine, host))["Failed"] == "no-registry"
    registry.heal()
    registry.fault("GET", "/v2/", redirecting(f"{registry.url}/v2/"))
    assert (await tried(engine, host))["Failed"] == "refused"
    await registry.stop()
    assert (await tried(engine, host))["Failed"] == "connection"
    unknown = await tried(engine, "nowhere.invalid")
    assert unknown["Failed"] == "name"


async def test_settings_are_tried_before_they_are_kept(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    engine = await make_engine()
    host = registry.host
    assert (await tried(engine, host))["Failed"] == "address"
    plain = await tried(engine, host, Local=True)
    assert plain["Failed"] == "plain-http"
    assert "has to be allowed" in plain["Message"]
    assert (await tried(engine, host, Local=True, Insecure=True))["Ok"]
    await engine.images.registries.set(other_registry.host, {"Local": True})
    registry.users = other_registry.users = {"ann": "secret"}
    answer = await engine.images.try_registry(
        host, {"Local": True, "Insecure": True, "Mirrors": [other_registry.url]}, ANN
    )
    assert [row["Mirror"] for row in answer["Tried"]] == [True, False]
    assert [row["Ok"] for row in answer["Tried"]] == [False, True]
    assert {seen.authorization for seen in other_registry.seen} == {""}
    assert [row["Host"] for row in engine.images.registries.rows()] == ["docker.io", other_registry.host]


async def test_a_mirror_set_at_run_time_serves_the_next_pull(
    make_engine: MakeEngine, registry: FakeRegistry
) -> None:
    engine = await make_engine()
    registry.put("library/debian", "12", simple())
    registries = engine.images.registries
    await registries.set("docker.io", {"Mirrors": [registry.url]})
    with pytest.raises(Exception, match=r"an address of this machine|no such host|dial tcp"):
        await told(engine.images.pull("debian:12"))
    await registries.set(registry.host, {"Local": True})
    await told(engine.images.pull("debian:12"))
    assert engine.images.list()[0]["RepoTags"] == ["debian:12"]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0",
        "100.100.100.200",
        "[::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
async def test_inner_addresses_are_not_asked(address: str) -> None:
    transport = Transport({}, Patience(connect_s=1, stall_s=1))
    try:
        with pytest.raises(Refused, match="an address of this machine"):
            async with transport.request("GET", f"http://{address}/v2/"):
                pass
    finally:
        await transport.close()


async def test_neither_a_redirect_nor_a_realm_leads_inside(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    inside = f"http://{other_registry.host}/token"
    engine = await make_engine(registry)
    registry.put("x", "y", simple())
    registry.fault("GET", "/manifests/", redirecting(inside))
    with pytest.raises(Exception, match="an address of this machine"):
        await told(engine.images.pull(f"{registry.host}/x:y"))
    registry.heal()
    registry.users, registry.scheme, registry.realm = {"ann": "secret"}, "bearer", inside
    assert (await tried(engine, registry.host))["Failed"] == "address"
    assert other_registry.seen == []


async def test_a_port_that_a_container_publishes_is_no_inner_address(
    registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    def leads_inside(address: str, port: int) -> bool:
        return (address, port) == (registry.address, registry.port)

    transport = Transport({}, Patience(connect_s=20, stall_s=20), leads_inside)
    try:
        async with transport.request("GET", f"{registry.url}/v2/") as answer:
            assert answer.status == 200
        with pytest.raises(Refused, match="an address of this machine"):
            async with transport.request("GET", f"{other_registry.url}/v2/"):
                pass
    finally:
        await transport.close()

"""Credentials: how they are asked for, and where they never go."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.api.errors import NotFound, Unauthorized
from runtime.config import RegistryConfig
from tests.conformance.shape import problems, response_schema
from tests.fakes.image_files import simple
from tests.fakes.registry import FakeRegistry, answering, redirecting
from tests.integration.registry import RealRegistry
from tests.integration.runtime.images.conftest import MakeEngine, told

USERS = {"ann": "right horse"}
AUTH = {"username": "ann", "password": "right horse"}
WRONG = {"username": "ann", "password": "wrong horse"}
BCRYPT = "$2y$05$abcdefghijklmnopqrstuuB05BVy0V7KomGh8K56xgiHLq3Wkqh46"  # of ann's password
BASIC = "Basic " + base64.b64encode(b"ann:right horse").decode()


@pytest.fixture(params=["basic", "bearer"])
async def guarded(request: pytest.FixtureRequest, registry: FakeRegistry) -> FakeRegistry:
    """A registry that asks for Basic credentials, and one with a token service."""
    registry.users, registry.scheme = USERS, request.param
    registry.put("team/app", "v1", simple())
    return registry


async def test_the_right_credentials_open_the_door(make_engine: MakeEngine, guarded: FakeRegistry) -> None:
    engine = await make_engine(guarded)
    messages = await told(engine.images.pull(f"{guarded.host}/team/app:v1", auth=AUTH))
    assert "error" not in messages[-1]
    if guarded.scheme == "bearer":
        assert guarded.count("GET", "/token") == 1
        with_password = [seen.path for seen in guarded.seen if seen.authorization == BASIC]
        assert with_password == ["/token"]


async def test_no_credentials_are_told_in_dockers_words(
    make_engine: MakeEngine, guarded: FakeRegistry
) -> None:
    engine = await make_engine(guarded)
    with pytest.raises(NotFound) as caught:
        await told(engine.images.pull(f"{guarded.host}/team/app:v1"))
    assert caught.value.message.startswith(
        f"pull access denied for {guarded.host}/team/app, "
        "repository does not exist or may require 'docker login': "
    )
    assert engine.is_empty()


async def test_wrong_credentials_are_told(make_engine: MakeEngine, guarded: FakeRegistry) -> None:
    engine = await make_engine(guarded)
    with pytest.raises(Unauthorized, match=r"unauthorized: (authentication required|incorrect username)"):
        await told(engine.images.pull(f"{guarded.host}/team/app:v1", auth=WRONG))
    assert engine.is_empty()


async def test_authenticate_says_whether_they_are_right(
    make_engine: MakeEngine, guarded: FakeRegistry
) -> None:
    engine = await make_engine(guarded)
    answer = await engine.images.authenticate({**AUTH, "serveraddress": f"http://{guarded.host}/v2/"})
    assert problems(answer, response_schema("post", "/auth")) == []
    assert answer == {"Status": "Login Succeeded", "IdentityToken": ""}
    for wrong in (WRONG, {}):
        with pytest.raises(Unauthorized, match=r"unauthorized|no credentials"):
            await engine.images.authenticate({**wrong, "serveraddress": guarded.host})


async def test_a_token_that_ran_out_is_renewed(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.put("x", "y", simple())

    async def forget(request: Any) -> None:
        registry.tokens.clear()

    registry.fault("GET", "/blobs/", forget, times=1)
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y", auth=AUTH))
    assert "error" not in messages[-1]
    assert registry.count("GET", "/token") == 2


async def test_a_token_alone_is_sent_as_it_is(make_engine: MakeEngine, registry: FakeRegistry) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.put("x", "y", simple())
    registry.tokens["given"] = ("repository:x:pull", float("inf"))
    engine = await make_engine(registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y", auth={"registrytoken": "given"}))
    assert "error" not in messages[-1]
    assert registry.count("GET", "/token") == 0


async def test_a_redirect_to_another_host_does_not_get_the_credentials(
    make_engine: MakeEngine, guarded: FakeRegistry, other_registry: FakeRegistry
) -> None:
    other_registry.blobs = guarded.blobs
    guarded.fault("GET", "/blobs/", redirecting(f"{other_registry.url}{{path}}"))
    engine = await make_engine(guarded, other_registry)
    messages = await told(engine.images.pull(f"{guarded.host}/team/app:v1", auth=AUTH))
    assert "error" not in messages[-1]
    assert other_registry.seen
    assert {seen.authorization for seen in other_registry.seen} == {""}


async def test_a_token_service_on_another_host_does_not_get_the_credentials(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.realm = f"{other_registry.url}/token"
    other_registry.users = USERS
    registry.put("x", "y", simple())
    engine = await make_engine(registry, other_registry)
    with pytest.raises(NotFound, match="another host and does not get its credentials"):
        await told(engine.images.pull(f"{registry.host}/x:y", auth=AUTH))
    assert {seen.authorization for seen in other_registry.seen} <= {""}


async def test_a_token_service_on_a_configured_host_gets_the_credentials(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.realm = f"{other_registry.url}/token"
    other_registry.users, other_registry.tokens = USERS, registry.tokens
    registry.put("x", "y", simple())
    known = RegistryConfig(registry.host, insecure=True, token_hosts=("127.0.0.2",))
    engine = await make_engine(other_registry, config={registry.host: known})
    messages = await told(engine.images.pull(f"{registry.host}/x:y", auth=AUTH))
    assert "error" not in messages[-1]
    assert {seen.authorization for seen in other_registry.seen} == {BASIC}


async def test_a_token_service_on_another_host_is_asked_without_credentials(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.users, registry.scheme = {}, "bearer"
    registry.realm = f"{other_registry.url}/token"
    other_registry.tokens = registry.tokens
    registry.put("x", "y", simple())
    engine = await make_engine(registry, other_registry)
    messages = await told(engine.images.pull(f"{registry.host}/x:y"))
    assert "error" not in messages[-1]
    assert other_registry.count("GET", "/token") == 1


async def test_a_token_service_that_redirects_does_not_hand_on_the_credentials(
    make_engine: MakeEngine, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.put("x", "y", simple())
    registry.fault("GET", "/token", redirecting(f"{other_registry.url}/token"))
    engine = await make_engine(registry, other_registry)
    with pytest.raises((NotFound, Unauthorized)):
        await told(engine.images.pull(f"{registry.host}/x:y", auth=AUTH))
    assert {seen.authorization for seen in other_registry.seen} <= {""}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": ""}']
)
async def test_a_token_service_that_sends_no_token_is_told(
    make_engine: MakeEngine, registry: FakeRegistry, body: bytes
) -> None:
    registry.users, registry.scheme = USERS, "bearer"
    registry.put("x", "y", simple())
    registry.fault("GET", "/token", answering(200, body))
    engine = await make_engine(registry)
    with pytest.raises(Exception, match="sent no token"):
        await told(engine.images.pull(f"{registry.host}/x:y", auth=AUTH))


@pytest.fixture(scope="module")
def real_guarded() -> Iterator[RealRegistry]:
    registry = RealRegistry(users={"ann": BCRYPT})
    try:
        yield registry.start()
    finally:
        registry.stop()


async def test_the_real_registry_takes_basic_credentials(
    make_engine: MakeEngine, real_guarded: RealRegistry
) -> None:
    engine = await make_engine(real_guarded)
    assert await engine.images.authenticate({**AUTH, "serveraddress": real_guarded.host})
    with pytest.raises(Unauthorized):
        await engine.images.authenticate({**WRONG, "serveraddress": real_guarded.host})
    with pytest.raises(NotFound, match="no basic auth credentials"):
        await told(engine.images.pull(f"{real_guarded.host}/x:y"))
    with pytest.raises(NotFound, match=r"manifest unknown|not found"):
        await told(engine.images.pull(f"{real_guarded.host}/x:y", auth=AUTH))

"""Thousands of requests nobody in his right mind would send, at both sockets: refusals, never a failure.

Seeded, so that a failure can be repeated. What the engine answers must be HTTP, an error must be JSON with a
message, and afterwards the engine works and has nothing it did not have before.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from runtime.api.client import EngineClient
from runtime.server.routes import ROUTES, Route
from tests.conformance.engines import native

SEED = int(os.environ.get("FUZZ_SEED", "1"))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
WAIT_S = 60.0

# These wait for something, or reach for the network.
SLOW = {
    "container_wait",
    "events",
    "container_stats",
    "container_attach",
    "container_attach_websocket",
    "auth",
}
FAR = {"image_create", "image_push", "image_search", "distribution_inspect", "registry_test"}

WORDS = [
    "",
    "x",
    "0",
    "-1",
    "1",
    "true",
    "host",
    "none",
    "..",
    "../../etc/passwd",
    "/",
    "/etc",
    "a" * 300,
    "ä€𝄞",
    "\x00",
    "a\nb",
    "%s%n",
    "'; rm -rf /",
    "webdock/busybox",
    "webdock/busybox:latest",
    "sha256:" + "0" * 64,
    "container:x",
    "9" * 30,
    "1e9",
    "NaN",
    "[]",
    "{}",
    '{"a":1}',
    "bridge",
    "SIGKILL",
    "always",
    "80/tcp",
    "10.0.0.0/8",
    "local",
    "json-file",
]
KEYS = (  # noqa: SIM905
    "all force v t signal name path size limit filters stdout stderr tail since until h w ps_args repo tag"
).split()
NUMBERS = [0, 1, -1, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**63, 2**70, 1.5, 1e300]


@pytest.fixture(scope="module")
def engine() -> Iterator[Path]:
    with native() as socket:
        yield Path(socket)


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.choice(NUMBERS)
    if kind <= 4:
        return chance.choice(WORDS)
    if kind == 5:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def body_of(chance: random.Random, kind: Any, depth: int = 0) -> Any:
    """A body with real keys, sometimes with values of the right kind."""
    if chance.random() < 0.1:
        return value(chance)
    body: dict[str, Any] = {}
    for name, hint in kind.__annotations__.items():
        if chance.random() > 0.25:
            continue
        text = str(hint)
        if chance.random() < 0.3:
            body[name] = value(chance, depth + 1)
        elif text.startswith("list"):
            body[name] = [chance.choice(WORDS) for _ in range(chance.randrange(3))]
        elif text.startswith("dict"):
            body[name] = {chance.choice(WORDS): chance.choice(WORDS)}
        elif text == "int":
            body[name] = chance.choice(NUMBERS)
        elif text == "bool":
            body[name] = chance.random() < 0.5
        elif text in ("str", "Words"):
            body[name] = chance.choice(WORDS)
        else:
            from runtime.api import types

            inner = getattr(types, text, None)
            body[name] = body_of(chance, inner, depth + 1) if inner is not None else value(chance)
    if "Image" in kind.__annotations__ and chance.random() < 0.8:
        body["Image"] = "webdock/busybox"
    return body


def request(chance: random.Random, route: Route, refs: list[str]) -> tuple[str, str, bytes, str]:
    path = route.path
    for key in ("{ref}", "{ref*}"):
        ref = chance.choice([*refs, *WORDS])
        path = path.replace(key, quote(ref, safe="" if chance.random() < 0.7 else "/:") or "x")
    query = "&".join(
        f"{chance.choice(KEYS)}={quote(chance.choice(WORDS))}" for _ in range(chance.randrange(4))
    )
    version = chance.choice(["", "", "", "/v1.24", "/v1.41", "/v1.47", "/v9.9", "/vx"])
    data, kind = b"", "application/json"
    if route.body is not None:
        text = json.dumps(body_of(chance, route.body))
        data = text.encode("utf-8", "surrogatepass")
        if chance.random() < 0.05:
            data = data[: chance.randrange(len(data) + 1)]
        if chance.random() < 0.03:
            kind = chance.choice(["", "text/plain", "application/json; charset=x"])
    elif route.method in ("POST", "PUT") and chance.random() < 0.3:
        data = bytes(chance.randrange(256) for _ in range(chance.randrange(600)))
    return route.method, f"{version}{path}?{query}", data, kind


async def send(socket: Path, method: str, target: str, data: bytes, kind: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: e\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
        )
        if kind:
            head += f"Content-Type: {kind}\r\n"
        writer.write(head.encode() + b"\r\n" + data)
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 "), (method, target, answer[:200])
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("name", ["engine.sock", "web.sock"])
async def test_nonsense_is_refused_and_breaks_nothing(engine: Path, name: str) -> None:
    chance = random.Random(f"{SEED}{name}")
    socket = engine.parent / name
    routes = [route for route in ROUTES if route.operation not in SLOW | FAR]
    async with EngineClient(f"unix://{engine}") as client:
        body = {"Image": "webdock/busybox", "Cmd": ["sleep", "1000"], "StopTimeout": 0}
        keeper = (await client.container_create(body))["Id"]
        refs = [keeper, keeper[:12]]
        failures, refusals = [], 0
        for number in range(REQUESTS):
            route = chance.choice(routes)
            method, target, data, kind = request(chance, route, refs)
            if route.operation.endswith("prune") or (
                route.operation == "image_remove" and "busybox" in target
            ):
                continue
            began = time.monotonic()
            status, answer = await send(socket, method, target, data, kind)
            refusals += status == 403 and b"not allowed on this socket" in answer
            if status in (500, 503) or time.monotonic() - began > WAIT_S / 2:
                failures.append((number, method, target, data[:2000], status, answer[:500]))
            elif status >= 400 and method != "HEAD":
                assert set(json.loads(answer)) == {"message"}, (method, target, answer)
        assert failures == []
        assert (refusals > 0) == (name == "web.sock"), "the policy stands before one of them"
        assert (await client.info())["ServerVersion"]
        for one in await client.container_list(all=True):
            await client.container_remove(one["Id"], force=True, volumes=True)
        made = (await client.container_create({"Image": "webdock/busybox", "Cmd": ["true"]}))["Id"]
        await client.container_start(made)
        assert (await client.container_wait(made))["StatusCode"] == 0
        await client.container_remove(made)


async def test_connections_that_say_nothing_useful_are_no_trouble(engine: Path) -> None:
    chance = random.Random(SEED)
    for _ in range(200):
        reader, writer = await asyncio.open_unix_connection(str(engine))
        writer.write(bytes(chance.randrange(256) for _ in range(chance.randrange(2000))))
        if chance.random() < 0.5:
            writer.write_eof()
            async with asyncio.timeout(WAIT_S):
                await reader.read()
        writer.close()
    async with EngineClient(f"unix://{engine}") as client:
        assert await client.info()

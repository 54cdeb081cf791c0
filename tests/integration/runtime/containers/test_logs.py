"""Logs of real containers: what was written comes back, is followed, and stays within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.api.errors import Conflict, NotFound
from runtime.engine import Engine

from .engines import PATIENCE_S, Instance, body, log, started, state, until


@pytest.fixture(scope="module")
def instance() -> Any:
    instance = Instance()
    yield instance
    asyncio.run(instance.purge())


@pytest.fixture
async def engine(instance: Instance) -> AsyncIterator[Engine]:
    engine = await instance.start()
    yield engine
    for container in await engine.containers.list(all=True):
        await engine.containers.remove(container["Id"], force=True)
    await instance.stop()


async def ended(engine: Engine, id: str) -> bool:
    return not (await state(engine, id))["Running"]


async def answered(engine: Engine, id: str, times: int) -> None:
    """Give it a line of input after each line in its log, so that conmon sees one at a time."""
    stream = await engine.containers.attach(
        id, logs=False, stream=True, stdin=True, stdout=False, stderr=False
    )

    async def lines(count: int) -> bool:
        return (await log(engine, id)).count(b"\n") == count

    for number in range(1, times + 1):
        await until(lambda n=number: lines(n))
        await stream.write(b"\n")
    stream.close()


async def test_every_byte_comes_back(engine: Engine) -> None:
    script = r"printf 'a\0b\r\n'; head -c 100000 /dev/zero | tr '\0' x; echo; printf 'no end'"
    id = await started(engine, "sh", "-c", script)
    await until(lambda: ended(engine, id))
    assert await log(engine, id) == b"a\0b\r\n" + b"x" * 100_000 + b"\nno end"


async def test_streams_are_told_apart_and_chosen(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "echo 1; read x; echo 2 >&2; read x; echo 3", OpenStdin=True)
    await answered(engine, id, 2)
    await until(lambda: ended(engine, id))
    chunks = [item async for item in engine.containers.logs(id, stdout=True, stderr=True)]
    assert chunks == [(1, b"1\n"), (2, b"2\n"), (1, b"3\n")]
    only = [item async for item in engine.containers.logs(id, stdout=False, stderr=True)]
    assert only == [(2, b"2\n")]


async def test_a_follower_sees_everything_until_the_end(engine: Engine) -> None:
    id = await started(
        engine, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; printf last"
    )
    text = await log(engine, id, follow=True)
    assert text == b"".join(b"%d\n" % n for n in range(2000)) + b"last"


async def test_a_line_reaches_a_follower_at_once(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "while read line; do echo $line; done", OpenStdin=True)
    stream = await engine.containers.attach(
        id, logs=False, stream=True, stdin=True, stdout=False, stderr=False
    )
    chunks = engine.containers.logs(id, stdout=True, stderr=True, follow=True)
    delays = []
    async with asyncio.timeout(PATIENCE_S):
        for n in range(20):
            began = time.monotonic()
            await stream.write(b"%d\n" % n)
            assert await anext(chunks) == (1, b"%d\n" % n)
            delays.append(time.monotonic() - began)
    await chunks.aclose()  # type: ignore[attr-defined]
    stream.close()
    assert min(delays) < 0.5  # nobody looks once a second


async def test_tail_since_until_and_timestamps(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; read x; done", OpenStdin=True)
    await answered(engine, id, 5)
    await until(lambda: ended(engine, id))
    assert await log(engine, id, tail=2) == b"4\n5\n"
    assert await log(engine, id, tail=0) == b""
    assert await log(engine, id, tail=99) == b"1\n2\n3\n4\n5\n"
    stamped = (await log(engine, id, timestamps=True)).decode().splitlines()
    assert [line.split()[1] for line in stamped] == list("12345")
    assert all(line[10] == "T" and line[29] == "Z" for line in stamped)
    from runtime.containers.times import parse_rfc3339

    second, third, fourth = (parse_rfc3339(line.split()[0]) / 1e9 for line in stamped[1:4])
    before, after = (second + third) / 2, (third + fourth) / 2
    assert await log(engine, id, since=after) == b"4\n5\n"
    assert await log(engine, id, until=after) == b"1\n2\n3\n"
    assert await log(engine, id, since=before, until=after, follow=True) == b"3\n"
    assert await log(engine, id, tail=4, since=before) == b"3\n4\n5\n"


async def said(engine: Engine, id: str) -> bool:
    return bool(await log(engine, id))


async def test_following_ends_at_until(engine: Engine) -> None:
    id = await started(engine, "sh", "-c", "while :; do echo x; sleep 0.02; done")
    await until(lambda: said(engine, id))
    began = time.time()
    text = await log(engine, id, follow=True, until=began + 0.5)
    assert time.time() - began > 0.3
    assert text.startswith(b"x\n")


async def test_a_log_survives_restarts_and_goes_with_its_container(
    engine: Engine, instance: Instance
) -> None:
    id = await started(engine, "echo", "hello")
    await until(lambda: ended(engine, id))
    await engine.containers.start(id)
    await until(lambda: ended(engine, id))
    assert await log(engine, id) == b"hello\nhello\n"
    await engine.containers.remove(id)
    with pytest.raises(NotFound):
        engine.containers.logs(id, stdout=True, stderr=True)
    assert not (instance.config.home / "containers" / id).exists()


def counting(max_file: str) -> dict[str, object]:
    """A program that counts from 100000 to 119999, with a log of 100 kB per file."""
    script = "i=100000; while [ $i -lt 120000 ]; do echo $i; i=$((i+1)); done; sleep 0.5"
    options = {"max-size": "100k", "max-file": max_file}
    return body("sh", "-c", script, host={"LogConfig": {"Type": "json-file", "Config": options}})


async def test_a_follower_misses_nothing_while_the_log_is_rotated(engine: Engine, instance: Instance) -> None:
    id, _ = await engine.containers.create(None, counting("100"))
    await engine.containers.start(id)
    followed = (await log(engine, id, follow=True)).split()
    assert followed == [b"%d" % n for n in range(100_000, 120_000)]
    assert len(list((instance.config.home / "containers" / id / "log").iterdir())) > 2
    assert (await log(engine, id)).split() == followed
    assert (await log(engine, id, tail=12_345)).split() == followed[-12_345:]


async def test_rotation_keeps_the_newest_files(engine: Engine, instance: Instance) -> None:
    id, _ = await engine.containers.create(None, counting("3"))
    await engine.containers.start(id)
    await until(lambda: ended(engine, id))
    directory = instance.config.home / "containers" / id / "log"
    names = {path.name for path in directory.iterdir()}
    assert {"container.log", "container.log.1"} <= names <= {f"container.log{n}" for n in ("", ".1", ".2")}
    kept = (await log(engine, id)).split()
    assert kept == [b"%d" % n for n in range(int(kept[0]), 120_000)]


async def test_no_log_is_kept_when_none_is_asked_for(engine: Engine, instance: Instance) -> None:
    id = await started(engine, "echo", "unheard", host={"LogConfig": {"Type": "none"}})
    with pytest.raises(Conflict, match="does not support reading"):
        engine.containers.logs(id, stdout=True, stderr=True)
    assert (await engine.containers.inspect(id))["LogPath"] == ""
    assert not (instance.config.home / "containers" / id / "log").exists()


async def test_an_abandoned_follower_is_freed(engine: Engine) -> None:
    id = await started(engine, "sleep", "1000")
    before = len(asyncio.all_tasks())
    followers = [
        asyncio.ensure_future(anext(engine.containers.logs(id, stdout=True, stderr=True, follow=True)))  # type: ignore[arg-type]
        for _ in range(20)
    ]
    await asyncio.sleep(0.1)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    await until(lambda: len(asyncio.all_tasks()) <= before)
